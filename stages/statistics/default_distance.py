"""How far a configuration is from the default one, and how much of the program's work lies at the nodes it changes.

A node's default layouts are its tensors' own in the file, the compiler's choice before a search began.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np

from stages.graphs.opcodes import CONVOLUTION, DOT
from stages.graphs.tensors import LAYOUT, MAX_RANK
from stages.statistics import orders
from stages.statistics.copies import SlotTensors
from stages.statistics.layout_pairs import LayoutPairs
from stages.statistics.node_kinds import ROLES

COLUMNS = {
    "stated_tensors": "tensors whose layout the configuration states; the compiler chooses the others'",
    "default_distance": "pairs of dimensions that stand the other way round than in the default layouts",
    "off_default": "nodes with a layout other than the default",
    "off_default_tensors": "tensors with a layout other than the default",
    "off_default_bytes": "bytes of the tensors not in their default layout, as a share of all configured tensors",
    "off_default_operations": "floating-point operations of the nodes not in their default layouts, as a share of all",
}


@dataclass(frozen=True, eq=False)
class DefaultOrders:
    """The default orders of the slots' tensors of nc configurable nodes.

    Attributes:
        number: (nc, 3) index into `distinct` of each slot's tensor.
        distinct: pairs of a shape, sizes of one as 1 and others as 2, and a default order.
        operations: (nc,) see `operations`.
    """

    number: np.ndarray
    distinct: list[tuple[orders.Order, orders.Order]]
    operations: np.ndarray


def default_orders(node_feat: np.ndarray, config_nodes: np.ndarray, tensors: SlotTensors) -> DefaultOrders:
    """The default orders of a graph's slots: those of the file, row-major where it gives none.

    Args:
        node_feat: (n, 140) of the graph.
        config_nodes: (nc,) its configurable nodes.
        tensors: of their slots.
    """
    number = np.zeros(tensors.source.shape, np.int64)
    distinct: dict[tuple[orders.Order, orders.Order], int] = {}
    for (node, slot), source in np.ndenumerate(tensors.source):
        shape = tuple(1 if size == 1 else 2 for size in tensors.shape(node, slot))
        order = tuple(int(axis) for axis in node_feat[source, LAYOUT][: len(shape)]) if source >= 0 else ()
        ascending = tuple(range(len(shape)))
        key = (shape, order if tuple(sorted(order)) == ascending else ascending[::-1])
        number[node, slot] = distinct.setdefault(key, len(distinct))
    return DefaultOrders(number, list(distinct), operations(node_feat[config_nodes], tensors))


def operations(node_feat: np.ndarray, tensors: SlotTensors) -> np.ndarray:
    """Floating-point operations of each configurable node.

    A convolution multiplies each element of its output by the kernel of one output feature. A dot's contracted size K
    follows from the sizes of its sides and result, [B, M, K] [B, N, K] -> [B, M, N]; B are the leading dimensions, all
    but two, that the three have in common. Other nodes touch each element once.

    Args:
        node_feat: (nc, 140) of the configurable nodes.
        tensors: of their slots.

    Returns:
        (nc,) whole numbers as float64.
    """
    output, operand, kernel = tensors.elements.T.astype(np.float64)
    result = np.maximum(output, operand)
    two_operands = (operand > 0) & (kernel > 0)
    convolution = two_operands & (tensors.opcode == CONVOLUTION)
    axis = np.clip(node_feat[:, ROLES["kernel"]["output_feature"]].astype(np.int64), 0, MAX_RANK - 1)
    features = np.maximum(np.take_along_axis(tensors.dims[:, 2], axis[:, None], axis=1)[:, 0], 1)
    result = np.where(convolution, 2 * output * kernel / features, result)
    dot = two_operands & (tensors.opcode == DOT)
    ranks = (tensors.dims > 0).sum(axis=2).min(axis=1)
    common = (tensors.dims == tensors.dims[:, :1]).all(axis=1) & (np.arange(MAX_RANK) < ranks[:, None] - 2)
    batch = np.where(np.logical_and.accumulate(common, axis=1), tensors.dims[:, 0], 1).prod(axis=1)
    contracted = np.sqrt(operand * kernel / np.maximum(output * batch, 1))
    return np.rint(np.where(dot, 2 * output * contracted, result))


def contributions(pairs: LayoutPairs, layouts: list[orders.Order], defaults: DefaultOrders) -> dict[str, np.ndarray]:
    """What each of p pairs adds to `COLUMNS`; shares are divided later.

    Args:
        pairs: of a node and a layout triple.
        layouts: the distinct ones of the graph.
        defaults: of the graph.

    Returns:
        column -> (p,) whole numbers.
    """
    keys, key_of_slot = np.unique(defaults.number[pairs.node] * len(layouts) + pairs.ids, return_inverse=True)
    compared = [_compare(layouts[key % len(layouts)], *defaults.distinct[key // len(layouts)]) for key in keys.tolist()]
    of_slots = np.array(compared, np.int64).reshape(-1, 2)[key_of_slot.reshape(pairs.ids.shape)]
    distance, off = np.moveaxis(of_slots, -1, 0)
    anywhere = off.any(axis=1)
    return {
        "stated_tensors": pairs.configured.sum(axis=1),
        "default_distance": distance.sum(axis=1),
        "off_default": anywhere,
        "off_default_tensors": off.sum(axis=1),
        "off_default_bytes": (off * pairs.bytes).sum(axis=1),
        "off_default_operations": anywhere * defaults.operations[pairs.node],
    }


@cache
def _compare(layout: orders.Order, shape: orders.Order, default_order: orders.Order) -> tuple[int, int]:
    """Pairs of dimensions that a layout and the default have the other way round; whether known dimensions differ."""
    default = orders.known(default_order, shape)
    rank = {axis: number for number, axis in enumerate(default)}
    order = tuple(rank[axis] for axis in orders.whole(layout, shape) if axis in rank)
    differs = any(axis != other for axis, other in zip(orders.known(layout, shape), default, strict=False))
    return len(order) * (len(order) - 1) // 2 - orders.inversions(order), int(differs)
