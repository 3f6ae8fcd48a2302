"""What the trees look at: the gain of each statistic, and how far it moves configurations apart, by SHAP values.

SHAP values cost as much as a small training. So they are kept in DATA/trained, by what decides them; the outputs do not
hold them, because no other stage reads them.
"""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

import lightgbm as lgb
import numpy as np
import polars as pl

from stages.engine import code, files
from stages.gbdt.ensemble import Ensemble
from stages.gbdt.feature_table import FeatureTable, statistic
from stages.graphs.collection import slug
from stages.statistics.columns import describe

#: members whose trees see one configuration at a time
BY_ROW = ("lambdarank", "pointwise")
SCHEMA = {"column": pl.String, "gain": pl.Float64, "shap": pl.Float64, "slower": pl.Float64}


def kept_explanation(
    data: str | Path, collection: str, trained: str, load: Callable[[], tuple[Ensemble, Sequence[FeatureTable]]]
) -> pl.DataFrame:
    """`explanation` of a training, with what each statistic measures; worked out once.

    Args:
        data: the data folder.
        collection: its name.
        trained: identity of the training.
        load: gives the arguments of `explanation`.

    Returns:
        As `explanation`, and a column `description`.
    """
    identity = hashlib.sha256(f"{trained} {code.digest(__name__)}".encode()).hexdigest()
    folder = Path(data, "trained", "gbdt", f"{slug(collection)}-explanation")
    path = folder / f"{identity}.parquet"
    if not path.exists():
        frame = explanation(*load())
        shutil.rmtree(folder, ignore_errors=True)  # of earlier trainings
        with files.replacing(path) as beside:
            frame.write_parquet(beside)
    frame = pl.read_parquet(path)
    return frame.with_columns(pl.Series("description", map(describe, frame["column"]), pl.String))


def explanation(ensemble: Ensemble, valid: Sequence[FeatureTable]) -> pl.DataFrame:
    """What each statistic contributes to the predictions of the tree models.

    Args:
        ensemble: trained members.
        valid: the valid graphs.

    Returns:
        A row for each statistic, largest gain first. column: the statistic; gain: its share of the loss that the splits
        take away, mean over the tree models; shap and slower: see `shap_shares`, null where no model takes part.
    """
    gains = gain_shares(ensemble)
    shap = shap_shares(ensemble, valid)
    rows = [(name, gain, *shap.get(name, (None, None))) for name, gain in gains.items()]
    return pl.DataFrame(rows, schema=SCHEMA, orient="row").sort("gain", "column", descending=[True, False])


def gain_shares(ensemble: Ensemble) -> dict[str, float]:
    """Share of each statistic in the loss that the splits of a tree model take away, mean over the models."""
    shares: dict[str, float] = {}
    boosters = [
        model for bags in ensemble.bags for bag in bags for model in bag.models if isinstance(model, lgb.Booster)
    ]
    for booster in boosters:
        gains = booster.feature_importance("gain")
        total = max(gains.sum(), np.finfo(float).tiny)
        for feature, gain in zip(booster.feature_name(), gains.tolist(), strict=True):
            name = statistic(feature)
            shares[name] = shares.get(name, 0.0) + gain / total / len(boosters)
    return shares


def shap_shares(ensemble: Ensemble, valid: Sequence[FeatureTable]) -> dict[str, tuple[float, float]]:
    """How far each statistic moves the configurations of a graph apart, by SHAP values (Lundberg et al. 2020).

    LightGBM computes the values. A statistic's are summed with those of its z-score, and their mean over the graph is
    taken off, because it ranks nothing. Only the models that trained on none of a graph's family are asked. A pairwise
    classifier's rows are pairs, and a ridge has no trees: neither takes part.

    Args:
        ensemble: trained members.
        valid: the valid graphs.

    Returns:
        statistic -> (share, slower). share: of the mean size of its values in the sizes of all, mean over the graphs
        and the models. slower: -1 .. 1, the correlation of the statistic with what it adds to the predicted time.
    """
    contributions: dict[str, list[tuple[float, float]]] = {}
    for table in valid:
        values = table.features(slice(None))
        columns = _columns_of_statistics(table)
        for folds, bags in zip(ensemble.folds, ensemble.bags, strict=True):
            for bag in bags:
                model = bag.models[folds.get((table.split, table.id), 0)]
                if bag.objective in BY_ROW and isinstance(model, lgb.Booster):
                    for name, contribution in _contributions(model, values, columns).items():
                        contributions.setdefault(name, []).append(contribution)
    return {name: _weighted_mean(np.array(pairs)) for name, pairs in contributions.items()}


def _columns_of_statistics(table: FeatureTable) -> dict[str, list[int]]:
    """statistic -> columns of the table's features that are made of it."""
    columns: dict[str, list[int]] = {}
    for column, feature in enumerate(table.feature_names):
        columns.setdefault(statistic(feature), []).append(column)
    return columns


def _contributions(
    model: lgb.Booster, values: np.ndarray, columns: dict[str, list[int]]
) -> dict[str, tuple[float, float]]:
    """statistic -> share and correlation, of one model on the features (c, d) of one graph."""
    shap = -model.predict(values, pred_contrib=True, num_threads=1)  # it predicts how fast
    sums = {name: shap[:, indices].sum(axis=1) for name, indices in columns.items()}
    centred = {name: part - part.mean() for name, part in sums.items()}
    total = max(sum(np.abs(part).mean() for part in centred.values()), np.finfo(float).tiny)
    return {
        name: (np.abs(part).mean() / total, _correlation(values[:, columns[name][0]], part))
        for name, part in centred.items()
    }


def _correlation(first: np.ndarray, second: np.ndarray) -> float:
    """Pearson's correlation; 0 where one of the two does not vary."""
    if np.ptp(first) == 0 or np.ptp(second) == 0:
        return 0.0
    return float(np.corrcoef(first, second)[0, 1])


def _weighted_mean(pairs: np.ndarray) -> tuple[float, float]:
    """Mean of the shares (r, 0), and of the correlations (r, 1), each of which counts as much as its share."""
    total = pairs[:, 0].sum()
    return float(pairs[:, 0].mean()), float((pairs[:, 0] * pairs[:, 1]).sum() / total) if total else 0.0
