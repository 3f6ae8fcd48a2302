"""The page of the stage: what it says in words and draws, computed from what `run` returns."""

from __future__ import annotations

import matplotlib
import numpy as np
import polars as pl
from matplotlib.figure import Figure

from stages.gbdt.stage import Result
from stages.gbdt.training import MEMBER
from stages.graphs.collection import is_tile
from stages.reporting import figures
from stages.reporting.colours import BLUE, GREEN, VERMILION
from stages.reporting.tables import SPACE
from stages.reporting.words import counted

TOP = 15  # statistics shown
WORST = 20  # valid graphs shown


def findings(result: Result) -> str:
    """What the scores, the trees and the objectives say, a sentence for each."""
    return " ".join(text for text in (_scores(result), _trees(result), _members(result)) if text)


@matplotlib.rc_context(figures.STYLE)
def graph_dots(result: Result, narrow: bool = False) -> Figure:
    """Draws the official metric of each valid graph, out of fold, a dot for each seed.

    The best graph is above. Of more than `WORST` graphs only the worst are shown.
    """
    scores = result.valid.filter(pl.col("score").is_not_nan())
    means = scores.group_by("graph").agg(pl.col("score").mean()).sort("score", "graph").head(WORST)
    names = means["graph"].to_list()
    scores = scores.filter(pl.col("graph").is_in(names))
    size = (figures.NARROW if narrow else 8, 0.9 + 0.22 * max(len(names), 1))
    figure = Figure(figsize=size, layout="constrained")
    panel = figure.subplots()
    height = {name: number for number, name in enumerate(names)}
    heights = scores["graph"].replace_strict(height, return_dtype=pl.Int64)
    panel.plot(scores["score"], heights, "o", color=GREEN, alpha=0.6)
    panel.set_yticks(range(len(names)), [figures.short(name) for name in names], fontsize=7 if narrow else 9)
    panel.set_xlabel("slowdown score" if is_tile(result.collection) else "Kendall tau-b")
    panel.grid(axis="x", alpha=0.3)
    return figure


@matplotlib.rc_context(figures.STYLE)
def gain_bars(result: Result, narrow: bool = False) -> Figure:
    """Draws gain beside SHAP, of the statistics that are first in either."""
    shown = _top(result.gains).reverse()
    size = (figures.NARROW, 1 + 0.46 * shown.height) if narrow else (figures.WIDE, 1 + 0.26 * shown.height)
    figure = Figure(figsize=size, layout="constrained")
    panels = figure.subplots(2, 1) if narrow else figure.subplots(1, 2, sharey=True)
    names = [figures.short(name) for name in shown["column"]]
    panels[0].barh(names, shown["gain"], color=GREEN)
    panels[0].set_xlabel("share of the gain")
    slower = shown["slower"].fill_null(0.0).to_numpy()
    colours = np.where(slower > 0, VERMILION, BLUE)
    panels[1].barh(names, shown["shap"].fill_null(0.0), color=colours)
    panels[1].set_xlabel("share of SHAP within a graph")
    for text, colour in (("more of it ranks slower", VERMILION), ("more of it ranks faster", BLUE)):
        panels[1].barh(names[:1], [0], color=colour, label=text)
    figure.legend(loc="outside upper left", ncols=1 if narrow else 2)
    return figure


def objectives(result: Result) -> pl.DataFrame:
    """The metric out of fold of each member and of all together: 'mean ± deviation over the seeds' on each split."""
    cells = {
        (row["split"], row["objective"]): f"{row['score']:.3f}{SPACE}±{SPACE}{row['sd']:.3f}"
        for row in result.objectives.iter_rows(named=True)
    }
    graphs = dict(result.objectives.group_by("split", maintain_order=True).agg(pl.col("graphs").max()).iter_rows())
    names = result.objectives["objective"].unique(maintain_order=True)
    rows = [[name, *(cells.get((split, name)) for split in graphs)] for name in names]
    columns = ["objective", *(f"{split}, {counted(count, 'graph')}" for split, count in graphs.items())]
    return pl.DataFrame(rows, schema=dict.fromkeys(columns, pl.String), orient="row")


def statistics(result: Result) -> pl.DataFrame:
    """The statistics of most gain: their shares of it and of SHAP, and what they are."""
    first = result.gains.head(TOP)
    shares = {"gain": first["gain"], "SHAP": first["shap"].fill_null(0.0)}
    columns = {name: [f"{share:.0%}" for share in of_all] for name, of_all in shares.items()}
    return pl.DataFrame({"statistic": first["column"], **columns, "what it is": first["description"]})


def finding(result: Result) -> str:
    """The page's one finding: the statistic that orders the configurations of a graph most."""
    by_shap = _by_shap(result)
    if not by_shap.height:
        return "No statistic moves the configurations of a graph apart."
    first = by_shap.row(0, named=True)
    return (
        f"Within a graph `{first['column']}` moves the predicted times most, {first['shap']:.0%} of all: "
        f"{first['description']}; more of it ranks {'slower' if first['slower'] > 0 else 'faster'}."
    )


def looked_at(result: Result) -> str:
    """Says which statistics the trees look at by gain, and how many are the same by SHAP."""
    gains = result.gains
    if not gains.height or gains["gain"].sum() <= 0:
        return "The trees found nothing to split on."
    top = gains.row(0, named=True)
    half = 1 + int((gains["gain"].cum_sum() < gains["gain"].sum() / 2).sum())
    text = f"{half} of {gains.height} statistics bring half of the trees' gain, `{top['column']}` {top['gain']:.0%}."
    by_shap = _by_shap(result)
    if not by_shap.height:
        return text
    both = set(by_shap.head(TOP)["column"]) & set(gains.head(TOP)["column"])
    return text + (
        f" Gain also counts what tells programs apart: {len(both)} of the first {min(TOP, by_shap.height)} are the "
        "same by both."
    )


def _by_shap(result: Result) -> pl.DataFrame:
    """The statistics that move configurations apart, the strongest first."""
    moving = result.gains.drop_nulls("shap").filter(pl.col("shap") > 0)
    return moving.sort("shap", "column", descending=[True, False])


def _scores(result: Result) -> str:
    valid = result.valid.filter(pl.col("score").is_not_nan())
    means = valid.group_by("graph", maintain_order=True).agg(pl.col("score").mean()).sort("score", "graph")
    if not means.height:
        return "No valid graph has configurations of different run times."
    worst, best = means.row(0, named=True), means.row(-1, named=True)
    return (
        f"On the valid graphs the mean score of a seed is {means['score'].mean():.3f}, from {worst['score']:.3f} "
        f"({worst['graph']}) to {best['score']:.3f} ({best['graph']}), each by models that trained on no program of "
        "its family; the same graphs chose the number of trees, one for all folds."
    )


def _trees(result: Result) -> str:
    trees = result.trees.filter(pl.col("trees") > 0).group_by("objective", maintain_order=True)
    counts = [f"{name} {part['trees'].min()} to {part['trees'].max()}" for (name,), part in trees]
    return f"Trees of a model, over the seeds: {', '.join(counts)}." if counts else ""


def _members(result: Result) -> str:
    train = result.objectives.filter(split="train")
    if train.height <= 1:
        return ""
    alone = train.filter(pl.col("objective") != MEMBER).sort("score", "objective", descending=[True, False])
    best, together = alone.row(0, named=True), train.filter(objective=MEMBER).row(0, named=True)
    return (
        f"Out of fold on the train graphs the best objective is {best['objective']} with {best['score']:.3f}; all "
        f"together have {together['score']:.3f}."
    )


def _top(gains: pl.DataFrame) -> pl.DataFrame:
    """The statistics that are first by gain or by SHAP, at most `TOP`, by the sum of the two."""
    both = pl.col("gain") + pl.col("shap").fill_null(0.0)
    return gains.sort(both, "column", descending=[True, False]).head(TOP)
