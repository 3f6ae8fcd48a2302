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

from stages import checks
from stages.gbdt.ensemble import combined, fit
from stages.gbdt.feature_table import Sheet, labelled
from stages.gbdt.settings import Settings
from stages.runner import params
from stages.scoring import metrics

#: seed of the sampler, and the folds that every trial is judged by
SEED = 0
TUNED = ("learning_rate", "leaves", "min_leaf", "feature_fraction", "bagging_fraction")


@checks.entry("tune_gbdt")
def search(
    collections: Sequence[str], trials: int, data: str | Path = "data", file: str | Path = "params.yaml", **changes
) -> pl.DataFrame:
    """Tries hyper-parameters on the train and valid graphs of collections; the first trial is what `file` has.

    A trial's score is the official metric of the ensemble out of fold, mean over the graphs and then the collections,
    with one seed, so that all trials have the same folds. changes: of other settings. No test graph is read.
    Returns a row for each trial: trial, those of TUNED, score, and the score of each collection; best first.
    """
    settings = {name: _settings(file, name, changes) for name in collections}
    graphs = {name: labelled(data, name, knobs) for name, knobs in settings.items()}
    found: list[dict] = []

    def tried(trial: optuna.Trial) -> float:
        knobs = suggested(trial)
        scores = {name: judged(name, graphs[name], replace(settings[name], **knobs)) for name in collections}
        found.append({"trial": trial.number, **knobs, "score": float(np.mean(list(scores.values()))), **scores})
        return found[-1]["score"]

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(direction="maximize", sampler=optuna.samplers.TPESampler(seed=SEED))
    study.enqueue_trial({name: getattr(settings[collections[0]], name) for name in TUNED})
    study.optimize(tried, n_trials=trials)
    return pl.DataFrame(found).sort("score", "trial", descending=[True, False])


def suggested(trial: optuna.Trial) -> Mapping[str, float]:
    """One point of the space that is searched."""
    return {
        "learning_rate": trial.suggest_float("learning_rate", 0.02, 0.3, log=True),
        "leaves": trial.suggest_int("leaves", 3, 63, log=True),
        "min_leaf": trial.suggest_int("min_leaf", 5, 200, log=True),
        "feature_fraction": trial.suggest_float("feature_fraction", 0.05, 1.0, log=True),
        "bagging_fraction": trial.suggest_float("bagging_fraction", 0.4, 1.0),
    }


def judged(collection: str, graphs: Sequence[Sheet], settings: Settings) -> float:
    """Official metric of the ensemble out of fold, mean over the graphs where it is defined, and over the seeds."""
    ensemble = fit(graphs, settings)
    return float(
        np.mean(
            [
                metrics.collection_score(
                    metrics.graph_score(collection, combined(ensemble.scores(sheet, seed)), sheet.target)
                    for sheet in graphs
                )
                for seed in range(settings.seeds)
            ]
        )
    )


def _settings(file: str, collection: str, changes: Mapping) -> Settings:
    return Settings(**params.section(file, "gbdt", collection) | {"seeds": 1} | changes)
