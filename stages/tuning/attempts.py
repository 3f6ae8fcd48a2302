"""What was compiled of a program so far: times by choice on disk, their order, and what is to blame for failures."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from stages.collect.tpu.choices import FREE
from stages.collect.tpu_data.store import Tried
from stages.engine import files

#: a candidate is left out where it fails with more than this probability, by what failed before
MOST_RISK = 0.25


class Spent(Exception):
    """The budget of compilations is spent."""


@dataclass
class Attempts:
    """Compilations in their order, at most `budget` of them; the compiler's own choice, which is free, comes first.

    Attributes:
        compile: Simulated nanoseconds of a choice, None where it does not compile.
        tried: Times that are kept on disk: a choice that stands there is not compiled again, yet counts.
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

    def risk(self) -> np.ndarray:
        """(slots, layouts) of each layout of a slot, how likely it is to blame for what failed.

        In a choice that failed each layout that is in none that compiled is to blame alike.
        """
        layouts = 1 + max((int(choice.max(initial=0)) for choice in self.choices), default=0)
        places = np.arange(len(self.own))
        innocent = np.zeros((len(self.own), layouts), bool)
        for choice, time_ns in zip(self.choices, self.times_ns, strict=True):
            if time_ns is not None:
                innocent[places[choice != FREE], choice[choice != FREE]] = True
        result = np.zeros(innocent.shape)
        for choice, time_ns in zip(self.choices, self.times_ns, strict=True):
            if time_ns is None:
                suspects = [place for place in np.flatnonzero(choice != FREE) if not innocent[place, choice[place]]]
                for place in suspects:
                    result[place, choice[place]] += 1 / len(suspects)
        return np.minimum(result, 1)


def is_risky(choice: np.ndarray, risk: np.ndarray) -> bool:
    """Whether a choice (slots,) is likely to fail, by `Attempts.risk`."""
    chosen = np.flatnonzero((choice != FREE) & (choice < risk.shape[1]))
    return 1 - np.prod(1 - risk[chosen, choice[chosen]]) > MOST_RISK


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
