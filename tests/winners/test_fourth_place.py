"""Pairs of nodes: which samples there are, and the matrix product against a loop over them."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from benchmarks.parity.compare import fill
from benchmarks.parity.graphs import synthetic_layout
from stages.winners import fourth_place
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


def test_an_edge_is_a_sample_for_each_configurable_end():
    end, other, place, consumes = fourth_place.samples(inputs_of([(3, 2), (2, 1), (1, 0)], [3, 2]))
    found = list(zip(*(each.tolist() for each in (end, other, place, consumes)), strict=True))
    assert found == [(3, 2, 0, True), (2, 1, 1, True), (2, 3, 1, False)]


def test_scores_are_of_the_mean_over_samples(graph):
    fitted = fourth_place.fit([graph])
    network = fourth_place.Network(fourth_place.Settings(width=8, node_width=3, configuration_width=2), fitted)
    fill(network)
    network.double()
    inputs = fourth_place.prepare(graph, fitted).inputs(np.arange(3)).double()
    ends = torch.cat([inputs.x, network.opcodes(inputs.opcode)], dim=1)
    place = {int(node): number for number, node in enumerate(inputs.config_nodes)}
    rows = []
    for consumer, producer in inputs.edge_index.T.tolist():
        for node, other, consumes in ((consumer, producer, 1.0), (producer, consumer, 0.0)):
            if node in place:
                pair = torch.cat([ends[node], ends[other], torch.tensor([consumes], dtype=torch.float64)])
                rows.append((network.nodes(pair), place[node]))
    for k in range(3):
        layouts = inputs.triples[k][:, list(fitted.columns)].double() / 5
        mean = sum(torch.outer(state, network.configurations(layouts[number])) for state, number in rows) / len(rows)
        torch.testing.assert_close(network(inputs)[k], network.head(mean.flatten())[0])


def test_a_graph_without_a_sample_has_one_score(graph):
    network = fourth_place.Network(fourth_place.Settings(), fourth_place.fit([graph]))
    inputs = inputs_of([(1, 0)], [3])
    assert torch.isfinite(network(inputs)).all()


def test_the_columns_that_vary_most_over_all_graphs_are_taken():
    layouts = np.zeros((4, 18), np.int8)
    layouts[:2, [17, 3, 5, 0, 12, 9, 7]] = 5
    layouts[0, [1, 2]] = [5, 3]  # more and less in the eighth place
    halves = [SimpleNamespace(triples=layouts[:1]), SimpleNamespace(triples=layouts[1:])]
    assert fourth_place.fit(halves).columns == (0, 1, 3, 5, 7, 9, 12, 17)


def test_columns_of_nodes_are_sizes_and_layouts(graph):
    x = fourth_place.prepare(graph, None).inputs(np.arange(2)).x
    assert x.shape == (graph.nodes, 12)
    np.testing.assert_allclose(x[:, :6], np.log(graph.node_feat[:, 21:27] + 1), rtol=1e-6)
    np.testing.assert_allclose(x[:, 6:], graph.node_feat[:, 134:] / 5, rtol=1e-6)


def test_labels_are_percentiles_of_ranks(graph):
    labels = fourth_place.labels(graph, None)
    assert labels.dtype == np.float32
    assert np.argsort(labels).tolist() == np.argsort(graph.runtime, kind="stable").tolist()
    assert sorted(labels.tolist()) == pytest.approx((np.arange(40) / 40).tolist())
