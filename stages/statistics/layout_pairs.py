"""Pairs of a configurable node and a layout triple: what the triple's layouts mean on the node's tensors.

A configuration's statistics are sums over its nodes, and over the configurations of a graph the pairs repeat: each is
looked at once.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np

from stages.graphs.tensors import MAX_RANK
from stages.statistics import hardware, orders
from stages.statistics.copies import SlotTensors


@dataclass(frozen=True, eq=False)
class LayoutPairs:
    """p pairs; the three columns of an array (p, 3) are the slots output, input and kernel.

    Attributes:
        node: (p,) number of the configurable node.
        ids: (p, 3) numbers of the triple's layouts.
        opcode: (p,) of the node.
        dims: (p, 3, 6) dimensions of the slots' tensors, 0 where there is none.
        elements: (p, 3) of the tensors, 0 where there is none.
        bytes: (p, 3) of the tensors, 0 where there is none.
        minor: (p, 3) dimension that varies fastest, -1 for none.
        second: (p, 3) dimension that varies next, -1 for none.
        last: (p, 3) minor dimension of the row-major tensor, -1 for none.
        minor_rank: (p, 3) how many dimensions row-major has below the minor one, sizes of one aside: 0 for the last.
        inversions: (p, 3) pairs of dimensions that stand the other way round than in row-major order.
        configured: (p, 3) whether the layout says something.
        known: (p, 3) whether it does, and the tensor is more than one element.
        disagreeing: (p,) whether input and output have one rank, and both known layouts differ.
    """

    node: np.ndarray
    ids: np.ndarray
    opcode: np.ndarray
    dims: np.ndarray
    elements: np.ndarray
    bytes: np.ndarray
    minor: np.ndarray
    second: np.ndarray
    last: np.ndarray
    minor_rank: np.ndarray
    inversions: np.ndarray
    configured: np.ndarray
    known: np.ndarray
    disagreeing: np.ndarray

    @property
    def element_bytes(self) -> np.ndarray:
        """Bytes of an element of each slot's tensor, (p, 3)."""
        return self.bytes // np.maximum(self.elements, 1)

    @property
    def minor_size(self) -> np.ndarray:
        """Size of the minor dimension, (p, 3); 1 for none."""
        return _size_at(self.dims, self.minor)

    @property
    def second_size(self) -> np.ndarray:
        """Size of the second minor dimension, (p, 3); 1 for none."""
        return _size_at(self.dims, self.second)


def layout_pairs(node: np.ndarray, ids: np.ndarray, layouts: list[orders.Order], tensors: SlotTensors) -> LayoutPairs:
    """Makes pairs.

    What a layout says is worked out once for every distinct (which sizes are one, layout).

    Args:
        node: (p,) numbers of configurable nodes.
        ids: (p, 3) numbers into `layouts`, of the triple's three.
        layouts: the distinct ones of the graph.
        tensors: of the graph's configurable nodes.
    """
    dims = tensors.dims[node]
    digits = np.minimum(dims, 2) @ 3 ** np.arange(MAX_RANK)
    keys, key_of_slot = np.unique(digits * len(layouts) + ids, return_inverse=True)
    key_of_slot = key_of_slot.reshape(ids.shape)
    distinct = [(layouts[key % len(layouts)], _shape(key // len(layouts))) for key in keys.tolist()]
    facts = np.array([_facts(*pair) for pair in distinct], np.int64).reshape(len(distinct), 6)[key_of_slot]
    inversions, minor, second, last, minor_rank, length = np.moveaxis(facts, -1, 0)
    return LayoutPairs(
        node=node,
        ids=ids,
        opcode=tensors.opcode[node],
        dims=dims,
        elements=tensors.elements[node],
        bytes=tensors.bytes[node],
        minor=minor,
        second=second,
        last=last,
        minor_rank=minor_rank,
        inversions=inversions,
        configured=length > 0,
        known=(length > 0) & (minor >= 0),
        disagreeing=_differing(distinct, key_of_slot) & (digits[:, 0] == digits[:, 1]),
    )


def bits(size: np.ndarray) -> np.ndarray:
    """Binary digits of sizes >= 1, so that sums stay whole: 1 -> 0, 2 and 3 -> 1, 4 to 7 -> 2."""
    return np.frexp(size.astype(np.float64))[1] - 1


def padding(pairs: LayoutPairs) -> np.ndarray:
    """Bytes (p, 3) added when the two minor dimensions are padded to whole tiles; 0 where the layout is unknown."""
    minor, second = pairs.minor_size, pairs.second_size
    outer = pairs.elements // (minor * second)
    lanes, sublanes = hardware.LANES, hardware.SUBLANES
    padded = outer * (-(-minor // lanes) * lanes) * (-(-second // sublanes) * sublanes)
    return (padded - pairs.elements) * pairs.element_bytes * (pairs.known & (pairs.elements > 0))


def _differing(distinct: list[tuple[orders.Order, orders.Order]], key_of_slot: np.ndarray) -> np.ndarray:
    """Whether the known layouts of output and input differ, (p,); key_of_slot (p, 3) are indices into `distinct`."""
    numbers: dict[orders.Order, int] = {}
    order_of_key = [numbers.setdefault(orders.known(*pair), len(numbers)) for pair in distinct]
    order = np.array(order_of_key, np.int64)[key_of_slot]
    return orders.differ(list(numbers))[order[:, 0], order[:, 1]] > 0


def _shape(digits: int) -> orders.Order:
    """Shape of base-3 digits: 0 no dimension, 1 a dimension of size one, 2 of any other size."""
    return tuple(digit for axis in range(MAX_RANK) if (digit := digits // 3**axis % 3))


@cache
def _facts(layout: orders.Order, shape: orders.Order) -> tuple[int, ...]:
    """Inversions, minor and second minor dimension, row-major's last one, rank of the minor, length of the layout."""
    order, row_major = orders.whole(layout, shape), orders.row_major(shape)
    minor, second, *_ = *order, -1, -1
    last, *_ = *row_major, -1
    minor_rank = row_major.index(minor) if minor in row_major else 0
    return orders.inversions(order), minor, second, last, minor_rank, len(layout)


def _size_at(dims: np.ndarray, axis: np.ndarray) -> np.ndarray:
    """Size of dimension `axis` (p, 3) of tensors (p, 3, 6); 1 where there is no such dimension."""
    sizes = np.take_along_axis(dims, np.maximum(axis, 0)[..., None], axis=-1)[..., 0]
    return np.where(axis >= 0, np.maximum(sizes, 1), 1)
