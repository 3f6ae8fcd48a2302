import os
from pathlib import Path

import numpy as np
import pytest

from stages.engine.errors import InputError
from stages.graphs import archive, npz
from stages.graphs.collection import COLLECTIONS
from tests.support.samples import assert_refused, layout_arrays, save, tile_arrays, write_layout, write_root

REAL = os.environ.get("TPUGRAPHS_DIR")
REAL_FILES = sorted(Path(REAL, "npz_all").rglob("*.npz")) if REAL else []


def changed(array, place, value, dtype=None):
    array = array.astype(dtype or array.dtype)
    array[place] = value
    return array


def without(arrays, key):
    return {name: array for name, array in arrays.items() if name != key}


NAN, INFINITY = float("nan"), float("inf")
GRAPH_FAULTS = {
    "no features": (lambda a: without(a, "node_feat"), "node_feat is missing"),
    "139 columns": (lambda a: a | {"node_feat": a["node_feat"][:, :139]}, r"node_feat has shape .* not \(any, 140\)"),
    "whole features": (lambda a: a | {"node_feat": a["node_feat"].astype(int)}, "node_feat has dtype int64"),
    "NaN feature": (lambda a: a | {"node_feat": changed(a["node_feat"], (1, 3), NAN)}, "node_feat .* NaN or infinite"),
    "too large": (lambda a: a | {"node_feat": changed(a["node_feat"], 0, INFINITY)}, "node_feat .* NaN or infinite"),
    "beyond int64": (lambda a: a | {"node_feat": changed(a["node_feat"], (1, 30), -1e19)}, r"node_feat .* 2\^63"),
    "beyond float32": (
        lambda a: a | {"node_feat": changed(a["node_feat"], (1, 30), 1e300, np.float64)},
        "node_feat .* NaN or infinite",
    ),
    "half an own layout": (lambda a: a | {"node_feat": changed(a["node_feat"], (1, 134), 0.5)}, r"134-139.* 0\.\.127"),
    "own layout -1": (lambda a: a | {"node_feat": changed(a["node_feat"], (1, 139), -1)}, r"134-139.* 0\.\.127"),
    "own layout 128": (lambda a: a | {"node_feat": changed(a["node_feat"], (1, 136), 128)}, r"134-139.* 0\.\.127"),
    "no node": (lambda a: a | {"node_feat": a["node_feat"][:0]}, "node_feat has no row"),
    "opcode 121": (lambda a: a | {"node_opcode": changed(a["node_opcode"], 0, 121)}, r"node_opcode .* 0\.\.120"),
    "an opcode less": (lambda a: a | {"node_opcode": a["node_opcode"][1:]}, "node_opcode has shape"),
    "opcodes of float": (lambda a: a | {"node_opcode": a["node_opcode"] * 1.0}, "node_opcode has dtype float64"),
    "edge to nowhere": (lambda a: a | {"edge_index": changed(a["edge_index"], (0, 1), 99)}, r"edge_index .* 0\.\."),
    "negative edge": (lambda a: a | {"edge_index": changed(a["edge_index"], (0, 1), -1)}, r"edge_index .* 0\.\."),
    "edges on their side": (lambda a: a | {"edge_index": a["edge_index"].T}, r"edge_index .* not \(any, 2\)"),
    "loop": (lambda a: a | {"edge_index": np.array([[1, 1]])}, "edge_index has a cycle"),
    "cycle": (lambda a: a | {"edge_index": np.array([[0, 1], [1, 2], [2, 0]])}, "edge_index has a cycle"),
    "no run time": (lambda a: without(a, "config_runtime"), "config_runtime is missing"),
    "run time of float": (lambda a: a | {"config_runtime": a["config_runtime"] * 1.0}, "config_runtime has dtype"),
    "negative run time": (
        lambda a: a | {"config_runtime": changed(a["config_runtime"], 2, -5)},
        "config_runtime has a value outside",
    ),
    "run time beyond float64": (
        lambda a: a | {"config_runtime": changed(a["config_runtime"], 2, 2**53 + 1)},
        f"config_runtime has a value outside 0..{2**53}",
    ),
    "run time beyond int64": (
        lambda a: a | {"config_runtime": changed(a["config_runtime"], 2, 2**63 + 5, np.uint64)},
        f"config_runtime has a value outside 0..{2**53}",
    ),
    "pickled": (
        lambda a: a | {"config_runtime": a["config_runtime"].astype(object)},
        "config_runtime has dtype object",
    ),
    "a record": (
        lambda a: a | {"config_runtime": a["config_runtime"].view([("a", "<i4"), ("b", "<i4")])},
        "config_runtime has dtype",
    ),
    "text": (lambda a: a | {"config_runtime": a["config_runtime"].astype(str)}, "config_runtime has dtype"),
    "a number": (lambda a: a | {"config_runtime": np.array(5)}, r"config_runtime has shape \(\), not \(any\)"),
    "a negative convolution number": (
        lambda a: (
            a
            | {"node_opcode": np.full_like(a["node_opcode"], 26)}
            | {"node_feat": changed(a["node_feat"], (1, 106), -7)}
        ),
        "node_feat has a convolution with a dimension number",
    ),
}
LAYOUT_FAULTS = {
    "no layouts": (lambda a: without(a, "node_config_feat"), "node_config_feat is missing"),
    "no ids": (lambda a: without(a, "node_config_ids"), "node_config_ids is missing"),
    "12 columns": (lambda a: a | {"node_config_feat": a["node_config_feat"][..., :12]}, "node_config_feat has shape"),
    "a row less": (lambda a: a | {"node_config_feat": a["node_config_feat"][1:]}, "node_config_feat has shape"),
    "layout 6": (
        lambda a: a | {"node_config_feat": changed(a["node_config_feat"], (0, 0, 0), 6)},
        r"node_config_feat .* -1\.\.5",
    ),
    "layout -2": (
        lambda a: a | {"node_config_feat": changed(a["node_config_feat"], (-1, -1, -1), -2)},
        r"node_config_feat .* -1\.\.5",
    ),
    "half a layout": (
        lambda a: a | {"node_config_feat": changed(a["node_config_feat"], (0, 0, 0), 0.5)},
        "node_config_feat .* no whole number",
    ),
    "NaN layout": (
        lambda a: a | {"node_config_feat": changed(a["node_config_feat"], (0, 0, 0), NAN)},
        "node_config_feat has a value outside",
    ),
    "id out of range": (lambda a: a | {"node_config_ids": np.array([1, 2, 12])}, r"node_config_ids .* 0\.\.11"),
    "a negative id": (lambda a: a | {"node_config_ids": np.array([1, 2, -1])}, r"node_config_ids .* 0\.\.11"),
    "id twice": (lambda a: a | {"node_config_ids": np.array([1, 2, 2])}, "node_config_ids names a node twice"),
    "no configurable node": (
        lambda a: a | {"node_config_ids": a["node_config_ids"][:0], "node_config_feat": a["node_config_feat"][:, :0]},
        "node_config_ids is empty",
    ),
    "no splits": (lambda a: without(a, "node_splits"), "node_splits is missing"),
    "splits without a file's row": (
        lambda a: a | {"node_splits": a["node_splits"][0]},
        r"node_splits .* not \(1, any\)",
    ),
    "splits that descend": (lambda a: a | {"node_splits": np.array([[0, 7, 5, 12]])}, "node_splits does not ascend"),
    "a split beyond the nodes": (lambda a: a | {"node_splits": np.array([[0, 13]])}, r"node_splits .* 0\.\.12"),
    "a negative split": (lambda a: a | {"node_splits": np.array([[-1, 12]])}, r"node_splits .* 0\.\.12"),
    "splits of float": (lambda a: a | {"node_splits": np.array([[0.0, 12.0]])}, "node_splits has dtype float64"),
    "no configuration": (
        lambda a: a | {"config_runtime": a["config_runtime"][:0], "node_config_feat": a["node_config_feat"][:0]},
        "config_runtime is empty",
    ),
}
TILE_FAULTS = {
    "no tiles": (lambda a: without(a, "config_feat"), "config_feat is missing"),
    "18 columns": (lambda a: a | {"config_feat": a["config_feat"][:, :18]}, r"config_feat .* not \(8, 24\)"),
    "NaN tile": (lambda a: a | {"config_feat": changed(a["config_feat"], (0, 0), NAN)}, "config_feat .* NaN"),
    "no normalizers": (lambda a: without(a, "config_runtime_normalizers"), "config_runtime_normalizers is missing"),
    "normalizer 0": (
        lambda a: a | {"config_runtime_normalizers": changed(a["config_runtime_normalizers"], 1, 0)},
        f"config_runtime_normalizers has a value outside 1..{2**53}",
    ),
    "normalizer beyond int64": (
        lambda a: a | {"config_runtime_normalizers": changed(a["config_runtime_normalizers"], 1, 2**64 - 1, np.uint64)},
        f"config_runtime_normalizers has a value outside 1..{2**53}",
    ),
}


@pytest.mark.parametrize("fault", [*GRAPH_FAULTS, *LAYOUT_FAULTS])
def test_a_faulty_layout_file_is_refused_by_name_and_key(tmp_path, fault):
    mutate, pattern = (GRAPH_FAULTS | LAYOUT_FAULTS)[fault]
    assert_refused(npz.read_layout, save(tmp_path / "graph.npz", mutate(layout_arrays())), pattern)


@pytest.mark.parametrize("fault", [*GRAPH_FAULTS, *TILE_FAULTS])
def test_a_faulty_tile_file_is_refused_by_name_and_key(tmp_path, fault):
    mutate, pattern = (GRAPH_FAULTS | TILE_FAULTS)[fault]
    assert_refused(npz.read_tile, save(tmp_path / "graph.npz", mutate(tile_arrays())), pattern)


@pytest.mark.parametrize(
    ("limit", "key"),
    [("MOST_CONFIGURABLE", "node_config_ids"), ("MOST_CONFIGURATIONS", "config_runtime"), ("MOST_EDGES", "edge_index")],
)
def test_more_than_any_graph_has_is_refused(tmp_path, monkeypatch, limit, key):
    monkeypatch.setattr(npz, limit, 2)
    assert_refused(npz.read_layout, write_layout(tmp_path, "graph"), rf"{key} .* more than 2;")


def test_a_dot_of_many_operands_is_refused(tmp_path):
    """Which are its operands is searched for among all pairs of what it consumes."""
    arrays = layout_arrays(nodes=40) | {"node_config_ids": np.array([20, 21, 39])}
    arrays["node_opcode"][39] = 34
    for count in (8, 9):
        arrays["edge_index"] = np.array([[39, node] for node in range(count)])
        file = save(tmp_path / f"{count}.npz", arrays)
        if count == 8:
            npz.read_layout(file)
        else:
            assert_refused(npz.read_layout, file, "edge_index has a configurable convolution or dot of more than 8")


def test_a_repeated_edge_counts_once(tmp_path):
    """The published edges are distinct, and a second one would be taken for a second operand."""
    arrays = layout_arrays()
    edges = arrays["edge_index"]
    arrays["edge_index"] = np.concatenate([edges, edges[::-1], edges])
    read = npz.read_layout(save(tmp_path / "graph.npz", arrays))
    np.testing.assert_array_equal(read.edge_index, edges)


@pytest.mark.parametrize("features", [2.0**63, -(2.0**63)])
def test_the_largest_values_pass_and_stay_apart(tmp_path, features):
    arrays = layout_arrays()
    arrays["node_feat"][1, 30] = features
    arrays["node_feat"][1, 139] = 127
    arrays["config_runtime"][:2] = 2**53 - 1, 2**53
    read = npz.read_layout(save(tmp_path / "graph.npz", arrays))
    assert len(set(read.config_runtime[:2].astype(np.float64))) == 2
    assert read.node_feat[1, [30, 139]].tolist() == [features, 127]


def test_arrays_are_cast_and_keep_their_values(tmp_path):
    arrays = layout_arrays()
    other = {
        "node_opcode": arrays["node_opcode"].astype(np.int32),
        "edge_index": arrays["edge_index"].astype(np.int32),
        "node_config_ids": arrays["node_config_ids"].astype(np.uint16),
        "config_runtime": arrays["config_runtime"].astype(np.int32),
        "node_feat": arrays["node_feat"].astype(np.float64),
        "node_splits": np.array([[0, 5, 5, 12]], np.int32),  # an empty part is legal
    }
    read = npz.read_layout(save(tmp_path / "graph.npz", arrays | other))
    arrays["node_splits"] = np.array([0, 5, 5, 12])
    for name, array in vars(read).items():
        expected = np.float32 if "feat" in name else np.uint8 if name == "node_opcode" else np.int64
        assert array.dtype == expected, name
        np.testing.assert_array_equal(array, arrays[name], name)


@pytest.mark.parametrize("configurations", [1, 20])
def test_equal_configurations_are_legal(tmp_path, configurations):
    arrays = layout_arrays(configurations=configurations)
    arrays["node_config_feat"][:] = arrays["node_config_feat"][:1]
    read = npz.read_layout(save(tmp_path / "graph.npz", arrays))
    assert read.node_config_feat.shape == (configurations, 3, 18)


def test_nodes_need_not_be_in_topological_order(tmp_path):
    arrays = layout_arrays() | {"edge_index": np.array([[0, 5], [5, 3], [0, 3]])}
    assert npz.read_layout(save(tmp_path / "graph.npz", arrays)).edge_index.tolist() == [[0, 5], [5, 3], [0, 3]]


def test_faults_in_any_chunk_are_found(tmp_path, monkeypatch):
    monkeypatch.setattr(archive, "BLOCK_BYTES", 3 * 3 * 72)  # three configurations: the eight make chunks of 3, 3 and 2
    for configuration in range(8):
        arrays = layout_arrays()
        arrays["node_config_feat"][configuration, -1, -1] = 6
        assert_refused(npz.read_layout, save(tmp_path / "graph.npz", arrays), "outside")


def test_a_data_set_is_checked_with_a_line_per_collection(tmp_path, capsys):
    root = write_root(tmp_path, graphs={"train": 2, "valid": 1, "test": 1})
    assert npz.main([str(root)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split(": ")[0] for line in lines] == list(COLLECTIONS)
    assert "train 2 graphs, 24 nodes, 16 configurations; valid 1 graphs, 12 nodes" in lines[1]
    faulty = root / "npz/layout/nlp/random/valid/valid_0.npz"
    save(faulty, without(layout_arrays(), "node_feat"))
    assert npz.main([str(root)]) == 1
    errors = capsys.readouterr().err.splitlines()
    assert len(errors) == 1 and errors[0].startswith(f"{faulty}: node_feat is missing")


def program_arrays():
    """A graph without configurations, as `stages.hlo` writes it."""
    return {key: layout_arrays()[key] for key in ("node_feat", "node_opcode", "edge_index", "node_splits")}


def test_a_folder_of_files_of_all_kinds_is_checked_with_a_line_for_each(tmp_path, capsys):
    for name, arrays in zip("abcd", (program_arrays(), program_arrays(), layout_arrays(), tile_arrays()), strict=True):
        save(tmp_path / f"{name}.npz", arrays)
    assert npz.main([str(tmp_path)]) == 0
    nodes, kernel = len(layout_arrays()["node_feat"]), tile_arrays()
    assert capsys.readouterr().out.splitlines() == [
        f"{tmp_path}: 2 graphs without configurations, {2 * nodes} nodes",
        f"{tmp_path}: 1 layout graphs, {nodes} nodes, {len(layout_arrays()['config_runtime'])} configurations",
        f"{tmp_path}: 1 tile graphs, {len(kernel['node_feat'])} nodes, {len(kernel['config_runtime'])} configurations",
    ]
    faulty = save(tmp_path / "b.npz", without(program_arrays(), "node_splits"))
    assert npz.main([str(tmp_path)]) == 1
    shown = capsys.readouterr()
    assert shown.out == "" and shown.err.startswith(f"{faulty}: node_splits is missing") and shown.err.count("\n") == 1


@pytest.mark.parametrize("fault", [name for name in GRAPH_FAULTS if "runtime" not in GRAPH_FAULTS[name][1]])
def test_a_faulty_graph_without_configurations_is_refused(tmp_path, fault):
    change, pattern = GRAPH_FAULTS[fault]
    assert_refused(npz.read_program, save(tmp_path / "faulty.npz", change(program_arrays())), pattern)


@pytest.mark.parametrize("read", [npz.read_layout, npz.read_tile])
def test_a_graph_without_configurations_is_none_of_a_collection(tmp_path, read):
    file = save(tmp_path / "program.npz", program_arrays())
    with pytest.raises(InputError, match="program.npz: is a graph without configurations, so there is nothing to rank"):
        read(file)


@pytest.mark.skipif(not REAL, reason="TPUGRAPHS_DIR does not name a folder of real TpuGraphs files")
@pytest.mark.parametrize("file", REAL_FILES, ids=lambda file: file.stem)
def test_real_files_pass_unchanged(file):
    read = npz.read_tile(file) if "tile" in file.parts else npz.read_layout(file)
    with np.load(file, allow_pickle=False) as stored:
        for name, array in vars(read).items():
            np.testing.assert_array_equal(array, stored[name][0] if name == "node_splits" else stored[name], name)
