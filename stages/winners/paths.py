"""The ninth place's cut of a layout graph: shortest paths from the last node to the configurable ones.

Kaggle discussion 456206: edges are taken both ways, paths begin at the node with the largest index, and the union of
their nodes and edges stays. Of several shortest paths to a node theirs is not told; here scipy's search chooses. What
a node without a path to the last one becomes is not told either; here it stays, alone.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from scipy import sparse
from scipy.sparse.csgraph import breadth_first_order

from stages.graphs.dataset import PackedGraph


def predecessors(nodes: int, edge_index: np.ndarray) -> np.ndarray:
    """The node before each on a shortest path from the last node, (n,); negative where there is none.

    Args:
        nodes: How many there are, n.
        edge_index: (m, 2); walked both ways.
    """
    ones = np.ones(len(edge_index), np.int8)
    links = sparse.csr_array((ones, (edge_index[:, 0], edge_index[:, 1])), (nodes, nodes))
    return breadth_first_order(links, nodes - 1, directed=False)[1]


def along(nodes: int, edge_index: np.ndarray, config_nodes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Which nodes and edges lie on the paths.

    Args:
        nodes: How many there are, n.
        edge_index: (m, 2).
        config_nodes: (nc,) where paths end.

    Returns:
        (n,) bool, configurable nodes among them; and (m,) bool.
    """
    before = predecessors(nodes, edge_index)
    kept = np.zeros(nodes, bool)
    ends = np.asarray(config_nodes)
    while len(ends := np.unique(ends[~kept[ends]])):
        kept[ends] = True
        ends = before[ends]
        ends = ends[ends >= 0]
    consumer, producer = edge_index.T
    steps = (kept[consumer] & (before[consumer] == producer)) | (kept[producer] & (before[producer] == consumer))
    return kept, steps


def shortest(graph: PackedGraph) -> PackedGraph:
    """The graph with what lies on the paths alone; nodes and edges keep their order."""
    kept, steps = along(graph.nodes, graph.edge_index, graph.config_nodes)
    number = np.append(np.where(kept, np.cumsum(kept) - 1, -1), -1).astype(np.int32)  # the last is of an absent operand
    return replace(
        graph,
        node_feat=graph.node_feat[kept],
        node_opcode=graph.node_opcode[kept],
        node_split=graph.node_split[kept],
        edge_index=number[graph.edge_index[steps]],
        config_nodes=number[graph.config_nodes],
        config_operands=number[graph.config_operands],
    )
