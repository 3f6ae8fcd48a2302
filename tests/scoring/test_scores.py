"""Score files: their schema, and ranks within a graph."""

import numpy as np
import polars as pl
import pytest

from stages.engine.errors import InputError
from stages.scoring import scores


def table(score=(3.0, 1.0, 3.0, 2.0), seed=0, graph="g", member="gnn"):
    return scores.frame("valid", graph, np.arange(len(score)), member, seed, score)


def test_written_scores_are_read_back_and_nothing_is_left_beside(tmp_path):
    path = tmp_path / "new" / "scores.parquet"
    scores.write(table(), path)
    assert scores.read(path).equals(table())
    assert [file.name for file in path.parent.iterdir()] == ["scores.parquet"]
    first = path.read_bytes()
    scores.write(table(), path)
    assert path.read_bytes() == first


def test_a_frame_has_the_schema_whatever_it_is_made_from():
    assert dict(table().schema) == scores.SCHEMA
    with pytest.raises(ValueError, match="g"):
        scores.frame("valid", "g", [0, 1], "gnn", 0, [1.0])


def test_ranks_average_ties_and_end_at_one():
    assert scores.ranks(table())["rank"].to_list() == [3.5 / 4, 1 / 4, 3.5 / 4, 2 / 4]


def test_ranks_are_within_graph_and_seed():
    both = pl.concat([table([5.0, 6.0], graph="a"), table([100.0, 50.0], graph="b"), table([9.0, 8.0], 1, "a")])
    assert scores.ranks(both)["rank"].to_list() == [0.5, 1.0, 1.0, 0.5, 1.0, 0.5]


def test_ranks_do_not_mix_collections():
    parts = [
        table(score).with_columns(pl.lit(name).alias("collection"))
        for name, score in (("x", [1.0, 2.0]), ("y", [4.0, 3.0]))
    ]
    assert scores.ranks(pl.concat(parts))["rank"].to_list() == [0.5, 1.0, 1.0, 0.5]


def test_a_ranking_is_the_mean_over_seeds_whatever_their_scale():
    both = pl.concat([table([1.0, 2.0, 3.0], 0), table([900.0, 100.0, 500.0], 1)])
    ranking = scores.ranking(both)
    assert ranking["seed"].to_list() == [-1] * 3
    assert ranking["score"].to_list() == pytest.approx([(1 + 3) / 6, (2 + 1) / 6, (3 + 2) / 6])
    assert scores.ranking(both.reverse()).equals(ranking)


def test_seeds_together_on_each_scale_by_hand():
    # Seed 0 has 0, 1, 4 and seed 1 has 3, 3, 0; deviations of 0, 1/4, 1 and 1, 1, 0 are sqrt(26) / 12 and sqrt(2) / 3.
    both = pl.concat([table([0.0, 1.0, 4.0], 0), table([3.0, 3.0, 0.0], 1)])
    assert scores.together(both, "rank").equals(scores.ranking(both))
    minmax = scores.together(both, "minmax")
    assert minmax["score"].to_list() == pytest.approx([(0 + 1) / 2, (1 / 4 + 1) / 2, (1 + 0) / 2])
    first = [value * 12 / 26**0.5 for value in (-5 / 12, -2 / 12, 7 / 12)]
    second = [value * 3 / 2**0.5 for value in (1 / 3, 1 / 3, -2 / 3)]
    found = scores.together(both, "zscore")
    assert found["score"].to_list() == pytest.approx([(a + b) / 2 for a, b in zip(first, second, strict=True)])
    assert dict(found.schema) == scores.SCHEMA and found["seed"].to_list() == [-1] * 3


@pytest.mark.parametrize("scale", ["rank", "minmax", "zscore"])
def test_seeds_together_are_of_one_graph_and_in_any_order(scale):
    parts = [table([5.0, 6.0], graph="a"), table([100.0, 50.0], graph="b"), table([9.0, 8.0], 1, "a")]
    found = scores.together(pl.concat(parts), scale)
    alone = scores.together(pl.concat([parts[0], parts[2]]), scale)
    assert found.filter(graph="a").equals(alone)
    assert scores.together(pl.concat(parts).reverse(), scale).equals(found)


@pytest.mark.parametrize("scale", ["minmax", "zscore"])
@pytest.mark.parametrize("score", [[0.1, 0.1, 0.1], [7.0], [1e300, 1e300]])
def test_a_seed_that_orders_nothing_adds_nothing(scale, score):
    assert scores.together(table(score), scale)["score"].to_list() == [0.0] * len(score)


def test_by_graph_sorts_by_configuration_and_refuses_a_hole():
    assert scores.by_graph(table().reverse())["g"].tolist() == [3.0, 1.0, 3.0, 2.0]
    with pytest.raises(InputError, match="here: configurations of g"):
        scores.by_graph(table().filter(pl.col("configuration") != 1), "here")


@pytest.mark.parametrize(
    ("damaged", "fault"),
    [
        (table().drop("seed"), "columns"),
        (table().with_columns(pl.col("score").cast(pl.Float32)), "columns"),
        (table([1.0, float("nan")]), "configuration 1.*finite"),
        (table([float("inf"), 1.0]), "configuration 0.*finite"),
        (pl.concat([table(), table([7.0])]), "two scores"),
        (pl.concat([table(), table([7.0, 8.0], seed=1)]), "seeds of gnn score different configurations of g"),
        (pl.concat([table([5.0]), table([7.0], seed=1).with_columns(configuration=pl.lit(1, pl.Int32))]), "seeds of"),
    ],
)
def test_unsound_scores_are_refused_when_written_and_when_read(tmp_path, damaged, fault):
    path = tmp_path / "scores.parquet"
    with pytest.raises(InputError, match=fault):
        scores.write(damaged, path)
    assert not path.exists()
    damaged.write_parquet(path)
    with pytest.raises(InputError, match=f"scores.parquet.*{fault}"):
        scores.read(path)


@pytest.mark.parametrize("column", ["split", "graph", "configuration", "member", "seed", "score"])
def test_an_empty_value_is_refused_by_column(tmp_path, column):
    first = pl.int_range(pl.len()) == 0
    damaged = table().with_columns(pl.when(~first).then(pl.col(column)).alias(column))
    with pytest.raises(InputError, match=f"column {column} has an empty value"):
        scores.write(damaged, tmp_path / "scores.parquet")


def test_members_and_graphs_may_differ_in_seeds_and_configurations(tmp_path):
    parts = [table(seed=0), table(seed=1), table([1.0, 2.0], graph="h"), table(seed=7, member="gbdt")]
    scores.write(pl.concat(parts), tmp_path / "scores.parquet")
    assert scores.read(tmp_path / "scores.parquet").height == 4 + 4 + 2 + 4


def test_a_damaged_file_is_refused_or_read(tmp_path):
    path = tmp_path / "scores.parquet"
    scores.write(table(np.arange(50.0)), path)
    whole, rng = path.read_bytes(), np.random.default_rng(0)
    refused = 0
    for _ in range(100):
        content = bytearray(whole)
        content[rng.integers(len(whole))] ^= 1 << rng.integers(8)
        path.write_bytes(content)
        try:
            assert dict(scores.read(path).schema) == scores.SCHEMA
        except InputError as error:
            refused += str(error).startswith(str(path))
    assert refused > 20


def test_a_panic_of_the_parquet_reader_is_one_line(tmp_path, monkeypatch):
    def panic(path):
        raise pl.exceptions.PanicException("index out of bounds")

    scores.write(table(), tmp_path / "scores.parquet")
    monkeypatch.setattr(pl, "read_parquet", panic)
    with pytest.raises(InputError, match="not readable as Parquet"):
        scores.read(tmp_path / "scores.parquet")


def test_a_file_that_is_absent_or_no_parquet_is_refused(tmp_path):
    with pytest.raises(InputError, match="not there"):
        scores.read(tmp_path / "scores.parquet")
    (tmp_path / "scores.parquet").write_text("split,graph\n")
    with pytest.raises(InputError, match="not readable as Parquet"):
        scores.read(tmp_path / "scores.parquet")
