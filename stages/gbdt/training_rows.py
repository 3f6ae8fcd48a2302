"""What LightGBM trains on: rows of configurations or of pairs of them, their labels, and the judge of held-out graphs.

Labels are linear in the rank, because Kendall's tau counts every pair of configurations alike.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import lightgbm as lgb
import numpy as np
from scipy.stats import rankdata

from stages.gbdt.feature_table import FeatureTable
from stages.gbdt.settings import Settings

#: levels that the run times of a graph are graded into, slowest 0: LightGBM's own limit, without a table of gains
GRADES = 31
#: pairs that a held-out graph is judged by while training, enough for a tau to three hundredths
JUDGED_PAIRS = 20_000


@dataclass(frozen=True)
class TrainingRows:
    """Rows of several graphs, one after another.

    Attributes:
        names: (d,) of the columns.
        values: (r, d) float32.
        labels: (r,) float64.
        group: rows of each graph, in order.
        judge: LightGBM's `feval`; None where the objective's own loss judges.
    """

    names: list[str]
    values: np.ndarray
    labels: np.ndarray
    group: list[int]
    judge: Callable | None

    def dataset(self, objective: str) -> lgb.Dataset:
        """The rows as LightGBM takes them."""
        group = self.group if objective == "lambdarank" else None
        return lgb.Dataset(self.values, self.labels, group=group, feature_name=self.names, params={"verbosity": -1})


def training_rows(objective: str, tables: Sequence[FeatureTable], settings: Settings, seed: int) -> TrainingRows:
    """The rows that an objective trains on.

    Args:
        objective: one of LightGBM's: lambdarank, pointwise or pairwise.
        tables: the labelled graphs.
        settings: of which `pairs` bounds the pairs of a graph.
        seed: draws the pairs.
    """
    return _pair_rows(tables, settings.pairs, seed) if objective == "pairwise" else _rows(objective, tables)


def shares_of_slower(target: np.ndarray) -> np.ndarray:
    """How fast each configuration is within its graph.

    Args:
        target: (c,) smaller is faster.

    Returns:
        (c,) the share of slower configurations, in (0, 1); equal targets have equal shares.
    """
    return 1 - (rankdata(target) - 0.5) / len(target)


def ordered_pairs(target: np.ndarray, limit: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Draws ordered pairs of different configurations, and drops those whose targets are equal.

    Args:
        target: (c,) of the configurations of one graph.
        limit: of the pairs that are drawn; where there are not more, all are taken.
        rng: draws them.

    Returns:
        Two arrays (p,): the configurations that are first and second of each pair.
    """
    count = len(target)
    every = count * (count - 1)
    number = np.arange(every) if every <= limit else np.sort(rng.choice(every, limit, replace=False, shuffle=False))
    first, second = np.divmod(number, max(count - 1, 1))
    second += second >= first
    differs = target[first] != target[second]
    return first[differs], second[differs]


def tau_judge(targets: Sequence[np.ndarray]) -> Callable:
    """LightGBM's `feval` for rows of configurations: mean tau-a over the held-out graphs that have an order.

    Args:
        targets: of each graph (c,), in the order of the rows.
    """
    starts = np.cumsum([0, *map(len, targets)])
    pairs_of_graphs = [_faster_and_slower(target, start) for target, start in zip(targets, starts, strict=False)]

    def judge(prediction: np.ndarray, held_out: lgb.Dataset) -> tuple[str, float, bool]:
        rows = np.asarray(held_out.used_indices)
        predicted = np.zeros(starts[-1])
        predicted[rows] = prediction
        graphs = np.flatnonzero(np.isin(starts[:-1], rows))
        pairs = [pairs_of_graphs[graph] for graph in graphs]
        taus = [np.sign(predicted[faster] - predicted[slower]).mean() for faster, slower in pairs if len(faster)]
        return "tau", float(np.mean(taus)) if taus else 0.0, True

    return judge


def _rows(objective: str, tables: Sequence[FeatureTable]) -> TrainingRows:
    """A row for each configuration."""
    targets = [table.target for table in tables]
    values = np.concatenate([table.features(slice(None)) for table in tables])
    labels = np.concatenate([shares_of_slower(target) for target in targets])
    if objective == "lambdarank":
        labels = np.floor(labels * GRADES)
    group = [len(target) for target in targets]
    return TrainingRows(tables[0].feature_names, values, labels, group, tau_judge(targets))


def _pair_rows(tables: Sequence[FeatureTable], limit: int, seed: int) -> TrainingRows:
    """A row for each of at most `limit` ordered pairs of a graph, labelled 1 where the first is faster."""
    values, labels = [], []
    for number, table in enumerate(tables):
        first, second = ordered_pairs(table.target, limit, np.random.default_rng([seed, number]))
        values.append(table.against(first, second))
        labels.append(table.target[first] < table.target[second])
    group = [len(label) for label in labels]
    names = tables[0].pair_names if sum(group) else []
    return TrainingRows(names, np.concatenate(values), np.concatenate(labels).astype(np.float64), group, None)


def _faster_and_slower(target: np.ndarray, start: int) -> tuple[np.ndarray, np.ndarray]:
    """Rows (p,) of the faster and of the slower configuration of each pair that is judged; rows begin at `start`."""
    first, second = ordered_pairs(target, JUDGED_PAIRS, np.random.default_rng(len(target)))
    faster = target[first] < target[second]
    return start + np.where(faster, first, second), start + np.where(faster, second, first)
