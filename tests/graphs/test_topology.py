"""Orders of a graph's nodes, against their definition on random graphs."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from stages.graphs.topology import operands, topological_order, within


@st.composite
def graphs(draw):
    """Number of nodes and edges [consumer, producer], parallel ones too, in any order and under any names."""
    nodes = draw(st.integers(1, 9))
    pairs = [(u, v) for u in range(nodes) for v in range(u)]
    edges = draw(st.lists(st.sampled_from(pairs), max_size=20)) if pairs else []
    names = draw(st.permutations(range(nodes)))
    return nodes, np.array([(names[u], names[v]) for u, v in edges], np.int64).reshape(-1, 2)


@settings(max_examples=60, deadline=None)
@given(graphs())
def test_operands_of_a_node_are_its_edges_in_the_files_order(graph):
    nodes, edges = graph
    starts, producers = operands(nodes, edges)
    found = [producers[starts[node] : starts[node + 1]].tolist() for node in range(nodes)]
    assert found == [[v for u, v in edges.tolist() if u == node] for node in range(nodes)]


@settings(max_examples=60, deadline=None)
@given(graphs())
def test_every_node_comes_once_and_after_what_it_consumes(graph):
    nodes, edges = graph
    order = topological_order(nodes, edges)
    assert sorted(order.tolist()) == list(range(nodes))
    place = np.argsort(order)
    assert (place[edges[:, 0]] > place[edges[:, 1]]).all()


def test_a_file_in_topological_order_keeps_its_order():
    edges = np.array([[4, 0], [1, 0], [3, 2]])
    assert topological_order(5, edges).tolist() == [0, 1, 2, 3, 4]
    assert topological_order(5, edges[:0]).tolist() == [0, 1, 2, 3, 4]


def test_what_is_within_some_hops_by_hand():
    edges = np.array([[1, 0], [2, 1], [3, 2], [4, 3], [6, 5]])

    def found(hops, direction="both"):
        return within(7, edges, np.array([2]), hops, direction).nonzero()[0].tolist()

    assert [found(hops) for hops in (0, 1, 2)] == [[2], [1, 2, 3], [0, 1, 2, 3, 4]]
    assert found(10**12) == found(2) and found("all") == list(range(7))
    assert found(2, "producers") == [0, 1, 2] and found(2, "consumers") == [2, 3, 4]
