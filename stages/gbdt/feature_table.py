"""Graphs as the models see them: a table of the statistics of configurations, beside the rest of their graph."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from stages.engine.errors import InputError
from stages.gbdt.settings import Settings
from stages.graphs import dataset
from stages.statistics.columns import describe, shared, statistics

#: suffixes of columns made of a statistic: its z-score within the graph; the difference of two configurations' z-scores
Z, DIFFERENCE = "_z", "_difference"
#: splits whose run times are known, in the order in which a model sees their graphs
LABELLED = ("train", "valid")


@dataclass(frozen=True, eq=False)
class FeatureTable:
    """The statistics of one graph, a row for each of c configurations.

    Attributes:
        id: the graph's.
        split: the graph's.
        names: (f,) of the columns.
        values: (c, f) float64 statistics.
        target: (c,) float64, what is ranked; zeros where the split is test.
        config_index: (c,) int64, the configurations' places in the original file.
    """

    id: str
    split: str
    names: list[str]
    values: np.ndarray
    target: np.ndarray
    config_index: np.ndarray

    @property
    def rows(self) -> int:
        """The number of configurations, c."""
        return len(self.target)

    @cached_property
    def varying(self) -> np.ndarray:
        """(v,) columns that may differ within a graph."""
        return np.array([column for column, name in enumerate(self.names) if not shared(name)])

    @cached_property
    def constant(self) -> np.ndarray:
        """(f - v,) columns that all configurations of a graph share."""
        return np.setdiff1d(np.arange(len(self.names)), self.varying)

    @cached_property
    def _scale(self) -> tuple[np.ndarray, np.ndarray]:
        """Mean and 1 / standard deviation (v,) of the varying columns; 0 for one that does not vary here."""
        mean, deviation = np.zeros(len(self.varying)), np.zeros(len(self.varying))
        for index, column in enumerate(self.varying):  # one at a time: a copy of all is as large as the statistics
            statistic = self.values[:, column]
            mean[index] = statistic.mean()
            deviation[index] = statistic.std() if np.ptp(statistic) > 0 else 0.0
        return mean, np.divide(1.0, deviation, out=np.zeros(len(deviation)), where=deviation > 0)

    def z(self, rows: np.ndarray | slice) -> np.ndarray:
        """Within-graph z-scores of the varying columns: trees cannot take a mean over a graph.

        Args:
            rows: (k,) rows, or a slice of them.

        Returns:
            (k, v) float32.
        """
        mean, scale = self._scale
        return ((self.values[rows][:, self.varying] - mean) * scale).astype(np.float32)

    def features(self, rows: np.ndarray | slice) -> np.ndarray:
        """What a model that sees one configuration at a time gets: the statistics beside their z-scores.

        Args:
            rows: (k,) rows, or a slice of them.

        Returns:
            (k, f + v) float32; `feature_names` has the columns' names.
        """
        return np.concatenate([self.values[rows].astype(np.float32), self.z(rows)], axis=1)

    @property
    def feature_names(self) -> list[str]:
        """Names of the columns of `features`."""
        return [*self.names, *(self.names[column] + Z for column in self.varying)]

    def against(self, one: np.ndarray, other: np.ndarray) -> np.ndarray:
        """What a model that compares two configurations gets.

        Args:
            one: (k,) rows of the first configuration of each pair.
            other: (k,) rows of the second.

        Returns:
            (k, v + v + f - v) float32: z-scores of one, how much they exceed the other's, and what the graph is like;
            `pair_names` has the columns' names.
        """
        if len(one) > self.rows:  # rows come again: each is scaled once
            z = self.z(np.arange(self.rows))
            one_z, other_z = z[one], z[other]
        else:
            one_z, other_z = self.z(one), self.z(other)
        constant = self.values[one][:, self.constant].astype(np.float32)
        return np.concatenate([one_z, one_z - other_z, constant], axis=1)

    @property
    def pair_names(self) -> list[str]:
        """Names of the columns of `against`."""
        varying = [self.names[column] for column in self.varying]
        return [
            *(name + Z for name in varying),
            *(name + DIFFERENCE for name in varying),
            *(self.names[column] for column in self.constant),
        ]


def labelled(
    data: str | Path, collection: str, settings: Settings, splits: Sequence[str] = LABELLED
) -> list[FeatureTable]:
    """The graphs of a collection whose run times are known.

    Args:
        data: the data folder.
        collection: its name.
        settings: of which `configurations` bounds the rows of a table; they are drawn.
        splits: of the graphs.
    """
    graphs = (graph for split in splits for graph in dataset.graphs(data, collection, split))
    return [feature_table(graph, settings, settings.configurations) for graph in graphs]


def whole(data: str | Path, collection: str, split: str, id: str, settings: Settings) -> FeatureTable:
    """One graph with all of its configurations."""
    return feature_table(dataset.graph(data, collection, split, id), settings)


def feature_table(graph: dataset.PackedGraph, settings: Settings, limit: int | None = None) -> FeatureTable:
    """One packed graph with all of its configurations, or `limit` drawn ones."""
    rows = drawn(graph.configurations, limit)
    names, values = statistics(graph, rows, settings.searched)
    return FeatureTable(graph.id, graph.split, names, values, graph.target[rows], np.asarray(graph.config_index)[rows])


def drawn(count: int, limit: int | None) -> np.ndarray:
    """Numbers below `count`, sorted: at most `limit` drawn ones, or all; the same in every run."""
    if limit is None or count <= limit:
        return np.arange(count)
    return np.sort(np.random.default_rng(count).choice(count, limit, replace=False))


def same_columns(tables: Sequence[FeatureTable]) -> None:
    """Compares the columns of graphs.

    Raises:
        InputError: a graph has other statistics than the first.
    """
    for other in tables[1:]:
        if other.names != tables[0].names:
            raise InputError(f"{other.id}: has other statistics than {tables[0].id}; run the prune stage again")


def statistic(feature: str) -> str:
    """The statistic that a model's column is made of."""
    for suffix in (Z, DIFFERENCE):
        feature = feature.removesuffix(suffix)
    return feature


def described(feature: str) -> str:
    """What a model's column measures, in one line."""
    words = {Z: "within-graph z-score: ", DIFFERENCE: "difference of two configurations' z-scores: "}
    prefix = next((text for suffix, text in words.items() if feature.endswith(suffix)), "")
    return prefix + describe(statistic(feature))
