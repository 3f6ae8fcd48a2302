"""Facts about a whole graph, taken before it is cut: paths between configurable nodes, and statistics."""

from __future__ import annotations

import numpy as np

from stages.engine.errors import InputError
from stages.graphs import npz
from stages.graphs.opcodes import CONVOLUTION, DOT, PARAMETER, RESHAPE
from stages.graphs.tensors import ELEMENTS, ROOT, element_bytes
from stages.graphs.topology import operands

MOST_PAIRS = 1 << 24  # contracted; the published 3,143 configurable nodes have under 5 million
LARGEST_SETS = 1 << 28  # bytes of the sets that `contract` holds; the largest published graph takes 17 MB


def contract(order: np.ndarray, edge_index: np.ndarray, config_nodes: np.ndarray) -> np.ndarray:
    """Contracts the graph to its configurable nodes.

    One pass, with a set of configurable nodes at every node: n * nc / 8 bytes.

    Args:
        order: Nodes (n,), producers before consumers.
        edge_index: (m, 2); an edge [u, v] says that u consumes the output of v.
        config_nodes: Configurable nodes (nc,).

    Returns:
        Pairs (k, 2) int32 of places in config_nodes, [consumer, producer], sorted. A path leads from the consumer down
        to the producer and meets no other configurable node.

    Raises:
        InputError: The sets or the pairs are more than memory may hold.
    """
    width = -(-len(config_nodes) // 8)
    if len(order) * width > LARGEST_SETS:
        raise InputError(f"{len(order)} nodes with {len(config_nodes)} configurable ones are too many; leave it out")
    number = np.full(len(order), -1)  # of a configurable node among them
    number[config_nodes] = np.arange(len(config_nodes))
    starts, producers = operands(len(order), edge_index)
    reached = np.zeros((len(order), width), np.uint8)  # the configurable nodes that a consumer meets through a node
    blocks: list[np.ndarray] = [np.empty((0, 2), np.int32)]
    total = 0
    for node in order:
        below = np.bitwise_or.reduce(reached[producers[starts[node] : starts[node + 1]]], axis=0)
        if number[node] < 0:
            reached[node] = below
            continue
        reached[node, number[node] // 8] = 1 << number[node] % 8
        met = np.flatnonzero(np.unpackbits(below, bitorder="little"))
        total += len(met)
        if total > MOST_PAIRS:
            raise InputError(f"more than {MOST_PAIRS} paths between configurable nodes; leave the graph out")
        blocks.append(np.stack([np.full(len(met), number[node]), met], axis=1).astype(np.int32))
    pairs = np.concatenate(blocks)
    return pairs[np.lexsort((pairs[:, 1], pairs[:, 0]))]


def statistics(
    graph: npz.LayoutArrays | npz.LayoutFile | npz.TileArrays,
    order: np.ndarray,
    config_nodes: np.ndarray,
    contracted: int,
) -> dict[str, float]:
    """Computes statistics of the whole graph.

    Args:
        graph: The whole graph, of n nodes.
        order: Nodes (n,), producers before consumers.
        config_nodes: Configurable nodes (nc,); none of a tile graph.
        contracted: How many pairs `contract` finds.

    Returns:
        Counts, the longest path in nodes, and log(1 + sum) of elements and bytes, by name.
    """
    opcode = graph.node_opcode
    elements = graph.node_feat[:, ELEMENTS].astype(np.float64)
    size = elements * element_bytes(graph.node_feat)
    counts = {
        "nodes": len(opcode),
        "edges": len(graph.edge_index),
        "roots": graph.node_feat[:, ROOT].sum(),
        "depth": _depth(order, graph.edge_index),
        "configurable": len(config_nodes),
        "contracted": contracted,
    }
    sums = {
        "elements": elements.sum(),
        "bytes": size.sum(),
        "largest_bytes": size.max(),
        "parameter_bytes": size[opcode == PARAMETER].sum(),
        "configurable_bytes": size[config_nodes].sum(),
        "convolution_elements": elements[opcode == CONVOLUTION].sum(),
        "dot_elements": elements[opcode == DOT].sum(),
        "reshape_elements": elements[opcode == RESHAPE].sum(),
    }
    logs = {f"log_{name}": np.log1p(max(value, 0)) for name, value in sums.items()}
    return {name: float(value) for name, value in (counts | logs).items()}


def _depth(order: np.ndarray, edge_index: np.ndarray) -> int:
    """Nodes on the longest path."""
    starts, producers = (array.tolist() for array in operands(len(order), edge_index))
    height = [0] * len(order)
    for node in order.tolist():
        height[node] = 1 + max((height[operand] for operand in producers[starts[node] : starts[node + 1]]), default=0)
    return max(height)
