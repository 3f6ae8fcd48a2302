"""All members together: trained over seeds and folds, combined into one score a seed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from stages.engine import engine
from stages.gbdt import models
from stages.gbdt.feature_table import FeatureTable, same_columns
from stages.gbdt.folds import folds, held_out
from stages.gbdt.settings import Settings


@dataclass(frozen=True)
class Ensemble:
    """Trained members.

    Attributes:
        settings: those of the training.
        bags: of each seed, a member for each objective.
        folds: of each seed, the fold of each graph that was trained on, by split and id; see `folds.held_out`.
    """

    settings: Settings
    bags: list[list[models.Bag]]
    folds: list[dict[tuple[str, str], int]]

    def scores(self, table: FeatureTable, seed: int) -> dict[str, np.ndarray]:
        """Scores one graph by each member of a seed.

        A graph that was trained on is scored out of fold: by the models that saw none of its family. Any other graph
        gets the mean over the folds' models.

        Returns:
            objective -> scores (c,), smaller is faster, of mean 0 and standard deviation 1.
        """
        fold = self.folds[seed].get((table.split, table.id))
        return {bag.objective: bag.score(table, fold, self.settings) for bag in self.bags[seed]}


def combined(members: dict[str, np.ndarray]) -> np.ndarray:
    """Scores (c,) of members of mean 0 and standard deviation 1 as one: their mean."""
    return np.mean(list(members.values()), axis=0)


def fit(
    tables: Sequence[FeatureTable], settings: Settings, track: Callable = lambda trainings, total: trainings
) -> Ensemble:
    """Trains every member with every seed on labelled graphs; a seed draws its folds too.

    A training has a thread of its own where there is a core for it, and does not depend on the others.

    Args:
        tables: the graphs.
        settings: the stage's.
        track: shows how far an iterable of so many trainings is.

    Raises:
        InputError: graphs have different columns.
    """
    same_columns(tables)
    ids = [table.id for table in tables]
    fold_of_seed = [folds(ids, settings.folds, seed) for seed in range(settings.seeds)]
    tasks = [(objective, seed) for seed in range(settings.seeds) for objective in settings.objectives]
    train = partial(_train, tables=tables, folds=fold_of_seed, settings=settings)
    trainings = engine.configured().ordered(train, tasks, memory_knob="gbdt.configurations", threads=True)
    trained = list(track(trainings, total=len(tasks)))
    size = len(settings.objectives)
    bags = [trained[seed * size : (seed + 1) * size] for seed in range(settings.seeds)]
    graphs = [(table.split, table.id) for table in tables]
    return Ensemble(settings, bags, [held_out(graphs, settings.folds, seed) for seed in range(settings.seeds)])


def _train(
    task: tuple[str, int], *, tables: Sequence[FeatureTable], folds: list[np.ndarray], settings: Settings
) -> models.Bag:
    """Trains one member, by objective and seed."""
    objective, seed = task
    return models.train(objective, tables, folds[seed], settings, seed)
