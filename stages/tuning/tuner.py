"""The search: the models propose, the compiler judges, and what it says is learnt before the next round.

A round breeds candidates from the fastest choices compiled so far, generation by generation; the models judge each
generation beside what is compiled, corrected by what the compiler said of that (`surrogate`); and a few of the best
are compiled, with a few that no model has judged. Rounds grow with what is compiled and do not depend on the budget: a
search with a larger one goes on where one with a smaller one ended. `random` and `evolution` are the collector's
searches with the same budget and no model.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

import numpy as np

from stages.collect.tpu import search
from stages.collect.tpu_data.plan import seed_of
from stages.tuning.attempts import Attempts, Picks, Risk, Spent
from stages.tuning.problem import Problem
from stages.tuning.proposals import Proposals
from stages.tuning.surrogate import Layouts, Surrogate

#: searches that ask no model
BASELINES = {"random": search.random_search, "evolution": search.evolutionary_search}
#: compilations of a round: at least so many, and this share of those so far
LEAST_ROUND, ROUND_SHARE = 3, 0.2
#: a candidate is left out where it fails with more than this probability, by what failed before
MOST_RISK = 0.25
#: share of a round that is compiled whatever the models say: where they are wrong of a whole program, no correction
#: finds what they leave out. On electra_base_b32_forward, of valid, 50 compilations find 1.199 with it, 1.201 without
UNJUDGED_SHARE = 1 / 3
#: candidates of a round's last generation, of which some are compiled
SHORTLIST = 200


class Judging(Protocol):
    """What judges choices: `judging.Judge`, or a stand-in."""

    def columns(self, choices: Sequence[np.ndarray]) -> np.ndarray: ...


def by_baseline(name: str, problem: Problem, attempts: Attempts, seed: int) -> None:
    """Spends the budget by one of `BASELINES`; it ends earlier where a program has no more choices that differ."""
    runs = search.Runs(problem.slots, attempts.cost)
    palette = search.Palette(problem.slots, seed_of(f"{problem.name}:{seed}:moves"))
    rng = np.random.default_rng(seed_of(f"{problem.name}:{seed}:{name}"))
    try:
        BASELINES[name](runs, attempts.budget + 1, palette, rng)
    except Spent:
        pass


def by_judge(
    problem: Problem,
    judge: Judging,
    layouts: Layouts,
    attempts: Attempts,
    picks: Picks,
    seed: int,
    tell: Callable[[str], None] = lambda text: None,
) -> None:
    """Spends the budget as a judge and the compiler together see fit; it ends earlier where nothing new is found.

    Args:
        problem: The program.
        judge: Judges candidates.
        layouts: The program's replayed layouts.
        attempts: Compiles; holds what was compiled.
        picks: What earlier runs of this search picked.
        seed: Of the search.
        tell: Called with what is being done.
    """
    number = 0
    while not attempts.spent:
        if number == len(picks):
            tell("judging candidates")
            chosen, counts = _round(problem, judge, layouts, attempts, seed, number)
            picks.add(chosen, **counts)
        tell("compiling")
        try:
            for choice in picks.choices(number):
                attempts.cost(choice)
        except Spent:
            return
        if not picks.choices(number):
            return
        number += 1


def round_size(compiled: int) -> int:
    """Compilations of the next round after so many."""
    return max(LEAST_ROUND, int(ROUND_SHARE * compiled))


def _round(
    problem: Problem, judge: Judging, layouts: Layouts, attempts: Attempts, seed: int, number: int
) -> tuple[list[np.ndarray], dict[str, int]]:
    """The choices that a round compiles, and how many candidates were judged for it."""
    compiled = attempts.compiled()
    choices, times = [choice for choice, _ in compiled], [time for _, time in compiled]
    parents = [choices[place] for place in np.argsort(times, kind="stable")]
    failed = attempts.failed()
    risk = Risk(search.kinds_of(problem.slots), choices, failed)
    layouts.forget(choices)
    # Two choices of which layout assignment makes the same are one program: what it makes is what is new or not.
    seen = {row.tobytes() for row in layouts.rows([*choices, *failed])}

    def allowed(choice: np.ndarray) -> bool:
        if risk.of(choice) > MOST_RISK:
            return False
        made = layouts.rows([choice])[0].tobytes()
        new = made not in seen
        seen.add(made)
        return new

    def judged(candidates: Sequence[np.ndarray]) -> Surrogate:
        together = [*choices, *candidates]
        return Surrogate(layouts, together, times, judge.columns(together))

    proposals, size = Proposals(problem, seed, number), round_size(len(attempts.choices))
    unjudged = proposals.unjudged(parents, allowed, round(UNJUDGED_SHARE * size))
    shortlist, count = proposals.shortlist(parents, lambda candidates: judged(candidates).mean, allowed, SHORTLIST)
    picked = judged(shortlist).batch(size - len(unjudged)) if shortlist else []
    return [*(shortlist[place] for place in picked), *unjudged], {"judged": count}
