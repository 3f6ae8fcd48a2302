"""The pictures of the leaderboard's page."""

import matplotlib
import numpy as np
import polars as pl
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator

from stages.leaderboard.oddities import PROPERTIES
from stages.reporting import figures, members
from stages.reporting.colours import BLUE, DARK, GREY, VERMILION


@matplotlib.rc_context(figures.STYLE)
def score_bars(scores: pl.DataFrame, split: str, label: str = "", narrow: bool = False) -> Figure:
    """A bar for each member with its 90% interval; a ceiling is a dashed line.

    There is a panel for each collection and for their mean.

    Args:
        scores: the result's `scores`.
        split: the split that is shown.
        label, narrow: as in `figures.panels`.
    """
    of_split = scores.filter(pl.col("split") == split)
    collections = of_split["collection"].unique(maintain_order=True).to_list()
    figure, panels = figures.panels(len(collections), columns=3, height=2.5, label=label, narrow=narrow)
    for panel, collection in zip(panels, collections, strict=True):
        rows = of_split.filter(pl.col("collection") == collection)
        _bars(panel, rows.filter(pl.col("member") != "ceiling").sort("score"))
        for value in rows.filter(pl.col("member") == "ceiling")["score"]:
            panel.axvline(value, color="black", linestyle="--", linewidth=1)
        panel.set_title(collection)
        panel.axvline(0, color="black", linewidth=0.8)
        panel.set_xlabel(_metric(collection))
    return figure


@matplotlib.rc_context(figures.STYLE)
def kin_bars(kin: pl.DataFrame, split: str, member: str = "blend", label: str = "", narrow: bool = False) -> Figure:
    """Two bars for each collection, with 90% intervals: siblings of training programs, and unseen families.

    Args:
        kin: the result's `kin`.
        split, member: the split and the member that are shown.
        label, narrow: as in `figures.panels`.
    """
    shown = kin.filter((pl.col("split") == split) & (pl.col("member") == member))
    collections = shown["collection"].unique(maintain_order=True).to_list()
    figure, (panel,) = figures.panels(1, columns=1, height=3.4, label=label, narrow=narrow)
    for offset, group, colour in ((-0.2, "sibling", BLUE), (0.2, "unseen", VERMILION)):
        rows = {row["collection"]: row for row in shown.filter(pl.col("kin") == group).iter_rows(named=True)}
        bars = [(place + offset, rows[name]) for place, name in enumerate(collections) if name in rows]
        panel.bar([x for x, _ in bars], [row["score"] for _, row in bars], 0.36, color=colour, label=group)
        for x, row in bars:
            _interval_and_text(panel, x, row, size=7.5 if narrow else 8)
    panel.set_xticks(range(len(collections)), [name.replace(":", ":\n") for name in collections])
    panel.set_ylabel(f"score of {member}")
    panel.margins(y=0.25)
    panel.axhline(0, color="black", linewidth=0.8)
    figure.legend(loc="outside upper left", ncols=2)
    return figure


@matplotlib.rc_context(figures.STYLE)
def rank_scatter(examples: pl.DataFrame, label: str = "", narrow: bool = False) -> Figure:
    """Predicted against true place of every configuration, a panel for each example; on the diagonal both agree.

    Args:
        examples: the result's `examples`.
        label, narrow: as in `figures.panels`.
    """
    shown = list(examples.group_by(["which", "collection", "graph", "score"], maintain_order=True))
    figure, panels = figures.panels(len(shown), columns=3, height=4.0, label=label, narrow=narrow)
    for panel, ((which, collection, graph, score), rows) in zip(panels, shown, strict=True):
        last = max(1, rows["true"].max())
        panel.plot([1, last], [1, last], color=GREY, linewidth=1)
        panel.scatter(rows["true"], rows["predicted"], s=14, color=BLUE, alpha=0.7, linewidths=0)
        panel.set_title(f"{which}: tau {score:.2f}\n{collection}\n{figures.short(graph)}", fontsize=9)
        panel.set_xlabel("true place (1 = fastest)")
        panel.set_ylabel("predicted place")
        panel.set_aspect("equal")
    return figure


@matplotlib.rc_context(figures.STYLE)
def rank_grid(places: pl.DataFrame, label: str = "", narrow: bool = False) -> Figure:
    """Predicted against true place, a small panel for each graph, the best of a collection first.

    Args:
        places: the result's `places`.
        label, narrow: as in `figures.panels`.
    """
    groups = list(places.group_by(["collection", "graph", "score"], maintain_order=True))
    columns, width = (4, figures.NARROW) if narrow else (9, figures.WIDE)
    rows = -(-len(groups) // columns)
    height = 1.45 * width / columns * rows + 0.9
    figure = Figure(figsize=(width, height))  # no layout engine: for dozens of panels it takes seconds
    grid = figure.add_gridspec(
        rows, columns, left=0.4 / width, right=0.99, bottom=0.35 / height, top=1 - 0.55 / height, hspace=0.5
    )
    for number, ((collection, _, score), dots) in enumerate(groups):
        panel = figure.add_subplot(grid[number // columns, number % columns])
        panel.plot([0, 1], [0, 1], color=GREY, linewidth=0.8, transform=panel.transAxes)
        panel.plot(*_dots(dots), color=BLUE, linewidth=2.2, solid_capstyle="round")
        panel.set_title(f"{collection.removeprefix('layout:')}\n{score:.2f}", fontsize=7)
        panel.set(xticks=[], yticks=[], aspect="equal")
    figure.text(0.02, 0.5, "predicted place, fastest below", rotation=90, va="center", fontsize=9)
    figure.text(0.5, 1 - 0.2 / height, "above each panel its collection and tau", ha="center", fontsize=9)
    figure.text(0.02, 0.1 / height, "true place, fastest left", fontsize=9)
    figure.text(0.99, 0.1 / height, label, fontsize=8, color="#555555", ha="right")
    return figure


@matplotlib.rc_context(figures.STYLE)
def property_dots(layouts: pl.DataFrame, label: str = "", narrow: bool = False) -> Figure:
    """The blend's metric on each layout graph against what the graph is like, a panel for each property.

    Args:
        layouts: what `oddities.layouts` returns; squares are graphs of families that nothing was trained on.
        label, narrow: as in `figures.panels`.
    """
    names = [name for name in PROPERTIES if layouts[name].null_count() < layouts.height]
    figure, panels = figures.panels(len(names), columns=2, height=2.7, label=label, narrow=narrow)
    unseen = pl.col("kin").eq_missing("unseen")
    kinds = (("sibling of training programs", "o", BLUE, ~unseen), ("unseen family", "s", VERMILION, unseen))
    handles = {}
    for panel, name in zip(panels, names, strict=True):
        for text, marker, colour, is_kind in kinds:
            dots = layouts.filter(is_kind).drop_nulls(name)
            if dots.height:
                (handle,) = panel.plot(dots[name], dots["blend"], marker, color=colour, alpha=0.7, markersize=5)
                handles.setdefault(text, handle)
        panel.set_xlabel(PROPERTIES[name].title)
        panel.set_ylabel("Kendall tau-b")
        if name != "ceiling":
            panel.set_xscale("log")
            panel.xaxis.set_major_locator(LogLocator(subs=(1, 1.5, 2, 3, 5)))
            panel.xaxis.set_major_formatter("{x:g}")
            panel.minorticks_off()
    if len(handles) > 1:
        figure.legend(handles.values(), handles.keys(), loc="outside upper left", ncols=1 if narrow else 2)
    return figure


@matplotlib.rc_context(figures.STYLE)
def budget_lines(buys: pl.DataFrame, split: str, label: str = "", narrow: bool = False) -> Figure:
    """How near the fastest one gets by timing only the first k configurations of each member's ranking.

    Args:
        buys: the result's `buys`.
        split: the split that is shown.
        label, narrow: as in `figures.panels`.
    """
    of_split = buys.filter(pl.col("split") == split)
    collections = of_split["collection"].unique(maintain_order=True).to_list()
    figure, panels = figures.panels(len(collections), columns=3, height=2.6, label=label, narrow=narrow)
    handles = {}
    for panel, collection in zip(panels, collections, strict=True):
        rows = of_split.filter(pl.col("collection") == collection)
        for member in members.in_order(rows["member"])[::-1]:  # so that the blend lies on top
            line = rows.filter(member=member)
            (drawn,) = panel.plot(line["k"], 100 * line["closeness"], **members.line(member))
            handles[members.kind(member)] = drawn
        ticks = [k for k in (1, 2, 5, 10, 20, 50, 100, 1000, 10000, 100000) if k <= rows["k"].max()]
        panel.set_xscale("log")
        panel.set_xticks(ticks, [f"{k:,}" for k in ticks])
        panel.minorticks_off()
        panel.set_title(collection)
        panel.set_xlabel("configurations timed, k")
        panel.set_ylabel("% of best speed")
    names = members.in_order(handles)
    figure.legend([handles[name] for name in names], names, loc="outside upper left", ncols=3 if narrow else 5)
    return figure


def _bars(panel, rows: pl.DataFrame) -> None:
    """A bar for each row of `scores`, with its interval."""
    values, low, high = (rows[column].to_numpy() for column in ("score", "low", "high"))
    errors = np.nan_to_num(np.maximum([values - low, high - values], 0))  # no interval: no line
    places = np.arange(len(values))
    colours = [members.colour(member) for member in rows["member"]]
    panel.barh(places, values, xerr=errors, color=colours, height=0.7, error_kw={"linewidth": 1, "ecolor": DARK})
    panel.set_yticks(places, rows["member"].to_list())


def _metric(collection: str) -> str:
    if collection == "mean":
        return "score"
    return "slowdown score" if collection.startswith("tile") else "Kendall tau-b"


def _interval_and_text(panel, x: float, row: dict, size: float) -> None:
    if row["low"] is not None:
        panel.plot([x, x], [row["low"], row["high"]], color=DARK, linewidth=1)
    top = max(row["score"], row["high"] or 0, 0)
    text = f"{row['score']:.2f}\nn={row['graphs']}"
    panel.annotate(text, (x, top), (0, 2), textcoords="offset points", ha="center", fontsize=size)


def _dots(places: pl.DataFrame) -> list[np.ndarray]:
    """x and y of dots as one line: a marker of its own for each takes thrice the bytes.

    A dot is a line of no length with round ends; a NaN ends it.
    """
    points = [places[name].to_numpy().repeat(3) for name in ("true", "predicted")]
    for values in points:
        values[2::3] = np.nan
    return points
