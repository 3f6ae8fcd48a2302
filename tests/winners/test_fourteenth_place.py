"""The fourteenth place's columns of configurations, nodes and programs by hand, its graphs side by side, its losses."""

from dataclasses import replace

import networkx as nx
import numpy as np
import pytest
import torch

from benchmarks.parity.compare import fill
from benchmarks.parity.graphs import synthetic_layout
from stages.winners import fourteenth_place
from tests.support.packing import packed


@pytest.fixture(scope="module")
def graph():
    return packed(synthetic_layout(0), hops=3)


def test_columns_of_a_configuration():
    triple = torch.tensor([0, 1, 3, 2, -1, -1, 1, 0, 3, 2, -1, -1, -1, -1, -1, -1, -1, -1])
    found = fourteenth_place.configuration_columns(triple)
    assert found.shape == (42,) and found[:18].tolist() == triple.tolist()
    default, active, most, contiguous, rank, square, variance, alike = found[18:].reshape(8, 3)
    assert default.tolist() == [0, 0, 1]
    assert active.tolist() == pytest.approx([4 / 6, 4 / 6, 0])
    assert most.tolist() == pytest.approx([3 / 6, 3 / 6, -1 / 6])
    assert contiguous.tolist() == pytest.approx([1 / 5, 0, 0])  # from 0 to 1, and nothing else by one
    assert rank.tolist() == pytest.approx([1 / 4.0001, 0, 0])
    assert square.tolist() == [0, 0, 0] and variance.tolist() == pytest.approx([1.25, 1.25, 0])
    assert alike.tolist() == [4, 2, 2]  # absent dimensions are equal too


def test_columns_of_many_configurations_are_those_of_each():
    rng = np.random.default_rng(0)
    triples = torch.from_numpy(np.stack([rng.integers(-1, 6, 18) for _ in range(12)])).reshape(3, 4, 18)
    found = fourteenth_place.configuration_columns(triples)
    assert torch.equal(found[2, 1], fourteenth_place.configuration_columns(triples[2, 1]))


def test_columns_of_a_node_made_by_hand():
    node = np.zeros((2, 140), np.float32)
    node[0, 27:29] = [12, 32]
    node[0, [37, 45, 53]] = [3, 2, 1]
    node[0, 91:93] = [1, 3]
    found = fourteenth_place.made_columns(node, np.array([1]))
    assert found.shape == (2, 22)
    assert found[0, :2].tolist() == pytest.approx([np.log(12 / 32 + 1e-4), 1])
    assert found[0, [2, 8, 14]].tolist() == pytest.approx([6, 1 / 3.0001, 5])  # size x stride, padding, extent
    assert found[0, 20:].tolist() == pytest.approx([1 / 4.0001, 0]) and found[1, 21] == 1
    assert found[1, 0] == pytest.approx(np.log(1e-4)) and found[1, 14] == 1  # without a size: no product, and 0 - 0 + 1


def test_columns_that_do_not_vary_and_rare_ones_go():
    first, second = (packed(synthetic_layout(seed), hops="all") for seed in (0, 1))
    columns = np.zeros((40, 140), np.float32)
    columns[:, 5] = 7
    columns[:3, 10] = 1  # in 3 of 80 nodes
    columns[:30, 11] = 1
    columns[:, 40] = np.arange(40)
    columns[:, 28] = np.exp(np.arange(40) / 10)
    other = columns.copy()
    other[:, [10, 11]] = 0
    scaling = fourteenth_place.fit([replace(first, node_feat=columns), replace(second, node_feat=other)])
    assert np.flatnonzero(scaling.kept).tolist() == [11, 28, 40]
    assert np.flatnonzero(scaling.scaled).tolist() == [28, 40]
    found = scaling(columns)
    assert set(found[:, 0]) == {0, 1}
    np.testing.assert_allclose(found[:, 1:].mean(0), 0, atol=1e-5)
    np.testing.assert_allclose(found[:, 1:].std(0), 1, rtol=1e-4)
    assert np.polyfit(np.arange(40), found[:, 1], 1)[0] > 0 and abs(found[-1, 1] - found[-2, 1]) < 0.1  # of logarithms


def test_a_padding_that_cuts_is_a_number(graph):
    columns = graph.node_feat.copy()
    columns[0, 127] = -3
    assert np.isfinite(fourteenth_place.logarithms(columns)).all()


def test_columns_of_a_program(graph):
    found, other = (
        fourteenth_place.program_columns(replace(graph, collection=f"layout:xla:{search}"))
        for search in ("default", "random")
    )
    whole = nx.Graph(graph.edge_index.tolist())
    parts = [nx.average_shortest_path_length(whole.subgraph(part)) for part in nx.connected_components(whole)]
    longest = nx.dag_longest_path_length(nx.DiGraph(graph.edge_index.tolist()))
    expected = [np.log(graph.nodes + 1e-4), longest / (graph.nodes + 1), len(parts) / graph.nodes]
    assert found.tolist() == pytest.approx([*expected, np.mean(parts), np.std(parts), 1])
    assert other.tolist() == [*found[:-1], 0]


def test_distances_of_parts_apart_and_of_a_node_alone():
    edges = np.array([(1, 0), (2, 1), (5, 4)])  # a path of three, a pair, and 3 alone
    assert fourteenth_place.average_distances(6, edges).tolist() == pytest.approx([(1 + 1 + 2) / 3, 1])
    assert fourteenth_place.longest_path(6, edges) == 2


def test_copies_of_a_graph_side_by_side():
    edges = torch.tensor([[2, 1], [0, 0]])
    assert fourteenth_place.stacked(edges, 2, 3).tolist() == [[2, 1, 5, 4], [0, 0, 3, 3]]


def test_a_configuration_is_scored_as_if_it_were_alone(graph):
    network, prepared = made(graph)
    with torch.no_grad():
        together = network(prepared.inputs(np.arange(4)).double())
        alone = torch.cat([network(prepared.inputs(np.array([k])).double()) for k in range(4)])
    torch.testing.assert_close(together, alone)


def test_the_meta_graph_carries_what_the_near_one_does_not(graph):
    """A configuration is heard along the meta-graph where no edge of the other is left."""
    network, prepared = made(graph)
    inputs = prepared.inputs(np.arange(2)).double()
    cut = replace(inputs, edge_index=inputs.edge_index[:, :0])
    without = replace(cut, meta=inputs.meta[:, :0])
    with torch.no_grad():
        assert not torch.allclose(network(cut), network(without))


def made(graph):
    scaling = fourteenth_place.fit([graph])
    settings = replace(fourteenth_place.Settings(), width=16, heads=2, layers=1)
    network = fourteenth_place.build(settings, scaling)
    fill(network)
    return network.double().eval(), fourteenth_place.prepare(graph, scaling)


def test_pairs_are_drawn_and_ordered():
    labels = torch.tensor([[3, 1, 2]])
    # Three pairs, fewer than are drawn: (0, 1) and (0, 2) are slower first, (1, 2) is not.
    found = fourteenth_place.pair_loss(torch.tensor([[0.5, 0.25, 0.0]]), labels)
    assert float(found) == pytest.approx(((1 - 0.25) + (1 - 0.5) + (1 + 0.25)) / 3)
    scores, labels = torch.randn(1, 16), torch.arange(16)[None]
    torch.manual_seed(0)
    first = fourteenth_place.pair_loss(scores, labels)
    assert first != fourteenth_place.pair_loss(scores, labels)
    torch.manual_seed(0)
    assert first == fourteenth_place.pair_loss(scores, labels)
