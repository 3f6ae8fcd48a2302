"""Partitions of a graph for Graph Segment Training (Cao et al., NeurIPS 2023, arXiv 2305.12322)."""

from __future__ import annotations

import numpy as np

from stages.graphs.topology import topological_order

PARTITIONS = ("contiguous", "node_splits", "metis")


def partition(edge_index: np.ndarray, splits: np.ndarray, method: str, budget: int) -> list[np.ndarray]:
    """Node numbers of each segment, ascending; every node is in one segment of at most about `budget` nodes.

    edge_index (m, 2), [u, v]: u consumes the output of v; splits (n,): part of the published partition of each node.
    contiguous: stretches of a topological order, equally long, as the published TpuGraphs code does. node_splits: the
    published parts, small neighbours joined and large ones cut in stretches. metis: few cut edges, equal sizes.
    """
    nodes = len(splits)
    count = -(-nodes // budget)
    if count <= 1:
        return [np.arange(nodes)]
    if method == "metis":
        return _metis(edge_index, nodes, count)
    order = topological_order(nodes, edge_index)
    if method == "contiguous":
        return _stretches(order, count)
    order = order[np.argsort(splits[order], kind="stable")]
    parts: list[np.ndarray] = []
    for part in np.split(order, np.flatnonzero(np.diff(splits[order])) + 1):
        if parts and len(parts[-1]) + len(part) <= budget:
            parts[-1] = np.concatenate([parts[-1], part])
        elif len(part) > budget:
            parts += _stretches(part, -(-len(part) // budget))
        else:
            parts.append(part)
    return [np.sort(part) for part in parts]


def _stretches(order: np.ndarray, count: int) -> list[np.ndarray]:
    return [np.sort(part) for part in np.array_split(order, count)]


def _metis(edge_index: np.ndarray, nodes: int, count: int) -> list[np.ndarray]:
    import pymetis  # imported here: no other method needs it

    ends = np.concatenate([edge_index, edge_index[:, ::-1]])
    ends = np.unique(ends[ends[:, 0] != ends[:, 1]], axis=0)
    starts = np.searchsorted(ends[:, 0], np.arange(nodes + 1))
    adjacency = pymetis.CSRAdjacency(starts.tolist(), ends[:, 1].tolist())
    member = np.array(pymetis.part_graph(count, adjacency).vertex_part)
    return [part for number in range(count) if len(part := np.flatnonzero(member == number))]
