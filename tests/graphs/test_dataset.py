import os

import numpy as np
import pytest

from stages import pad
from stages.engine.errors import InputError
from stages.graphs import dataset
from stages.prune import stage as prune
from tests.support.samples import write_root
from tests.support.tensors import layout_tensors

LAYOUT, TILE = "layout:nlp:default", "tile:xla"


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    path = tmp_path_factory.mktemp("data")
    root = write_root(path, nodes=20, configurable=5)
    for collection in (LAYOUT, TILE):
        prune.run(collection=collection, root=str(root), data=str(path))
        pad.run(collection=collection, data=str(path))
    return path


def store(tmp_path, tensors, id="a.4x4.bf16"):
    folder = dataset.prune_folder(tmp_path, LAYOUT)
    dataset.write_packed(dataset.graph_file(folder, "valid", id), tensors, {"nodes": 4.0, "log_bytes": 1.5})
    dataset.write_json(folder / "manifest.json", {"graphs": {"valid": [{"id": id}]}})
    return dataset.graph_file(folder, "valid", id)


@pytest.mark.parametrize("configurations", [1, 3])
def test_a_packed_graph_comes_back_as_written(tmp_path, configurations):
    tensors = layout_tensors(configurations)
    store(tmp_path, tensors)
    (graph,) = dataset.graphs(tmp_path, LAYOUT, "valid")
    for name, tensor in tensors.items():
        stored = getattr(graph, name)
        np.testing.assert_array_equal(stored, tensor, name)
        assert stored.dtype == dataset.PACKED_LAYOUT[name], name
        assert not stored.flags.writeable, name
    assert graph.whole == {"nodes": 4.0, "log_bytes": 1.5}
    assert (graph.id, graph.nodes, graph.configurations) == ("a.4x4.bf16", 4, configurations)
    assert graph.config_feat is None and graph.normalizer is None
    assert graph.target[0] == 2**40 + 1  # exact, where float32 is not


def test_layouts_decode_any_choice_of_configurations(tmp_path):
    tensors = layout_tensors()
    store(tmp_path, tensors)
    (graph,) = dataset.graphs(tmp_path, LAYOUT, "valid")
    every = tensors["triples"][tensors["codes"]]
    np.testing.assert_array_equal(graph.layouts(), every)
    np.testing.assert_array_equal(graph.layouts(np.array([2, 0])), every[[2, 0]])
    np.testing.assert_array_equal(graph.layouts(slice(1, 3)), every[1:3])


def test_the_same_graph_is_written_as_the_same_bytes(tmp_path):
    first, second = (store(tmp_path / name, layout_tensors()).read_bytes() for name in ("a", "b"))
    assert first == second


@pytest.mark.parametrize("damage", [lambda b: b[:40], lambda b: b[:-200], lambda b: b"", lambda b: b"\xff" * 64])
def test_a_damaged_file_is_named(tmp_path, damage):
    file = store(tmp_path, layout_tensors())
    file.write_bytes(damage(file.read_bytes()))
    with pytest.raises(InputError, match=r"a\.4x4\.bf16\.safetensors: is damaged; run the stage"):
        dataset.graphs(tmp_path, LAYOUT, "valid")


def test_missing_pieces_say_which_stage_to_run(tmp_path):
    with pytest.raises(InputError, match="run the prune stage of this collection first"):
        dataset.graphs(tmp_path, LAYOUT, "valid")
    file = store(tmp_path, layout_tensors())
    with pytest.raises(InputError, match=r"pad/layout-nlp-default/valid/.*: no such file"):
        dataset.model_graphs(tmp_path, LAYOUT, "valid")
    with pytest.raises(InputError, match="'dev' is no split"):
        dataset.graphs(tmp_path, LAYOUT, "dev")
    file.unlink()
    with pytest.raises(InputError, match="no such file; run the stage that writes it"):
        dataset.graphs(tmp_path, LAYOUT, "valid")


def test_pad_of_another_pruning_is_refused(tmp_path):
    root = write_root(tmp_path, nodes=20)
    prune.run(collection=LAYOUT, root=str(root), data=str(tmp_path))
    pad.run(collection=LAYOUT, data=str(tmp_path))
    prune.run(collection=LAYOUT, root=str(root), hops="all", data=str(tmp_path))
    with pytest.raises(InputError, match="was made from another pruned graph; run the pad stage again"):
        dataset.model_graphs(tmp_path, LAYOUT, "train")


@pytest.mark.parametrize("split", ["train", "valid", "test"])
def test_model_graphs_of_a_layout_collection_join_prune_and_pad(built, split):
    packed = dataset.graphs(built, LAYOUT, split)
    joined = dataset.model_graphs(built, LAYOUT, split)
    assert [graph.id for graph in joined] == [graph.id for graph in packed] == sorted(graph.id for graph in packed)
    for graph, source in zip(joined, packed, strict=True):
        np.testing.assert_array_equal(graph.edge_index, source.edge_index.T)
        assert graph.edge_index.dtype == graph.config_nodes.dtype == np.int64
        assert graph.edge_index.flags.c_contiguous
        np.testing.assert_array_equal(graph.opcode, source.node_opcode)
        np.testing.assert_array_equal(graph.codes, source.codes)
        np.testing.assert_array_equal(graph.target, source.target)
        assert graph.x.shape[0] == graph.layout.shape[0] == source.nodes
        assert graph.x.shape[1] == joined[0].x.shape[1] and graph.x.dtype == np.float32
        assert graph.tile_config is None and graph.split == split


def test_model_graphs_of_tiles_have_scaled_configurations(built):
    for graph in dataset.model_graphs(built, TILE, "valid"):
        assert graph.tile_config.shape[0] == graph.configurations == len(graph.target) == 8
        assert graph.codes is None and graph.triples is None and graph.config_nodes is None
        assert 0 < graph.target.max() <= 2  # a run time over its normalizer


@pytest.mark.skipif(not os.path.isdir("/proc/self/fd"), reason="counts descriptors in /proc")
def test_tile_graphs_hold_no_file_open(built):
    """The competition has 5,709 of them, more than a process may have files."""
    before = len(os.listdir("/proc/self/fd"))
    held = dataset.graphs(built, TILE, "train"), dataset.model_graphs(built, TILE, "train")
    assert len(os.listdir("/proc/self/fd")) == before and held
