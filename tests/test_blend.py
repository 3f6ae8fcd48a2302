"""Blending: weights on the simplex, chosen on valid and on nothing else."""

import json
from types import SimpleNamespace

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stages import blend, dataset, figures, findings, scores
from stages.errors import InputError

COLLECTION = "layout:xla:random"
SLUG = "layout-xla-random"
CONFIGURATIONS = 12


@pytest.fixture
def packed(monkeypatch):
    """Two valid and two test graphs of 12 configurations in every collection; valid run times are known."""
    rng = np.random.default_rng(3)
    graphs = {
        split: [
            SimpleNamespace(id=f"{split}_{name}", target=rng.permutation(CONFIGURATIONS) + 1.0) for name in ("a", "b")
        ]
        for split in ("valid", "test")
    }
    listed = {split: [{"id": g.id, "configurations": CONFIGURATIONS} for g in part] for split, part in graphs.items()}
    monkeypatch.setattr(dataset, "manifest", lambda folder: {"graphs": listed})
    monkeypatch.setattr(dataset, "graphs", lambda data, collection, split: graphs[split])
    return graphs


def member(data, name, packed, noise, slug=SLUG, test_seed=0, seeds=2):
    """Writes a member's scores: valid ones are the run times with noise, test ones are random."""
    parts = []
    for split, graphs in packed.items():
        for graph in graphs:
            for seed in range(seeds):
                rng = np.random.default_rng([seed, test_seed if split == "test" else 7, len(name)])
                base = graph.target if split == "valid" else rng.permutation(CONFIGURATIONS)
                score = base + noise * rng.normal(size=CONFIGURATIONS)
                parts.append(scores.frame(split, graph.id, np.arange(CONFIGURATIONS), name, seed, score))
    scores.write(pl.concat(parts), data / name / slug / "scores.parquet")


def weights(data):
    return json.loads((data / "blend" / "weights.json").read_text())[COLLECTION]


@given(st.integers(1, 4), st.integers(1, 6))
def test_the_grid_covers_the_simplex(members, steps):
    points = blend.simplex(members, steps)
    assert len(set(points)) == len(points)
    assert all(len(point) == members and min(point) >= 0 and sum(point) == pytest.approx(1) for point in points)
    assert all(tuple(row) in points for row in np.eye(members))


def test_the_default_grid_has_steps_of_a_twentieth():
    assert len(blend.simplex(2)) == 21 and (0.05, 0.95) in blend.simplex(2)


def test_the_best_weights_win_and_equals_go_to_the_middle():
    assert blend.best({(0.0, 1.0): 0.2, (0.5, 0.5): 0.1, (1.0, 0.0): 0.3}) == (1.0, 0.0)
    assert blend.best({(0.0, 1.0): 0.3, (0.45, 0.55): 0.3, (1.0, 0.0): 0.3}) == (0.45, 0.55)
    assert blend.best({point: float("nan") for point in blend.simplex(2)}) == (0.5, 0.5)


def test_combine_gives_places_without_ties_by_index():
    ranks = {"gnn": {"g": np.array([0.25, 0.75, 0.5, 1.0])}, "gbdt": {"g": np.array([0.75, 0.25, 0.5, 1.0])}}
    assert blend.combine(ranks, (0.5, 0.5))["g"].tolist() == [0.25, 0.5, 0.75, 1.0]
    assert blend.combine(ranks, (0.0, 1.0))["g"].tolist() == [0.75, 0.25, 0.5, 1.0]


def test_the_better_member_gets_the_weight_and_shrink_moves_it_toward_equal(tmp_path, packed):
    member(tmp_path, "gnn", packed, noise=0.0)
    member(tmp_path, "gbdt", packed, noise=50.0)
    result = blend.run(collections=[COLLECTION], shrink=0.0, data=str(tmp_path))
    chosen = weights(tmp_path)["chosen"]
    assert chosen["gnn"] > 0.5 and weights(tmp_path)["weights"] == chosen
    assert result["blend"]["valid"].to_list() == [pytest.approx(1.0)]
    blend.run(collections=[COLLECTION], shrink=0.5, data=str(tmp_path))
    assert weights(tmp_path)["weights"] == pytest.approx({name: 0.25 + value / 2 for name, value in chosen.items()})
    blend.run(collections=[COLLECTION], shrink=1.0, data=str(tmp_path))
    assert weights(tmp_path)["weights"] == {"gnn": 0.5, "gbdt": 0.5}


def test_test_scores_change_no_weight(tmp_path, packed):
    member(tmp_path, "gnn", packed, noise=4.0)
    member(tmp_path, "gbdt", packed, noise=5.0)
    blend.run(collections=[COLLECTION], data=str(tmp_path))
    before, blended = weights(tmp_path), scores.read(tmp_path / "blend" / "scores.parquet")
    member(tmp_path, "gnn", packed, noise=4.0, test_seed=1)
    member(tmp_path, "gbdt", packed, noise=5.0, test_seed=2)
    for graph in packed["test"]:
        graph.target = graph.target[::-1].copy()
    blend.run(collections=[COLLECTION], data=str(tmp_path))
    after = scores.read(tmp_path / "blend" / "scores.parquet")
    assert weights(tmp_path) == before
    assert after.filter(pl.col("split") == "valid").equals(blended.filter(pl.col("split") == "valid"))
    assert not after.equals(blended)


def test_blended_scores_hold_every_collection_and_both_splits(tmp_path, packed):
    for name in ("gnn", "gbdt"):
        member(tmp_path, name, packed, 1.0)
        member(tmp_path, name, packed, 1.0, slug="tile-xla")
    blend.run(collections=[COLLECTION, "tile-xla"], data=str(tmp_path))
    first = (tmp_path / "blend" / "scores.parquet").read_bytes()
    table = scores.read(tmp_path / "blend" / "scores.parquet")
    assert table["collection"].unique(maintain_order=True).to_list() == ["tile:xla", COLLECTION]
    assert set(table["split"]) == {"valid", "test"} and set(table["seed"]) == {-1} and set(table["member"]) == {"blend"}
    assert table.group_by("collection", "split", "graph").agg(pl.col("score").n_unique())["score"].to_list() == [12] * 8
    blend.run(collections=["tile:xla", COLLECTION], data=str(tmp_path))
    assert (tmp_path / "blend" / "scores.parquet").read_bytes() == first


def test_valid_graphs_that_order_nothing_get_equal_weights(tmp_path, packed):
    for graph in packed["valid"]:
        graph.target = np.ones(CONFIGURATIONS)
    for name in ("gnn", "gbdt"):
        member(tmp_path, name, packed, 1.0)
    result = blend.run(collections=[COLLECTION], data=str(tmp_path))
    assert weights(tmp_path)["weights"] == {"gnn": 0.5, "gbdt": 0.5}
    assert findings.weights(result) == "No valid graph has run times that differ: the members have equal weights."
    assert figures.svg(figures.weight_lines(result)).count("<svg") == 1


def test_the_page_says_that_valid_is_optimistic(tmp_path, packed):
    member(tmp_path, "gnn", packed, noise=1.0)
    member(tmp_path, "gbdt", packed, noise=2.0)
    text = findings.weights(blend.run(collections=[COLLECTION], data=str(tmp_path)))
    assert "valid is optimistic; the honest figure is the leaderboard's on test." in text


def test_an_absent_member_names_the_stage_to_run(tmp_path, packed):
    member(tmp_path, "gnn", packed, 1.0)
    with pytest.raises(InputError, match="gbdt/layout-xla-random/scores.parquet: not there; run the gbdt stage for"):
        blend.run(collections=[COLLECTION], data=str(tmp_path))
    assert not (tmp_path / "blend").exists()


def test_scores_of_other_graphs_are_refused(tmp_path, packed):
    member(tmp_path, "gnn", packed, 1.0)
    member(tmp_path, "gbdt", {"valid": packed["valid"], "test": packed["test"][:1]}, 1.0)
    with pytest.raises(InputError, match="test graph test_b do not fit.*run the gbdt stage"):
        blend.run(collections=[COLLECTION], data=str(tmp_path))


@pytest.mark.parametrize(
    ("parameters", "fault"),
    [
        ({"collections": []}, "the list is empty"),
        ({"collections": ["layout:gpu:random"]}, "layout:nlp:default"),
        ({"collections": [COLLECTION], "shrink": 1.5}, "shrink: 1.5"),
    ],
)
def test_wrong_parameters_are_refused(tmp_path, parameters, fault):
    with pytest.raises(InputError, match=fault):
        blend.run(data=str(tmp_path), **parameters)
