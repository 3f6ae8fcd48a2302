"""Which nodes and edges of a layout graph are kept.

The cut is the first place's (Kaggle discussion 456343): configurable nodes and their neighbours, and of the edges those
that touch a configurable node. `hops` widens it.
"""

from __future__ import annotations

import numpy as np

from stages.graphs import npz
from stages.graphs.operands import config_operands
from stages.graphs.topology import within


def cut(
    graph: npz.LayoutArrays | npz.LayoutFile, hops: int | str, neighbour_edges: bool, direction: str = "both"
) -> dict[str, np.ndarray]:
    """Keeps the nodes within `hops` steps of a configurable node, and edges among them.

    Args:
        graph: The whole graph.
        hops: How many steps, or "all".
        neighbour_edges: Whether to keep all edges between kept nodes. Otherwise an edge stays only if one of its ends
            lies within hops - 1 steps.
        direction: Whether steps lead to "producers", to "consumers" or "both" ways.

    Returns:
        node_feat, node_opcode, node_split, edge_index, config_nodes and config_operands, as `dataset.PackedGraph`
        describes them. Nodes and edges keep their order; nodes are renumbered.
    """
    consumer, producer = graph.edge_index.T
    configurable = graph.node_config_ids
    kept = within(len(graph.node_feat), graph.edge_index, configurable, hops, direction)
    edges = kept[consumer] & kept[producer]
    if hops != "all" and not neighbour_edges:
        inner = within(len(kept), graph.edge_index, configurable, hops - 1, direction)
        edges &= inner[consumer] | inner[producer]
    number = np.cumsum(kept) - 1  # of a kept node among the kept
    operands = config_operands(graph.node_feat, graph.node_opcode, graph.edge_index, configurable)
    return {
        "node_feat": graph.node_feat[kept],
        "node_opcode": graph.node_opcode[kept],
        "node_split": np.searchsorted(graph.node_splits, np.flatnonzero(kept), side="right"),
        "edge_index": number[graph.edge_index[edges]],
        "config_nodes": number[configurable],
        "config_operands": np.where(operands >= 0, number[operands], -1),
    }
