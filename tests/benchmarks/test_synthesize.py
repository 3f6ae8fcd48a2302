"""The stand-in of full size: its numbers are the published ones, and its files are files that the pipeline takes."""

import numpy as np
import pytest

from benchmarks import prune as benchmark
from benchmarks import synthesize, synthetic
from stages.graphs import dataset, npz
from stages.graphs.collection import COLLECTIONS, SPLITS, folder, is_tile
from stages.prune import stage as prune


def test_the_numbers_are_the_published_ones():
    planned = synthesize.sizes()
    assert len(planned) == 7868 and len({(s.collection, s.split, s.id) for s in planned}) == 7868
    assert sum(s.split == "test" for s in planned) == 894
    layout = [s for s in planned if not is_tile(s.collection)]
    assert max(s.nodes for s in layout) == 43_615 and max(s.configurable for s in layout) == 3143
    assert all(s.configurations == 1000 for s in layout if s.split == "test")
    assert max(s.configurations for s in layout) <= 100_040
    assert all(3 * s.configurable <= s.nodes - 1 for s in planned)  # what synthetic.arrays needs
    int8 = sum(s.configurations * s.configurable * 18 for s in layout)
    assert 80 * 2**30 < int8 < 120 * 2**30  # all configurations of the published layout files: 99 GiB as int8


def test_a_share_takes_fewer_graphs_and_not_other_ones():
    whole, tenth = synthesize.sizes(), synthesize.sizes(0.1)
    assert set(tenth) < set(whole) and 780 <= len(tenth) <= 800
    assert {(s.collection, s.split) for s in tenth} == {(name, split) for name in COLLECTIONS for split in SPLITS}


@pytest.mark.parametrize("changed", [0.05, 0.5])
def test_configurations_change_at_the_share_of_nodes_asked_for(changed):
    graph = synthetic.arrays(600, synthesize.SOURCES, 60)
    whole = np.concatenate(list(synthesize.layouts(graph, 400, changed, chunk=60 * 18 * 50)))
    assert whole.shape == (400, 60, 18)
    found = (whole[1:] != whole[:-1]).any(axis=2).mean()
    assert 0.8 * changed < found < 1.1 * changed  # a node that knows one layout cannot change
    for node in range(60):
        known = set(map(tuple, graph.node_config_feat[:, node].tolist()))
        assert set(map(tuple, whole[:, node].tolist())) <= known


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    path = tmp_path_factory.mktemp("made")
    for number, collection in enumerate(COLLECTIONS):
        for split in SPLITS:
            size = synthesize.Size(collection, split, "a", 120, 2 if is_tile(collection) else 12, 30, number)
            synthesize.write_file(path, size)
    return path


@pytest.mark.parametrize("collection", COLLECTIONS)
def test_files_are_read_and_pruned(root, tmp_path, collection):
    assert npz.summary(root, collection).endswith("test 1 graphs, 120 nodes, 30 configurations")
    prune.run(collection=collection, root=str(root), data=str(tmp_path))
    for split in SPLITS:
        (graph,) = dataset.graphs(tmp_path, collection, split)
        assert bool(graph.runtime.any()) == (split != "test")
        assert split == "test" or len(np.unique(graph.target)) > 5


def test_a_file_is_the_same_every_time_and_stays_where_it_is(root, tmp_path):
    size = synthesize.Size("layout:xla:random", "train", "a", 120, 12, 30, 1)
    synthesize.write_file(tmp_path, size)
    file, again = (folder(path, "layout:xla:random", "train") / "a.npz" for path in (root, tmp_path))
    for name, array in np.load(file).items():
        np.testing.assert_array_equal(np.load(again)[name], array, name)
    again.write_bytes(b"there already")
    assert synthesize.write_file(tmp_path, size) == 13 and again.read_bytes() == b"there already"


def test_the_benchmark_of_prune_measures_a_file(tmp_path):
    path = tmp_path / "graph.npz"
    benchmark.make(path, *benchmark.QUICK["300 x 20"])
    found = benchmark.measured(path, 1)
    assert found["distinct"] > 50 and found["file_bytes"] == path.stat().st_size
    assert min(found["isal_seconds"], found["zlib_seconds"], found["cpu_seconds"]) > 0
    assert found["peak_bytes"] > 30_000_000  # of a process with numpy
    assert [file.name for file in tmp_path.iterdir()] == ["graph.npz"]


def test_run_times_follow_from_the_layouts(tmp_path):
    """They are written after the layouts, which came in several pieces."""
    size = synthesize.Size("layout:xla:random", "train", "a", 120, 12, 4000, 1)
    synthesize.write_file(tmp_path, size)
    arrays = np.load(folder(tmp_path, size.collection, size.split) / "a.npz")
    columns = np.column_stack([arrays["node_config_feat"].reshape(4000, -1), np.ones(4000)])
    time = np.log(arrays["config_runtime"])
    fitted = columns @ np.linalg.lstsq(columns, time, rcond=None)[0]
    assert time.std() > 0.1 and np.std(time - fitted) < 0.02  # the noise that is added is 0.01
