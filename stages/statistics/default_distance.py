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
from stages.statistics.copies import Tensors
from stages.statistics.layout_pairs import Pairs
from stages.statistics.node_kinds import ROLES

COLUMNS = {
    "default_distance": "pairs of dimensions that stand the other way round than in the default layouts",
    "off_default": "nodes with a layout other than the default",
    "off_default_tensors": "tensors with a layout other than the default",
    "off_default_bytes": "bytes of the tensors not in their default layout, as a share of all configured tensors",
    "off_default_operations": "floating-point operations of the nodes not in their default layouts, as a share of all",
}


@dataclass(frozen=True)
class Defaults:
    """number (nc, 3): place in `distinct`, (sizes of one as 1 and others as 2, default order), of each slot's tensor;
    operations (nc,): see `operations`."""

    number: np.ndarray
    distinct: list[tuple[orders.Order, orders.Order]]
    operations: np.ndarray


def defaults(node_feat: np.ndarray, config_nodes: np.ndarray, tensors: Tensors) -> Defaults:
    """The default orders of a graph's slots: those of the file (n, 140), row-major where it gives none."""
    number = np.zeros(tensors.source.shape, np.int64)
    distinct: dict[tuple[orders.Order, orders.Order], int] = {}
    for place, source in np.ndenumerate(tensors.source):
        shape = tuple(1 if size == 1 else 2 for size in tensors.shape(*place))
        order = tuple(int(axis) for axis in node_feat[source, LAYOUT][: len(shape)]) if source >= 0 else ()
        plain = tuple(range(len(shape)))
        key = (shape, order if tuple(sorted(order)) == plain else plain[::-1])
        number[place] = distinct.setdefault(key, len(distinct))
    return Defaults(number, list(distinct), operations(node_feat[config_nodes], tensors))


def operations(node_feat: np.ndarray, tensors: Tensors) -> np.ndarray:
    """Floating-point operations of each configurable node, (nc,) whole numbers as float64. node_feat (nc, 140).

    A convolution multiplies each element of its output by the kernel of one output feature. A dot's contracted size K
    follows from the sizes of its sides and result, [B, M, K] [B, N, K] -> [B, M, N]; B are the leading dimensions, all
    but two, that the three have in common. Other nodes touch each element once.
    """
    made, given, kernel = tensors.elements.T.astype(np.float64)
    result = np.maximum(made, given)
    there = (given > 0) & (kernel > 0)
    convolution = there & (tensors.opcode == CONVOLUTION)
    axis = np.clip(node_feat[:, ROLES["kernel"]["output_feature"]].astype(np.int64), 0, MAX_RANK - 1)
    features = np.maximum(np.take_along_axis(tensors.dims[:, 2], axis[:, None], axis=1)[:, 0], 1)
    result = np.where(convolution, 2 * made * kernel / features, result)
    dot = there & (tensors.opcode == DOT)
    ranks = (tensors.dims > 0).sum(axis=2).min(axis=1)
    common = (tensors.dims == tensors.dims[:, :1]).all(axis=1) & (np.arange(MAX_RANK) < ranks[:, None] - 2)
    batch = np.where(np.logical_and.accumulate(common, axis=1), tensors.dims[:, 0], 1).prod(axis=1)
    contracted = np.sqrt(given * kernel / np.maximum(made * batch, 1))
    return np.rint(np.where(dot, 2 * made * contracted, result))


def facts(pairs: Pairs, layouts: list[orders.Order], given: Defaults) -> dict[str, np.ndarray]:
    """What each of p pairs adds to `COLUMNS`, (p,) each, whole numbers: of the shares the bytes and operations."""
    keys, places = np.unique(given.number[pairs.node] * len(layouts) + pairs.ids, return_inverse=True)
    found = [_away(layouts[key % len(layouts)], *given.distinct[key // len(layouts)]) for key in keys.tolist()]
    distance, off = np.moveaxis(np.array(found, np.int64).reshape(-1, 2)[places.reshape(pairs.ids.shape)], -1, 0)
    anywhere = off.any(axis=1)
    return {
        "default_distance": distance.sum(axis=1),
        "off_default": anywhere,
        "off_default_tensors": off.sum(axis=1),
        "off_default_bytes": (off * pairs.bytes).sum(axis=1),
        "off_default_operations": anywhere * given.operations[pairs.node],
    }


@cache
def _away(layout: orders.Order, shape: orders.Order, own: orders.Order) -> tuple[int, int]:
    """Pairs of dimensions that a layout and the default have the other way round; whether known dimensions differ."""
    default = orders.known(own, shape)
    place = {axis: number for number, axis in enumerate(default)}
    order = tuple(place[axis] for axis in orders.whole(layout, shape) if axis in place)
    away = any(axis != other for axis, other in zip(orders.known(layout, shape), default, strict=False))
    return len(order) * (len(order) - 1) // 2 - orders.inversions(order), int(away)
