"""What the stage's report says in words, computed from what `run` returns."""

from __future__ import annotations

from collections.abc import Mapping

import matplotlib
import numpy as np
import polars as pl
from matplotlib.figure import Figure

from stages.gbdt.stage import MEMBER
from stages.graphs.collection import is_tile
from stages.reporting import figures

TOP = 15  # statistics shown
WORST = 40  # valid graphs shown


def findings(result: Mapping) -> str:
    """What the numbers of `run`'s result say, a sentence for each picture."""
    text = []
    valid = result["valid"].filter(pl.col("score").is_not_nan())
    judged = valid.group_by("graph", maintain_order=True).agg(pl.col("score").mean()).sort("score", "graph")
    if judged.height:
        worst, best = judged.row(0, named=True), judged.row(-1, named=True)
        text.append(
            f"On the valid graphs the mean score of a seed is {judged['score'].mean():.3f}, from {worst['score']:.3f} "
            f"({worst['graph']}) to {best['score']:.3f} ({best['graph']}), each by models that trained on no program "
            "of its family; the same graphs chose the number of trees, one for all folds."
        )
    else:
        text.append("No valid graph has configurations of different run times.")
    trees = result["trees"].filter(pl.col("trees") > 0).group_by("objective", maintain_order=True)
    counts = [f"{name} {part['trees'].min()} to {part['trees'].max()}" for (name,), part in trees]
    if counts:
        text.append(f"Trees of a model, over the seeds: {', '.join(counts)}.")
    train = result["objectives"].filter(split="train")
    if train.height > 1:
        alone = train.filter(pl.col("objective") != MEMBER).sort("score", "objective", descending=[True, False])
        best, together = alone.row(0, named=True), train.filter(objective=MEMBER).row(0, named=True)
        text.append(
            f"Out of fold on the train graphs the best objective is {best['objective']} with {best['score']:.3f}, all "
            f"together have {together['score']:.3f}."
        )
    return " ".join(text)


@matplotlib.rc_context(figures.STYLE)
def graph_dots(result: Mapping, narrow: bool = False) -> Figure:
    """The official metric of each valid graph, out of fold, a dot for each seed, the best graph above; of the `WORST`
    graphs, where there are more."""
    judged = result["valid"].filter(pl.col("score").is_not_nan())
    means = judged.group_by("graph").agg(pl.col("score").mean()).sort("score", "graph").head(WORST)
    names = means["graph"].to_list()
    judged = judged.filter(pl.col("graph").is_in(names))
    size = (figures.NARROW if narrow else 8, 0.9 + 0.22 * max(len(names), 1))
    figure = Figure(figsize=size, layout="constrained")
    panel = figure.subplots()
    place = {name: number for number, name in enumerate(names)}
    rows = judged["graph"].replace_strict(place, return_dtype=pl.Int64)
    panel.plot(judged["score"], rows, "o", color=figures.GREEN, alpha=0.6)
    panel.set_yticks(range(len(names)), [figures.short(name) for name in names], fontsize=7 if narrow else 9)
    panel.set_xlabel("slowdown score" if is_tile(result["collection"]) else "Kendall tau-b")
    panel.grid(axis="x", alpha=0.3)
    return figure


@matplotlib.rc_context(figures.STYLE)
def gain_bars(result: Mapping, narrow: bool = False) -> Figure:
    """Gain beside SHAP of the statistics that are first in either; from `run`'s result."""
    shown = _top(result["gains"]).reverse()
    size = (figures.NARROW, 1 + 0.46 * shown.height) if narrow else (figures.WIDE, 1 + 0.26 * shown.height)
    figure = Figure(figsize=size, layout="constrained")
    panels = figure.subplots(2, 1) if narrow else figure.subplots(1, 2, sharey=True)
    names = [figures.short(name) for name in shown["column"]]
    panels[0].barh(names, shown["gain"], color=figures.GREEN)
    panels[0].set_xlabel("share of the gain")
    slower = shown["slower"].fill_null(0.0).to_numpy()
    colours = np.where(slower > 0, figures.VERMILION, figures.BLUE)
    panels[1].barh(names, shown["shap"].fill_null(0.0), color=colours)
    panels[1].set_xlabel("share of SHAP within a graph")
    for text, colour in (("more of it ranks slower", figures.VERMILION), ("more of it ranks faster", figures.BLUE)):
        panels[1].barh(names[:1], [0], color=colour, label=text)
    figure.legend(loc="outside upper left", ncols=1 if narrow else 2)
    return figure


def looked_at(result: Mapping) -> str:
    """Which statistics the trees look at, by gain and by SHAP, in words."""
    gains = result["gains"]
    if not gains.height or gains["gain"].sum() <= 0:
        return "The trees found nothing to split on."
    top = gains.row(0, named=True)
    half = 1 + int((gains["gain"].cum_sum() < gains["gain"].sum() / 2).sum())
    text = f"{half} of {gains.height} statistics bring half of the trees' gain, `{top['column']}` {top['gain']:.0%}."
    known = gains.drop_nulls("shap").filter(pl.col("shap") > 0).sort("shap", "column", descending=[True, False])
    if not known.height:
        return text
    first = known.row(0, named=True)
    both = set(known.head(TOP)["column"]) & set(gains.head(TOP)["column"])
    return text + (
        f" Within a graph `{first['column']}` moves the predicted times most, {first['shap']:.0%} of all: "
        f"{first['description']}; more of it ranks {'slower' if first['slower'] > 0 else 'faster'}. Gain counts what "
        f"tells programs apart too: {len(both)} of the first {min(TOP, known.height)} are the same by both."
    )


def _top(gains: pl.DataFrame) -> pl.DataFrame:
    """The statistics that are first by gain or by SHAP, `TOP` at most, by the sum of the two."""
    both = pl.col("gain") + pl.col("shap").fill_null(0.0)
    return gains.sort(both, "column", descending=[True, False]).head(TOP)
