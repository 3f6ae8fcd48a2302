"""Knobs of the gbdt stage: its section of params.yaml."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from stages.engine import checks
from stages.engine.errors import InputError

#: lambdarank compares the configurations of a graph; pointwise regresses on the share of slower ones; pairwise tells
#: the faster of two; ridge is linear in the within-graph z-scores
OBJECTIVES = ("lambdarank", "pointwise", "pairwise", "ridge")
#: The least and the most that each whole number may be. The largest are LightGBM's own: for the leaves of a tree, and
#: for the rows of a graph that lambdarank takes.
LIMITS = {
    "seeds": (1, None),
    "folds": (2, None),
    "trees": (1, None),
    "leaves": (2, 131_072),
    "min_leaf": (0, None),
    "patience": (1, None),
    "configurations": (2, 10_000),
    "pairs": (1, None),
    "opponents": (1, None),
}
RATES = ("learning_rate", "feature_fraction", "bagging_fraction")


@dataclass(frozen=True)
class Settings:
    """The knobs and their types; params.yaml has the value of each, and says what it means.

    Raises:
        InputError: a value is of another type, or no training can use it.
    """

    seeds: int
    folds: int
    objectives: Sequence[str]
    searched: bool
    trees: int
    leaves: int
    learning_rate: float
    min_leaf: int
    feature_fraction: float
    bagging_fraction: float
    patience: int
    configurations: int
    pairs: int
    opponents: int

    def __post_init__(self) -> None:
        checks.settings(self, "gbdt")
        object.__setattr__(self, "objectives", tuple(self.objectives))  # params.yaml has a list
        self._check_objectives()
        self._check_counts()
        self._check_rates()

    def _check_objectives(self) -> None:
        if not self.objectives:
            raise InputError(f"params.yaml, gbdt.objectives: is empty; name some of {', '.join(OBJECTIVES)}")
        for index, name in enumerate(self.objectives):
            if name not in OBJECTIVES:
                raise InputError(
                    f"params.yaml, gbdt.objectives: {name!r} is none of {', '.join(OBJECTIVES)}; name some of them"
                )
            if name in self.objectives[:index]:
                raise InputError(f"params.yaml, gbdt.objectives: {name} is given twice; keep one")

    def _check_counts(self) -> None:
        for name, (least, most) in LIMITS.items():
            count = getattr(self, name)
            if count < least:
                raise InputError(f"params.yaml, gbdt.{name}: {count} is too small; give {least} or more")
            if most is not None and count > most:
                raise InputError(f"params.yaml, gbdt.{name}: {count} is too large; give {most} or less")

    def _check_rates(self) -> None:
        for name in RATES:
            rate = getattr(self, name)
            if not rate > 0:  # NaN fails this too
                raise InputError(f"params.yaml, gbdt.{name}: {rate} is too small; give more than 0")
            if name.endswith("_fraction") and rate > 1:
                raise InputError(f"params.yaml, gbdt.{name}: {rate} is too large; give a share, 1 or less")
