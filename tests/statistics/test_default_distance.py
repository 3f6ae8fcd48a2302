"""Columns of how far a configuration is from the default one."""

import numpy as np
import pytest

from stages.statistics import copies, default_distance
from tests.support.statistics import CONVOLUTION, DOT, PARAMETER, RESHAPE, columns, packed


def test_operations_by_hand():
    nodes = [
        (PARAMETER, (8, 6, 6, 4), ()),
        (PARAMETER, (3, 3, 4, 16), ()),
        (CONVOLUTION, (8, 6, 6, 16), ()),
        (PARAMETER, (2, 8, 4), ()),
        (PARAMETER, (2, 16, 4), ()),
        (DOT, (2, 8, 16), ()),
        (RESHAPE, (256,), ()),
        (DOT, (7, 7), ()),
    ]
    operands = [[0, 1], [3, 4], [5, -1], [-1, -1]]
    graph = packed(nodes, [2, 5, 6, 7], operands, [], [(((3, 2, 1, 0),), ((2, 1, 0),), ((0,),), ((1, 0),))])
    graph.node_feat[2, 100] = 3
    found = default_distance.operations(graph.node_feat[graph.config_nodes], copies.slot_tensors(graph))
    assert found.tolist() == [2 * 8 * 6 * 6 * 16 * 3 * 3 * 4, 2 * 2 * 8 * 16 * 4, 256, 49]


def test_distance_from_the_default_by_hand(chain):
    chain.node_feat[3, 134:136] = 0, 1  # the dot's own layout is column-major, the others give none: row-major
    chain.node_feat[:3, 134:136] = chain.node_feat[4, 134:136] = 1, 0
    found = columns(chain)
    fed, product = 4 * 8 * 4, 4 * 16 * 4
    total = fed * 2 + (fed + 8 * 16 * 4 + product) + product * 2
    assert found["off_default"].tolist() == [1, 2, 2, 2, 0]
    assert found["stated_tensors"].tolist() == [7, 7, 7, 7, 0]
    assert found["off_default_tensors"].tolist() == [1, 2, 3, 2, 0]
    assert found["default_distance"].tolist() == [1, 2, 3, 2, 0]
    off = [product, product + fed, product + 2 * fed, 2 * product, 0]
    assert found["off_default_bytes"] == pytest.approx(np.array(off) / total)
    work = np.array([32, 2 * 4 * 16 * 8, 64])
    assert found["off_default_operations"] == pytest.approx(
        np.array([work[1], work[:2].sum(), work[:2].sum(), work[1:].sum(), 0]) / work.sum()
    )
