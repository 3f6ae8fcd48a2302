"""What the pad notebook shows: pictures and sentences of the columns before and after."""

from __future__ import annotations

from collections.abc import Sequence

import matplotlib
import numpy as np
import polars as pl
from matplotlib.figure import Figure

from stages.graphs.tensors import MAX_RANK
from stages.reporting import figures
from stages.reporting.colours import BLUE

BINS = 60
#: what can stand at a place of a layout: nothing, or a dimension
VALUES = np.arange(-1, MAX_RANK)
#: columns of the table of those of least spread
LEAST = 5


def amounts(columns: pl.DataFrame) -> pl.DataFrame:
    """How many columns each group has, and how many of them vary on train and are kept."""
    return columns.group_by("group", maintain_order=True).agg(pl.len().alias("columns"), pl.col("kept").sum())


@matplotlib.rc_context(figures.STYLE)
def elements(published: np.ndarray, scaled: np.ndarray, narrow: bool = False) -> Figure:
    """The number of elements of each node's tensor, as published and as the network reads it."""
    figure = Figure(figsize=(figures.NARROW, 5) if narrow else (figures.WIDE, 3), layout="constrained")
    before, after = figure.subplots(2, 1) if narrow else figure.subplots(1, 2, sharey=True)
    before.hist(published / 1e6, bins=BINS, color=BLUE)
    before.set(yscale="log", xlabel="millions of elements, as published", ylabel="nodes")
    after.hist(scaled, bins=BINS, color=BLUE)
    after.set(yscale="log", xlabel="model-ready, standard deviations", ylabel="nodes" if narrow else "")
    return figure


def stretched(published: np.ndarray, scaled: np.ndarray) -> str:
    """How uneven the numbers of elements are before, and how far they reach after, in words."""
    share = (published < published.max() / BINS).mean()
    return (
        f"As published {share:.0%} of the nodes are in the first of {BINS} equal bins, and the largest tensor has "
        f"{published.max():,.0f} elements; model-ready all values lie between {scaled.min():.1f} and "
        f"{scaled.max():.1f}."
    )


def places(layouts: Sequence[np.ndarray]) -> np.ndarray:
    """Shares of nodes (7, 6) that have each of `VALUES` at each place, from the own layouts (n, 6) of graphs."""
    together = np.concatenate(layouts)
    return np.stack([(together == value).mean(0) for value in VALUES])


@matplotlib.rc_context(figures.STYLE)
def place_map(shares: np.ndarray, narrow: bool = False) -> Figure:
    """How often each dimension stands at each place of a node's own layout, from `places`."""
    figure = Figure(figsize=(figures.NARROW if narrow else 6, 3), layout="constrained")
    panel = figure.subplots()
    image = panel.imshow(shares, cmap="Blues", vmin=0, vmax=1, aspect="auto")
    panel.set_yticks(range(len(VALUES)), ["-1, none", *map(str, VALUES[1:])])
    panel.set(xlabel="place, most minor first", ylabel="dimension")
    figure.colorbar(image, label="share of nodes")
    return figure


def usual(shares: np.ndarray) -> str:
    """What stands where, in words, from `places`."""
    return (
        f"{shares[0].mean():.0%} of all places are beyond the tensor's rank. At the most minor one "
        f"{shares[:, 0].max():.0%} of the nodes have {VALUES[shares[:, 0].argmax()]}. Dimension 0 stands at "
        f"{shares[1].mean():.0%} of the places."
    )


def least(columns: pl.DataFrame) -> pl.DataFrame:
    """The kept columns of least spread on train: their group and number, mean and deviation."""
    first = columns.filter("kept").sort("deviation", maintain_order=True).head(LEAST)
    name = pl.format("{} {}", "group", "column").alias("column")
    return first.select(name, "mean", "deviation")
