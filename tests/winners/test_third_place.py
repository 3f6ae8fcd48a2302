"""The third place's walks, lanes, operands, attention and sums along edges, by hand and by dense loops."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from benchmarks.parity.graphs import synthetic_layout
from stages.graphs.opcodes import CONVOLUTION, DOT, OPCODE_NUMBERS
from stages.graphs.tensors import ROOT, SHAPE
from stages.winners import third_place
from tests.support.packing import packed

# 2 consumes 0 and 1, 3 consumes 2.
EDGES = np.array([(2, 0), (2, 1), (3, 2)])


def dense(edges, nodes, both):
    """The probabilities of a step, as a full matrix."""
    counts = np.eye(nodes)
    for consumer, producer in edges:
        counts[producer, consumer] += 1
        counts[consumer, producer] += both
    return counts / counts.sum(axis=1, keepdims=True)


def test_walks_of_four_nodes():
    found = third_place.walks(EDGES, 4, steps=3)
    # All but the last node leave with probability 1/2. After two steps 3 is reached from 2 (1/2 + 1/4), 0 and 1 (1/4).
    assert found[:, 0].tolist() == [0.5, 0.5, 0.5, 1]
    assert found[:, 1].tolist() == [0, 0, 1, 0.75 + 2 * 0.25]
    assert found[3, 2] == pytest.approx(7 / 8 + 2 * 0.5)


def test_round_walks_of_two_nodes_and_one_alone():
    found = third_place.round_walks(np.array([(1, 0)]), 3, steps=3)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, [[0.5] * 3, [0.5] * 3, [1] * 3], rtol=1e-6)


@pytest.mark.parametrize("block", [1, 5, 64])
def test_walks_are_powers_of_the_dense_matrix(block):
    rng = np.random.default_rng(1)
    nodes = 14
    edges = np.array([(u, v) for u in range(nodes) for v in range(u) if rng.random() < 0.3])
    step = dense(edges, nodes, both=False)
    powers = [np.linalg.matrix_power(step, length) for length in range(1, 17)]
    expected = [np.diag(powers[0])] + [power.sum(axis=0) - np.diag(power) for power in powers[1:]]
    np.testing.assert_allclose(third_place.walks(edges, nodes), np.stack(expected, axis=1), atol=1e-12)
    step = dense(edges, nodes, both=True)
    expected = [np.diag(np.linalg.matrix_power(step, length)) for length in range(2, 114)]
    found = third_place.round_walks(edges, nodes, block=block)
    np.testing.assert_allclose(found, np.stack(expected, axis=1), atol=1e-6)
    np.testing.assert_allclose(third_place.round_walks(edges, nodes, steps=7), found[:, :7], atol=1e-6)


def test_linear_attention_is_a_sum_over_all_pairs_of_nodes():
    torch.manual_seed(0)
    attention = third_place.LinearAttention(5, 3, 4).double()
    x = torch.randn(2, 6, 5, dtype=torch.float64)
    keys, queries, values = attention.keys(x), attention.queries(x), attention.values(x)

    def positive(each):
        return torch.where(each > 0, each + 1, each.exp())

    expected = torch.zeros(2, 6, 3, dtype=torch.float64)
    for k in range(2):
        for i in range(6):
            for j in range(6):
                expected[k, i] += (positive(queries[k, i]) @ positive(keys[k, j])) * values[k, j]
    torch.testing.assert_close(attention(x), expected)


def test_a_node_hears_the_mean_of_its_consumers():
    edges = third_place.Edges(torch.tensor([[2, 3, 3], [0, 0, 1]]), 4, torch.float64)
    x = torch.tensor([[1.0], [10.0], [100.0], [1000.0]], dtype=torch.float64)
    assert edges.of_consumers(x).flatten().tolist() == [550, 1000, 0, 0]
    assert edges.of_consumers(torch.stack([x, 2 * x]))[1].flatten().tolist() == [1100, 2000, 0, 0]


def test_a_producer_is_divided_by_its_own_operands():
    # 3 consumes 1 and 2; 2 consumes 0 and 1; 1 consumes 0.
    edges = third_place.Edges(torch.tensor([[3, 3, 2, 2, 1], [1, 2, 0, 1, 0]]), 4, torch.float64)
    x = torch.tensor([[1.0], [10.0], [100.0], [1000.0]], dtype=torch.float64)
    # Of 1, one operand: whole; of 2, two: half.
    assert edges.of_producers(x).flatten().tolist() == [0, 1, 1 + 10, 10 + 50]


def test_lanes_count_whole_ones_and_the_place_in_the_last():
    node = np.zeros((1, 140), np.float32)
    node[0, SHAPE.start : SHAPE.start + 4] = [1, 128, 129, 300]
    found = third_place.lanes(node)[0]
    assert found.shape == (60,)
    assert found[:5].tolist() == [0, 127 / 128, 0, 43 / 128, 127 / 128]
    assert found[30:35].tolist() == [0, 0.1, 0.1, 0.2, 0]


def test_a_virtual_node_consumes_all_roots(layout):
    arrays = synthetic_layout(0)
    arrays["node_feat"][[3, -1], ROOT] = 1
    graph = packed(arrays, hops="all")
    whole = third_place.with_output(graph)
    assert (whole.nodes, int(whole.node_opcode[-1])) == (41, 127)
    assert whole.edge_index[len(graph.edge_index) :].tolist() == [[40, 3], [40, 39]]
    assert not whole.node_feat[-1].any() and graph.nodes == 40


def test_operands_of_convolutions_and_dots_alone():
    arrays = synthetic_layout(0)
    arrays["node_opcode"][:] = OPCODE_NUMBERS["add"]
    arrays["node_opcode"][2] = DOT
    arrays["edge_index"] = np.array([(2, 0), (2, 1), (3, 2)])
    arrays["node_feat"][[0, 1, 2], SHAPE] = [[4, 8, 0, 0, 0, 0], [8, 16, 0, 0, 0, 0], [4, 16, 0, 0, 0, 0]]
    arrays["node_feat"][[0, 1], 27] = [12, 24]
    arrays["node_feat"][[0, 1], 28] = [32, 128]
    found = np.exp(third_place.operand_shapes(third_place.with_output(packed(arrays, hops="all")))) - 3
    np.testing.assert_allclose(found[2], [4, 8, 0, 0, 0, 0, 12, 32, 8, 16, 0, 0, 0, 0, 24, 128], atol=1e-9)
    np.testing.assert_allclose(found[[0, 3]], -2)
    np.testing.assert_allclose(found[-1], -1)  # the virtual node


def test_an_operand_that_is_not_there_is_minus_one():
    arrays = synthetic_layout(0)
    arrays["node_opcode"][:] = OPCODE_NUMBERS["add"]
    arrays["node_opcode"][5] = CONVOLUTION
    arrays["edge_index"] = np.array([(6, 5)])
    found = np.exp(third_place.operand_shapes(third_place.with_output(packed(arrays, hops="all")))) - 3
    np.testing.assert_allclose(found[5], -1)


def test_columns_are_those_of_the_original_in_their_order(layout):
    whole = third_place.with_output(layout)
    found = third_place.columns(whole)
    assert found.shape == (41, 246) == (41, third_place.COLUMNS)
    np.testing.assert_allclose(found[:-1, 28], np.log(layout.node_feat[:, 28] + 1), rtol=1e-6)
    np.testing.assert_array_equal(found[:-1, 31], layout.node_feat[:, 31])  # not among the logarithms
    assert found[:-1, 140 + 11].tolist() == layout.node_feat[:, ROOT].tolist()
    assert found[-1, 140 + 8 : 140 + 12].tolist() == [0, -1, -1, -1]
    np.testing.assert_array_equal(found[:, 186:], third_place.lanes(whole.node_feat))


def test_logarithms_of_columns_below_their_smallest_value_are_numbers(layout, tile):
    for graph, prepare in ((layout, third_place.prepare), (tile, third_place.prepare_tile)):
        columns = graph.node_feat.copy()
        columns[:, [53, 61, 127, 131]] = -1000
        assert torch.isfinite(prepare(replace(graph, node_feat=columns), None).inputs(np.arange(2)).x).all()


def test_tiles_have_logarithms_walks_and_a_fifth_of_the_bounds(tile):
    inputs = third_place.prepare_tile(tile, None).inputs(np.array([3, 1]))
    assert inputs.x.shape == (tile.nodes + 1, 156)
    np.testing.assert_allclose(inputs.x[:-1, 127], np.log(tile.node_feat[:, 127] + 40), rtol=1e-6)
    np.testing.assert_allclose(inputs.x[:-1, 45], np.log(tile.node_feat[:, 45] + 1), rtol=1e-6)
    edges = third_place.with_output(tile).edge_index
    np.testing.assert_allclose(inputs.x[:, 140:], third_place.walks(edges, tile.nodes + 1), rtol=1e-6)
    np.testing.assert_allclose(inputs.config, tile.config_feat[[3, 1]] / 5, rtol=1e-6)


def test_encodings_are_computed_once_a_graph(layout, monkeypatch):
    graph, calls = replace(layout), []
    walks = third_place.round_walks
    monkeypatch.setattr(third_place, "round_walks", lambda *given: calls.append(1) or walks(*given))
    first, second = (third_place.prepare(graph, None).inputs(np.arange(2)).x for _ in range(2))
    assert len(calls) == 1 and torch.equal(first, second)
    third_place.prepare(replace(layout), None)
    assert len(calls) == 2


def test_losses_of_a_graph_by_hand():
    scores, labels = torch.tensor([[1.0, 0.5, 2.0], [0.0, 0.0, 0.0]]), torch.tensor([[3.0, 1.0, 1.0], [1.0, 1.0, 2.0]])
    # 0.5 + 2 of the first graph; two pairs of 1 of the second.
    assert float(third_place.layout_loss(scores, labels)) == pytest.approx((2.5 + 2) / 2)
    expected = (-1 / np.log(4.5) - 1 / np.log(4)) / 2
    assert float(third_place.tile_loss(scores, labels)) == pytest.approx(expected, rel=1e-6)


def test_a_graph_with_fewer_configurations_than_a_list_trains_nothing():
    assert third_place.Settings(configurations=7).least_configurations == 7
    assert third_place.TileSettings().least_configurations == 16
