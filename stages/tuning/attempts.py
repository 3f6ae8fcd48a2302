"""What was compiled of a program so far: times by choice on disk, their order, and the risk of the next."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from stages.collect.tpu.choices import FREE
from stages.collect.tpu_data.store import Tried
from stages.engine import files

#: rounds in which suspects share the blame for failures anew
ITERATIONS = 10


class Spent(Exception):
    """The budget of compilations is spent."""


@dataclass
class Attempts:
    """Compilations in their order, at most `budget` of them; the compiler's own choice, which is free, comes first.

    Attributes:
        own, own_ns: The compiler's own choice (slots,), all FREE, and its nanoseconds.
        compile: Simulated nanoseconds of a choice, None where it does not compile.
        tried: Times that are kept on disk: a choice that stands there is not compiled again, yet counts.
        budget: Attempts at most.
        choices, times_ns: Of all, in the order of the attempts; None where it does not compile.
        tick: Called after each attempt.
    """

    own: np.ndarray
    own_ns: float
    compile: Callable[[np.ndarray], float | None]
    tried: Tried
    budget: int
    tick: Callable[[], None] = lambda: None
    choices: list[np.ndarray] = field(default_factory=list)
    times_ns: list[float | None] = field(default_factory=list)

    def cost(self, choice: np.ndarray) -> float | None:
        """Compiles a choice, as `search.Cost`.

        Raises:
            Spent: The budget is.
        """
        if np.array_equal(choice, self.own):
            return self.own_ns
        if len(self.choices) >= self.budget:
            raise Spent
        if choice not in self.tried:
            self.tried[choice] = self.compile(choice)
        self.choices.append(choice.copy())
        self.times_ns.append(self.tried[choice])
        self.tick()
        return self.times_ns[-1]

    @property
    def spent(self) -> bool:
        return len(self.choices) >= self.budget

    @property
    def best(self) -> tuple[np.ndarray, float]:
        """The fastest choice, the compiler's own where none is faster, and its nanoseconds."""
        found = self.compiled()
        return min(found, key=lambda each: each[1])

    def compiled(self) -> list[tuple[np.ndarray, float]]:
        """Choices that compile with their times, the compiler's own first."""
        pairs = zip(self.choices, self.times_ns, strict=True)
        return [(self.own, self.own_ns), *((choice, time) for choice, time in pairs if time is not None)]

    def failed(self) -> list[np.ndarray]:
        """Choices that do not compile."""
        pairs = zip(self.choices, self.times_ns, strict=True)
        return [choice for choice, time_ns in pairs if time_ns is None]


class Risk:
    """How likely a choice is not to compile, by what did and what did not.

    A layout of a slot that stood in a choice that compiled is innocent. In a choice that failed the others share the
    blame, by how much each of them has elsewhere. One that was never tried is as risky as those of its kind.

    Args:
        kinds: (slots,) which slots are of a kind.
        good, failed: Choices (slots,) that compile and that do not.
    """

    def __init__(self, kinds: np.ndarray, good: Sequence[np.ndarray], failed: Sequence[np.ndarray]) -> None:
        layouts = 2 + max(int(choice.max(initial=FREE)) for choice in (*good, *failed))
        shape = len(kinds), layouts
        innocent, tried = np.zeros(shape, bool), np.zeros(shape)
        for choice in good:
            innocent[_chosen(choice)] = True
        suspects = []
        for choice in failed:
            places, indices = _chosen(choice)
            left = ~innocent[places, indices]
            if left.any():  # else layouts are to blame that go well alone, and not together
                suspects.append((places[left], indices[left]))
        for each in suspects:
            tried[each] += 1
        blame = (tried > 0).astype(float)
        for _ in range(ITERATIONS):
            shares = np.zeros(shape)
            for each in suspects:
                shares[each] += blame[each] / blame[each].sum()
            blame = np.divide(shares, tried, out=shares, where=tried > 0)
        seen = innocent | (tried > 0)
        usual = blame.sum() / max(int(seen.sum()), 1)
        self._risk = blame
        for kind in np.unique(kinds):
            rows = kinds == kind
            of_kind = (blame[rows].sum(axis=0) + usual) / (seen[rows].sum(axis=0) + 1)
            self._risk[rows] = np.where(seen[rows], blame[rows], of_kind)
        self._usual = usual

    def of(self, choice: np.ndarray) -> float:
        """The probability that a choice (slots,) does not compile."""
        places, indices = _chosen(choice)
        inside = indices < self._risk.shape[1]
        known = np.prod(1 - self._risk[places[inside], indices[inside]])
        return float(1 - known * (1 - self._usual) ** (~inside).sum())


def _chosen(choice: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The slots that a choice gives a layout, and which."""
    places = np.flatnonzero(choice != FREE)
    return places, choice[places].astype(np.int64)


class Picks:
    """What was picked in each round, on disk: a search that was cut short goes on in the round in which it was.

    Args:
        path: The file, made where it is missing.
        identity: What the picks depend on; those of another identity are thrown away.
    """

    def __init__(self, path: Path, identity: str) -> None:
        self._path, self._identity = path, identity
        self._rounds: list[dict] = []
        try:
            stored = json.loads(path.read_text()) if path.exists() else {}
        except ValueError:
            stored = {}
        if stored.get("identity") == identity:
            self._rounds = stored["rounds"]

    def __len__(self) -> int:
        return len(self._rounds)

    def __iter__(self) -> Iterator[dict]:
        return iter(self._rounds)

    def choices(self, number: int) -> list[np.ndarray]:
        """The choices of a round, the one that promises most first."""
        return [np.frombuffer(bytes.fromhex(each), np.int8) for each in self._rounds[number]["choices"]]

    def add(self, choices: list[np.ndarray], **counts: int) -> None:
        """Writes down a round. counts: what it took."""
        self._rounds.append({"choices": [each.tobytes().hex() for each in choices], **counts})
        content = json.dumps({"identity": self._identity, "rounds": self._rounds}) + "\n"
        files.replace(self._path, content.encode())
