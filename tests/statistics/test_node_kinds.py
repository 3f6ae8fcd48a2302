"""Columns by kind of node."""

import numpy as np

from stages.statistics import hardware
from tests.support.statistics import CONVOLUTION, PARAMETER, columns, packed


def test_kinds_of_a_small_graph_by_hand(chain, monkeypatch):
    monkeypatch.setattr(hardware, "LANES", 4)
    monkeypatch.setattr(hardware, "SUBLANES", 2)
    found = columns(chain)
    assert found["dot_output_minor_before_last"].tolist() == [0, 0, 0, 0, 0]
    assert found["dot_input_minor_before_last"].tolist() == [0, 0, 1, 0, 0]
    assert found["transpose_output_minor_before_last"].tolist() == [0, 1, 1, 0, 0]
    assert found["reshape_input_minor_before_last"].tolist() == [0, 0, 0, 1, 0]
    assert found["transpose_minor_bits"].tolist() == [3, 2, 2, 3, 0]
    assert found["dot_disagreeing"].tolist() == [0, 0, 1, 0, 0]
    # tensors of the three nodes: [4,8] [8,4]; [4,16] [4,8] [8,16]; [2,2,16] [4,16]; rows of 4 are below no lanes of 4
    assert found["minor_below_lanes"].tolist() == [0] * 5
    assert found["minor_whole_lanes"].tolist() == [7, 7, 7, 7, 0]
    assert found["second_whole_sublanes"].tolist() == [7, 7, 7, 7, 0]
    # rows of 4 float32 are half a vector: the operand [8,4], then the turned [4,8], then the dot's operand too
    fed, product = 4 * 8 * 4, 4 * 16 * 4
    assert found["ragged_vector_bytes"].tolist() == [fed, 2 * fed, 3 * fed, fed + product, 0]
    assert found["dot_padding_bytes"].tolist() == [0] * 5
    monkeypatch.setattr(hardware, "LANES", 32)
    monkeypatch.setattr(hardware, "SUBLANES", 8)
    wide = columns(chain)
    # of the dot's [4,16], [4,8] and [8,16], each is padded to 8 by 32
    assert wide["dot_padding_bytes"].tolist() == [4 * (3 * 256 - 64 - 32 - 128)] * 4 + [0]
    assert wide["minor_below_lanes"].tolist() == [7, 7, 7, 7, 0]


def test_roles_of_a_convolutions_minor_dimensions():
    nodes = [(PARAMETER, (8, 6, 6, 4), ()), (PARAMETER, (3, 3, 4, 16), ()), (CONVOLUTION, (8, 6, 6, 16), ())]
    plain, kernel = (3, 2, 1, 0), (3, 2, 1, 0)
    layouts = [
        ((plain, plain, kernel),),
        (((0, 1, 2, 3), (2, 1, 0, 3), (2, 3, 1, 0)),),
        (((1, 0, 2, 3), (0, 1, 2, 3), (0, 1, 2, 3)),),
    ]
    graph = packed(nodes, [2], [[0, 1]], [], layouts)
    graph.node_feat[2, [93, 94, 99, 100, 105, 106]] = 0, 3, 2, 3, 0, 3
    found = columns(graph)
    for slot, roles in {
        "output": ("feature", "batch", "spatial"),
        "input": ("feature", "spatial", "batch"),
        "kernel": ("output_feature", "input_feature", "spatial"),
    }.items():
        for configuration, role in enumerate(roles):
            assert np.flatnonzero(found[f"convolution_{slot}_minor_{role}"]).tolist() == [configuration]
