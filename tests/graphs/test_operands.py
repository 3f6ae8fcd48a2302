from pathlib import Path

import numpy as np
import pytest

from stages.graphs.opcodes import OPCODE_NUMBERS
from stages.graphs.operands import config_operands
from stages.hlo import hlo_pb2
from stages.hlo.features import graph_arrays

DATA = Path(__file__).parents[1] / "data"
CONFIGURABLE = ("convolution", "dot", "reduce", "reshape", "transpose")
CONVOLUTION, DOT, REDUCE, RESHAPE = 26, 34, 70, 75


@pytest.mark.parametrize("name", ["module", "optimised", "written"])
def test_operands_are_those_of_the_proto(name):
    module = hlo_pb2.HloProto.FromString((DATA / f"{name}.hlo.pb").read_bytes()).hlo_module
    arrays = graph_arrays(module)
    expected, start = {}, 0
    for computation in module.computations:
        node = {instruction.id: start + place for place, instruction in enumerate(computation.instructions)}
        for instruction in computation.instructions:
            if instruction.opcode in CONFIGURABLE and not instruction.shape.tuple_shapes:
                operands = [node[identifier] for identifier in instruction.operand_ids]
                both = instruction.opcode in ("convolution", "dot")
                expected[node[instruction.id]] = operands if both else [operands[0], -1]
        start += len(computation.instructions)
    found = config_operands(arrays.node_feat, arrays.node_opcode, arrays.edge_index, np.array(list(expected)))
    assert dict(zip(expected, found.tolist(), strict=True)) == expected
    assert {arrays.node_opcode[node] for node in expected} >= {OPCODE_NUMBERS["reduce"], CONVOLUTION}


def operands(opcode, made, *producers, roots=(), **columns):
    """What is found for the last of the nodes, which consumes all others, the `producers` of these shapes."""
    feat = np.zeros((len(producers) + 1, 140), np.float32)
    for row, shape in zip(feat, [*producers, made], strict=True):
        row[21 : 21 + len(shape)], row[28] = shape, np.prod(shape)
    feat[list(roots), 0] = 1
    for column, value in columns.items():
        feat[-1, int(column[1:])] = value
    opcodes = np.array([0] * len(producers) + [opcode])
    edges = np.array([(len(producers), node) for node in range(len(producers))]).reshape(-1, 2)
    return config_operands(feat, opcodes, edges, np.array([len(producers)])).tolist()[0]


@pytest.mark.parametrize(
    ("made", "producers", "expected"),
    [
        ((4, 16), [(4, 8), (8, 16)], [0, 1]),
        ((4, 16), [(8, 16), (4, 8)], [1, 0]),
        ((4, 16), [(16, 8), (8, 4)], [1, 0]),  # contracts the first dimension of its left side
        ((2, 3, 4, 5), [(2, 3, 6, 5), (2, 3, 4, 6)], [1, 0]),  # two batch dimensions
        ((3,), [(3,), (3,)], [0, 1]),  # either order fits
        ((4, 4), [(4, 4)], [0, 0]),  # dot(x, x): one edge
        ((), [(5,), (5,)], [0, 1]),
        ((7, 9), [(2, 2), (3, 3)], [0, 1]),  # neither order fits
    ],
)
def test_sides_of_a_dot_by_hand(made, producers, expected):
    assert operands(DOT, made, *producers) == expected


def test_sides_of_a_convolution_by_hand():
    # images b01f [2,9,9,4], kernel 01io [3,3,1,8] in four groups of features, result b01f [2,7,7,8]
    numbers = {"c94": 3, "c99": 2, "c100": 3, "c106": 3, "c107": 4, "c108": 1}
    images, kernel, made = (2, 9, 9, 4), (3, 3, 1, 8), (2, 7, 7, 8)
    assert operands(CONVOLUTION, made, images, kernel, **numbers) == [0, 1]
    assert operands(CONVOLUTION, made, kernel, images, **numbers) == [1, 0]


def test_a_reduce_takes_the_tensor_of_the_higher_rank():
    root, zero, tensor = (), (), (4, 8)
    assert operands(REDUCE, (4,), root, zero, tensor, roots=[0]) == [2, -1]
    assert operands(REDUCE, (), root, tensor, zero, roots=[0]) == [1, -1]
    assert operands(REDUCE, (4,), root, zero, roots=[0]) == [-1, -1]


def test_a_root_of_another_computation_is_no_operand():
    assert operands(RESHAPE, (), (), (1,), roots=[0]) == [1, -1]
    assert operands(RESHAPE, (8,), (3,), (2, 4)) == [1, -1]
