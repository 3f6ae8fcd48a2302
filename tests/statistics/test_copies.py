"""Where layouts force copies, in graphs by hand."""

import itertools

import numpy as np
import pytest

from stages.graphs import npz
from tests.support import packing
from tests.support.statistics import (
    ADD,
    CONSTANT,
    DOT,
    MULTIPLY,
    PARAMETER,
    REDUCE,
    RESHAPE,
    columns,
    features,
    packed,
)


def test_copies_of_a_small_graph_by_hand(chain):
    found = columns(chain)
    transposed, fed, product = 8 * 4 * 4, 4 * 8 * 4, 4 * 16 * 4
    assert found["copies_transpose"].tolist() == [1, 0, 0, 1, 0]
    assert found["copies_direct"].tolist() == [0, 1, 0, 0, 0]
    assert found["copies_indirect"].tolist() == [0, 0, 0, 1, 0]
    assert found["copies_reshape"].tolist() == [0, 0, 0, 1, 0]
    assert found["copies_fixed"].tolist() == [0, 0, 0, 0, 0]
    assert found["copies"].tolist() == [1, 1, 0, 3, 0]
    assert found["copies_bytes"].tolist() == [transposed, fed, 0, transposed + 2 * product, 0]
    assert found["copies_largest"].tolist() == [transposed, fed, 0, product, 0]
    assert found["copies_at_dot_bytes"].tolist() == [0, fed, 0, 0, 0]
    total = transposed * 2 + (fed + 8 * 16 * 4 + product) + product * 2
    assert found["copies_share"] == pytest.approx(found["copies_bytes"] / total)


def test_a_reduce_by_hand():
    """From the file on: the edges of a reduce lead to the addition it applies, to its zero and to its operand."""
    nodes = [(ADD, (), ()), (CONSTANT, (), ()), (PARAMETER, (2, 3, 4), ()), (REDUCE, (2, 4), (1,))]
    feat = features(nodes)
    feat[0, 0] = 1
    orders_ = [((1, 0), (2, 1, 0)), ((1, 0), (0, 1, 2)), ((0, 1), (0, 1, 2)), ((1, 0), (1, 2, 0)), ((1, 0), ())]
    layouts = np.full((len(orders_), 1, 18), -1, np.float32)
    for row, (made, given_) in zip(layouts, orders_, strict=True):
        row[0, : len(made)], row[0, 6 : 6 + len(given_)] = made, given_
    arrays = npz.LayoutArrays(
        node_feat=feat,
        node_opcode=np.array([opcode for opcode, *_ in nodes], np.uint8),
        edge_index=np.array([(3, 0), (3, 1), (3, 2)]),
        node_splits=np.array([0, 4]),
        node_config_feat=layouts,
        node_config_ids=np.array([3]),
        config_runtime=np.arange(1, 6),
    )
    graph = packing.packed(arrays)
    found = columns(graph)
    # kept of the operand's (0, 1, 2) is (0, 2), as the result numbers them (0, 1); of (1, 2, 0) it is (1, 0)
    assert found["copies_reduce"].tolist() == [0, 1, 0, 0, 0]
    assert found["copies_reduce_bytes"].tolist() == [0, 2 * 3 * 4 * 4, 0, 0, 0]
    # the parameter is row-major; the scalars have no order to differ from
    assert found["copies_fixed_bytes"].tolist() == [0, 96, 96, 96, 0]
    assert found["copies"].tolist() == [0, 1, 1, 1, 0]  # a reduce copies nothing itself
    assert found["inversions_input"].tolist() == [0, 3, 3, 1, 0]


def test_an_operand_nobody_configures_is_row_major_and_sizes_of_one_move_nothing():
    nodes = [(PARAMETER, (8, 1, 4), ()), (RESHAPE, (32,), ()), (PARAMETER, (8, 2, 4), ()), (RESHAPE, (64,), ())]
    turned, moved = ((0,), (1, 2, 0)), ((0,), (0, 2, 1))
    graph = packed(nodes, [1, 3], [[0, -1], [2, -1]], [], [(turned, turned), (turned, moved), (moved, turned)])
    found = columns(graph)
    assert found["copies_fixed"].tolist() == [1, 1, 2]  # of [8,1,4] only the third is another order in memory
    assert found["copies_fixed_bytes"].tolist() == [256, 256, 128 + 256]
    assert found["copies_minor"].tolist() == [2, 2, 4]  # 4 moves from the minor place in each, and in its reshape
    assert found["copies_reshape"].tolist() == [1, 1, 2]


def test_a_path_may_arrive_at_either_operand():
    nodes = [(DOT, (8, 8), ()), (MULTIPLY, (8, 8), ()), (MULTIPLY, (8, 8), ()), (DOT, (8, 8), ())]
    a, b = (1, 0), (0, 1)
    layouts = [((a,), (a, *both)) for both in itertools.product((a, b), repeat=2)]
    graph = packed(nodes, [0, 3], [[-1, -1], [1, 2]], [[1, 0]], layouts)
    assert columns(graph)["copies_indirect"].tolist() == [0, 0, 0, 1]


def test_two_minor_dimensions_are_compared_as_far_as_they_go():
    """As in TpuGraphs' default searches, which leave the major dimensions open."""
    nodes = [(DOT, (2, 3, 4), ()), (DOT, (2, 3, 4), ())]
    layouts = [(((2, 1, 0),), ((2, 1),) * 2), (((2, 1, 0),), ((2, 1), (2, 0)))]
    graph = packed(nodes, [0, 1], [[-1, -1], [0, -1]], [], layouts)
    assert columns(graph)["copies_direct"].tolist() == [0, 1]
    assert columns(graph)["inversions"].tolist() == [0, 1]
