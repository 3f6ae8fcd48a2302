"""Pairs of nodes: which samples there are, and the matrix product against a loop over them."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from benchmarks.parity.compare import fill
from benchmarks.parity.graphs import synthetic_layout
from stages.winners import node_pairs
from stages.winners.parts import LayoutInputs
from tests.support.packing import packed


@pytest.fixture(scope="module")
def graph():
    return packed(synthetic_layout(0), hops=1)


def inputs_of(edges, config_nodes, nodes=4):
    return LayoutInputs(
        x=torch.zeros(nodes, 12),
        opcode=torch.arange(nodes),
        layout=torch.zeros(nodes, 6, dtype=torch.int64),
        edge_index=torch.tensor(edges).T,
        config_nodes=torch.tensor(config_nodes),
        triples=torch.zeros(1, len(config_nodes), 18, dtype=torch.int64),
    )


def test_an_edge_is_a_sample_where_its_consumer_is_configurable():
    end, other, place = node_pairs.samples(inputs_of([(3, 2), (2, 1), (1, 0)], [3, 2]))
    found = list(zip(*(each.tolist() for each in (end, other, place)), strict=True))
    assert found == [(3, 2, 0), (2, 1, 1)]


def test_scores_are_of_a_product_over_samples_and_a_mean(graph):
    fitted = node_pairs.fit([graph])
    network = node_pairs.Network(node_pairs.Settings(width=8, node_width=3, configuration_width=2), fitted)
    fill(network)
    network.double()
    inputs = node_pairs.prepare(graph, fitted).inputs(np.arange(3)).double()
    ends = torch.cat([inputs.x, network.opcodes(inputs.opcode)], dim=1)
    place = {int(node): number for number, node in enumerate(inputs.config_nodes)}
    pairs = [(u, v) for u, v in inputs.edge_index.T.tolist() if u in place]
    assert 0 < len(pairs) < inputs.edge_index.shape[1]
    for k in range(3):
        product, mean = torch.zeros(3, 2, dtype=torch.float64), torch.zeros(2, dtype=torch.float64)
        for consumer, producer in pairs:
            nodes = network.nodes(torch.cat([ends[consumer], ends[producer]]))
            layout = inputs.triples[k, place[consumer]][list(fitted.columns)].double() / 5
            state = network.then(network.first(torch.cat([nodes, layout])).relu()).relu()
            product += torch.outer(nodes, state) / len(pairs)
            mean += state / len(pairs)
        torch.testing.assert_close(network(inputs)[k], network.head(torch.cat([product.flatten(), mean]))[0])


def test_a_graph_without_a_sample_has_one_score(graph):
    network = node_pairs.Network(node_pairs.Settings(), node_pairs.fit([graph]))
    inputs = inputs_of([(1, 0)], [3])
    assert torch.isfinite(network(inputs)).all()


def test_the_columns_that_vary_most_over_all_graphs_are_taken():
    layouts = np.zeros((4, 18), np.int8)
    layouts[:2, [17, 3, 5, 0, 12, 9, 7]] = 5
    layouts[0, [1, 2]] = [5, 3]  # more and less in the eighth place
    halves = [SimpleNamespace(triples=layouts[:1]), SimpleNamespace(triples=layouts[1:])]
    assert node_pairs.fit(halves).columns == (0, 1, 3, 5, 7, 9, 12, 17)


def test_columns_of_nodes_are_sizes_and_layouts(graph):
    x = node_pairs.prepare(graph, None).inputs(np.arange(2)).x
    assert x.shape == (graph.nodes, 12)
    np.testing.assert_allclose(x[:, :6], np.log(graph.node_feat[:, 21:27] + 1), rtol=1e-6)
    np.testing.assert_allclose(x[:, 6:], graph.node_feat[:, 134:] / 5, rtol=1e-6)


def test_labels_are_percentiles_of_ranks(graph):
    labels = node_pairs.labels(graph, None)
    assert labels.dtype == np.float32
    assert np.argsort(labels).tolist() == np.argsort(graph.runtime, kind="stable").tolist()
    assert sorted(labels.tolist()) == pytest.approx((np.arange(40) / 40).tolist())
