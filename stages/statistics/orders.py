"""Layouts seen from a tensor: the order of its dimensions in memory, and when two orders are the same memory.

A layout is minor-to-major; row-major of rank r is (r-1, ..., 0). Searches on TPUs give only the two minor dimensions,
so a layout may be a prefix; an empty one leaves the choice to the compiler and says nothing. A dimension of size one
does not move a byte wherever it stands, and is dropped before anything is compared.
"""

from __future__ import annotations

from functools import cache

import numpy as np

from stages.graphs.tensors import MAX_RANK

Order = tuple[int, ...]
#: bits of `differ`
ANYWHERE, MINOR = 1, 2
#: a reshape's side whose layout interleaves the dimensions that the reshape joins or splits: no view can follow it.
#: Two values, so that two such sides never look alike.
_TORN = {"output": (MAX_RANK + 1,), "input": (MAX_RANK + 2,)}


@cache
def known(layout: Order, shape: Order) -> Order:
    """The given dimensions of a layout without those of size one."""
    return tuple(axis for axis in layout if axis >= 0 and not (axis < len(shape) and shape[axis] == 1))


@cache
def whole(layout: Order, shape: Order) -> Order:
    """The layout without dimensions of size one; those it leaves open follow in row-major order. () says nothing."""
    given = known(layout, shape)
    if not any(axis >= 0 for axis in layout):
        return ()
    rest = [axis for axis in range(len(shape) - 1, -1, -1) if shape[axis] != 1 and axis not in given]
    return given + tuple(rest)


@cache
def inversions(order: Order) -> int:
    """Pairs of dimensions that stand the other way round than in row-major order."""
    return sum(order[i] < order[j] for i in range(len(order)) for j in range(i + 1, len(order)))


def row_major(shape: Order) -> Order:
    return tuple(axis for axis in range(len(shape) - 1, -1, -1) if shape[axis] != 1)


def transposed(layout: Order, shape: Order, permutation: Order) -> Order:
    """The order a transpose's operand must have for the transpose to be a mere view of it.

    layout, shape: of the transpose's result; result dimension i is operand dimension permutation[i].
    """
    return tuple(permutation[axis] if axis < len(permutation) else axis for axis in known(layout, shape))


def reduced(layout: Order, shape: Order, gone: Order) -> Order:
    """A reduce's operand's order without the dimensions it sums over, numbered as in the result."""
    return tuple(axis - sum(other < axis for other in gone) for axis in known(layout, shape) if axis not in gone)


@cache
def groups(output: Order, operand: Order) -> tuple[dict[int, int], dict[int, int]] | None:
    """Splits two shapes of equal size into the shortest runs of dimensions of equal product.

    Returns, for the result and for the operand, the number of the run of each dimension (sizes of one left out); None
    if the sizes differ. A reshape [6,4] -> [2,3,4] has the runs {0: 0, 1: 0, 2: 1} and {0: 0, 1: 1}.
    """
    sides = [[(axis, size) for axis, size in enumerate(shape) if size != 1] for shape in (output, operand)]
    runs: tuple[dict[int, int], dict[int, int]] = ({}, {})
    places, run = [0, 0], 0
    while any(place < len(side) for place, side in zip(places, sides, strict=True)):
        products = [1, 1]
        while products[0] != products[1] or products[0] == 1:
            side = int(products[1] < products[0] or (products[0] == products[1] and not sides[0][places[0] :]))
            if places[side] >= len(sides[side]):
                return None
            axis, size = sides[side][places[side]]
            runs[side][axis] = run
            products[side] *= size
            places[side] += 1
        run += 1
    return runs


def collapsed(layout: Order, shape: Order, runs: dict[int, int], side: str) -> Order:
    """Order of the runs of a reshape (see `groups`) in memory; a value of its own where a run is torn apart.

    A reshape is a mere view exactly when both sides hold the dimensions of each run next to each other in row-major
    order, and the runs in the same order.
    """
    order = whole(layout, shape)
    if any(axis not in runs for axis in order):
        return ()
    result: list[int] = []
    for before, axis in zip((None, *order), order, strict=False):
        if before is not None and runs[before] == runs[axis]:
            if axis > before:
                return _TORN[side]
        elif runs[axis] in result:
            return _TORN[side]
        else:
            result.append(runs[axis])
    return tuple(result)


def differ(orders: list[Order]) -> np.ndarray:
    """(k, k) uint8 for every two orders: ANYWHERE if known dimensions differ, with MINOR if the minor ones do."""
    table = np.full((len(orders), MAX_RANK), -1, np.int8)
    for row, order in zip(table, orders, strict=True):
        row[: len(order)] = order
    result = np.zeros((len(orders), len(orders)), np.uint8)
    for place, column in enumerate(table.T):
        here = (column[:, None] >= 0) & (column[None] >= 0) & (column[:, None] != column[None])
        result |= here * np.uint8(ANYWHERE if place else ANYWHERE | MINOR)
    return result
