"""Two searches over the layouts of a TPU program: `random`, sparse to heavy with themes, and `default`, evolutionary.

A choice is one index into each slot's layouts (`choices`), or FREE. Costs are the time model's and have no noise:
with the same seed a search makes the same runs on any machine.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from stages.collect.tpu.choices import FREE, Slot

#: simulated time of a choice in nanoseconds, None where the compiler cannot compile it
Cost = Callable[[np.ndarray], float | None]

#: tries of a move that differs from what the compiler does anyhow
REDRAWS = 20
#: how many moves a random configuration is made of, from sparse to heavy
MOVES = (1, 2, 3, 5, 8)
#: and how many a child has more than its parents
CHILD_MOVES = (1, 1, 2, 3)
#: a move is one that was made before with this probability
REUSE = 0.85
#: share of the nodes that a stretch of the program holds
STRETCHES = (0.02, 0.05, 0.1, 0.2)
#: share of all slots that a theme of the whole program touches
RATES = (0.1, 0.3, 0.6)
#: share of the runs so far that breed
ELITE = 0.3
#: a child has two parents with this probability
CROSSED = 0.5
#: and gives a stretch back to the compiler with this one
RELEASED = 0.15
#: configurations of one cost that are kept
ALIKE = 3
#: tries of a configuration for each one that is wanted; some programs have no more that differ
TRIES = 4
#: by rule: a graph with fewer distinct costs, or a smaller slowest/fastest, is worth nothing
LEAST_DISTINCT, LEAST_SPREAD = 30, 1.02


@dataclass
class Runs:
    """Configurations that compile, in the order in which they were tried, with their costs.

    Of those that cost the same only `ALIKE` are kept: most differ in what the compiler does anyhow, or undoes.

    Attributes:
        cost: Simulates a choice.
        banned: (slot, layout) pairs that made a configuration fail, learnt once; searches of a program may share them.
        choices, costs_ns: Of the runs without an error.
        errors: How many configurations failed.
    """

    slots: Sequence[Slot]
    cost: Cost
    banned: set[tuple[int, int]] = field(default_factory=set)
    choices: list[np.ndarray] = field(default_factory=list)
    costs_ns: list[float] = field(default_factory=list)
    errors: int = 0
    _seen: set[bytes] = field(default_factory=set)
    _alike: dict[int, int] = field(default_factory=dict)

    def add(self, choice: np.ndarray) -> None:
        """Runs a choice, what is banned left to the compiler, unless it was run before.

        Where it fails, the (slot, layout) to blame is found by halving, banned, and the rest is run.
        """
        choice = self._allowed(choice)
        while not self._run(choice):
            self.banned.add(self._blamed(choice))
            choice = self._allowed(choice)

    def _allowed(self, choice: np.ndarray) -> np.ndarray:
        choice = choice.astype(np.int8)
        for slot, layout in self.banned:
            if choice[slot] == layout:
                choice[slot] = FREE
        return choice

    def _run(self, choice: np.ndarray) -> bool:
        """Whether the choice compiles; one that was tried before does."""
        key = choice.tobytes()
        if key in self._seen:
            return True
        cost = self.cost(choice)
        if cost is None:
            if np.all(choice == FREE):
                raise ValueError("the program does not compile with the compiler's own layouts")
            self.errors += 1
            return False
        self._seen.add(key)
        alike = self._alike[round(cost)] = self._alike.get(round(cost), 0) + 1
        if alike <= ALIKE:
            self.choices.append(choice)
            self.costs_ns.append(cost)
        return True

    def _blamed(self, choice: np.ndarray) -> tuple[int, int]:
        """The first (slot, layout) with which the choice, built up slot by slot, does not compile."""
        changed = np.flatnonzero(choice != FREE)
        good, bad = 0, len(changed)
        while bad - good > 1:
            middle = (good + bad) // 2
            part = np.full_like(choice, FREE)
            part[changed[:middle]] = choice[changed[:middle]]
            good, bad = (middle, bad) if self._run(part) else (good, middle)
        slot = int(changed[bad - 1])
        return slot, int(choice[slot])


def kinds_of(slots: Sequence[Slot]) -> np.ndarray:
    """(slots,) a number for each combination of slot and count of layouts: what a theme treats alike."""
    return np.array([4 * len(slot.layouts) + slot.slot for slot in slots])


def scattered(slots: Sequence[Slot], rate: float, rng: np.random.Generator) -> np.ndarray:
    """A choice in which each slot has, with probability `rate`, a layout drawn by its odds."""
    choice = np.full(len(slots), FREE, np.int8)
    for position in np.flatnonzero(rng.random(len(slots)) < rate):
        choice[position] = rng.choice(len(slots[position].layouts), p=slots[position].odds)
    return choice


def themed(slots: Sequence[Slot], where: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A choice in which the slots `where` (slots,) have, kind by kind, one layout in common, or are left free.

    A slot takes the common layout unless its odds are too small: padding would make it many times as large.
    """
    choice = np.full(len(slots), FREE, np.int8)
    kinds = kinds_of(slots)
    for kind in np.unique(kinds[where]):
        members = np.flatnonzero(where & (kinds == kind))
        layout = rng.integers(-1, min(len(slots[position].layouts) for position in members))
        for position in members:
            if layout != FREE and rng.random() < 2 * slots[position].odds[layout]:
                choice[position] = layout
    return choice


def stretch(slots: Sequence[Slot], rate: float, rng: np.random.Generator) -> np.ndarray:
    """(slots,) boolean: the slots of a run of nodes that stand together in the program, `rate` of them all."""
    nodes = np.array([slot.node for slot in slots])
    length = max(1, round(rate * (nodes.max() + 1)))
    start = rng.integers(nodes.max() + 2 - length) if length <= nodes.max() else 0
    return (nodes >= start) & (nodes < start + length)


class Palette:
    """The moves of a program, of which configurations are made: parts of a choice, the rest FREE.

    A move is drawn anew or, mostly, again: the kernels that it makes are compiled already, and many sums of few moves
    give many costs. Moves are made in the order of their own generator, so that searches of a program share them.

    Args:
        slots: of the program.
        seed: of the moves.
    """

    def __init__(self, slots: Sequence[Slot], seed: int) -> None:
        self.slots = slots
        self._rng = np.random.default_rng(seed)
        self._moves: list[np.ndarray] = []

    def move(self, rng: np.random.Generator, used: int) -> tuple[np.ndarray, int]:
        """A move, and how many of the palette's the search has used with it, of `used` before."""
        if used > 0 and rng.random() < REUSE:
            return self._moves[rng.integers(used)], used
        if used == len(self._moves):
            self._moves.append(self._new())
        return self._moves[used], used + 1

    def _new(self) -> np.ndarray:
        own = np.array([slot.own for slot in self.slots])
        for _ in range(REDRAWS):
            move = self._drawn()
            if np.any((move != FREE) & (move != own)):  # what the compiler does anyhow changes no cost
                break
        return move

    def _drawn(self) -> np.ndarray:
        rng, slots = self._rng, self.slots
        way = rng.random()
        if way < 0.4:  # one to six slots anywhere
            return scattered(slots, rng.integers(1, 7) / len(slots), rng)
        if way < 0.9:  # neighbours that agree: layouts spread between them without a copy
            return themed(slots, stretch(slots, rng.choice(STRETCHES), rng), rng)
        return themed(slots, rng.random(len(slots)) < rng.choice(RATES), rng)  # a habit of the whole program


def joined(parts: Sequence[np.ndarray]) -> np.ndarray:
    """One choice of several, a later part's layouts over an earlier one's."""
    choice = parts[0]
    for part in parts[1:]:
        choice = np.where(part == FREE, choice, part)
    return choice


def summed(palette: Palette, rng: np.random.Generator, used: int) -> tuple[np.ndarray, int]:
    """A sum of moves, few to many, and how many of the palette's the search has used with it, of `used` before."""
    moves = []
    for _ in range(rng.choice(MOVES)):
        move, used = palette.move(rng, used)
        moves.append(move)
    return joined(moves), used


def bred(
    parents: Sequence[np.ndarray], palette: Palette, rng: np.random.Generator, used: int
) -> tuple[np.ndarray, int]:
    """A child of choices, and how many of the palette's moves the search has used with it, of `used` before.

    A child is one of the parents, or a mixture of two, with a few moves more; some have layouts given back to the
    compiler.
    """
    slots = palette.slots
    child = parents[rng.choice(len(parents))]
    if rng.random() < CROSSED:
        other = parents[rng.choice(len(parents))]
        child = np.where(stretch(slots, rng.uniform(0.1, 0.9), rng), other, child)
    if rng.random() < RELEASED:
        child = np.where(stretch(slots, rng.choice(STRETCHES), rng), FREE, child)
    for _ in range(rng.choice(CHILD_MOVES)):
        move, used = palette.move(rng, used)
        child = joined([child, move])
    return child, used


def random_search(runs: Runs, count: int, palette: Palette, rng: np.random.Generator) -> None:
    """Fills `runs` with `count` configurations or a few more: the compiler's own, and sums of moves, few to many."""
    runs.add(np.full(len(runs.slots), FREE, np.int8))
    used = 0
    for _ in range(TRIES * count):
        if len(runs.choices) >= count:
            break
        choice, used = summed(palette, rng, used)
        runs.add(choice)


def evolutionary_search(runs: Runs, count: int, palette: Palette, rng: np.random.Generator) -> None:
    """Fills `runs` with `count` configurations or a few more, bred from the compiler's own choice by their costs.

    The fastest runs so far are the parents of the next.
    """
    runs.add(np.full(len(runs.slots), FREE, np.int8))
    used = 0
    for _ in range(TRIES * count):
        if len(runs.choices) >= count:
            break
        elite = np.argsort(runs.costs_ns, kind="stable")[: max(2, round(ELITE * len(runs.choices)))]
        child, used = bred([runs.choices[place] for place in elite], palette, rng, used)
        runs.add(child)


SEARCHES = {"random": random_search, "default": evolutionary_search}


def distinct(costs_ns: Sequence[float]) -> int:
    """Number of costs that differ by a nanosecond or more."""
    return len(np.unique(np.round(costs_ns)))


def worthless(costs_ns: Sequence[float]) -> str | None:
    """Why a graph with these costs is dropped by rule, None where it is kept."""
    count, spread = distinct(costs_ns), max(costs_ns) / min(costs_ns)
    if count < LEAST_DISTINCT:
        return f"{count} distinct costs of {len(costs_ns)} configurations, fewer than {LEAST_DISTINCT}"
    if spread < LEAST_SPREAD:
        return f"slowest/fastest {spread:.3f}, below {LEAST_SPREAD}"
    return None
