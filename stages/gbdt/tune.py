"""Search for the hyper-parameters of the boosters, by Optuna; its result is kept in params.yaml.

No stage of the pipeline imports this: a search takes many times as long as a training, and its choice stands.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import optuna
import polars as pl

from stages.engine import checks, params
from stages.gbdt.ensemble import combined, fit
from stages.gbdt.feature_table import FeatureTable, labelled
from stages.gbdt.settings import Settings
from stages.scoring import metrics

#: seed of the sampler, and of the folds that every trial is judged by
SEED = 0
TUNED = ("learning_rate", "leaves", "min_leaf", "feature_fraction", "bagging_fraction")


@checks.entry("tune_gbdt")
def search(
    collections: Sequence[str], trials: int, data: str | Path = "data", file: str | Path = "params.yaml", **changes
) -> pl.DataFrame:
    """Tries hyper-parameters on the train and valid graphs of collections; no test graph is read.

    A trial's score is the official metric of the ensemble out of fold, mean over the graphs and then the collections.
    It has one seed, so that all trials have the same folds.

    Args:
        collections: their names.
        trials: how many; the first is what `file` has.
        data: the data folder, in which the prune stage has run.
        file: parameters in the form of params.yaml.
        changes: of settings that are not searched.

    Returns:
        A row for each trial, best first: trial, those of TUNED, score, and the score of each collection.
    """
    settings = {name: _settings(file, name, changes) for name in collections}
    tables = {name: labelled(data, name, settings[name]) for name in collections}
    rows: list[dict] = []

    def try_point(trial: optuna.Trial) -> float:
        point = suggested(trial)
        scores = {name: judged(name, tables[name], replace(settings[name], **point)) for name in collections}
        rows.append({"trial": trial.number, **point, "score": float(np.mean(list(scores.values()))), **scores})
        return rows[-1]["score"]

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(direction="maximize", sampler=optuna.samplers.TPESampler(seed=SEED))
    study.enqueue_trial({name: getattr(settings[collections[0]], name) for name in TUNED})
    study.optimize(try_point, n_trials=trials)
    return pl.DataFrame(rows).sort("score", "trial", descending=[True, False])


def suggested(trial: optuna.Trial) -> Mapping[str, float]:
    """One point of the space that is searched: a value for each of TUNED."""
    return {
        "learning_rate": trial.suggest_float("learning_rate", 0.02, 0.3, log=True),
        "leaves": trial.suggest_int("leaves", 3, 63, log=True),
        "min_leaf": trial.suggest_int("min_leaf", 5, 200, log=True),
        "feature_fraction": trial.suggest_float("feature_fraction", 0.05, 1.0, log=True),
        "bagging_fraction": trial.suggest_float("bagging_fraction", 0.4, 1.0),
    }


def judged(collection: str, tables: Sequence[FeatureTable], settings: Settings) -> float:
    """Official metric of the ensemble out of fold: mean over the graphs where it is defined, and over the seeds."""
    ensemble = fit(tables, settings)
    scores = [
        metrics.collection_score(
            metrics.graph_score(collection, combined(ensemble.scores(table, seed)), table.target) for table in tables
        )
        for seed in range(settings.seeds)
    ]
    return float(np.mean(scores))


def _settings(file: str | Path, collection: str, changes: Mapping) -> Settings:
    return params.settings(Settings, "gbdt", collection, {"seeds": 1, **changes}, file)
