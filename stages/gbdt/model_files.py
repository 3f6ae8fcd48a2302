"""Trained models on disk: models/OBJECTIVE-SEED-FOLD.txt as LightGBM writes them; a ridge as .json."""

from __future__ import annotations

import itertools
import json
from collections.abc import Sequence
from pathlib import Path

import lightgbm as lgb
import numpy as np

from stages import files
from stages.gbdt.ensemble import Ensemble
from stages.gbdt.folds import held_out
from stages.gbdt.models import Bag, Model
from stages.gbdt.settings import Settings
from stages.scoring import baselines


def write(folder: Path, ensemble: Ensemble) -> None:
    """Writes the models of an ensemble; models of earlier runs go.

    Args:
        folder: where the models lie.
        ensemble: which is written.
    """
    texts = {}
    for seed, bags in enumerate(ensemble.bags):
        for bag in bags:
            for fold, model in enumerate(bag.models):
                suffix, text = _text(model)
                texts[f"{bag.objective}-{seed}-{fold}{suffix}"] = text
    for stale in set(folder.glob("*")) - {folder / name for name in texts}:
        stale.unlink()
    for name, text in texts.items():
        files.replace(folder / name, text.encode())


def read(folder: Path, settings: Settings, graphs: Sequence[tuple[str, str]]) -> Ensemble:
    """Reads what `write` wrote.

    Args:
        folder: where the models lie.
        settings: those of the training.
        graphs: (n,) split and id of the graphs that were trained on, in the order of the training.
    """
    bags = [[Bag(name, _models(folder, f"{name}-{seed}")) for name in settings.objectives] for seed in _seeds(settings)]
    return Ensemble(settings, bags, [held_out(graphs, settings.folds, seed) for seed in _seeds(settings)])


def _seeds(settings: Settings) -> range:
    return range(settings.seeds)


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
