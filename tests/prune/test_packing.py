import os
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stages import prune
from stages.graphs import npz
from stages.graphs.collection import COLLECTIONS, is_tile
from tests.support.packing import graphs, packed
from tests.support.samples import layout_arrays, save, tile_arrays, write_root

LAYOUT = "layout:xla:random"

REAL = os.environ.get("TPUGRAPHS_DIR")
REAL_FILES = sorted(Path(REAL, "npz_all").rglob("*.npz")) if REAL else []


def reference_contracted(arrays):
    ids = arrays.node_config_ids.tolist()
    operands = {node: arrays.edge_index[arrays.edge_index[:, 0] == node, 1].tolist() for node in range(12)}

    def met(node):
        below = [{operand} if operand in ids else met(operand) for operand in operands[node]]
        return set().union(*below)

    return sorted([ids.index(node), ids.index(other)] for node in ids for other in met(node))


@settings(max_examples=60, deadline=None)
@given(graphs(), st.sampled_from([1, 2, 3, "all"]), st.booleans())
def test_pack_keeps_configurable_nodes_configurations_and_paths(arrays, hops, neighbour_edges):
    graph = packed(arrays, hops, neighbour_edges)
    kept = graph.node_feat[:, 1].astype(int)
    assert kept[graph.config_nodes].tolist() == arrays.node_config_ids.tolist()
    np.testing.assert_array_equal(graph.layouts(), arrays.node_config_feat)
    assert graph.contracted.tolist() == reference_contracted(arrays)
    edges = set(map(tuple, kept[graph.edge_index].tolist()))
    assert edges <= set(map(tuple, arrays.edge_index.tolist()))


def test_memory_does_not_grow_with_the_file(tmp_path):
    graph = layout_arrays(nodes=60, configurable=15)
    peaks = []
    for count in (10_000, 30_000):
        rows = np.arange(count) % 8
        many = graph | {"node_config_feat": graph["node_config_feat"][rows], "config_runtime": 1 + np.arange(count)}
        root = write_root(tmp_path / str(count), graphs={"train": 1, "valid": 1, "test": 1})
        save(root / "npz/layout/xla/random/valid/valid_0.npz", many)
        tracemalloc.start()
        prune.run(collection=LAYOUT, root=str(root), data=str(tmp_path), workers=1)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert many["node_config_feat"].nbytes > 32_000_000
    assert peaks[1] - peaks[0] < 20_000 * 200


def test_one_configuration_is_enough():
    arrays = layout_arrays(configurations=1) | {"node_splits": np.array([0, 12])}
    graph = packed(arrays, duplicates="mean")
    assert graph.codes.shape == (1, 3) and graph.runtime.tolist() == arrays["config_runtime"].tolist()
    assert packed(tile_arrays(nodes=1, configurations=1)).whole["depth"] == 1


@pytest.mark.skipif(not REAL, reason="TPUGRAPHS_DIR does not name a folder of real TpuGraphs files")
@pytest.mark.parametrize("file", REAL_FILES, ids=lambda file: file.stem)
def test_real_files_survive(file):
    collection = next(name for name in COLLECTIONS if name.replace(":", "/") in file.as_posix())
    arrays = npz.read(file, collection)
    for hops in (1, 2, "all"):
        graph = packed(arrays, hops)
        if is_tile(collection):
            np.testing.assert_array_equal(graph.node_feat, arrays.node_feat)
            continue
        np.testing.assert_array_equal(graph.layouts(), arrays.node_config_feat)
        np.testing.assert_array_equal(graph.node_feat[graph.config_nodes], arrays.node_feat[arrays.node_config_ids])
        assert set(graph.node_opcode[graph.config_nodes]) <= {26, 34, 75}
    if file.stem == "unet3d":  # figures of the first place's code on the same file
        graph = packed(arrays, 1, duplicates="first")
        assert graph.nodes == 168 and graph.runtime.max() > 2**35
    if file.stem == "openai_v0_rnn_optimized":  # twenty equal configurations
        graph = packed(arrays, 1, duplicates="mean")
        assert graph.runtime.tolist() == [round(arrays.config_runtime.sum() / 20)]
