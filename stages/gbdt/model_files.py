"""Trained models on disk.

models/OBJECTIVE-SEED-FOLD.txt   a model as LightGBM writes it; a ridge is .json, the weight of each column
trees.json                       trees asked of each objective's models, seed by seed
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Sequence
from pathlib import Path

import lightgbm as lgb
import numpy as np

from stages.engine import files
from stages.gbdt.ensemble import Ensemble
from stages.gbdt.folds import held_out
from stages.gbdt.models import Bag, Model
from stages.gbdt.settings import Settings
from stages.scoring import baselines

TREES = "trees.json"


def write(folder: Path, ensemble: Ensemble) -> None:
    """Writes the models of an ensemble; models of earlier runs go.

    Args:
        folder: the outputs.
        ensemble: which is written.
    """
    texts = {}
    for seed, bags in enumerate(ensemble.bags):
        for bag in bags:
            for fold, model in enumerate(bag.models):
                suffix, text = _text(model)
                texts[f"{bag.objective}-{seed}-{fold}{suffix}"] = text
    models = folder / "models"
    for stale in set(models.glob("*")) - {models / name for name in texts}:
        stale.unlink()
    for name, text in texts.items():
        files.replace(models / name, text.encode())
    trees = {name: [] for name in ensemble.settings.objectives}
    for bags in ensemble.bags:
        for bag in bags:
            trees[bag.objective].append(bag.trees)
    files.replace(folder / TREES, (json.dumps(trees) + "\n").encode())


def read(folder: Path, settings: Settings, graphs: Sequence[tuple[str, str]]) -> Ensemble:
    """Reads what `write` wrote.

    Args:
        folder: the outputs.
        settings: those of the training.
        graphs: (n,) split and id of the graphs that were trained on, in the order of the training.
    """
    trees = json.loads((folder / TREES).read_text())
    bags = [
        [Bag(name, _models(folder / "models", f"{name}-{seed}"), trees[name][seed]) for name in settings.objectives]
        for seed in range(settings.seeds)
    ]
    return Ensemble(settings, bags, [held_out(graphs, settings.folds, seed) for seed in range(settings.seeds)])


def _text(model: Model) -> tuple[str, str]:
    """The suffix of a model's file and its content."""
    if isinstance(model, lgb.Booster):
        return ".txt", model.model_to_string()
    weights = dict(zip(model.names, model.weights.tolist(), strict=True))
    return ".json", json.dumps(weights, indent=1) + "\n"


def _models(folder: Path, name: str) -> list[Model]:
    """The models of one member and seed, fold by fold as far as there are any."""
    models: list[Model] = []
    for fold in itertools.count():
        trees, ridge = (folder / f"{name}-{fold}{suffix}" for suffix in (".txt", ".json"))
        if trees.exists():
            models.append(lgb.Booster(model_str=trees.read_text()))
        elif ridge.exists():
            weights = json.loads(ridge.read_text())
            models.append(baselines.Ridge(list(weights), np.array(list(weights.values()), np.float64)))
        else:
            return models
