"""The ninth place's idea: GST's network on a graph in one piece, of logarithms."""

import numpy as np
import torch

from benchmarks.parity.compare import fill
from benchmarks.parity.graphs import synthetic_layout
from stages.winners import gst_paper, paths, shortest_paths
from tests.support.packing import packed


def test_scores_are_those_of_gst_with_one_segment():
    graph = paths.shortest(packed(synthetic_layout(0), hops="all"))
    scaling = shortest_paths.fit([graph])
    ours, theirs = shortest_paths.Network(shortest_paths.Settings()), gst_paper.Network(gst_paper.Settings())
    for network in (ours, theirs):
        fill(network)
        network.double().eval()
    inputs = shortest_paths.prepare(graph, scaling).inputs(np.arange(3)).double()
    with torch.no_grad():
        torch.testing.assert_close(ours(inputs), theirs(inputs))
        theirs.segment_nodes = 5
        assert not torch.allclose(ours(inputs), theirs(inputs))


def test_columns_are_standardised_logarithms():
    graph = packed(synthetic_layout(0), hops="all")
    x = shortest_paths.prepare(graph, shortest_paths.fit([graph])).inputs(np.arange(2)).x
    varies = graph.node_feat.max(0) > graph.node_feat.min(0)
    torch.testing.assert_close(x[:, varies].mean(0), torch.zeros(int(varies.sum())), atol=1e-5, rtol=0)
    assert (
        shortest_paths.logarithms(np.array([[-3, 0, 7]], np.float32))[0].tolist()
        == np.log(np.array([0.25, 1, 8], np.float32)).tolist()
    )
