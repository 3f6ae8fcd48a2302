"""The members of the trees' ensemble, each trained once per fold: on the graphs of the other folds' families.

lambdarank is LambdaRank (Burges 2010) as LightGBM has it, with gains linear in the rank, because Kendall's tau counts
every pair. pointwise and pairwise are the 11th place's of the TpuGraphs competition: a regression on the share of
slower configurations, and a classifier of which of two is faster, whose score is the sum of wins within the graph.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import lightgbm as lgb
import numpy as np
from scipy.stats import rankdata

from stages.gbdt.feature_table import Sheet, drawn
from stages.gbdt.settings import Settings
from stages.scoring import baselines
from stages.statistics import standardised

#: levels that the run times of a graph are graded into, slowest 0: LightGBM's own limit, without a table of gains
GRADES = 31
#: pairs that a held-out graph is judged by while training, enough for a tau to three hundredths
PAIRS = 20_000
#: rows to score, below which a second thread costs more time than it saves, and much more on a busy machine
ROWS_PER_THREAD = 20_000
#: values of the columns made for scoring at a time
_CELLS = 5_000_000

Model = lgb.Booster | baselines.Ridge
#: the model where there is nothing to learn from: all configurations are equal
_UNDECIDED = baselines.Ridge([], np.zeros(0))


@dataclass(frozen=True)
class Bag:
    """One member trained with one seed: a model for each fold, that never saw the fold's families.

    trees: of each LightGBM model, 0 of a ridge.
    """

    objective: str
    models: list[Model]
    trees: int

    def score(self, sheet: Sheet, fold: int | None, settings: Settings) -> np.ndarray:
        """Scores (c,) of a graph, smaller is faster, of mean 0 and deviation 1: those of the fold's model, which did
        not train on the graph's family, or the mean over all models."""
        models = self.models if fold is None else [self.models[fold]]
        found = [_score(self.objective, model, sheet, settings) for model in models]
        return np.mean([standardised(score[:, None])[:, 0] for score in found], axis=0)


def train(objective: str, sheets: Sequence[Sheet], fold: np.ndarray, settings: Settings, seed: int) -> Bag:
    """Trains one member with one seed on graphs of different folds (n,).

    For each of the folds 0 .. a model is trained on the graphs of the others. All have the number of trees that is best
    on the held-out graphs in the mean of the folds (none better for `patience` trees ends the training): it is chosen
    once, and not for each fold by its few graphs. A single fold holds nothing out: one model of `trees_alone` trees.
    """
    count = int(fold.max()) + 1
    kept = [fold != held_out for held_out in range(count)] if count > 1 else [fold == 0]
    if objective == "ridge":
        tables = [[sheet for sheet, keep in zip(sheets, part, strict=True) if keep] for part in kept]
        return Bag(objective, [baselines.ridge((s.names, s.values, s.target) for s in table) for table in tables], 0)
    rows = _pair_rows(sheets, settings, seed) if objective == "pairwise" else _rows(objective, sheets)
    of_row = np.repeat(fold, rows.group)
    used = np.unique(of_row)  # of graphs that order nothing there are no pairs
    if not len(used):
        return Bag(objective, [_UNDECIDED] * count, 0)
    options = _options(objective, settings, seed, rows)
    if len(used) == 1:
        trees = settings.trees_alone
        whole = lgb.train(options, rows.dataset(objective), trees)
        return Bag(objective, [_UNDECIDED if count > 1 and k in used else whole for k in range(count)], trees)
    parts = [(np.flatnonzero(of_row != held_out), np.flatnonzero(of_row == held_out)) for held_out in used]
    stop = lgb.early_stopping(settings.patience, verbose=False)
    found = lgb.cv(
        options,
        rows.dataset(objective),
        settings.trees,
        folds=parts,
        feval=rows.judge,
        callbacks=[stop],
        return_cvbooster=True,
    )["cvbooster"]
    # Through the text: the trees after the best one are dropped, here as in the file.
    models = {
        held_out: lgb.Booster(model_str=booster.model_to_string(num_iteration=found.best_iteration))
        for held_out, booster in zip(used.tolist(), found.boosters, strict=True)
    }
    if len(models) < count:
        whole = lgb.train(options, rows.dataset(objective), found.best_iteration)
        models |= {held_out: whole for held_out in range(count) if held_out not in models}
    return Bag(objective, [models[held_out] for held_out in range(count)], found.best_iteration)


@dataclass(frozen=True)
class _Rows:
    """What LightGBM trains on. names (d,); values (r, d) float32; labels (r,); group: rows of each graph in order;
    judge: LightGBM's `feval`, None for the objective's own loss."""

    names: list[str]
    values: np.ndarray
    labels: np.ndarray
    group: list[int]
    judge: Callable | None

    def dataset(self, objective: str) -> lgb.Dataset:
        group = self.group if objective == "lambdarank" else None
        return lgb.Dataset(self.values, self.labels, group=group, feature_name=self.names, params={"verbosity": -1})


def _options(objective: str, settings: Settings, seed: int, rows: _Rows) -> dict:
    """LightGBM's parameters. The truncation at the largest graph keeps every pair of configurations in the loss."""
    names = {"lambdarank": "lambdarank", "pointwise": "regression", "pairwise": "binary"}
    ranking = {"lambdarank_truncation_level": max(rows.group), "label_gain": list(range(GRADES))}
    return {
        "objective": names[objective],
        **(ranking if objective == "lambdarank" else {}),
        "metric": "None" if rows.judge else "binary_logloss",
        "num_leaves": settings.leaves,
        "max_bin": settings.bins,
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


def _rows(objective: str, sheets: Sequence[Sheet]) -> _Rows:
    """A row for each configuration."""
    targets = [sheet.target for sheet in sheets]
    values = np.concatenate([sheet.features(slice(None)) for sheet in sheets])
    labels = np.concatenate([shares(target) for target in targets])
    if objective == "lambdarank":
        labels = np.floor(labels * GRADES)
    group = [len(target) for target in targets]
    return _Rows(sheets[0].feature_names, values, labels, group, _judge(targets))


def _pair_rows(sheets: Sequence[Sheet], settings: Settings, seed: int) -> _Rows:
    """A row for each of at most `pairs` ordered pairs of a graph; 1 where the first is faster."""
    values, labels = [], []
    for number, sheet in enumerate(sheets):
        one, other = pairs(sheet.target, settings.pairs, np.random.default_rng([seed, number]))
        values.append(sheet.against(one, other))
        labels.append(sheet.target[one] < sheet.target[other])
    group = [len(label) for label in labels]
    names = sheets[0].pair_names if sum(group) else []
    return _Rows(names, np.concatenate(values), np.concatenate(labels).astype(np.float64), group, None)


def shares(target: np.ndarray) -> np.ndarray:
    """How fast each configuration (c,) is within its graph: the share of slower ones, in (0, 1)."""
    return 1 - (rankdata(target) - 0.5) / len(target)


def pairs(target: np.ndarray, limit: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Places of the two of each ordered pair (p,): all of different configurations, or `limit` drawn ones; without
    those whose targets are equal."""
    count = len(target)
    every = count * (count - 1)
    number = np.arange(every) if every <= limit else np.sort(rng.choice(every, limit, replace=False, shuffle=False))
    one, other = np.divmod(number, max(count - 1, 1))
    other += other >= one
    differs = target[one] != target[other]
    return one[differs], other[differs]


def _judge(targets: Sequence[np.ndarray]) -> Callable:
    """LightGBM's `feval` for rows of graphs with these targets: mean tau-a over the held-out graphs with an order."""
    starts = np.cumsum([0, *map(len, targets)])
    ordered = [_ordered(target, start) for target, start in zip(targets, starts, strict=False)]

    def judge(prediction: np.ndarray, held_out: lgb.Dataset) -> tuple[str, float, bool]:
        places = np.asarray(held_out.used_indices)
        found = np.zeros(starts[-1])
        found[places] = prediction
        graphs = np.flatnonzero(np.isin(starts[:-1], places))
        taus = [np.sign(found[one] - found[other]).mean() for one, other in (ordered[g] for g in graphs) if len(one)]
        return "tau", float(np.mean(taus)) if taus else 0.0, True

    return judge


def _ordered(target: np.ndarray, start: int) -> tuple[np.ndarray, np.ndarray]:
    """Rows (p,) of the faster and of the slower configuration of each pair with an order, PAIRS of them at most."""
    one, other = pairs(target, PAIRS, np.random.default_rng(len(target)))
    faster = target[one] < target[other]
    return start + np.where(faster, one, other), start + np.where(faster, other, one)


def _score(objective: str, model: Model, sheet: Sheet, settings: Settings) -> np.ndarray:
    """Scores (c,) of one model, smaller is faster."""
    if isinstance(model, baselines.Ridge):
        return model.score(sheet.names, sheet.values) if model.names else np.zeros(sheet.rows)
    if objective == "pairwise":
        opponents = drawn(sheet.rows, settings.opponents)
        score = np.empty(sheet.rows)
        for rows in _chunks(sheet.rows, len(opponents) * len(sheet.pair_names)):
            one, other = np.repeat(rows, len(opponents)), np.tile(opponents, len(rows))
            wins = _predict(model, sheet.against(one, other)).reshape(len(rows), -1)
            score[rows] = -wins.mean(axis=1)
        return score
    return np.concatenate(
        [-_predict(model, sheet.features(rows)) for rows in _chunks(sheet.rows, len(sheet.feature_names))]
    )


def _predict(model: lgb.Booster, values: np.ndarray) -> np.ndarray:
    return model.predict(values, num_threads=min(os.cpu_count() or 1, 1 + len(values) // ROWS_PER_THREAD))


def _chunks(rows: int, width: int) -> Iterator[np.ndarray]:
    step = max(1, _CELLS // max(width, 1))
    return (np.arange(start, min(start + step, rows)) for start in range(0, rows, step))
