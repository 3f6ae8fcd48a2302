"""Steps and copies of a kernel's pipeline, beside those of libtpu's own schedules."""

import dataclasses

import numpy as np
import pytest

from stages.graphs.opcodes import CONVOLUTION, COPY, OPCODE_NUMBERS, PARAMETER, REDUCE
from tests.support.statistics import MULTIPLY, columns, tiled

SLICE, TUPLE, UPDATE = (OPCODE_NUMBERS[name] for name in ("slice", "tuple", "dynamic-update-slice"))


def convolution(shapes, orders, numbers, windows, dilation=()):
    """A kernel of a convolution alone.

    Args:
        shapes, orders: of data, kernel and output; orders minor first.
        numbers: 14 dimension numbers.
        windows: bounds of kernel and output, a pair for each configuration.
        dilation: base dilation by place; the stride is one less.
    """
    bounds = np.zeros((len(windows), 24), np.float32)
    for row, (kernel, output) in zip(bounds, windows, strict=True):
        row[: len(kernel)] = kernel
        row[8 : 8 + len(output)] = output
    nodes = [(opcode, dims, ()) for opcode, dims in zip((PARAMETER, PARAMETER, CONVOLUTION), shapes, strict=True)]
    graph = tiled(nodes, bounds, root=2)
    for features, order in zip(graph.node_feat, orders, strict=True):
        features[134 : 134 + len(order)] = order
    graph.node_feat[2, 93:107] = numbers
    graph.node_feat[2, 107:109] = 1
    graph.node_feat[2, 77 : 77 + len(dilation)] = dilation
    graph.node_feat[2, 45 : 45 + len(dilation)] = np.array(dilation) - 1
    return dataclasses.replace(graph, edge_index=np.array([[2, 0], [2, 1]], np.int32))


@pytest.fixture(scope="module")
def plain():
    """f32[64,64,512]{2,0,1} of f32[64,64,256]{2,0,1} and f32[3,256,512], b0f_0io->b0f, in four windows."""
    windows = [((3, 32, 4), (8, 8, 4)), ((1, 32, 1), (1, 3, 1)), ((1, 32, 4), (6, 3, 4)), ((1, 16, 1), (4, 4, 1))]
    shapes, orders = ((64, 64, 256), (3, 256, 512), (64, 64, 512)), ((2, 0, 1), (2, 1, 0), (2, 0, 1))
    numbers = [0, 2, 1, 0, 0, 0, 1, 2, 0, 0, 0, 0, 0, 2]
    return {name: np.expm1(values) for name, values in columns(convolution(shapes, orders, numbers, windows)).items()}


def test_steps_and_moves_are_those_of_the_schedule(plain):
    assert plain["steps"].round().tolist() == [8, 2304, 99, 768]
    assert plain["output_moves"].round().tolist() == [8, 768, 33, 128]
    assert plain["kernel_moves"].round().tolist() == [1, 2304, 99, 768]
    assert plain["input_moves"].round().tolist() == [8, 2304, 99, 768]


def test_bytes_and_pieces_are_those_of_the_schedule(plain):
    """Of the bytes libtpu's schedule tells 2 KiB of a bias more, and smaller windows at the edges."""
    schedule = [1572864 + 8 * (638976 + 1048576), 2304 * (21845 + 131072) + 768 * 10923]
    assert plain["moved_bytes"][0] == pytest.approx(schedule[0], rel=0.02)
    assert plain["moved_bytes"][1] == pytest.approx(schedule[1], rel=0.05)
    assert plain["moved_pieces"].round().tolist()[:2] == [17, 2304 * (1 + 32) + 768 * 3]


def test_products_of_a_step_by_hand(plain):
    """One tap of 256 features by 128, of 1 place by 24 of the batch: two blocks of weights, three registers each."""
    assert plain["weight_loads"][1] == pytest.approx(2304 * 2)
    assert plain["matrix_pushes"][1] == pytest.approx(2304 * 2 * 3)


def test_a_place_that_is_a_batch_of_products_is_no_loop_of_the_kernel():
    """f32[16,2,800,800]{2,3,1,0}, window={size=16x2 stride=15x1 lhs_dilate=16x2}, 0b1f_0o1i->01bf."""
    shapes = ((16, 800, 2, 128), (16, 800, 2, 128), (16, 2, 800, 800))
    orders = ((3, 1, 2, 0), (3, 1, 2, 0), (2, 3, 1, 0))
    numbers = [1, 3, 0, 2, 0, 0, 3, 1, 0, 2, 0, 0, 2, 3]
    windows = [((1, 2, 100, 1), (1, 2, 100, 7)), ((1, 2, 25, 1), (3, 2, 25, 7)), ((4, 2, 7, 1), (3, 1, 7, 4))]
    graph = convolution(shapes, orders, numbers, windows, dilation=(16, 2))
    assert np.expm1(columns(graph)["steps"]).round().tolist() == [16, 24, 360]


def test_what_a_kernel_without_convolution_copies_by_hand():
    """f32[16,256] + a row f32[256], in windows of 8 by 128: the row moves along, the result once a window."""
    bounds = np.zeros((2, 24), np.float32)
    bounds[:, 8:10] = [(1, 1), (2, 2)]
    graph = tiled([(PARAMETER, (16, 256), ()), (PARAMETER, (256,), ()), (MULTIPLY, (16, 256), ())], bounds, root=2)
    graph.node_feat[:, 134:136] = [(1, 0), (0, 0), (1, 0)]
    found = {name: np.expm1(values) for name, values in columns(graph).items()}
    assert found["steps"].round().tolist() == [4, 1]
    register = 8 * 128 * 4
    assert found["moved_bytes"] == pytest.approx([4 * 3 * register, (4 + 4 + 1) * register])
    assert found["window_bytes"] == pytest.approx([3 * register, (4 + 4 + 1) * register])
    assert found["vector_registers"] == pytest.approx([4, 4])


def test_parameters_of_a_fused_computation_are_not_copied_twice():
    bounds = np.zeros((1, 24), np.float32)
    bounds[:, 8:10] = 2, 2
    nodes = [(PARAMETER, (16, 256), ()), (MULTIPLY, (16, 256), ())]
    alone = tiled(nodes, bounds, root=1)
    called = tiled(nodes + nodes, bounds, root=1)
    called.node_feat[3, 0] = 1
    for graph in (alone, called):
        graph.node_feat[:, 134:136] = 1, 0
    assert columns(alone)["moved_bytes"] == pytest.approx(columns(called)["moved_bytes"])


def test_a_copy_that_turns_registers_takes_longer():
    bounds = np.zeros((1, 24), np.float32)
    bounds[:, 8:10] = 2, 2
    found = []
    for order in ((1, 0), (0, 1)):
        graph = tiled([(PARAMETER, (256, 256), ()), (COPY, (256, 256), ())], bounds, root=1)
        graph.node_feat[:, 134:136] = (1, 0), order
        graph = dataclasses.replace(graph, edge_index=np.array([[1, 0]], np.int32))
        found.append(float(np.expm1(columns(graph)["vector_registers"][0])))
    assert found[1] > 10 * found[0]


def test_an_update_in_place_goes_over_the_slice_that_it_writes():
    """f32[512,55,192]{0,2,1} with f32[512,1,192] written into it, windows of 24 by 4 registers and more than one."""
    bounds = np.zeros((2, 24), np.float32)
    bounds[:, 8:11] = [(14, 2, 2), (1, 24, 4)]
    whole, part = (512, 55, 192), (512, 1, 192)
    graph = tiled([(PARAMETER, whole, ()), (PARAMETER, part, ()), (UPDATE, whole, ())], bounds, root=2)
    graph.node_feat[:, 134:137] = 0, 2, 1
    graph = dataclasses.replace(graph, edge_index=np.array([[2, 0], [2, 1]], np.int32))
    assert np.expm1(columns(graph)["steps"]).round().tolist() == [24, 1]


def test_a_result_within_a_tuple_goes_before_a_larger_parameter():
    """f32[512,1,192]{0,2,1} and its sum, of slices of f32[512,55,192], as a kernel of a transformer has them."""
    bounds = np.zeros((2, 24), np.float32)
    bounds[:, 8:11] = [(1, 3, 1), (1, 6, 2)]
    nodes = [(PARAMETER, (512, 55, 192), ()), (SLICE, (512, 1, 192), ()), (REDUCE, (512,), ()), (TUPLE, (), ())]
    graph = tiled(nodes, bounds, root=3)
    graph.node_feat[:, 134:137] = [(0, 2, 1), (0, 2, 1), (0, 0, 0), (0, 0, 0)]
    graph = dataclasses.replace(graph, edge_index=np.array([[1, 0], [2, 1], [3, 1], [3, 2]], np.int32))
    assert np.expm1(columns(graph)["steps"]).round().tolist() == [32, 8]
