"""The scores of the recipes: rows that their runs write, and sentences and pictures for the page."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import matplotlib
import numpy as np
import polars as pl
from matplotlib.figure import Figure

from stages import inputs
from stages.engine import checks, elapsed_times, params
from stages.engine.errors import InputError
from stages.graphs import dataset
from stages.graphs.collection import COLLECTIONS
from stages.reporting import figures
from stages.reporting.colours import BLUE, GREY
from stages.reporting.tables import SPACE
from stages.scoring import scores
from stages.scoring.metrics import collection_score, graph_scores
from stages.scoring.score import read_solution

TABLE = Path("reports", "recipes.csv")
SCHEMA = {
    "recipe": pl.String,
    "collection": pl.String,
    "split": pl.String,
    "mean": pl.Float64,
    "sd": pl.Float64,
    "seeds": pl.Int64,
    "train_seconds": pl.Float64,
    "together": pl.Float64,
}
OURS, FIRST = "ours", "first-place"


def measured(name: str, project: str | Path) -> pl.DataFrame:
    """Reads the scores of a pipeline that has run.

    Args:
        name: of the recipe.
        project: the project's folder.

    Returns:
        A row of `SCHEMA` per collection and split with known run times, and one for their mean. Columns: recipe;
        collection, "mean" for the mean over all; split; mean and sd (of a sample) of the scores of the seeds, each the
        blend of one seed of every member; seeds, their number; train_seconds, processor seconds in which all seeds of
        all blended members were trained; together, the score of the mean rank of all seeds, which is submitted.
    """
    project = Path(project)
    values = params.read(project / "params.yaml")
    table = scores.read(project / "data" / "blend" / "seeds.parquet")
    together = json.loads((project / "reports" / "metrics.json").read_text())
    solution_path = inputs.path(values, "leaderboard", "solution")
    solution = read_solution(project / solution_path) if solution_path and (project / solution_path).exists() else {}
    collections = [name for name in COLLECTIONS if name in set(table["collection"])]
    members = values["blend"]["members"]
    seconds = {
        collection: sum(elapsed_times.read(project / "data", stage, collection) or 0.0 for stage in members)
        for collection in collections
    }
    rows = []
    for split in ("valid", "test"):
        by_collection = {}
        for collection in collections:
            targets = _targets(project, collection, split, solution)
            if targets is None:
                continue
            part = table.filter(pl.col("split") == split, pl.col("collection") == collection)
            by_collection[collection] = _seed_scores(part, collection, targets)
            rows.append(_row(name, collection, split, by_collection[collection], seconds[collection], together))
        if len(by_collection) == len(collections):
            mean = np.mean(list(by_collection.values()), axis=0)
            rows.append(_row(name, "mean", split, mean, sum(seconds.values()), together))
    return pl.DataFrame(rows, schema=SCHEMA, orient="row")


@checks.entry("recipes")
def read(project: str | Path = ".") -> pl.DataFrame:
    """Reads the table of all recipes run so far; InputError if it is missing or has other columns."""
    path = Path(project, TABLE)
    if not path.exists():
        raise InputError(f"{path}: not there; run some recipes: make recipe NAME={OURS}")
    table = pl.read_csv(path)
    if list(table.columns) != list(SCHEMA):
        raise InputError(f"{path}: holds other columns than {', '.join(SCHEMA)}; remove it and run the recipes again")
    return table.cast(SCHEMA)


def board(table: pl.DataFrame, split: str) -> pl.DataFrame:
    """The table that the page shows for a split.

    Args:
        table: as `read` returns it.
        split: "valid" or "test".

    Returns:
        A row per recipe, best first: "mean ± sd" over the seeds in the mean of the collections, the score of all seeds
        together, minutes of training, and "mean ± sd" in each collection.
    """
    part = table.filter(pl.col("split") == split)
    cells = {
        (row["recipe"], row["collection"]): f"{row['mean']:.3f}{SPACE}±{SPACE}{row['sd'] or 0:.3f}"
        for row in part.iter_rows(named=True)
    }
    columns = [name for name in COLLECTIONS if name in set(part["collection"])]
    rows = [
        [name, cells[name, "mean"], together, f"{seconds / 60:.1f}", *(cells.get((name, column)) for column in columns)]
        for name, together, seconds in _means(table, split).select("recipe", "together", "train_seconds").iter_rows()
    ]
    schema = {"recipe": pl.String, "mean": pl.String, "seeds together": pl.Float64, "training, minutes": pl.String}
    return pl.DataFrame(rows, schema=schema | dict.fromkeys(columns, pl.String), orient="row")


@matplotlib.rc_context(figures.STYLE)
def picture(table: pl.DataFrame, split: str, narrow: bool = False) -> Figure:
    """Each recipe's mean score with its deviation over the seeds, and the time of its training; best on top."""
    means = _means(table, split)
    height = 0.7 + 0.36 * max(1, means.height)
    size = (figures.NARROW, 2 * height) if narrow else (figures.WIDE, height)
    figure = Figure(figsize=size, layout="constrained")
    shape = {"nrows": 2} if narrow else {"ncols": 2, "width_ratios": [2, 1]}
    score, time = figure.subplots(**shape, sharey=True)
    heights = np.arange(means.height)
    colours = [BLUE if name == OURS else GREY for name in means["recipe"]]
    score.errorbar(means["mean"], heights, xerr=means["sd"].fill_null(0), fmt="none", ecolor="#444444", elinewidth=1)
    score.scatter(means["mean"], heights, c=colours, s=36, zorder=3)
    score.set(xlabel=f"mean on {split}, single seeds (± sd)", yticks=heights)
    score.set_yticklabels(means["recipe"].to_list())
    score.invert_yaxis()
    time.barh(heights, means["train_seconds"] / 60, color=colours, height=0.6)
    time.set(xlabel="training, minutes")
    return figure


def standing(table: pl.DataFrame, split: str) -> str:
    """The best recipe in the mean, the distance of ours to it, and the training time of the first place's, in words."""
    means = {row["recipe"]: row for row in _means(table, split).iter_rows(named=True)}
    if not means:
        return f"No recipe has a mean on {split}: not every collection has a score there."
    best, *others = means
    text = [f"On {split}, {best} is best of {len(means)} in the mean of the collections, {means[best]['mean']:.3f}"]
    if others:
        second = means[others[0]]
        lead, spread = means[best]["mean"] - second["mean"], max(means[best]["sd"] or 0, second["sd"] or 0)
        word = "further behind" if lead > spread else "no further behind"
        text[0] += f"; {others[0]} follows with {second['mean']:.3f}, {word} than single seeds move ({spread:.3f})"
    if OURS in means and best != OURS:
        text.append(f"{OURS} is {means[best]['mean'] - means[OURS]['mean']:.3f} behind it")
    if OURS in means and FIRST in means:
        share = means[OURS]["train_seconds"] / max(means[FIRST]["train_seconds"], 1e-9)
        text.append(f"{OURS} trains in {share:.2f} of the time of {FIRST}")
    return ". ".join(text) + "."


def collections_won(table: pl.DataFrame, split: str) -> str:
    """The best recipe of each collection, in words."""
    part = table.filter(pl.col("split") == split, pl.col("collection") != "mean")
    best = part.sort("mean", "recipe", descending=[True, False]).group_by("collection", maintain_order=True).first()
    winners = {
        name: f"{recipe} on {name} ({mean:.3f})" for name, recipe, mean in best["collection", "recipe", "mean"].rows()
    }
    return "Best in each collection: " + ", ".join(winners[name] for name in COLLECTIONS if name in winners) + "."


def cost(table: pl.DataFrame, split: str) -> str:
    """The recipes that train longest and shortest, in words."""
    means = _means(table, split).sort("train_seconds", "recipe")
    if means.is_empty():
        return f"No recipe has a mean on {split}."
    shortest, longest = means.row(0, named=True), means.row(-1, named=True)
    return (
        f"{longest['recipe']} trains longest, {longest['train_seconds'] / 60:.1f} processor minutes, and "
        f"{shortest['recipe']} shortest, {shortest['train_seconds'] / 60:.1f}."
    )


def _targets(
    project: Path, collection: str, split: str, solution: Mapping[str, np.ndarray]
) -> dict[str, np.ndarray] | None:
    """Graph -> run times of its configurations; None if the split is empty or lacks a graph's run times."""
    targets = {graph.id: graph.target for graph in dataset.graphs(project / "data", collection, split)}
    if split == "test":
        targets = {graph: solution.get(f"{collection}:{graph}") for graph in targets}
    if not targets or any(target is None for target in targets.values()):
        return None
    return targets


def _seed_scores(table: pl.DataFrame, collection: str, targets: Mapping[str, np.ndarray]) -> list[float]:
    """The official metric of each seed's scores, in the order of the seeds."""
    seeds = table.sort("seed").partition_by("seed", maintain_order=True)
    return [collection_score(graph_scores(collection, scores.by_graph(seed), targets)) for seed in seeds]


def _means(table: pl.DataFrame, split: str) -> pl.DataFrame:
    part = table.filter(pl.col("split") == split, pl.col("collection") == "mean")
    return part.sort("mean", "recipe", descending=[True, False])


def _row(name: str, collection: str, split: str, values: Sequence[float], seconds: float, together: dict) -> tuple:
    """A row of `SCHEMA` from the seeds' scores, the seconds of training, and metrics.json."""
    deviation = float(np.std(values, ddof=1)) if len(values) > 1 else None
    whole = together.get(split, {}).get(collection, {}).get("blend")
    return name, collection, split, float(np.mean(values)), deviation, len(values), seconds, whole
