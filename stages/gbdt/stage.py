"""The stage: trains a collection once, and gathers what the page shows of the training."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path

import polars as pl

from stages.engine import checks, code, kept
from stages.engine.errors import InputError
from stages.gbdt import model_files, training
from stages.gbdt.ensemble import Ensemble
from stages.gbdt.explanation import kept_explanation
from stages.gbdt.feature_table import LABELLED, FeatureTable, labelled
from stages.gbdt.settings import Settings
from stages.gbdt.training import MEMBER
from stages.graphs import dataset
from stages.graphs.collection import SPLITS, slug

#: modules that shape models and scores, with all that they import
CODE = ("stages.gbdt.training",)
#: packages whose versions decide digits of models, scores and files
PACKAGES = ("lightgbm", "numpy", "polars", "scipy")
#: of the environment: the last digits of a ridge's sums depend on it
THREADS = "OPENBLAS_NUM_THREADS"


@dataclass(frozen=True, eq=False)
class Result:
    """What a training came to.

    Attributes:
        collection: its name.
        valid: frame of graph, seed and score: the official metric of a valid graph, out of fold.
        objectives: frame of split (train, valid), objective, graphs, score and sd: the metric out of fold of each
            member, mean over the graphs where it is defined; then mean and standard deviation over the seeds.
        gains: frame of column (a statistic), gain, shap, slower and description, see `explanation.explanation`.
        trees: frame of objective, seed and trees, see `models.Bag`.
        graphs: number of graphs trained on.
        seconds: that the training took by the clock; None where an earlier run trained.
    """

    collection: str
    valid: pl.DataFrame
    objectives: pl.DataFrame
    gains: pl.DataFrame
    trees: pl.DataFrame
    graphs: int
    seconds: float | None


@checks.entry("gbdt", writes=True)
def run(*, collection: str, knobs: Settings, data: str | Path = "data") -> Result:
    """Trains every member on the train and valid graphs of a collection and scores its valid and test graphs.

    With each of the seeds 0 .. seeds-1 the program families are dealt into folds, and each member is trained once for
    each fold on the graphs of the others. A valid graph is scored OUT OF FOLD, by the models that trained on none of
    its family, a test graph by the mean over all; a seed's score is the mean of its members', brought to one scale
    within the graph. A graph gives at most `configurations` rows and `pairs` pairs to training; all are scored.

    `training.train` says what is written to DATA/gbdt/SLUG. A copy is kept in DATA/trained/gbdt/SLUG: a run with the
    same code, settings and graphs takes it from there and trains nothing.

    Args:
        collection: its name.
        knobs: a mapping of those that are not to be as in params.yaml; `checks.entry` makes `Settings` of it.
        data: the data folder, in which the prune stage has run.

    Returns:
        What the page shows.

    Raises:
        InputError: an objective or the collection is unknown, a number is out of range, or there is no train graph.
    """
    if not dataset.graph_ids(data, collection, "train"):
        raise InputError(
            f"{dataset.prune_folder(data, collection)}: has no train graph; run the prune stage on more data"
        )
    folder = Path(data, "gbdt", slug(collection))
    kept_folder = Path(data, "trained", "gbdt", slug(collection))
    trained = identity(collection, data, knobs)
    seconds = None
    if not kept.restored(folder, kept_folder, trained):
        seconds = training.train(collection, data, knobs)
        kept.keep(folder, kept_folder, trained)
    graphs = [(split, id) for split in LABELLED for id in dataset.graph_ids(data, collection, split)]
    ensemble = model_files.read(folder, knobs, graphs)

    def to_explain() -> tuple[Ensemble, Sequence[FeatureTable]]:
        return ensemble, labelled(data, collection, knobs, ("valid",))

    metrics = pl.read_parquet(folder / training.METRICS)
    return Result(
        collection=collection,
        valid=metrics.filter(split="valid", objective=MEMBER).select("graph", "seed", "score"),
        objectives=_objectives(metrics, knobs),
        gains=kept_explanation(data, collection, trained, to_explain),
        trees=pl.DataFrame(
            [(bag.objective, seed, bag.trees) for seed, bags in enumerate(ensemble.bags) for bag in bags],
            schema=["objective", "seed", "trees"],
            orient="row",
        ),
        graphs=len(graphs),
        seconds=seconds,
    )


def identity(collection: str, data: str | Path, settings: Settings) -> str:
    """Digest of all that decides models and scores: code, packages, settings with the number of seeds, and graphs."""
    software = [code.digest(*CODE), *(version(name) for name in PACKAGES), os.environ.get(THREADS)]
    decided = hashlib.sha256(json.dumps([software, collection, asdict(settings)]).encode())
    folder = dataset.prune_folder(data, collection)
    for split in SPLITS:
        for id in dataset.graph_ids(data, collection, split):
            decided.update(f" {split} {id} {_digest(dataset.graph_file(folder, split, id))}".encode())
    return decided.hexdigest()


def _digest(path: Path) -> str:
    try:
        with open(path, "rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except FileNotFoundError:
        raise InputError(f"{path}: no such file; run the prune stage again") from None


def _objectives(metrics: pl.DataFrame, settings: Settings) -> pl.DataFrame:
    """Metric of each member: mean over the graphs where it is defined, then mean and deviation over the seeds."""
    order = {name: index for index, name in enumerate((*settings.objectives, MEMBER))}
    seeds = (
        metrics.filter(pl.col("score").is_not_nan())
        .group_by("split", "objective", "seed", maintain_order=True)
        .agg(pl.col("score").mean(), pl.len().alias("graphs"))
    )
    return (
        seeds.group_by("split", "objective", maintain_order=True)
        .agg(pl.col("graphs").first(), pl.col("score").mean(), pl.col("score").std(ddof=0).alias("sd"))
        .sort("split", pl.col("objective").replace_strict(order, return_dtype=pl.Int64))
    )
