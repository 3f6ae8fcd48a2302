import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stages.graphs import npz
from stages.graphs.tensors import ROOT
from stages.prune.cut import cut
from tests.support.packing import CHAIN, arrays_of, graphs, packed
from tests.support.samples import write_layout


@pytest.mark.parametrize(
    ("hops", "neighbour_edges", "nodes", "edges"),
    [
        (1, False, [2, 3, 4], [(3, 2), (4, 3)]),
        (1, True, [2, 3, 4], [(3, 2), (4, 3), (4, 2)]),
        (2, False, [1, 2, 3, 4, 5], [(2, 1), (3, 2), (4, 3), (4, 2), (5, 4)]),
        (2, True, [1, 2, 3, 4, 5], [(2, 1), (3, 2), (4, 3), (4, 2), (5, 4), (5, 1)]),
        (3, False, [0, 1, 2, 3, 4, 5, 6], CHAIN),
        ("all", False, [0, 1, 2, 3, 4, 5, 6], CHAIN),
        ("all", True, [0, 1, 2, 3, 4, 5, 6], CHAIN),
    ],
)
def test_cuts_around_one_configurable_node(hops, neighbour_edges, nodes, edges):
    graph = packed(arrays_of(7, CHAIN, [3]), hops, neighbour_edges)
    assert graph.node_feat[:, 1].tolist() == nodes
    assert graph.node_opcode.tolist() == nodes
    assert [(nodes[u], nodes[v]) for u, v in graph.edge_index] == edges
    assert [nodes[node] for node in graph.config_nodes] == [3]
    assert [nodes[node] for node in graph.config_operands[0] if node >= 0] == [2]
    assert (graph.whole["nodes"], graph.whole["edges"], graph.whole["depth"]) == (7, 8, 7)


def test_a_part_without_configurable_node_is_dropped_unless_all_is_asked_for():
    arrays = arrays_of(5, [(1, 0), (4, 3)], [1])
    assert packed(arrays, 3).node_opcode.tolist() == [0, 1]
    assert packed(arrays, "all").node_opcode.tolist() == [0, 1, 2, 3, 4]


def test_operands_are_places_in_the_pruned_graph():
    arrays = arrays_of(8, [(6, 3), (6, 1), (6, 5), (2, 0), (5, 3)], [6, 2])
    arrays.node_feat[1, ROOT] = 1
    graph = packed(arrays)
    assert graph.node_opcode.tolist() == [0, 1, 2, 3, 5, 6]
    assert graph.config_operands.tolist() == [[3, 4], [0, -1]]
    assert graph.config_nodes.tolist() == [5, 2]


@pytest.mark.parametrize(
    ("splits", "parts"),
    [
        ([0, 7], [0, 0, 0, 0, 0, 0, 0]),
        ([0, 3, 7], [0, 0, 0, 1, 1, 1, 1]),
        ([0, 2, 2, 5, 7], [0, 0, 2, 2, 2, 3, 3]),  # an empty part
        ([2, 5], [0, 0, 1, 1, 1, 2, 2]),  # the first and the last end are not always told
    ],
)
def test_a_kept_node_is_in_the_published_part_it_was_in(splits, parts):
    parts = np.array(parts)
    for hops, kept in ((1, [2, 3, 4]), ("all", list(range(7)))):
        node_split = packed(arrays_of(7, CHAIN, [3], splits=splits), hops).node_split
        # What a part is called does not matter; which nodes share one and their order do.
        assert (
            np.unique(node_split, return_inverse=True)[1].tolist()
            == np.unique(parts[kept], return_inverse=True)[1].tolist()
        )


@pytest.mark.parametrize(
    ("hops", "direction", "neighbour_edges", "nodes", "edges"),
    [
        (1, "producers", False, [2, 3], [(3, 2)]),
        (2, "producers", False, [1, 2, 3], [(2, 1), (3, 2)]),
        (1, "consumers", False, [3, 4], [(4, 3)]),
        (3, "consumers", False, [3, 4, 5, 6], [(4, 3), (5, 4), (6, 5)]),
        (5, "producers", True, [0, 1, 2, 3], [(1, 0), (2, 1), (3, 2)]),
    ],
)
def test_cuts_in_one_direction(hops, direction, neighbour_edges, nodes, edges):
    graph = cut(arrays_of(7, CHAIN, [3]), hops, neighbour_edges, direction)
    assert graph["node_feat"][:, 1].tolist() == nodes
    assert [(nodes[u], nodes[v]) for u, v in graph["edge_index"]] == edges


@settings(max_examples=60, deadline=None)
@given(graphs(), st.sampled_from([1, 2]), st.sampled_from(["producers", "consumers"]))
def test_a_directed_cut_is_what_paths_lead_to(arrays, hops, direction):
    """Step by step, from sets; edges of the inner part and, if wanted, all induced ones."""
    steps = [(u, v) if direction == "producers" else (v, u) for u, v in arrays.edge_index.tolist()]
    reached = [set(arrays.node_config_ids.tolist())]
    for _ in range(hops):
        reached.append(reached[-1] | {end for start, end in steps if start in reached[-1]})
    for neighbour_edges in (False, True):
        graph = cut(arrays, hops, neighbour_edges, direction)
        kept = graph["node_feat"][:, 1].astype(int)
        assert set(kept.tolist()) == reached[-1]
        inner = reached[-1] if neighbour_edges else reached[-2]
        expected = [e for e in arrays.edge_index.tolist() if set(e) <= reached[-1] and set(e) & inner]
        assert kept[graph["edge_index"]].tolist() == expected


@settings(max_examples=60, deadline=None)
@given(graphs())
def test_a_cut_is_the_undirected_neighbourhood(arrays):
    """Against distances by relaxation, for nodes and both kinds of edges."""
    distance = np.full(len(arrays.node_feat), np.inf)
    distance[arrays.node_config_ids] = 0
    for _ in distance:
        for u, v in arrays.edge_index:
            distance[u], distance[v] = min(distance[u], distance[v] + 1), min(distance[v], distance[u] + 1)
    for hops in (1, 2):
        near = cut(arrays, hops, False)
        every = cut(arrays, hops, True)
        ends = np.sort(distance[arrays.edge_index], axis=1)
        kept = np.flatnonzero(distance <= hops)
        for graph in (near, every):
            assert graph["node_feat"][:, 1].tolist() == kept.tolist()
        assert kept[near["edge_index"]].tolist() == arrays.edge_index[ends[:, 0] <= hops - 1].tolist()
        assert kept[every["edge_index"]].tolist() == arrays.edge_index[ends[:, 1] <= hops].tolist()


def test_any_number_of_hops_ends_where_nothing_is_added(tmp_path):
    arrays = npz.read_layout(write_layout(tmp_path, "graph", nodes=30, configurable=1))
    far, farther = cut(arrays, 30, False), cut(arrays, 10**15, False)
    for name, array in far.items():
        np.testing.assert_array_equal(farther[name], array, name)
