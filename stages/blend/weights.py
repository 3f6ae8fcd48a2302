"""Weights of the members: the grid on which they are searched, the best of them, and how far they move toward equal."""

import itertools
from collections.abc import Mapping

import numpy as np

#: The grid's step is 1/20 = 0.05. That is finer than what a few validation graphs can tell apart.
STEPS = 20
#: How far the rule `rank` moves the chosen weights toward equal ones. A handful of validation graphs overfits even one
#: weight, so their choice is not taken as it is (0); but they do know something, so it is not ignored either (1).
#: Half way is the middle, not tuned: the page shows that the nested score hardly depends on it.
SHRINK = 0.5
#: Amounts whose nested score the page shows beside that of `SHRINK`.
SHRINKS = (0.0, 0.25, 0.5, 0.75, 1.0)

#: One weight for each member; none is negative and they sum to one.
Weights = tuple[float, ...]


def simplex(members: int, steps: int = STEPS) -> list[Weights]:
    """All weights of so many members that are multiples of 1/steps, none negative, and sum to one."""
    others = itertools.product(range(steps + 1), repeat=members - 1)
    return [tuple(part / steps for part in (*counts, steps - sum(counts))) for counts in others if sum(counts) <= steps]


def best(metrics: Mapping[Weights, float]) -> Weights:
    """The weights with the highest metric.

    Args:
        metrics: weights -> metric, NaN where it is undefined; an undefined metric is the lowest.

    Returns:
        Of weights with equal metrics, those nearest to equal weights.
    """
    rounded = {weights: -np.inf if np.isnan(metric) else round(metric, 12) for weights, metric in metrics.items()}
    return max(rounded, key=lambda weights: (rounded[weights], -_unevenness(weights)))


def shrunk(weights: Weights, shrink: float) -> Weights:
    """The weights moved toward equal ones: shrink * equal + (1 - shrink) * weights."""
    return tuple(shrink / len(weights) + (1 - shrink) * weight for weight in weights)


def _unevenness(weights: Weights) -> float:
    """The squared distance from equal weights, rounded so that mirrored weights are exactly as far."""
    return round(sum((weight - 1 / len(weights)) ** 2 for weight in weights), 12)
