"""Layouts by number, and what a layout becomes on its way past an instruction, as tables from numbers to numbers.

Source: XLA's `layout_assignment.cc` (openxla/xla), whose rules the tables restate.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import cache
from itertools import permutations

import numpy as np

from stages.graphs.tensors import MAX_RANK
from stages.statistics.orders import Order


@cache
def orders(rank: int) -> list[Order]:
    """All layouts of a rank, minor to major; a layout's number is its place. The first is row-major."""
    return list(permutations(range(rank - 1, -1, -1)))


@cache
def numbers(rank: int) -> dict[Order, int]:
    """The number of each layout of a rank."""
    return {order: number for number, order in enumerate(orders(rank))}


def factors(left: Sequence[int], right: Sequence[int]) -> list[tuple[list[int], list[int]]] | None:
    """The shortest runs of dimensions of two shapes with equal products, in order; dimensions of size one left out.

    Returns:
        Pairs of the dimensions of `left` and of `right`, None where the shapes hold different numbers of elements.
    """
    if math.prod(left) != math.prod(right) or math.prod(left) == 0:
        return None
    lefts, rights = ([axis for axis, size in enumerate(dims) if size != 1] for dims in (left, right))
    runs = []
    while lefts and rights:
        ours, theirs = [lefts.pop(0)], [rights.pop(0)]
        while (here := math.prod(left[axis] for axis in ours)) != (there := math.prod(right[axis] for axis in theirs)):
            if here < there:
                ours.append(lefts.pop(0))
            else:
                theirs.append(rights.pop(0))
        runs.append((ours, theirs))
    return runs


def reshaped(order: Order, dims: Sequence[int], runs: list[tuple[list[int], list[int]]], other: int) -> Order | None:
    """The layout of a reshape's other side for which the reshape moves nothing; None where there is none.

    Args:
        order: Of the one side.
        dims: Of the one side.
        runs: `factors` of the one side and the other.
        other: Rank of the other side. Its dimensions of size one become the major ones.
    """
    rest = [axis for axis in order if dims[axis] != 1]
    run_of = {axis: number for number, (ours, _) in enumerate(runs) for axis in ours}
    made: list[int] = []
    while rest:
        ours, theirs = runs[run_of[rest[0]]]
        if rest[: len(ours)] != ours[::-1]:
            return None
        rest = rest[len(ours) :]
        made += theirs[::-1]
    return (*made, *(axis for axis in range(other - 1, -1, -1) if axis not in made))


class Tables:
    """Tables from the layouts of one rank to those of another, each made once."""

    def __init__(self) -> None:
        self._rows: dict[tuple, int] = {}
        self._made: list[np.ndarray] = []

    def row(self, key: tuple, rank: int, target: int, function: Callable[[Order], Order | None]) -> int:
        """Number of the table of a function between layouts."""
        if key not in self._rows:
            table = np.full(math.factorial(MAX_RANK), -1, np.int16)
            for number, order in enumerate(orders(rank)):
                made = function(order)
                if made is not None and len(made) == target:
                    table[number] = numbers(target)[made]
            self._rows[key] = len(self._made)
            self._made.append(table)
        return self._rows[key]

    @property
    def array(self) -> np.ndarray:
        """All tables, at least one."""
        return np.stack(self._made) if self._made else np.full((1, math.factorial(MAX_RANK)), -1, np.int16)


def passes(tables: Tables, name: str, theirs: Order, ours: Order, axes: Order) -> tuple[int, int]:
    """Rows of the tables by which an operand's layout becomes the result's, and the other way round."""
    rank, target = len(theirs), len(ours)
    if min(rank, target) < 2:
        return -1, -1
    if name == "transpose" and rank == target and sorted(axes[:rank]) == list(range(rank)):
        inverse = {axis: position for position, axis in enumerate(axes[:rank])}
        return (
            tables.row(("turned", axes[:rank]), rank, rank, lambda order: tuple(inverse[axis] for axis in order)),
            tables.row(("back", axes[:rank]), rank, rank, lambda order: tuple(axes[axis] for axis in order)),
        )
    if name == "reshape":
        there, back = factors(theirs, ours), factors(ours, theirs)
        if there is None or back is None:
            return -1, -1
        return (
            tables.row(("reshaped", theirs, ours), rank, target, lambda order: reshaped(order, theirs, there, target)),
            tables.row(("reshaped", ours, theirs), target, rank, lambda order: reshaped(order, ours, back, rank)),
        )
    if name == "reduce" and rank > target:
        gone = axes[: rank - target]
        number = {axis: i for i, axis in enumerate(axis for axis in range(rank) if axis not in gone)}
        return (
            tables.row(
                ("kept", rank, gone),
                rank,
                target,
                lambda order: tuple(number[axis] for axis in order if axis in number),
            ),
            -1,
        )
    if name == "broadcast" and rank <= target:
        number = {axis: i for i, axis in enumerate(axes[:rank])}
        return -1, tables.row(
            ("spread", target, axes[:rank]),
            target,
            rank,
            lambda order: tuple(number[axis] for axis in order if axis in number),
        )
    return -1, -1


def by_number() -> np.ndarray:
    """(7, 720, 6) int64 the layouts of each rank by their numbers."""
    perms = np.zeros((MAX_RANK + 1, math.factorial(MAX_RANK), MAX_RANK), np.int64)
    for rank in range(1, MAX_RANK + 1):
        perms[rank, : math.factorial(rank), :rank] = orders(rank)
    return perms
