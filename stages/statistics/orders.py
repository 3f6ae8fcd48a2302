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
#: The order of a reshape's side whose layout interleaves the dimensions that the reshape joins or splits: no view can
#: follow it. There are two values, so that two such sides never look alike.
_TORN = {"output": (MAX_RANK + 1,), "input": (MAX_RANK + 2,)}


@cache
def known(layout: Order, shape: Order) -> Order:
    """The dimensions that a layout names, without those of size one."""
    return tuple(axis for axis in layout if axis >= 0 and not (axis < len(shape) and shape[axis] == 1))


@cache
def whole(layout: Order, shape: Order) -> Order:
    """A layout made whole: without dimensions of size one, and with those it leaves open in row-major order behind.

    An empty layout stays empty: it says nothing.
    """
    if not any(axis >= 0 for axis in layout):
        return ()
    named = known(layout, shape)
    rest = [axis for axis in range(len(shape) - 1, -1, -1) if shape[axis] != 1 and axis not in named]
    return named + tuple(rest)


@cache
def inversions(order: Order) -> int:
    """Pairs of dimensions that stand the other way round than in row-major order."""
    return sum(order[i] < order[j] for i in range(len(order)) for j in range(i + 1, len(order)))


def row_major(shape: Order) -> Order:
    """Row-major order of a shape, without dimensions of size one."""
    return tuple(axis for axis in range(len(shape) - 1, -1, -1) if shape[axis] != 1)


def transposed(layout: Order, shape: Order, permutation: Order) -> Order:
    """The order a transpose's operand must have for the transpose to be a mere view of it.

    Args:
        layout: of the transpose's result.
        shape: of the transpose's result.
        permutation: result dimension i is operand dimension permutation[i].
    """
    return tuple(permutation[axis] if axis < len(permutation) else axis for axis in known(layout, shape))


def reduced(layout: Order, shape: Order, summed: Order) -> Order:
    """The order of what a reduce keeps of its operand, numbered as in the result.

    Args:
        layout: of the operand.
        shape: of the operand.
        summed: the dimensions that the reduce sums over.
    """
    return tuple(axis - sum(other < axis for other in summed) for axis in known(layout, shape) if axis not in summed)


@cache
def groups(output: Order, operand: Order) -> tuple[dict[int, int], dict[int, int]] | None:
    """Splits the two shapes of a reshape into the shortest runs of dimensions of equal product.

    A reshape [6,4] -> [2,3,4] has the runs {0: 0, 1: 0, 2: 1} and {0: 0, 1: 1}.

    Returns:
        For the output and for the operand, dimension -> number of its run, without dimensions of size one. None if the
        sizes differ.
    """
    sides = [[(axis, size) for axis, size in enumerate(shape) if size != 1] for shape in (output, operand)]
    runs: tuple[dict[int, int], dict[int, int]] = ({}, {})
    taken, run = [0, 0], 0  # dimensions of each side that are in a run
    while any(count < len(side) for count, side in zip(taken, sides, strict=True)):
        products = [1, 1]
        while products[0] != products[1] or products[0] == 1:
            # the side whose product is behind takes a dimension; of equal ones the output, as long as it has one
            side = int(products[1] < products[0] or (products[0] == products[1] and not sides[0][taken[0] :]))
            if taken[side] >= len(sides[side]):
                return None
            axis, size = sides[side][taken[side]]
            runs[side][axis] = run
            products[side] *= size
            taken[side] += 1
        run += 1
    return runs


def collapsed(layout: Order, shape: Order, runs: dict[int, int], side: str) -> Order:
    """The order of a reshape's runs in memory, on one of its sides.

    A reshape is a mere view exactly when both sides hold the dimensions of each run next to each other in row-major
    order, and the runs in the same order.

    Args:
        layout: of the side's tensor.
        shape: of the side's tensor.
        runs: of the side, see `groups`.
        side: output or input.

    Returns:
        Numbers of runs; a value of the side's own where a run is torn apart.
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
    """Compares every two of k orders as far as both are known.

    Returns:
        (k, k) uint8: ANYWHERE if dimensions at one place differ, with MINOR if the minor ones do.
    """
    table = np.full((len(orders), MAX_RANK), -1, np.int8)
    for row, order in zip(table, orders, strict=True):
        row[: len(order)] = order
    result = np.zeros((len(orders), len(orders)), np.uint8)
    for rank, column in enumerate(table.T):
        differs = (column[:, None] >= 0) & (column[None] >= 0) & (column[:, None] != column[None])
        result |= differs * np.uint8(ANYWHERE if rank else ANYWHERE | MINOR)
    return result
