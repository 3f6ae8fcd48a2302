"""Pairs of a configurable node and a layout triple: what the triple's layouts mean on the node's tensors.

A configuration's statistics are sums over its nodes, and over the configurations of a graph the pairs repeat: each is
looked at once.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np

from stages.graphs.tensors import MAX_RANK
from stages.statistics import orders
from stages.statistics.copies import Tensors


@dataclass(frozen=True)
class Pairs:
    """p pairs; the slots of an array (p, 3) are output, input, kernel.

    node (p,): place among the configurable nodes; ids (p, 3): numbers of the triple's layouts; opcode (p,) of the
    node; dims (p, 3, 6), elements, bytes (p, 3): of the slots' tensors, 0 where there is none; minor, second (p, 3):
    dimension that varies fastest and next, -1 for none; last (p, 3): minor dimension of the row-major tensor; place
    (p, 3): dimensions that row-major has after the minor one, sizes of one aside; inversions (p, 3): pairs of
    dimensions that stand the other way round than in row-major order; given (p, 3): the layout says something; known
    (p, 3): it does, and the tensor is more than one element; disagreeing (p,): input and output have one rank, and
    both known layouts differ.
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
    place: np.ndarray
    inversions: np.ndarray
    given: np.ndarray
    known: np.ndarray
    disagreeing: np.ndarray

    @property
    def item(self) -> np.ndarray:
        """Bytes of an element of each slot's tensor, (p, 3)."""
        return self.bytes // np.maximum(self.elements, 1)

    @property
    def minor_size(self) -> np.ndarray:
        return _size_at(self.dims, self.minor)

    @property
    def second_size(self) -> np.ndarray:
        return _size_at(self.dims, self.second)


def make(node: np.ndarray, ids: np.ndarray, layouts: list[orders.Order], tensors: Tensors) -> Pairs:
    """The pairs of nodes (p,) and triples of layouts (p, 3), numbers into `layouts`.

    What a layout says is found once for every distinct (which sizes are one, layout).
    """
    dims = tensors.dims[node]
    digits = np.minimum(dims, 2) @ 3 ** np.arange(MAX_RANK)
    keys, places = np.unique(digits * len(layouts) + ids, return_inverse=True)
    places = places.reshape(ids.shape)
    distinct = [(layouts[key % len(layouts)], _shape(key // len(layouts))) for key in keys.tolist()]
    facts = np.array([_facts(*pair) for pair in distinct], np.int64).reshape(len(distinct), 6)[places]
    inversions, minor, second, last, place, length = np.moveaxis(facts, -1, 0)
    numbers: dict[orders.Order, int] = {}
    order = np.array([numbers.setdefault(orders.known(*pair), len(numbers)) for pair in distinct], np.int64)[places]
    differ = orders.differ(list(numbers))[order[:, 0], order[:, 1]] > 0
    return Pairs(
        node=node,
        ids=ids,
        opcode=tensors.opcode[node],
        dims=dims,
        elements=tensors.elements[node],
        bytes=tensors.bytes[node],
        minor=minor,
        second=second,
        last=last,
        place=place,
        inversions=inversions,
        given=length > 0,
        known=(length > 0) & (minor >= 0),
        disagreeing=differ & (digits[:, 0] == digits[:, 1]),
    )


def bits(size: np.ndarray) -> np.ndarray:
    """Binary digits of sizes >= 1, so that sums stay whole: 1 -> 0, 2 and 3 -> 1, 4 to 7 -> 2."""
    return np.frexp(size.astype(np.float64))[1] - 1


def padding(pairs: Pairs, lanes: int, sublanes: int) -> np.ndarray:
    """Bytes (p, 3) added when the two minor dimensions are padded to whole tiles; 0 where the layout is unknown."""
    minor, second = pairs.minor_size, pairs.second_size
    outer = pairs.elements // (minor * second)
    whole = outer * (-(-minor // lanes) * lanes) * (-(-second // sublanes) * sublanes)
    return (whole - pairs.elements) * pairs.item * (pairs.known & (pairs.elements > 0))


def _shape(digits: int) -> orders.Order:
    """Shape of base-3 digits: 0 no dimension, 1 a dimension of size one, 2 of any other size."""
    return tuple(digit for axis in range(MAX_RANK) if (digit := digits // 3**axis % 3))


@cache
def _facts(layout: orders.Order, shape: orders.Order) -> tuple[int, ...]:
    order, plain = orders.whole(layout, shape), orders.row_major(shape)
    minor, second, *_ = *order, -1, -1
    last, *_ = *plain, -1
    place = plain.index(minor) if minor in plain else 0
    return orders.inversions(order), minor, second, last, place, len(layout)


def _size_at(dims: np.ndarray, axis: np.ndarray) -> np.ndarray:
    """Size of dimension `axis` (p, 3) of tensors (p, 3, 6); 1 where there is no such dimension."""
    sizes = np.take_along_axis(dims, np.maximum(axis, 0)[..., None], axis=-1)[..., 0]
    return np.where(axis >= 0, np.maximum(sizes, 1), 1)
