"""Candidates: children of the fastest choices, by the moves of the searches that the models learnt from."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np

from stages.collect.tpu.search import ELITE, Palette, bred, joined, summed
from stages.collect.tpu_data.plan import seed_of
from stages.tuning.problem import Problem

#: candidates of one generation, and generations of a round
NEWCOMERS, GENERATIONS = 400, 4
#: candidates that breed
POPULATION = 100
#: compiled choices that breed, and that are joined with one another
PARENTS = 12
#: shares of newcomers that are sums of moves on the compiler's own choice, and unions of two parents
FRESH, UNITED = 0.15, 0.15
#: tries of a candidate for each one that is wanted: small programs have no more that differ
TRIES = 4

#: (c,) how good candidates seem, smaller is better
Scores = Callable[[Sequence[np.ndarray]], np.ndarray]


class Proposals:
    """The candidates of one round; the same for the same seed.

    Args:
        problem: The program.
        seed: Of the search.
        number: Of the round.
    """

    def __init__(self, problem: Problem, seed: int, number: int) -> None:
        name = f"{problem.name}:{seed}:{number}"
        self._palette = Palette(problem.slots, seed_of(f"{name}:moves"))
        self._rng = np.random.default_rng(seed_of(name))
        self._used = 0

    def shortlist(
        self,
        parents: Sequence[np.ndarray],
        score: Scores,
        allowed: Callable[[np.ndarray], bool],
        count: int,
    ) -> tuple[list[np.ndarray], int]:
        """Breeds candidates and judges them, generation by generation, newcomers beside those that are left.

        Args:
            parents: Compiled choices, fastest first.
            score: Says how good candidates seem.
            allowed: Whether a choice may be a candidate: it is asked once of each, and remembers what it has seen.
            count: How many candidates are wanted.

        Returns:
            The best candidates, best first, and how many there were in all.
        """
        breeding, found, judged = list(parents[:PARENTS]), [], 0
        for _ in range(GENERATIONS):
            newcomers = [each for each in self._children(breeding, parents) if allowed(each)][:NEWCOMERS]
            if not newcomers:
                break
            found += newcomers
            judged += len(newcomers)
            order = np.argsort(score(found), kind="stable")
            found = [found[place] for place in order[: max(count, POPULATION)]]
            breeding = [*parents[:PARENTS], *found[:POPULATION]]
        return found[:count], judged

    def unjudged(
        self, parents: Sequence[np.ndarray], allowed: Callable[[np.ndarray], bool], count: int
    ) -> list[np.ndarray]:
        """Candidates that no judge has a say in: in turn sums of moves and children of the fastest, as both searches.

        Args:
            parents: Compiled choices, fastest first.
            allowed: As of `shortlist`.
            count: How many are wanted; fewer come where a program has no more that differ.
        """
        elite = parents[: max(2, round(ELITE * len(parents)))]
        found: list[np.ndarray] = []
        for _ in range(TRIES * count):
            if len(found) == count:
                break
            if len(found) % 2 == 0:
                child, self._used = summed(self._palette, self._rng, self._used)
            else:
                child, self._used = bred(elite, self._palette, self._rng, self._used)
            child = child.astype(np.int8)
            if allowed(child):
                found.append(child)
        return found

    def _children(self, breeding: Sequence[np.ndarray], parents: Sequence[np.ndarray]) -> Iterator[np.ndarray]:
        rng = self._rng
        for _ in range(TRIES * NEWCOMERS // 2):
            way = rng.random()
            if way < FRESH:
                child, self._used = summed(self._palette, rng, self._used)
            elif way < FRESH + UNITED and len(parents) > 1:
                one, other = rng.choice(min(len(parents), PARENTS), 2, replace=False)
                child = joined([parents[one], parents[other]])
            else:
                child, self._used = bred(breeding, self._palette, rng, self._used)
            yield child.astype(np.int8)
