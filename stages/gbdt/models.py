"""The members of the trees' ensemble, each trained once per fold: on the graphs of the other folds' families.

lambdarank is LambdaRank (Burges 2010) as LightGBM has it, with gains linear in the rank, because Kendall's tau counts
every pair. pointwise and pairwise are the 11th place's of the TpuGraphs competition: a regression on the share of
slower configurations, and a classifier of which of two is faster, whose score is the sum of wins within the graph.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import lightgbm as lgb
import numpy as np

from stages.gbdt.feature_table import FeatureTable, drawn
from stages.gbdt.settings import Settings
from stages.gbdt.training_rows import GRADES, TrainingRows, training_rows
from stages.scoring import baselines
from stages.statistics.columns import standardised

#: Trees of a model where one program leaves nothing to hold out, so that nothing tells when to stop. On the sample's
#: collections the folds choose 19 to 119, mostly about 50.
TREES_ALONE = 50
#: Bins of a column's histogram. LightGBM's own 255 take longer and rank no better on so few rows.
BINS = 63
#: rows to score, below which a second thread costs more time than it saves, and much more on a busy machine
ROWS_PER_THREAD = 20_000
#: values of the columns made for scoring at a time
_CELLS = 5_000_000
_LIGHTGBM_OBJECTIVES = {"lambdarank": "lambdarank", "pointwise": "regression", "pairwise": "binary"}

Model = lgb.Booster | baselines.Ridge
#: the model where there is nothing to learn from: all configurations are equal
_UNDECIDED = baselines.Ridge([], np.zeros(0))


@dataclass(frozen=True)
class Bag:
    """One member trained with one seed.

    Attributes:
        objective: the member's name.
        models: of each fold, one that never saw the fold's families.
        trees: asked of each LightGBM model, which has fewer where nothing is left to split; 0 of a ridge.
    """

    objective: str
    models: list[Model]
    trees: int

    def score(self, table: FeatureTable, fold: int | None, settings: Settings) -> np.ndarray:
        """Scores one graph.

        Args:
            table: the graph, of c configurations.
            fold: whose model scores it, because it did not train on the graph's family; None: the mean over all models.
            settings: those of the training.

        Returns:
            (c,), smaller is faster, of mean 0 and standard deviation 1.
        """
        models = self.models if fold is None else [self.models[fold]]
        scores = [_score(self.objective, model, table, settings) for model in models]
        return np.mean([standardised(score[:, None])[:, 0] for score in scores], axis=0)


def train(objective: str, tables: Sequence[FeatureTable], fold: np.ndarray, settings: Settings, seed: int) -> Bag:
    """Trains one member with one seed: for each fold a model on the graphs of the others.

    All models have the number of trees that is best on the held-out graphs in the mean of the folds; where none is
    better for `patience` trees, the training ends. It is chosen once, and not for each fold by its few graphs. A single
    fold holds nothing out: it gets one model of `TREES_ALONE` trees.

    Args:
        objective: one of `settings.OBJECTIVES`.
        tables: n labelled graphs.
        fold: (n,) of each graph, 0 and on.
        settings: the stage's.
        seed: of the draws.
    """
    count = int(fold.max()) + 1
    if objective == "ridge":
        return Bag(objective, _ridges(tables, fold, count), 0)
    rows = training_rows(objective, tables, settings, seed)
    fold_of_row = np.repeat(fold, rows.group)
    used = np.unique(fold_of_row)  # of graphs that order nothing there are no pairs
    if not len(used):
        return Bag(objective, [_UNDECIDED] * count, 0)
    options = _options(objective, settings, seed, rows)
    if len(used) == 1:
        alone = lgb.train(options, rows.dataset(objective), TREES_ALONE)
        models = [_UNDECIDED if count > 1 and number in used else alone for number in range(count)]
        return Bag(objective, models, TREES_ALONE)
    models, trees = _cross_validated(objective, rows, fold_of_row, options, settings)
    if len(models) < count:
        of_all_rows = lgb.train(options, rows.dataset(objective), trees)
        models |= {number: of_all_rows for number in range(count) if number not in models}
    return Bag(objective, [models[number] for number in range(count)], trees)


def _ridges(tables: Sequence[FeatureTable], fold: np.ndarray, count: int) -> list[baselines.Ridge]:
    """A ridge for each fold, on the graphs of the others; a single fold's is on all graphs."""
    trained_on = [fold != number for number in range(count)] if count > 1 else [fold == 0]
    parts = [[table for table, takes_part in zip(tables, part, strict=True) if takes_part] for part in trained_on]
    return [baselines.ridge((table.names, table.values, table.target) for table in part) for part in parts]


def _cross_validated(
    objective: str, rows: TrainingRows, fold_of_row: np.ndarray, options: dict, settings: Settings
) -> tuple[dict[int, lgb.Booster], int]:
    """A model for each fold that has rows, and the number of trees that all of them have."""
    used = np.unique(fold_of_row)
    parts = [(np.flatnonzero(fold_of_row != number), np.flatnonzero(fold_of_row == number)) for number in used]
    validated = lgb.cv(
        options,
        rows.dataset(objective),
        settings.trees,
        folds=parts,
        feval=rows.judge,
        callbacks=[lgb.early_stopping(settings.patience, verbose=False)],
        return_cvbooster=True,
    )["cvbooster"]
    # Through the text: the trees after the best one are dropped, here as in the file.
    models = {
        number: lgb.Booster(model_str=booster.model_to_string(num_iteration=validated.best_iteration))
        for number, booster in zip(used.tolist(), validated.boosters, strict=True)
    }
    return models, validated.best_iteration


def _options(objective: str, settings: Settings, seed: int, rows: TrainingRows) -> dict:
    """LightGBM's parameters. The truncation at the largest graph keeps every pair of configurations in the loss."""
    ranking = {"lambdarank_truncation_level": max(rows.group), "label_gain": list(range(GRADES))}
    return {
        "objective": _LIGHTGBM_OBJECTIVES[objective],
        **(ranking if objective == "lambdarank" else {}),
        "metric": "None" if rows.judge else "binary_logloss",
        "num_leaves": settings.leaves,
        "max_bin": BINS,
        "learning_rate": settings.learning_rate,
        "min_data_in_leaf": settings.min_leaf,
        "feature_fraction": settings.feature_fraction,
        "bagging_fraction": settings.bagging_fraction,
        "bagging_freq": 1,
        "deterministic": True,
        "force_row_wise": True,
        "num_threads": 1,  # a tree's last digits depend on it, and the cores have members of their own
        "verbosity": -1,
        "seed": seed,
    }


def _score(objective: str, model: Model, table: FeatureTable, settings: Settings) -> np.ndarray:
    """Scores (c,) of one model, smaller is faster."""
    if isinstance(model, baselines.Ridge):
        return model.score(table.names, table.values) if model.names else np.zeros(table.rows)
    if objective == "pairwise":
        return _lost_comparisons(model, table, settings.opponents)
    chunks = _chunks(table.rows, len(table.feature_names))
    return np.concatenate([-_predict(model, table.features(rows)) for rows in chunks])


def _lost_comparisons(model: lgb.Booster, table: FeatureTable, limit: int) -> np.ndarray:
    """Minus the mean win (c,) of each configuration over at most `limit` others, by a pairwise classifier."""
    opponents = drawn(table.rows, limit)
    score = np.empty(table.rows)
    for rows in _chunks(table.rows, len(opponents) * len(table.pair_names)):
        first, second = np.repeat(rows, len(opponents)), np.tile(opponents, len(rows))
        wins = _predict(model, table.against(first, second)).reshape(len(rows), -1)
        score[rows] = -wins.mean(axis=1)
    return score


def _predict(model: lgb.Booster, values: np.ndarray) -> np.ndarray:
    return model.predict(values, num_threads=min(os.cpu_count() or 1, 1 + len(values) // ROWS_PER_THREAD))


def _chunks(rows: int, width: int) -> Iterator[np.ndarray]:
    """Rows 0 .. rows - 1 in parts whose columns, `width` of a row, fit into `_CELLS` values."""
    step = max(1, _CELLS // max(width, 1))
    return (np.arange(start, min(start + step, rows)) for start in range(0, rows, step))
