"""Partitions of a graph."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from stages.gnn.segments import PARTITIONS, partition


@st.composite
def cuts(draw):
    """Nodes' edges and published parts, and a budget."""
    nodes = draw(st.integers(1, 30))
    rng = np.random.default_rng(draw(st.integers(0, 999)))
    edges = [(node, int(rng.integers(node))) for node in range(1, nodes) for _ in range(rng.integers(3))]
    names = rng.permutation(nodes) if draw(st.booleans()) else np.arange(nodes)
    splits = np.sort(rng.integers(draw(st.integers(1, 5)), size=nodes))
    return names[np.array(edges, np.int64).reshape(-1, 2)], splits, draw(st.integers(1, nodes + 2))


@settings(max_examples=60, deadline=None)
@given(cut=cuts(), method=st.sampled_from(PARTITIONS))
def test_every_node_is_in_one_segment_and_the_budget_holds(cut, method):
    edges, splits, budget = cut
    parts = partition(edges, splits, method, budget)
    assert sorted(np.concatenate(parts).tolist()) == list(range(len(splits)))
    assert all((np.diff(part) > 0).all() for part in parts)
    if method == "metis":  # it balances about, and empty parts are left out
        assert len(parts) <= -(-len(splits) // budget)
    else:
        assert max(map(len, parts)) <= budget
    again = partition(edges, splits, method, budget)
    assert [part.tolist() for part in again] == [part.tolist() for part in parts]


def test_contiguous_segments_are_stretches_of_a_topological_order():
    chain = np.array([[0, 3], [3, 1], [1, 4], [4, 2]])  # 2 first, 0 last
    parts = partition(chain, np.zeros(5, int), "contiguous", 2)
    assert [part.tolist() for part in parts] == [[2, 4], [1, 3], [0]]


def test_published_parts_are_joined_while_they_fit_and_cut_where_they_do_not():
    splits = np.repeat([0, 1, 2, 3], [2, 1, 5, 1])
    parts = partition(np.zeros((0, 2), np.int64), splits, "node_splits", 3)
    assert [part.tolist() for part in parts] == [[0, 1, 2], [3, 4, 5], [6, 7, 8]]
    parts = partition(np.zeros((0, 2), np.int64), splits, "node_splits", 2)
    assert [part.tolist() for part in parts] == [[0, 1], [2], [3, 4], [5, 6], [7, 8]]
    assert len(partition(np.zeros((0, 2), np.int64), splits, "node_splits", 9)) == 1


def test_metis_cuts_between_communities_and_not_through_them():
    """Two cliques of eight, their numbers interleaved, one edge between them: stretches would cut nearly all edges."""
    clique = [(u, v) for u in range(0, 16, 2) for v in range(0, u, 2)]
    edges = np.array([*clique, *((u + 1, v + 1) for u, v in clique), (9, 4)])
    parts = partition(edges, np.zeros(16, int), "metis", 8)
    assert sorted(part.tolist() for part in parts) == [list(range(0, 16, 2)), list(range(1, 16, 2))]
