import numpy as np
import pytest

from stages import prune
from stages.engine.errors import InputError
from stages.graphs import dataset, npz
from stages.graphs.collection import COLLECTIONS
from tests.support.samples import layout_arrays, save, tile_arrays, write_layout, write_root, write_tile

LAYOUT = "layout:xla:random"


def test_run_removes_duplicates_from_train_only_and_lists_every_graph(tmp_path):
    root = write_root(tmp_path)
    for split in ("train", "valid", "test"):
        arrays = layout_arrays(configurations=4)
        arrays["node_config_feat"][2] = arrays["node_config_feat"][0]
        if split == "test":
            arrays["config_runtime"][:] = 0
        save(root / f"npz/layout/xla/random/{split}/doubled.v2.bf16.npz", arrays)
    frame = prune.run(collection=LAYOUT, root=str(root), data=str(tmp_path))
    assert len(frame) == 11 and set(frame.filter(id="doubled.v2.bf16")["distinct"]) == {3}
    stored = {}
    for split in ("train", "valid", "test"):
        graph = stored[split] = dataset.graphs(tmp_path, LAYOUT, split)[0]
        assert graph.id == "doubled.v2.bf16"
    assert stored["train"].config_index.tolist() == [0, 1, 3]
    assert stored["valid"].config_index.tolist() == stored["test"].config_index.tolist() == [0, 1, 2, 3]
    assert not stored["test"].runtime.any()
    manifest = dataset.manifest(dataset.prune_folder(tmp_path, LAYOUT))
    assert (manifest["collection"], manifest["hops"]) == (LAYOUT, 1)
    entry = manifest["graphs"]["train"][0]
    assert (entry["id"], entry["configurations"], entry["whole_nodes"]) == ("doubled.v2.bf16", 3, 12)


@pytest.mark.parametrize("collection", COLLECTIONS)
def test_run_twice_gives_the_same_bytes_and_no_stale_files(tmp_path, collection):
    root = write_root(tmp_path, graphs={"train": 2, "valid": 1, "test": 1})
    folder = dataset.prune_folder(tmp_path, collection)
    prune.run(collection=collection, root=str(root), data=str(tmp_path))
    before = {file: file.read_bytes() for file in folder.rglob("*.*")}
    stale = dataset.graph_file(folder, "train", "removed_since")
    stale.write_bytes(b"old")
    prune.run(collection=collection, root=str(root), data=str(tmp_path))
    assert {file: file.read_bytes() for file in folder.rglob("*.*")} == before
    assert len(before) == 6  # four graphs, the manifest and the parameters


def test_tile_graphs_are_packed_whole(tmp_path):
    root = write_root(tmp_path)
    prune.run(collection="tile:xla", root=str(root), data=str(tmp_path))
    for split in ("train", "test"):
        for graph in dataset.graphs(tmp_path, "tile:xla", split):
            arrays = npz.read_tile(root / f"npz/tile/xla/{split}/{graph.id}.npz")
            np.testing.assert_array_equal(graph.node_feat, arrays.node_feat)
            np.testing.assert_array_equal(graph.edge_index, arrays.edge_index)
            np.testing.assert_array_equal(graph.config_feat, arrays.config_feat)
            np.testing.assert_array_equal(graph.normalizer, arrays.config_runtime_normalizers)
            np.testing.assert_array_equal(graph.target, arrays.config_runtime / arrays.config_runtime_normalizers)


def test_of_several_faulty_files_the_first_is_told_and_all_are_named(tmp_path):
    root = write_root(tmp_path)
    for id in ("train_1", "train_3"):
        (root / f"npz/tile/xla/train/{id}.npz").write_text("nothing")
    write_tile(root / "npz/tile/xla/valid", "valid_0", runtimes=False)
    pattern = r"train_1\.npz is no npz.*\(2 more of 8 files are faulty: train_3\.npz, valid_0\.npz; the other 5 files"
    with pytest.raises(InputError, match=pattern):
        prune.run(collection="tile:xla", root=str(root), data=str(tmp_path))


def test_faulty_files_are_skipped_where_that_is_asked_for(tmp_path):
    root = write_root(tmp_path)
    (root / "npz/layout/xla/random/train/train_1.npz").write_text("nothing")
    frame = prune.run(collection=LAYOUT, root=str(root), data=str(tmp_path), skip_bad=True)
    assert frame["id"].to_list() == ["train_0", "train_2", "train_3", "valid_0", "valid_1", "test_0", "test_1"]
    assert dataset.graph_ids(tmp_path, LAYOUT, "train") == ["train_0", "train_2", "train_3"]
    (skipped,) = dataset.manifest(dataset.prune_folder(tmp_path, LAYOUT))["skipped"]
    assert (skipped["split"], skipped["id"]) == ("train", "train_1")
    assert skipped["fault"].startswith("is no npz file or is cut off")
    for id in (0, 1):
        (root / f"npz/layout/xla/random/valid/valid_{id}.npz").write_text("nothing")
    with pytest.raises(InputError, match=r"train_1\.npz is no npz.*2 more"):
        prune.run(collection=LAYOUT, root=str(root), data=str(tmp_path), skip_bad=True)


@pytest.mark.parametrize(("collection", "folder"), [(LAYOUT, "layout/xla/random"), ("tile:xla", "tile/xla")])
def test_a_graph_without_configurations_is_told_and_can_be_skipped(tmp_path, collection, folder):
    root = write_root(tmp_path)
    keys = ("node_feat", "node_opcode", "edge_index", "node_splits")
    save(root / "npz" / folder / "train" / "dumped.npz", {key: layout_arrays()[key] for key in keys})
    fault = "is a graph without configurations, so there is nothing to rank; leave it out"
    knobs = {"collection": collection, "root": str(root), "data": str(tmp_path)}
    with pytest.raises(InputError, match=rf"train/dumped.npz: {fault} \(the other .*; data.skip_bad: true") as caught:
        prune.run(**knobs)
    assert "\n" not in str(caught.value)
    assert "dumped" not in prune.run(**knobs, skip_bad=True)["id"].to_list()
    (skipped,) = dataset.manifest(dataset.prune_folder(tmp_path, collection))["skipped"]
    assert skipped == {"split": "train", "id": "dumped", "fault": fault}


def test_a_failed_run_leaves_no_manifest_of_an_earlier_one(tmp_path):
    root = write_root(tmp_path)
    prune.run(collection=LAYOUT, root=str(root), data=str(tmp_path))
    faulty = write_layout(root / "npz/layout/xla/random/valid", "placeholder", runtimes=False)
    with pytest.raises(InputError, match="config_runtime has a zero") as error:
        prune.run(collection=LAYOUT, root=str(root), data=str(tmp_path))
    assert str(error.value).startswith(str(faulty))
    with pytest.raises(InputError, match="run the prune stage"):
        dataset.graphs(tmp_path, LAYOUT, "train")


@pytest.mark.parametrize("split", ["train", "valid"])
def test_a_single_zero_run_time_is_refused_where_it_would_be_learned(tmp_path, split):
    root = write_root(tmp_path)
    arrays = tile_arrays()
    arrays["config_runtime"][3] = 0
    faulty = save(root / f"npz/tile/xla/{split}/one_zero.npz", arrays)
    with pytest.raises(InputError, match=f"config_runtime has a zero; a {split} file") as error:
        prune.run(collection="tile:xla", root=str(root), data=str(tmp_path))
    assert str(error.value).startswith(str(faulty))


def test_a_missing_or_empty_split_is_named(tmp_path):
    root = write_root(tmp_path)
    folder = root / "npz/layout/xla/random/test"
    for file in folder.iterdir():
        file.unlink()
    with pytest.raises(InputError, match="npz/layout/xla/random/test: holds no npz file"):
        prune.run(collection=LAYOUT, root=str(root), data=str(tmp_path))
    folder.rmdir()
    with pytest.raises(InputError, match="npz/layout/xla/random/test: no such folder"):
        prune.run(collection=LAYOUT, root=str(root), data=str(tmp_path))


@pytest.mark.parametrize("parameter", [{"hops": 0}, {"hops": "one"}, {"direction": "up"}, {"duplicates": "median"}])
def test_faulty_parameters_are_named(tmp_path, parameter):
    (name,) = parameter
    with pytest.raises(InputError, match=rf"prune\.{name}: .*mend params\.yaml"):
        prune.run(collection=LAYOUT, root=str(tmp_path), data=str(tmp_path), **parameter)
