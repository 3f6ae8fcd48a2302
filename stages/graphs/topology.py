"""Orders of a graph's nodes, and what lies near some of them."""

from __future__ import annotations

from graphlib import TopologicalSorter

import numpy as np


def operands(nodes: int, edge_index: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Groups edges by their consumer.

    Args:
        nodes: How many there are, n.
        edge_index: (m, 2); an edge [u, v] says that u consumes the output of v.

    Returns:
        Starts (n + 1,) and producers (m,): node i consumes producers[starts[i]:starts[i + 1]], in the order of
        edge_index.
    """
    order = np.argsort(edge_index[:, 0], kind="stable")
    starts = np.searchsorted(edge_index[order, 0], np.arange(nodes + 1))
    return starts, edge_index[order, 1]


def topological_order(nodes: int, edge_index: np.ndarray) -> np.ndarray:
    """Orders nodes (n,), each after what it consumes; published files are in that order already.

    Args:
        nodes: How many there are, n.
        edge_index: (m, 2), without a cycle.

    Returns:
        (n,) int64.
    """
    if (edge_index[:, 0] > edge_index[:, 1]).all():
        return np.arange(nodes)
    starts, producers = operands(nodes, edge_index)
    sorter = TopologicalSorter({node: producers[starts[node] : starts[node + 1]].tolist() for node in range(nodes)})
    return np.fromiter(sorter.static_order(), np.int64, nodes)


def within(nodes: int, edge_index: np.ndarray, ids: np.ndarray, hops: int | str, direction: str = "both") -> np.ndarray:
    """Finds the nodes within some steps of others.

    Args:
        nodes: How many there are, n.
        edge_index: (m, 2); an edge [u, v] says that u consumes the output of v.
        ids: The nodes to start from, as numbers or as a mask.
        hops: How many steps; "all" takes every node.
        direction: Whether steps go to "producers", to "consumers" or "both" ways.

    Returns:
        (n,) bool.
    """
    inside = np.full(nodes, hops == "all")
    inside[ids] = True
    consumer, producer = edge_index.T
    for _ in range(0 if hops == "all" else hops):
        before = inside.copy()
        if direction != "consumers":
            inside[producer[before[consumer]]] = True
        if direction != "producers":
            inside[consumer[before[producer]]] = True
        if (inside == before).all():  # further steps add nothing, and `hops` may be any number
            break
    return inside
