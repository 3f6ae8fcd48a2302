"""Graphs as the models see them: statistics of configurations, and what they are beside the rest of their graph."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from stages.errors import InputError
from stages.gbdt.settings import Settings
from stages.graphs import dataset
from stages.statistics import describe, shared, statistics

#: suffixes of columns made of a statistic: its z-score within the graph; the difference of two configurations' z-scores
Z, DIFFERENCE = "_z", "_difference"


@dataclass(frozen=True, eq=False)
class Sheet:
    """One graph. names (f,) of the columns of values (c, f) float64; target (c,); config_index (c,)."""

    id: str
    split: str
    names: list[str]
    values: np.ndarray
    target: np.ndarray
    config_index: np.ndarray

    @property
    def rows(self) -> int:
        return len(self.target)

    @cached_property
    def varying(self) -> np.ndarray:
        """(v,) columns that may differ within a graph."""
        return np.array([place for place, name in enumerate(self.names) if not shared(name)])

    @cached_property
    def constant(self) -> np.ndarray:
        return np.setdiff1d(np.arange(len(self.names)), self.varying)

    @cached_property
    def _scale(self) -> tuple[np.ndarray, np.ndarray]:
        """Mean and 1 / standard deviation (v,) of the varying columns; 0 for one that does not vary here."""
        mean, spread = np.zeros(len(self.varying)), np.zeros(len(self.varying))
        for place, column in enumerate(self.varying):  # one at a time: a copy of all is as large as the statistics
            found = self.values[:, column]
            mean[place] = found.mean()
            spread[place] = found.std() if np.ptp(found) > 0 else 0.0
        return mean, np.divide(1.0, spread, out=np.zeros(len(spread)), where=spread > 0)

    def z(self, rows: np.ndarray | slice) -> np.ndarray:
        """Within-graph z-scores (k, v) float32 of the varying columns: trees cannot take a mean over a graph."""
        mean, scale = self._scale
        return ((self.values[rows][:, self.varying] - mean) * scale).astype(np.float32)

    def features(self, rows: np.ndarray | slice) -> np.ndarray:
        """(k, f + v) float32: the statistics beside their z-scores."""
        return np.concatenate([self.values[rows].astype(np.float32), self.z(rows)], axis=1)

    @property
    def feature_names(self) -> list[str]:
        return [*self.names, *(self.names[column] + Z for column in self.varying)]

    def against(self, one: np.ndarray, other: np.ndarray) -> np.ndarray:
        """(k, v + v + constant) float32 of pairs of rows: z-scores of one, how much they exceed the other's, and what
        the graph is like."""
        z = self.z(np.arange(self.rows)) if len(one) > self.rows else None
        mine, its = (z[one], z[other]) if z is not None else (self.z(one), self.z(other))
        return np.concatenate([mine, mine - its, self.values[one][:, self.constant].astype(np.float32)], axis=1)

    @property
    def pair_names(self) -> list[str]:
        varying = [self.names[column] for column in self.varying]
        return [
            *(name + Z for name in varying),
            *(name + DIFFERENCE for name in varying),
            *(self.names[column] for column in self.constant),
        ]


def labelled(data: str, collection: str, settings: Settings) -> list[Sheet]:
    """The train and valid graphs of a collection, each with `settings.configurations` drawn configurations at most."""
    graphs = (graph for split in ("train", "valid") for graph in dataset.graphs(data, collection, split))
    return [sheet(graph, settings, settings.configurations) for graph in graphs]


def whole(data: str, collection: str, split: str, id: str, settings: Settings) -> Sheet:
    """One graph with all of its configurations."""
    return sheet(dataset.graph(data, collection, split, id), settings)


def sheet(graph: dataset.PackedGraph, settings: Settings, limit: int | None = None) -> Sheet:
    """One packed graph with all of its configurations, or `limit` drawn ones."""
    rows = drawn(graph.configurations, limit)
    names, values = statistics(graph, rows, settings.searched, settings.hardware)
    return Sheet(graph.id, graph.split, names, values, graph.target[rows], np.asarray(graph.config_index)[rows])


def drawn(count: int, limit: int | None) -> np.ndarray:
    """Sorted places of at most `limit` of `count` things, all where there is no limit; the same in every run."""
    if limit is None or count <= limit:
        return np.arange(count)
    return np.sort(np.random.default_rng(count).choice(count, limit, replace=False))


def same_columns(sheets: list[Sheet]) -> None:
    """InputError where graphs have other statistics than the first."""
    for other in sheets[1:]:
        if other.names != sheets[0].names:
            raise InputError(f"{other.id}: has other statistics than {sheets[0].id}; run the prune stage again")


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
