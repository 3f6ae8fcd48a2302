"""What a model has to beat: rankings by chance, by one column of the statistics, and by a ridge on all of them."""

from __future__ import annotations

import zlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
from scipy.stats import rankdata

from stages.engine.errors import InputError
from stages.graphs import dataset
from stages.graphs.collection import is_tile
from stages.scoring import scores
from stages.statistics.columns import standardised, statistics

#: added to the variance of every column, which is one. A tenth is what a ridge on some dozens of correlated columns and
#: a dozen programs bears; it is fixed, so that the baseline is not tuned on what it is compared by.
STRENGTH = 0.1
#: seed column of members that are not trained
SEED = 0
#: rankings by one column: member -> column and its sign, so that smaller is faster. Copies that the layouts force,
#: inversions of row-major over all configured layouts, how much is taken out of the compiler's hands, bytes that
#: layout assignment makes of it; volume of the output tile, what its copies and its arithmetic take
LAYOUT_COLUMNS = {
    "copy_count": ("copies", 1),
    "row_major": ("inversions", 1),
    "default": ("stated_tensors", 1),
    "estimate": ("assigned_estimate", 1),
}
TILE_COLUMNS = {"largest_tile": ("output_volume", -1), "estimate": ("estimate", 1)}


def random(graph: dataset.PackedGraph) -> np.ndarray:
    """Chance (c,), the same in every run: seeded by the graph's id."""
    return np.random.default_rng(zlib.crc32(graph.id.encode())).random(graph.configurations)


@dataclass(frozen=True)
class Ridge:
    """A linear model of z-scored columns (f,)."""

    names: list[str]
    weights: np.ndarray

    def score(self, names: list[str], values: np.ndarray) -> np.ndarray:
        """Scores (c,), smaller is faster, of one graph's statistics (c, f). Raises InputError for other columns."""
        if names != self.names:
            raise InputError("statistics of two graphs have different columns; run the prune stage of both again")
        return standardised(values) @ self.weights


def ridge(tables: Iterable[tuple[list[str], np.ndarray, np.ndarray]]) -> Ridge:
    """Fits a ridge of within-graph z-scored columns against the z-scored rank of the run time.

    tables: names, statistics (c, f) and target (c,) of each training graph. Every graph counts the same; graphs whose
    targets are all equal, or that have one configuration, teach nothing and are left out. Raises InputError for graphs
    of different columns.
    """
    names, gram, moment, count = [], 0.0, 0.0, 0
    for names_, values, target in tables:
        if names and names_ != names:
            raise InputError("statistics of two graphs have different columns; run the prune stage of both again")
        names = names_
        columns, rank = standardised(values), standardised(rankdata(target)[:, None])[:, 0]
        if rank.any():
            gram, moment = gram + columns.T @ columns / len(rank), moment + columns.T @ rank / len(rank)
            count += 1
    if not count:
        return Ridge(names, np.zeros(len(names)))
    return Ridge(names, np.linalg.solve(gram / count + STRENGTH * np.eye(len(names)), moment / count))


def table(data: str | Path, collection: str) -> pl.DataFrame:
    """Scores of every baseline for the valid and test graphs of a collection, as `scores.frame` has them.

    Members: random, ridge, estimate, and copy_count, row_major and default (layout) or largest_tile (tile). `estimate`
    is what is known of the machine, trained on nothing. `default` puts the compiler's own choice first; it is left out
    where all configurations of each graph state equally many layouts.
    """
    columns = TILE_COLUMNS if is_tile(collection) else LAYOUT_COLUMNS
    train = dataset.graphs(data, collection, "train")
    model = ridge((*statistics(graph), graph.target) for graph in train)
    frames, leaves_open = [], False
    for split in ("valid", "test"):
        for graph in dataset.graphs(data, collection, split):
            names, values = statistics(graph)
            members = {"random": random(graph), "ridge": model.score(names, values) if train else values[:, 0] * 0}
            members |= {member: sign * values[:, names.index(name)] for member, (name, sign) in columns.items()}
            leaves_open |= "default" in members and bool(np.ptp(members["default"]))
            frames += [
                scores.frame(split, graph.id, graph.config_index, member, SEED, score)
                for member, score in sorted(members.items())
            ]
    result = pl.concat(frames) if frames else pl.DataFrame(schema=scores.SCHEMA)
    return result if leaves_open else result.filter(pl.col("member") != "default")
