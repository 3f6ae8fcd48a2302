"""One file is scored, by the functions that score a graph in the pipeline: pruned, padded, scored by all seeds of all
members, and blended.

A test graph of the data gets the scores that the pipeline gave it. What streams there streams here: packed graphs are
mapped from a temporary folder, so that memory does not grow with the file.
"""

from __future__ import annotations

import itertools
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, fields
from pathlib import Path

import numpy as np
import polars as pl

from stages import pad
from stages.blend import member_scores
from stages.blend.rules import SCALES
from stages.engine.errors import InputError
from stages.gbdt.ensemble import combined
from stages.gbdt.feature_table import FeatureTable, whole
from stages.gbdt.models import Model
from stages.gbdt.training import MEMBER as GBDT
from stages.gnn import tasks
from stages.graphs import dataset
from stages.prune.packing import pack
from stages.ranking.models import REMEDY, Models, Network, Trees
from stages.scoring import metrics, scores
from stages.scoring.baselines import Ridge
from stages.scoring.submission import order

#: modules that decide a score, with all that they import
CODE = (
    "stages.blend.member_scores",
    "stages.gbdt.training",
    "stages.gnn.tasks",
    "stages.pad",
    "stages.prune.packing",
)
#: As test graphs are packed: every configuration stays, and run times may be unknown.
SPLIT = "test"
KEPT_BYTES = 1 << 27  # of pairs' columns; 1,000 configurations have 40 opponents each and 56 MB
SCHEMA = {"graph": pl.String, "rank": pl.Int64, "configuration": pl.Int64, "score": pl.Float64}


@dataclass(frozen=True, eq=False)
class Ranking:
    """What the models say of one graph of c configurations.

    Attributes:
        table: `SCHEMA`, fastest first. score: the blend's, the place in its order divided by c; rank: that place, 1, 2,
            ...; configuration: the number in the file.
        members: member -> (c,) its scores by the configurations' order in the file, the mean over its seeds on the
            scale of the blend's rule.
        seeds: scores of every member and seed, as `stages.scoring.scores` has them.
        graph: as it was packed; its arrays are gone with the folder that it was packed to.
        metric: the official metric of the ranking; None where run times are not known, NaN where it is undefined.
        seen: "train" or "valid" where the models have seen the run times of a graph of this name; else None.
    """

    table: pl.DataFrame
    members: dict[str, np.ndarray]
    seeds: pl.DataFrame
    graph: dataset.PackedGraph
    metric: float | None
    seen: str | None


@dataclass(frozen=True, eq=False)
class _Table(FeatureTable):
    """A table of which the columns of pairs are made once for the pairwise models of all folds and seeds, where they
    are few enough to be kept: else making them takes as long as all else."""

    kept: dict[tuple[bytes, bytes], np.ndarray] = field(default_factory=dict)

    def against(self, one: np.ndarray, other: np.ndarray) -> np.ndarray:
        key = one.tobytes(), other.tobytes()
        if (columns := self.kept.get(key)) is None:
            columns = super().against(one, other)
            if sum(array.nbytes for array in self.kept.values()) + columns.nbytes <= KEPT_BYTES:
                self.kept[key] = columns
        return columns


def rank(file: Path, models: Models, work: Path) -> Ranking:
    """Ranks the configurations of an npz file.

    A graph that the models were trained on is known by its name, and by the folder of its split if it lies in one. The
    trees score it out of fold, as the pipeline does.

    Args:
        file: Official npz file of the models' kind; its name is the graph's id.
        models: Of the collection.
        work: A folder of this file's own, to which it is packed.

    Raises:
        InputError: The file is faulty, or the models do not fit it.
    """
    id, seen = file.stem, _seen(file, models)
    pack(file, dataset.graph_file(dataset.prune_folder(work, models.collection), SPLIT, id), SPLIT, models.options)
    graph = dataset.graph(work, models.collection, SPLIT, id)
    padded = dataset.graph_file(dataset.pad_folder(work, models.collection), SPLIT, id)
    dataset.write_padded(padded, pad.tensors(graph, models.padding, models.scalers))
    score = {"gnn": lambda: _by_network(models, id, work), "gbdt": lambda: _by_trees(models, id, seen, work)}
    with ThreadPoolExecutor(len(score)) as threads:  # most of their work is done in libraries, side by side
        running = {member: threads.submit(score[member]) for member in models.weights}
        tables = {member: pl.concat(frames.result()) for member, frames in running.items()}
    for member in tables:
        if not tables[member]["score"].is_finite().all():
            raise InputError(f"{file}: gets a score from {member} that is not finite; {REMEDY}")
    scale = SCALES[models.rule]
    of_members = member_scores.scaled(tables, [scale])[SPLIT, scale]
    blended = member_scores.combine(of_members, tuple(models.weights.values()))[id]
    ranked = order(blended)
    columns = {"graph": [id] * len(ranked), "rank": np.arange(1, len(ranked) + 1), "configuration": ranked}
    return Ranking(
        table=pl.DataFrame(columns | {"score": blended[ranked]}, schema=SCHEMA),
        members={member: of_graph[id] for member, of_graph in of_members.items()},
        seeds=pl.concat(tables.values()),
        graph=graph,
        metric=metrics.graph_score(models.collection, blended, graph.target) if graph.runtime.all() else None,
        seen=seen,
    )


def _seen(file: Path, models: Models) -> str | None:
    splits = {split for split, id in models.trained_on if id == file.stem}
    parent = file.absolute().parent.name
    if parent == SPLIT or not splits:
        return None
    return parent if parent in splits else min(splits)


def _by_network(models: Models, id: str, work: Path) -> list[pl.DataFrame]:
    network: Network = models.network
    return tasks.score_graph(
        (SPLIT, id),
        collection=models.collection,
        settings=network.settings,
        device="cpu",
        data=str(work),
        weights=network.weights,
    )


def _by_trees(models: Models, id: str, seen: str | None, work: Path) -> list[pl.DataFrame]:
    trees: Trees = models.trees
    settings = trees.ensemble.settings
    table = whole(work, models.collection, SPLIT, id, settings)
    bags = itertools.chain.from_iterable(trees.ensemble.bags)
    if not all(_reads(bag.objective, model, table) for bag in bags for model in bag.models):
        raise InputError(f"the trees of {models.collection} read other statistics than this code makes; {REMEDY}")
    table = _Table(**{part.name: getattr(table, part.name) for part in fields(table)} | {"split": seen or SPLIT})
    return [
        scores.frame(SPLIT, id, table.config_index, GBDT, seed, combined(trees.ensemble.scores(table, seed)))
        for seed in range(settings.seeds)
    ]


def _reads(objective: str, model: Model, table: FeatureTable) -> bool:
    """Whether a model reads the columns that the table has for it, in their order."""
    if isinstance(model, Ridge):
        return model.names in ([], table.names)
    return model.feature_name() == (table.pair_names if objective == "pairwise" else table.feature_names)
