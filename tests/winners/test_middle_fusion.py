"""The tenth place's idea: attention written out, a graph that is encoded once, configurations at their nodes."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from benchmarks.parity.compare import fill
from benchmarks.parity.graphs import synthetic_layout
from stages.winners import middle_fusion
from stages.winners.training import needs
from tests.support.packing import packed

SMALL = {"width": 8, "layers": 2, "heads": 2}


@pytest.fixture(scope="module")
def graph():
    return packed(synthetic_layout(0), hops="all")


@pytest.fixture
def network():
    net = middle_fusion.Network(replace(middle_fusion.Settings(), **SMALL))
    fill(net)
    return net.double().eval()


def heads_of(layer, x):
    return layer(x).unflatten(-1, (2, 3)).unbind(1)


def test_linear_attention_is_a_weighted_mean_over_all_nodes():
    torch.manual_seed(0)
    attention = middle_fusion.LinearAttention(6, 2).double()
    x = torch.randn(5, 6, dtype=torch.float64)

    def positive(each):
        return torch.where(each > 0, each + 1, each.exp())

    found = []
    each = (heads_of(layer, x) for layer in (attention.queries, attention.keys, attention.values))
    for queries, keys, values in zip(*each, strict=True):
        weights = positive(queries) @ positive(keys).T
        found.append(weights / weights.sum(1, keepdim=True) @ values)
    torch.testing.assert_close(attention(x), attention.out(torch.cat(found, dim=1)))


def test_attention_from_some_to_others():
    torch.manual_seed(0)
    attention = middle_fusion.Attention(6, 2).double()
    x, y = torch.randn(4, 6, dtype=torch.float64), torch.randn(5, 6, dtype=torch.float64)
    found = []
    each = (heads_of(layer, of) for layer, of in ((attention.queries, x), (attention.keys, y), (attention.values, y)))
    for queries, keys, values in zip(*each, strict=True):
        found.append((queries @ keys.T / 3**0.5).softmax(1) @ values)
    torch.testing.assert_close(attention(x, y), attention.out(torch.cat(found, dim=1)))


def test_a_graph_is_encoded_once_and_configurations_do_not_meet(graph, network):
    prepared = middle_fusion.prepare(graph, None)
    seen = []
    network.blocks[0].register_forward_hook(lambda module, given, state: seen.append(state.shape))
    with torch.no_grad():
        together = network(prepared.inputs(np.arange(7)).double())
        assert seen == [(graph.nodes, 8)]
        alone = network(prepared.inputs(np.array([3])).double())
    torch.testing.assert_close(together[3:4], alone)


def test_a_configuration_is_joined_to_its_own_node(graph, network):
    """Layouts that change their nodes with one another give another score."""
    inputs = middle_fusion.prepare(graph, None).inputs(np.arange(2)).double()
    swapped = inputs.triples.clone()
    swapped[1] = swapped[1].flip(0)
    with torch.no_grad():
        before, after = network(inputs), network(replace(inputs, triples=swapped))
    torch.testing.assert_close(after[0], before[0])
    assert abs(float(after[1] - before[1])) > 1e-6


def test_logarithms_of_what_is_above_minus_three():
    found = middle_fusion.logarithms(np.array([[-39, -2, 0, 125]], np.float32))
    assert found[0].tolist() == pytest.approx([0, 0, np.log(3), np.log(128)], rel=1e-6)


def test_configurations_count_by_their_share_of_a_graphs_work():
    settings = middle_fusion.Settings(configuration_share=0.01)
    assert needs.cells(settings, 100, 50) == needs.scored_cells(settings, 100, 50) == pytest.approx(150)
    assert needs.scored_cells(middle_fusion.TileSettings(), 100, 50) == 5000
