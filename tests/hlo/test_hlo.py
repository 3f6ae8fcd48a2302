import dataclasses
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from stages import pad
from stages.errors import InputError
from stages.graphs import npz
from stages.graphs.opcodes import DOT, OPCODE_NUMBERS, opcode_number
from stages.hlo import hlo_pb2
from stages.hlo.__main__ import convert
from stages.hlo.features import ELEMENT_TYPES, LEFT_OUT, graph_arrays, left_out
from stages.hlo.reading import read
from stages.hlo.unsaid import NEWER_TYPES, unsaid

ROOT = Path(__file__).parents[2]
DATA = ROOT / "tests" / "data"
REAL = os.environ.get("TPUGRAPHS_DIR")
needs_real_files = pytest.mark.skipif(not REAL, reason="TPUGRAPHS_DIR does not name a folder of real TpuGraphs files")
F32, TUPLE, F8E5M2 = 11, 13, 19
# What an f32 scalar has in an instruction without any other field: its type, and the products over nothing.
BARE = {13: 1.0} | dict.fromkeys((28, 44, 52, 60, 68, 76, 84, 112, 116, 120, 124, 128, 132), 1.0)


def instruction(identifier, opcode="add", element_type=F32, **fields):
    proto = hlo_pb2.HloInstructionProto(id=identifier, name=f"{opcode}.{identifier}", opcode=opcode, **fields)
    proto.shape.element_type = element_type
    return proto


def computation(identifier, root, *instructions, name="entry"):
    return hlo_pb2.HloComputationProto(id=identifier, name=name, root_id=root, instructions=instructions)


def module(*computations, name="m"):
    return hlo_pb2.HloModuleProto(name=name, computations=computations)


def columns(proto):
    """The feature columns that are not 0 of a node that is not a root."""
    row = graph_arrays(module(computation(1, 0, proto))).node_feat[0]
    return {int(column): float(row[column]) for column in np.flatnonzero(row)}


def edges(*computations):
    return graph_arrays(module(*computations)).edge_index.tolist()


def tile_tuning(name="fusion.1", fingerprint=7, default=20):
    runs = [
        hlo_pb2.ConfigProfile(
            op_config={"tile_size_config": {"output_bounds": [4, nanoseconds]}},
            profile={"compute_time_ns": nanoseconds},
            is_default=nanoseconds == default,
            error=nanoseconds == 30,
        )
        for nanoseconds in (10, 20, 30)
    ]
    graph = module(computation(1, 1, instruction(1, "parameter")), name=name)
    return hlo_pb2.ModuleTuningData(module=graph, fingerprint=fingerprint, runs=runs)


def layout_tuning(nodes=(1,), tensors=((1, 0), (), (3, 2, 1, 0, 4, 5))):
    node = {"tensors": [{"dims": dims} for dims in tensors]}
    run = hlo_pb2.ConfigProfile(
        module_config={"layout_config": {"nodes": [node]}}, profile={"compute_time_ns": 5_000_000_001}
    )
    graph = module(computation(1, 2, instruction(1, "parameter"), instruction(2, "reshape", operand_ids=[1])))
    return hlo_pb2.ModuleTuningData(module=graph, runs=[run], config_index_to_node=nodes)


def saved(folder, tuning, name="program.pb"):
    path = folder / name
    path.write_bytes(tuning.SerializeToString())
    return path


@pytest.mark.parametrize(
    "name, number",
    [("abs", 1), ("convolution", 26), ("dot", 34), ("reshape", 75), ("trace", 97), ("tan", 120), ("erf", 0)],
)
def test_opcode_numbers(name, number):
    assert opcode_number(name) == number


def test_opcode_table_is_the_whole_one():
    assert sorted(OPCODE_NUMBERS.values()) == list(range(1, 121))


def test_unknown_opcode_and_element_type():
    proto = instruction(1, "topk", element_type=F8E5M2)
    assert graph_arrays(module(computation(1, 1, proto))).node_opcode.tolist() == [0]
    assert not any(2 <= column <= 20 for column in columns(proto))


def test_bare_instruction():
    assert columns(instruction(1)) == BARE


def test_shape_parameter_number_and_layout():
    proto = instruction(1, "parameter", parameter_number=3)
    proto.shape.dimensions[:] = [4, 5, 6]
    proto.shape.layout.minor_to_major[:] = [2, 0, 1]
    assert columns(proto) == BARE | {21: 4, 22: 5, 23: 6, 27: 15, 28: 120, 30: 3, 134: 2, 136: 1}


def test_rank_beyond_six_is_cut_but_counts_in_sum_and_product():
    proto = instruction(1, dimensions=[7, 6, 5, 4, 3, 2, 1])
    proto.shape.dimensions[:] = [2, 2, 2, 2, 2, 2, 3]
    proto.shape.layout.minor_to_major[:] = [6, 5, 4, 3, 2, 1, 0]
    dims = dict(zip(range(21, 27), [2] * 6, strict=True)) | {27: 15, 28: 192}
    cut = {31: 7, 32: 6, 33: 5, 34: 4, 35: 3, 36: 2, 134: 6, 135: 5, 136: 4, 137: 3, 138: 2, 139: 1}
    assert columns(proto) == BARE | dims | cut


def test_product_beyond_64_bits_wraps():
    proto = instruction(1)
    proto.shape.dimensions[:] = [2**62, 3]
    assert columns(proto)[28] == float(np.float32(3 * 2**62 - 2**64))


def test_tuple_root():
    proto = instruction(1, "tuple", element_type=TUPLE)
    proto.shape.tuple_shapes.add(element_type=F32)
    proto.shape.tuple_shapes.add(element_type=F32)
    row = graph_arrays(module(computation(1, 1, proto))).node_feat[0]
    assert (row[0], row[13], row[18], row[29]) == (1, 0, 1, 2)


def test_window():
    proto = instruction(1, "reduce-window")
    window = {"stride": 2, "padding_low": 1, "padding_high": -1, "window_dilation": 1, "base_dilation": 3}
    proto.window.dimensions.add(size=3, window_reversal=True, **window)
    proto.window.dimensions.add(size=5, window_reversal=False, **window)
    expected = {37: 3, 38: 5, 43: 8, 44: 15, 45: 2, 46: 2, 51: 4, 52: 4, 53: 1, 54: 1, 59: 2, 60: 1}
    expected |= {61: -1, 62: -1, 67: -2, 68: 1, 69: 1, 70: 1, 75: 2, 76: 1, 77: 3, 78: 3, 83: 6, 84: 9}
    assert columns(proto) == BARE | expected | {85: 1, 91: 1, 92: 1}


def test_convolution():
    numbers = hlo_pb2.ConvolutionDimensionNumbers(
        input_batch_dimension=10,
        input_feature_dimension=11,
        input_spatial_dimensions=[12, 13],
        kernel_input_feature_dimension=14,
        kernel_output_feature_dimension=15,
        kernel_spatial_dimensions=[16, 17, 18, 19, 20],
        output_batch_dimension=21,
        output_feature_dimension=22,
    )
    groups = {"feature_group_count": 23, "batch_group_count": 24}
    proto = instruction(1, "convolution", convolution_dimension_numbers=numbers, **groups)
    expected = {93: 10, 94: 11, 95: 12, 96: 13, 99: 14, 100: 15, 101: 16, 102: 17, 103: 18, 104: 19, 105: 21, 106: 22}
    assert columns(proto) == BARE | expected | {107: 23, 108: 24}


def test_slices():
    proto = instruction(1, "slice", dynamic_slice_sizes=[5, 6])
    for start, limit, stride in ((1, 10, 2), (2, 20, 3), (3, 30, 4)):
        proto.slice_dimensions.add(start=start, limit=limit, stride=stride)
    start = {109: 1, 110: 2, 111: 6, 112: 6}
    stride = {113: 2, 114: 3, 115: 9, 116: 24}
    limit = {117: 10, 118: 20, 119: 60, 120: 6000}
    assert columns(proto) == BARE | start | stride | limit | {121: 5, 122: 6, 123: 11, 124: 30}


def test_pad_and_stability():
    proto = instruction(1, "pad", is_stable=True)
    proto.padding_config.dimensions.add(edge_padding_low=2, edge_padding_high=-3)
    proto.padding_config.dimensions.add(edge_padding_low=4, edge_padding_high=5)
    low, high = {125: 2, 126: 4, 127: 6, 128: 8}, {129: -3, 130: 5, 131: 2, 132: -15}
    assert columns(proto) == BARE | low | high | {133: 1}


def test_padding_with_minus_one_follows_lists_of_dimension_numbers_alone():
    """The columns that the first place's change of one line reaches: those of NoAggregate in featurizers.h."""
    numbers = {"input_spatial_dimensions": [1, 2], "kernel_spatial_dimensions": [0], "output_feature_dimension": 3}
    proto = instruction(1, "convolution", convolution_dimension_numbers=numbers, dimensions=[0, 2], is_stable=True)
    proto.shape.dimensions[:] = [4, 5, 6]
    proto.shape.layout.minor_to_major[:] = [2, 0, 1]
    proto.padding_config.dimensions.add(edge_padding_low=2)
    graph = module(computation(1, 0, proto))
    published, padded = (graph_arrays(graph, padding).node_feat[0] for padding in (0, -1))
    places = np.r_[33:37, 97:99, 102:105, 137:140]
    assert np.flatnonzero(published != padded).tolist() == places.tolist()
    assert (published[places] == 0).all() and (padded[places] == -1).all()


def test_columns_that_are_left_out():
    dot = {"lhs_contracting_dimensions": [2], "rhs_contracting_dimensions": [1], "lhs_batch_dimensions": [0, 3]}
    gather = {"offset_dims": [1, 2], "start_index_map": [0, 1, 2, 3], "index_vector_dim": 2}
    graph = module(
        computation(
            1,
            1,
            instruction(1, "dot", dot_dimension_numbers=dot),
            instruction(
                2, "gather", gather_dimension_numbers=gather, gather_slice_sizes=[1, 7], indices_are_sorted=True
            ),
            instruction(3, "gather", gather_dimension_numbers={"collapsed_slice_dims": [0]}),
        )
    )
    none = [-1] * 3
    assert left_out(graph).tolist() == [
        [2, -1, -1, 1, -1, -1, 0, 3, -1, *none, *none, *none, *none, -1, *[-1] * 5, 0],
        [*none * 4, 1, 2, -1, *none, 0, 1, 2, 2, 1, 7, -1, -1, -1, 1],
        [*none * 4, *none, 0, -1, -1, *none, 0, *[-1] * 5, 0],
    ]
    assert sum(LEFT_OUT.values()) == 28 == left_out(graph).shape[1]


def test_edges_are_distinct_and_sorted_by_producer():
    entry = computation(1, 3, instruction(1), instruction(2), instruction(3, operand_ids=[2, 1, 2]))
    assert edges(entry) == [[2, 0], [2, 1]]


def test_edge_to_the_root_of_each_called_computation():
    body = computation(10, 2, instruction(1), instruction(2, operand_ids=[1]), instruction(3, operand_ids=[1]))
    call = instruction(5, "while", operand_ids=[4], called_computation_ids=[10, 10])
    assert edges(body, computation(11, 5, instruction(4), call)) == [[1, 0], [2, 0], [4, 1], [4, 3]]


def test_ids_that_recur_in_another_computation():
    first = computation(1, 2, instruction(1), instruction(2, operand_ids=[1]))
    second = computation(2, 2, instruction(1), instruction(2, operand_ids=[1]))
    assert edges(first, second) == [[1, 0], [3, 2]]


def test_packed_64_bit_ids():
    first, second = 1 << 32, (1 << 40) << 16
    plain_operands = computation(1, 2, instruction(first | 1), instruction(first | 2, operand_ids=[1]))
    packed = computation(second, second | 2, instruction(second | 1), instruction(second | 2, operand_ids=[second | 1]))
    arrays = graph_arrays(module(plain_operands, packed))
    assert arrays.edge_index.tolist() == [[1, 0], [3, 2]]
    assert arrays.node_feat[:, 0].tolist() == [0, 1, 0, 1]


def test_operand_in_another_computation():
    assert edges(computation(1, 1, instruction(1)), computation(2, 2, instruction(2, operand_ids=[1]))) == [[1, 0]]


def test_splits_and_names():
    parts = [("fused", 1), ("while_body", 2), ("sum", 3), ("cond.4", 4), ("main", 5)]
    graph = module(*(computation(i, i, instruction(i), instruction(i + 10), name=name) for name, i in parts))
    arrays = graph_arrays(graph)
    assert arrays.node_splits.tolist() == [[0, 4, 8, 10]]
    assert arrays.names[:3] == ["add.1", "add.11", "add.2"]


def test_last_split_is_not_doubled():
    assert graph_arrays(module(computation(1, 1, instruction(1), name="cluster"))).node_splits.tolist() == [[0, 1]]


@pytest.mark.parametrize(
    "graph, fault",
    [
        (module(), "no instruction"),
        (module(computation(1, 1, instruction(1, operand_ids=[9]))), "operand id 9"),
        (module(computation(1, 1, instruction(1, called_computation_ids=[9]))), "calls computation id 9"),
        (module(computation(1, 1, instruction(1), instruction(1))), "two instructions of one id"),
        (module(computation(1, 1, instruction(1)), computation(1, 2, instruction(2))), "occurs twice"),
    ],
)
def test_broken_modules(graph, fault):
    with pytest.raises(InputError, match=fault):
        graph_arrays(graph)


def test_hlo_dump_message_holds_the_module():
    dump = hlo_pb2.HloProto(hlo_module=module(computation(1, 1, instruction(1)))).SerializeToString()
    assert hlo_pb2.HloProto.FromString(dump).hlo_module.computations[0].instructions[0].name == "add.1"


def test_layout_configuration_is_padded(tmp_path):
    (path,) = convert(saved(tmp_path, layout_tuning()), tmp_path / "new" / "folder")
    assert path == tmp_path / "new" / "folder" / "program.npz"
    with np.load(path, allow_pickle=False) as arrays:
        assert arrays["node_config_feat"].tolist() == [[[1, 0] + [-1] * 10 + [3, 2, 1, 0, 4, 5]]]
        assert arrays["config_runtime"].tolist() == [5_000_000_001]
    assert [entry.name for entry in path.parent.iterdir()] == ["program.npz"]


def test_tile_configuration_and_normalizer(tmp_path):
    (path,) = convert(saved(tmp_path, hlo_pb2.TuningData(modules=[tile_tuning()])), tmp_path)
    with np.load(path, allow_pickle=False) as arrays:
        zeros = [0] * 8
        expected = [zeros + [4, runtime, 0, 0, 0, 0, 4 + runtime, 4 * runtime] + zeros for runtime in (10, 20)]
        assert arrays["config_feat"].tolist() == expected
        assert arrays["config_runtime"].tolist() == [10, 20]
        assert arrays["config_runtime_normalizers"].tolist() == [20, 20]


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


@pytest.mark.parametrize(
    "tuning, fault",
    [
        (layout_tuning(nodes=(2,)), "distinct numbers below 2"),
        (layout_tuning(nodes=(1, 1)), "distinct numbers below 2"),
        (layout_tuning(nodes=(0, 1)), "configures 1 nodes where 2"),
        (layout_tuning(nodes=()), "no node is configurable"),
        (layout_tuning(tensors=((0,),) * 4), "4 layouts"),
        (hlo_pb2.TuningData(modules=[tile_tuning(), tile_tuning(default=30)]), "kernel 1: no timed run is marked"),
        (hlo_pb2.TuningData(modules=[hlo_pb2.ModuleTuningData(module=tile_tuning().module)]), "no run has both a tile"),
        (tile_tuning(), "no node is configurable"),
        (layout_tuning(tensors=((1, 0), range(7))), "instruction 'reshape.2' a layout of rank 7, and .* holds 6"),
    ],
)
def test_tuning_data_that_does_not_fit(tmp_path, tuning, fault):
    with pytest.raises(InputError, match=f"program.pb: .*{fault}") as caught:
        convert(saved(tmp_path, tuning), tmp_path / "out")
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "out").exists()


def test_every_cut_of_a_layout_file_is_refused(tmp_path):
    tuning = layout_tuning()
    tuning.fingerprint = 7  # as every published file has
    data = tuning.SerializeToString()
    program = hlo_pb2.HloProto(hlo_module=tuning.module).SerializeToString()
    file = tmp_path / "cut.pb"
    for length in range(len(data)):
        file.write_bytes(data[:length])
        if data[:length] == program:  # the very bytes of a dump
            continue
        with pytest.raises(InputError, match="cut.pb"):
            convert(file, tmp_path)


@pytest.mark.parametrize("bare", [False, True])
def test_every_cut_of_a_dump_is_refused(tmp_path, bare):
    """A module alone is a list of computations: cut between two it is one still, without the entry."""
    graph = hlo_pb2.HloProto.FromString((DATA / "written.hlo.pb").read_bytes()).hlo_module
    graph.entry_computation_name = graph.computations[-1].name
    data = (graph if bare else hlo_pb2.HloProto(hlo_module=graph)).SerializeToString()
    file = tmp_path / "cut.pb"
    for length in range(1, len(data)):
        file.write_bytes(data[:length])
        with pytest.raises(InputError, match="cut.pb: .* or is cut short"):
            read(file)


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


def test_ranks_beyond_six_of_a_dump_are_refused_by_the_instructions_name(tmp_path):
    fault = "written.hlo.pb: instruction 'seven' .parameter. has rank 7, and .* 6 dimensions"
    with pytest.raises(InputError, match=fault) as caught:
        convert(DATA / "written.hlo.pb", tmp_path / "out")
    assert "\n" not in str(caught.value) and not (tmp_path / "out").exists()


def test_types_and_opcodes_without_a_column_are_counted_in_one_line(tmp_path):
    new = [instruction(1, "topk", F8E5M2), instruction(2, "erf"), instruction(3, element_type=F8E5M2), instruction(4)]
    new += [instruction(5, element_type=99), instruction(6, "erf", 21)]
    result = command(saved(tmp_path, hlo_pb2.HloProto(hlo_module=module(computation(1, 4, *new)))), tmp_path / "out")
    assert result.returncode == 0 and result.stdout.startswith("1 npz")
    assert result.stderr == (
        f"{tmp_path}/program.pb: 5 of 6 instructions have a type or opcode that TpuGraphs' columns cannot say, zero in "
        "the npz: element types f8e5m2 (2), number 99 (1), s4 (1); opcodes erf (2), topk (1)\n"
    )
    assert unsaid([module(computation(1, 4, instruction(4)))]) is None
    assert not NEWER_TYPES.keys() & set(ELEMENT_TYPES)


def test_text_and_other_protobufs_are_named_for_what_they_are(tmp_path):
    file = tmp_path / "program.txt"
    file.write_bytes((DATA / "module.txt").read_bytes())
    with pytest.raises(InputError, match="program.txt: is HLO as text; dump it with --xla_dump_hlo_as_proto"):
        read(file)
    nothing = hlo_pb2.HloProto(hlo_module=hlo_pb2.HloModuleProto(name="m"))
    with pytest.raises(InputError, match="neither TpuGraphs tuning data nor an HLO dump"):
        read(saved(tmp_path, nothing))


def test_files_that_are_not_tuning_data(tmp_path):
    file = tmp_path / "noise.pb"
    file.write_bytes(np.random.default_rng(0).bytes(10_000))
    with pytest.raises(InputError, match="noise.pb: is neither TpuGraphs tuning data nor an HLO dump"):
        read(file)
    with pytest.raises(InputError, match="cannot be read"):
        read(tmp_path)


def command(*arguments):
    line = [sys.executable, "-m", "stages.hlo", *map(str, arguments)]
    return subprocess.run(line, cwd=ROOT, capture_output=True, text=True)


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
