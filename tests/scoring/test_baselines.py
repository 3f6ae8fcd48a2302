import shutil
import zlib

import numpy as np
import pytest

from stages.engine.errors import InputError
from stages.graphs import dataset
from stages.prune import stage as prune
from stages.scoring import baselines, metrics, scores
from stages.statistics.columns import statistics
from tests.support.samples import write_root


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    path = tmp_path_factory.mktemp("baselines")
    root = write_root(path, {"train": 8, "valid": 3, "test": 2}, configurations=16)
    for collection in ("layout:xla:random", "tile:xla"):
        prune.run(collection=collection, root=str(root), data=str(path))
    return path


def valid_scores(data, collection):
    table = baselines.table(data, collection).filter(split="valid")
    targets = {graph.id: graph.target for graph in dataset.graphs(data, collection, "valid")}
    members = table["member"].unique().to_list()
    return {
        member: metrics.collection_score(
            metrics.graph_scores(collection, scores.by_graph(table.filter(member=member)), targets)
        )
        for member in members
    }


def test_layout_baselines_rank_the_sample(data):
    """Its run times are sums of inversions, so that row_major knows them up to the noise."""
    found = valid_scores(data, "layout:xla:random")
    assert found.keys() == {"random", "copy_count", "row_major", "default", "estimate", "ridge"}
    assert found["row_major"] > 0.9 and found["ridge"] > 0.7 and abs(found["random"]) < 0.5


def test_tile_baselines_rank_the_sample(data):
    """Its run times fall with the tile's volume."""
    found = valid_scores(data, "tile:xla")
    assert found.keys() == {"random", "largest_tile", "estimate", "ridge"}
    assert found["largest_tile"] > 0.99 and found["ridge"] > 0.95


def test_the_table_names_every_configuration_once(data, tmp_path):
    table = baselines.table(data, "layout:xla:random")
    scores.write(table, tmp_path / "scores.parquet")  # raises for doubles and for what is no number
    assert table.select("split", "graph").unique().height == 3 + 2
    assert table.height == (3 + 2) * 16 * 6
    assert table.equals(baselines.table(data, "layout:xla:random"))


def member_scores(data, graph, member):
    return baselines.table(data, graph.collection).filter(graph=graph.id, member=member)["score"].to_numpy()


def test_each_baseline_is_its_column(data):
    graph = dataset.graphs(data, "layout:xla:random", "valid")[0]
    names, values = statistics(graph)
    np.testing.assert_array_equal(member_scores(data, graph, "random"), baselines.random(graph))
    for member, (column, _) in baselines.LAYOUT_COLUMNS.items():
        np.testing.assert_array_equal(member_scores(data, graph, member), values[:, names.index(column)])
    tile = dataset.graphs(data, "tile:xla", "valid")[0]
    assert np.argmin(member_scores(data, tile, "largest_tile")) == np.argmax(tile.config_feat[:, 15])


def test_the_compilers_own_choice_first_only_where_some_leave_more_to_it(data, tmp_path):
    """The published layouts state every convolution's, in each configuration."""
    root = tmp_path / "npz_all"
    shutil.copytree(data / "npz_all", root)
    for file in root.glob("npz/layout/xla/random/*/*.npz"):
        with np.load(file) as stored:
            arrays = dict(stored)
        said = (arrays["node_config_feat"].reshape(*arrays["node_config_feat"].shape[:2], 3, 6) >= 0).any(axis=(2, 3))
        everything = said.all(axis=1)
        for name in ("node_config_feat", "config_runtime"):
            arrays[name] = arrays[name][everything]
        np.savez(file, **arrays)
    prune.run(collection="layout:xla:random", root=str(root), data=str(tmp_path))
    assert "default" not in baselines.table(tmp_path, "layout:xla:random")["member"]


def test_chance_is_seeded_by_the_id(data):
    first, second = dataset.graphs(data, "layout:xla:random", "valid")[:2]
    expected = np.random.default_rng(zlib.crc32(first.id.encode())).random(first.configurations)
    np.testing.assert_array_equal(baselines.random(first), expected)
    assert not np.array_equal(baselines.random(first), baselines.random(second))


def test_ridge_in_closed_form_by_hand():
    """Two columns that are each other's opposite share the weight; a third that never varies gets none."""
    column = np.array([0.0, 1.0, 2.0, 3.0])
    values = np.stack([column, -column, np.ones(4)], axis=1)
    model = baselines.ridge([(["a", "b", "c"], values, np.array([10, 20, 30, 40]))])
    # (2 w + strength w) = 1 for w = weight of a = - weight of b
    assert model.weights == pytest.approx([1 / (2 + baselines.STRENGTH), -1 / (2 + baselines.STRENGTH), 0])


def test_every_training_graph_of_a_ridge_counts_the_same():
    rng = np.random.default_rng(0)
    values, target = rng.random((6, 2)), rng.random(6)
    other = (["a", "b"], rng.random((5, 2)), rng.random(5))
    once = baselines.ridge([(["a", "b"], values, target), other])
    often = baselines.ridge([(["a", "b"], np.tile(values, (9, 1)), np.tile(target, 9)), other])
    np.testing.assert_allclose(once.weights, often.weights)


def test_graphs_without_an_order_teach_a_ridge_nothing():
    rng = np.random.default_rng(0)
    sound = (["a", "b"], rng.random((6, 2)), rng.random(6))
    single, tied = (["a", "b"], rng.random((1, 2)), np.ones(1)), (["a", "b"], rng.random((4, 2)), np.ones(4))
    np.testing.assert_array_equal(baselines.ridge([single, sound, tied]).weights, baselines.ridge([sound]).weights)
    assert baselines.ridge([single, tied]).weights.tolist() == [0, 0]


def test_other_columns_are_refused(data):
    graph = dataset.graphs(data, "layout:xla:random", "train")[0]
    names, values = statistics(graph)
    model = baselines.ridge([(names, values, graph.target)])
    with pytest.raises(InputError, match="different columns"):
        model.score(names[:-1], values[:, :-1])
