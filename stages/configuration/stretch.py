"""The stretch of a program that its drawing shows, and where in the drawing its nodes stand."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.sparse import csr_array
from scipy.sparse.csgraph import breadth_first_order

from stages.graphs.topology import topological_order

#: nodes of a stretch, of a row of its drawing, and rows, at most: so many names can be read on a phone
NODES, WIDEST, DEEPEST = 32, 4, 12
#: neighbours beyond which a node is left out: those of a constant have nothing to do with one another
HUB = 6
#: passes over the rows of a drawing, down and up, that bring nodes near their neighbours
PASSES = 8


def around(nodes: int, edges: np.ndarray, starts: Sequence[int]) -> np.ndarray:
    """The nodes nearest to some, as many as a drawing has room for.

    Args:
        nodes: how many there are, n.
        edges: (m, 2) pairs [u, v]: u consumes the output of v.
        starts: the nodes to begin with, indices.

    Returns:
        Their indices, sorted; all n of a small graph.
    """
    if nodes <= NODES:
        return np.arange(nodes)
    neighbours: list[list[int]] = [[] for _ in range(nodes)]
    for consumer, producer in edges.tolist():
        neighbours[consumer].append(producer)
        neighbours[producer].append(consumer)
    found = list(dict.fromkeys(starts))
    seen = set(found)
    for node in found:  # which grows meanwhile
        for other in neighbours[node]:
            near = other not in seen and len(neighbours[other]) <= HUB
            if near and len(found) < NODES and _has_room(edges, [*found, other]):
                found.append(other)
            seen.add(other)
    return np.sort(found)


def path(nodes: int, edges: np.ndarray, first: int, last: int) -> list[int]:
    """The shortest way from a node along its consumers to another, both ends included; the ends where there is none."""
    consumer, producer = edges.T
    graph = csr_array((np.ones(len(edges)), (producer, consumer)), shape=(nodes, nodes))
    _, before = breadth_first_order(graph, first)
    way = [last]
    while before[way[-1]] >= 0:
        way.append(int(before[way[-1]]))
    return way[::-1] if way[-1] == first else [first, last]


def inside(edges: np.ndarray, nodes: np.ndarray) -> np.ndarray:
    """The edges between some nodes (k,), sorted; each end as its place among them."""
    both = np.isin(edges, nodes).all(axis=1)
    return np.searchsorted(nodes, edges[both])


def positions(nodes: int, edges: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """x and y (n,): a node lies one row below the lowest of its operands, and within its row near its neighbours."""
    consumers, operands = _ends(nodes, edges)
    depth = _depths(nodes, edges)
    rows = [np.flatnonzero(depth == level) for level in range(depth.max() + 1)]
    x = np.zeros(nodes)
    for number in range(PASSES):
        downward = number % 2 == 0
        for row in rows if downward else rows[::-1]:
            neighbours = operands if downward else consumers
            wanted = [np.mean(x[neighbours[node]]) if neighbours[node] else x[node] for node in row]
            x[row[np.argsort(wanted, kind="stable")]] = np.arange(len(row)) - (len(row) - 1) / 2
    return x, -depth.astype(float)


def _has_room(edges: np.ndarray, nodes: list[int]) -> bool:
    """Whether a drawing of these nodes is neither wider nor deeper than can be read."""
    chosen = np.sort(nodes)
    depth = _depths(len(chosen), inside(edges, chosen))
    return depth.max() < DEEPEST and np.bincount(depth).max() <= WIDEST


def _depths(nodes: int, edges: np.ndarray) -> np.ndarray:
    """The row (n,) of each node, from 0: below its operands, and right above its first consumer."""
    consumers, operands = _ends(nodes, edges)
    order = topological_order(nodes, edges).tolist()
    depth = np.zeros(nodes, np.int64)
    for node in order:
        depth[node] = max((depth[producer] + 1 for producer in operands[node]), default=0)
    for node in reversed(order):  # so that edges are short
        depth[node] = min((depth[consumer] - 1 for consumer in consumers[node]), default=depth[node])
    return depth - depth.min()


def _ends(nodes: int, edges: np.ndarray) -> tuple[list[list[int]], list[list[int]]]:
    """The consumers and the operands of each node."""
    consumers: list[list[int]] = [[] for _ in range(nodes)]
    operands: list[list[int]] = [[] for _ in range(nodes)]
    for consumer, producer in edges.tolist():
        consumers[producer].append(consumer)
        operands[consumer].append(producer)
    return consumers, operands
