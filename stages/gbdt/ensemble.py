"""All members together: trained over seeds and folds, combined into one score a seed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from stages.engine import engine
from stages.gbdt import models
from stages.gbdt.feature_table import Sheet, same_columns
from stages.gbdt.folds import folds
from stages.gbdt.settings import Settings


@dataclass(frozen=True)
class Ensemble:
    """bags: of each seed, a member for each objective; folds: of each seed, the fold of each graph trained on, by
    split and id."""

    settings: Settings
    bags: list[list[models.Bag]]
    folds: list[dict[tuple[str, str], int]]

    def scores(self, sheet: Sheet, seed: int) -> dict[str, np.ndarray]:
        """objective -> scores (c,), smaller is faster, of mean 0 and deviation 1.

        Out of fold for a graph that was trained on: by the models that saw none of its family. Of any other graph the
        mean over the folds' models.
        """
        fold = self.folds[seed].get((sheet.split, sheet.id))
        return {bag.objective: bag.score(sheet, fold, self.settings) for bag in self.bags[seed]}


def combined(members: dict[str, np.ndarray]) -> np.ndarray:
    """Scores (c,) of members of mean 0 and deviation 1 as one: their mean."""
    return np.mean(list(members.values()), axis=0)


def fit(sheets: Sequence[Sheet], settings: Settings, track: Callable = lambda work, total: work) -> Ensemble:
    """Trains every member with every seed on labelled graphs; a seed draws its folds too.

    track: shows how far an iterable of so many trainings is. A training has a thread of its own where there is a core
    for it, and does not depend on the others. Raises InputError for graphs of different columns.
    """
    same_columns(sheets)
    ids = [sheet.id for sheet in sheets]
    fold = [folds(ids, settings.folds, seed) for seed in range(settings.seeds)]
    work = [(objective, seed) for seed in range(settings.seeds) for objective in settings.objectives]
    member = partial(_member, sheets=sheets, folds=fold, settings=settings)
    running = engine.configured().ordered(member, work, memory_knob="gbdt.configurations", threads=True)
    trained = list(track(running, len(work)))
    size = len(settings.objectives)
    bags = [trained[seed * size : (seed + 1) * size] for seed in range(settings.seeds)]
    keys = [(sheet.split, sheet.id) for sheet in sheets]
    held_out = [dict(zip(keys, found.tolist(), strict=True)) if found.any() else {} for found in fold]
    return Ensemble(settings, bags, held_out)


def _member(
    task: tuple[str, int], *, sheets: Sequence[Sheet], folds: list[np.ndarray], settings: Settings
) -> models.Bag:
    """Trains one member, by objective and seed."""
    objective, seed = task
    return models.train(objective, sheets, folds[seed], settings, seed)
