import dataclasses
from pathlib import Path

import numpy as np
import pytest

from stages import pad
from stages.engine.errors import InputError
from stages.graphs import npz
from stages.graphs.opcodes import DOT, OPCODE_NUMBERS
from stages.hlo import hlo_pb2
from stages.hlo.__main__ import convert
from stages.hlo.features import graph_arrays
from stages.hlo.reading import read
from tests.support.hlo import (
    DATA,
    REAL,
    command,
    layout_tuning,
    needs_real_files,
    saved,
    tile_tuning,
)


def test_the_pipeline_reads_the_same_with_the_left_out_columns_and_refuses_another_padding(tmp_path):
    file = saved(tmp_path, layout_tuning())
    (plain,), (extra,), (padded,) = (
        convert(file, tmp_path / name, **options)
        for name, options in (("plain", {}), ("extra", {"extra": True}), ("padded", {"padding": -1}))
    )
    with np.load(extra) as arrays, np.load(plain) as official:
        assert set(arrays) == {*official, "node_feat_extra"}
        assert arrays["node_feat_extra"].shape == (2, 28) and arrays["node_feat_extra"].dtype == np.float32
    read = [npz.read_layout(path) for path in (plain, extra)]
    for field in dataclasses.fields(npz.LayoutArrays):
        np.testing.assert_array_equal(*(getattr(arrays, field.name) for arrays in read))
    with pytest.raises(InputError, match="padded.*program.npz: node_feat .* padded with 0 as published"):
        npz.read_layout(padded)


def test_tiles_have_the_left_out_columns_too(tmp_path):
    (path,) = convert(saved(tmp_path, hlo_pb2.TuningData(modules=[tile_tuning()])), tmp_path, -1, True)
    with np.load(path) as arrays:
        assert arrays["node_feat_extra"].shape == (1, 28)
        assert arrays["node_feat"][0, 134:].tolist() == [-1] * 6


def test_kernel_names_stay_in_the_folder_and_apart(tmp_path):
    names = [("../../up", 7), ("a/b", 0), ("a/b", 0), ("same", 7), ("same", 7), ("", 7), ("x" * 500, 7)]
    folder = tmp_path / "out"
    tuning = hlo_pb2.TuningData(modules=[tile_tuning(name, fingerprint) for name, fingerprint in names])
    written = convert(saved(tmp_path, tuning), folder)
    assert len(set(written)) == len(names)
    assert sorted(written) == sorted(folder.iterdir())
    assert [path.name for path in tmp_path.iterdir() if path != folder] == ["program.pb"]


def test_same_input_same_bytes(tmp_path):
    file = saved(tmp_path, layout_tuning())
    (first,), (second,) = convert(file, tmp_path / "a"), convert(file, tmp_path / "b")
    assert first.read_bytes() == second.read_bytes()


def buffers():
    """A buffer assignment as XLA writes it behind a compiled module: of its messages, fields 1 to 4 of the message."""
    buffer = bytes([0x08, 5, 0x10, 64, 0x1A, 2, 0x08, 3])  # id, size, defined_at
    alias = bytes([0x08, 5, 0x12, 2, 0x08, 3])  # source_buffer_id, location
    allocation = bytes([0x10, 64, 0x18, 1])  # size, is_thread_local
    trace = bytes([0x0A, 2, 0x08, 1, 0x10, 1])  # events, whole_module_simulation
    parts = [(0x0A, buffer), (0x0A, buffer), (0x12, alias), (0x1A, allocation), (0x22, trace)]
    content = b"".join(bytes([key, len(part)]) + part for key, part in parts)
    return bytes([0x1A, len(content)]) + content


@pytest.mark.parametrize("name", ["module", "optimised"])
@pytest.mark.parametrize("form", ["HloProto", "HloProto with buffers", "HloModuleProto", "nameless HloModuleProto"])
def test_what_a_compiler_dumps_becomes_a_graph_that_the_reader_takes(tmp_path, name, form):
    data = (DATA / f"{name}.hlo.pb").read_bytes()
    graph = hlo_pb2.HloProto.FromString(data).hlo_module
    if form == "nameless HloModuleProto":
        graph.name = ""
    data = graph.SerializeToString() if form.endswith("HloModuleProto") else data
    file, folder = tmp_path / f"{name}.hlo.pb", tmp_path / "out"
    file.write_bytes(data + (buffers() if form.endswith("buffers") else b""))
    result = command(file, folder, "--extra")
    assert (result.returncode, result.stderr) == (0, "")
    assert result.stdout == f"1 npz written to {folder} (a graph without configurations)\n"
    expected = graph_arrays(graph)
    with np.load(folder / f"{name}.npz") as arrays:
        assert set(arrays) == {"node_feat", "node_opcode", "edge_index", "node_splits", "node_feat_extra"}
    program = npz.read_program(folder / f"{name}.npz")
    for key in ("node_feat", "node_opcode", "edge_index"):
        np.testing.assert_array_equal(getattr(program, key), getattr(expected, key))
    np.testing.assert_array_equal(program.node_splits, expected.node_splits.reshape(-1))
    assert npz.main([str(folder)]) == 0


def test_command_line_errors_are_one_line(tmp_path):
    empty, good = tmp_path / "empty.pb", saved(tmp_path, layout_tuning())
    empty.touch()
    for file, folder, fault in [
        (tmp_path / "absent.pb", tmp_path, "absent.pb: cannot be read"),
        (empty, tmp_path, "empty.pb: is empty"),
        (good, empty / "folder", "folder: cannot be written"),
    ]:
        result = command(file, folder)
        assert (result.returncode, result.stdout, result.stderr.count("\n")) == (1, "", 1)
        assert fault in result.stderr


@needs_real_files
def test_real_layout_program_equals_its_official_npz(tmp_path):
    result = command(Path(REAL, "pb", "module_tuning_data_layout.pb"), tmp_path)
    assert (result.returncode, result.stderr) == (0, "")
    official = Path(REAL, "npz_all/npz/layout/xla/default/valid/unet_3d.4x4.bf16.npz")
    with np.load(tmp_path / "module_tuning_data_layout.npz") as ours, np.load(official) as theirs:
        assert set(ours.files) == set(theirs.files)
        for key in theirs.files:
            assert ours[key].dtype == theirs[key].dtype
        for key, shape in {
            "node_feat": (3163, 140),
            "node_opcode": (3163,),
            "edge_index": (5112, 2),
            "node_config_ids": (62,),
            "node_splits": (1, 8),
        }.items():
            assert ours[key].shape == shape
            np.testing.assert_array_equal(ours[key], theirs[key])
        # The pb holds a part of the npz's configurations.
        runs = set(_runs(theirs))
        assert len(ours["config_runtime"]) == 112
        assert all(run in runs for run in _runs(ours))


def _runs(arrays):
    features = arrays["node_config_feat"]
    return [(feat.tobytes(), int(time)) for feat, time in zip(features, arrays["config_runtime"], strict=True)]


@needs_real_files
def test_real_layout_program_padded_and_with_the_left_out_columns(tmp_path):
    """What the pad stage makes of the published file is what the protobuf says, but where the zeros tell too little."""
    file = Path(REAL, "pb", "module_tuning_data_layout.pb")
    result = command(file, tmp_path, "--padding", "-1", "--extra")
    assert (result.returncode, result.stderr) == (0, "")
    with np.load(tmp_path / f"{file.stem}.npz") as arrays:
        padded, extra, opcode = arrays["node_feat"], arrays["node_feat_extra"], arrays["node_opcode"]
    published = graph_arrays(read(file).module).node_feat
    assert np.array_equal(np.where(padded == -1, 0, padded), np.where(published == -1, 0, published))
    np.testing.assert_array_equal(padded[:, 134:], pad.own_layout(published))
    dots, gathers = opcode == DOT, opcode == OPCODE_NUMBERS["gather"]
    assert ((extra[:, 0] >= 0) == dots).all() and ((extra[:, 21] >= 0) == gathers).all()


@needs_real_files
def test_real_tile_kernels(tmp_path):
    file = Path(REAL, "pb", "op_tuning_data.pb")
    written = convert(file, tmp_path)
    assert len(written) == 15
    for path, kernel in zip(written, read(file).modules, strict=True):
        with np.load(path) as ours, np.load(next(Path(REAL, "npz_all/npz/tile").rglob("*.npz"))) as official:
            assert {key: ours[key].dtype for key in ours} == {key: official[key].dtype for key in official}
            nodes, timed = len(ours["node_opcode"]), len(ours["config_runtime"])
            assert nodes == sum(len(part.instructions) for part in kernel.module.computations)
            assert timed == sum(not run.error for run in kernel.runs)
            assert ours["node_feat"].shape == (nodes, 140) and ours["config_feat"].shape == (timed, 24)
            assert ours["edge_index"].max(initial=0) < nodes
            assert ours["config_runtime"].min() > 0
            (normalizer,) = {run.profile.compute_time_ns for run in kernel.runs if run.is_default}
            assert set(ours["config_runtime_normalizers"].tolist()) == {normalizer}
