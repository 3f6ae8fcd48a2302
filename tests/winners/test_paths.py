"""The ninth place's cut: shortest paths, by hand and by networkx."""

import networkx as nx
import numpy as np
import pytest

from benchmarks.parity.graphs import synthetic_layout
from stages.winners import paths
from tests.support.packing import packed


def test_what_lies_on_no_path_goes_and_ways_round_go():
    # 6 is the last. To 0 the way over 4 is shorter than that over 5, 3 and 2; 1 feeds 4 and lies on no path.
    edges = np.array([(6, 4), (4, 0), (6, 5), (5, 3), (3, 2), (2, 0), (4, 1)])
    kept, steps = paths.along(7, edges, np.array([0, 3]))
    assert np.flatnonzero(kept).tolist() == [0, 3, 4, 5, 6]
    assert edges[steps].tolist() == [[6, 4], [4, 0], [6, 5], [5, 3]]


def test_edges_are_walked_both_ways():
    edges = np.array([(3, 0), (2, 0), (2, 1)])  # from 3 down to 0, up to 2 and down to 1
    kept, steps = paths.along(4, edges, np.array([1]))
    assert kept.all() and steps.all()


def test_a_node_without_a_path_stays_alone():
    kept, steps = paths.along(4, np.array([(1, 0), (3, 2)]), np.array([0, 2]))
    assert np.flatnonzero(kept).tolist() == [0, 2, 3] and np.flatnonzero(steps).tolist() == [1]


@pytest.mark.parametrize("seed", range(5))
def test_paths_are_as_short_as_those_of_the_whole_graph(seed):
    graph = packed(synthetic_layout(seed), hops="all")
    cut = paths.shortest(graph)
    kept = np.flatnonzero(paths.along(graph.nodes, graph.edge_index, graph.config_nodes)[0])
    whole, small = (nx.Graph(each.edge_index.tolist()) for each in (graph, cut))
    assert cut.nodes == len(kept) and kept[-1] == graph.nodes - 1
    np.testing.assert_array_equal(kept[cut.config_nodes], graph.config_nodes)
    np.testing.assert_array_equal(cut.node_feat, graph.node_feat[kept])
    assert nx.is_tree(small)  # a union of paths from one node
    for before, after in zip(graph.config_nodes.tolist(), cut.config_nodes.tolist(), strict=True):
        there = nx.shortest_path_length(whole, graph.nodes - 1, before)
        assert nx.shortest_path_length(small, cut.nodes - 1, after) == there
    known = cut.config_operands >= 0
    np.testing.assert_array_equal(kept[cut.config_operands[known]], graph.config_operands[known])
    assert cut.edge_index.dtype == graph.edge_index.dtype and cut.config_nodes.dtype == graph.config_nodes.dtype
