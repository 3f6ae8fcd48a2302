"""The times of the pipeline's runs, and the costs of Graph Segment Training, for the page `times`.

The page is no stage of the pipeline, because times differ from run to run and the pipeline's outputs do not.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import matplotlib
import numpy as np
import polars as pl
from matplotlib.figure import Figure

from stages.engine import checks
from stages.engine.errors import InputError
from stages.graphs.collection import COLLECTIONS
from stages.reporting import figures
from stages.reporting.colours import BLUE, GREEN, GREY, ORANGE, VERMILION

ORDER = ("prune", "configuration", "pad", "gnn", "gbdt", "blend", "leaderboard")
SCHEMA = {"stage": pl.String, "collection": pl.String, "seconds": pl.Float64, "processor": pl.Float64}
ALL = "all"  # the collection of a stage that sees all of them
GIB = 2**30
#: colours of the collections, and of `ALL`
COLOURS = (VERMILION, BLUE, "#56B4E9", GREEN, ORANGE, GREY)
#: variants of benchmarks/gst.py: colour, marker and text of the line
VARIANTS = {
    "dense": (VERMILION, "s", "whole graph, every node in every configuration"),
    "shared": (ORANGE, "^", "whole graph, shared states"),
    "gst+efd": (BLUE, "o", "Graph Segment Training"),
}


@checks.entry("times")
def read(folder: str | Path) -> pl.DataFrame:
    """Reads the times of the stages that have run here, in `SCHEMA` and the pipeline's order; skips damaged files."""
    rows = []
    for path in sorted(Path(folder).glob("*.json")):
        try:
            content = json.loads(path.read_text())
            row = content["stage"], content["collection"] or ALL, float(content["seconds"]), float(content["processor"])
        except (OSError, ValueError, KeyError, TypeError):
            continue
        if row[0] in ORDER:
            rows.append(row)
    order = [*COLLECTIONS, ALL]
    rows.sort(key=lambda row: (ORDER.index(row[0]), order.index(row[1]) if row[1] in order else len(order)))
    return pl.DataFrame(rows, schema=SCHEMA, orient="row")


def by_collection(table: pl.DataFrame) -> pl.DataFrame:
    """The times as the page shows them: a row for each stage, 'wall clock / processor' seconds by collection."""
    cells = table.with_columns(
        shown=pl.format("{} / {}", *(pl.col(name).round().cast(pl.Int64) for name in ("seconds", "processor")))
    )
    return cells.pivot("collection", index="stage", values="shown", maintain_order=True)


@checks.entry("times")
def segments(benchmarks: str | Path) -> pl.DataFrame:
    """Reads the measurements of benchmarks/gst.py.

    Args:
        benchmarks: the file of results.

    Returns:
        Columns: variant, nodes, configurations, seconds of a step, peak in bytes. A variant that did not fit in memory
        with as many configurations as the others has fewer, or no row.

    Raises:
        InputError: the file is missing or has no such measurements.
    """
    try:
        rows = json.loads(Path(benchmarks).read_text())["gst"]["rows"]
    except (OSError, ValueError, KeyError, TypeError):
        raise InputError(f"{benchmarks}: holds no measurements of segments; run python -m benchmarks.gst") from None
    schema = {"variant": pl.String, "nodes": pl.Int64, "configurations": pl.Int64}
    schema |= {"seconds": pl.Float64, "peak": pl.Float64}
    table = pl.DataFrame([[row.get(name) for name in schema] for row in rows], schema=schema, orient="row")
    return table.drop_nulls("seconds")


@matplotlib.rc_context(figures.STYLE)
def stage_bars(table: pl.DataFrame, narrow: bool = False) -> Figure:
    """Wall-clock seconds of each stage, stacked by collection."""
    stages = table["stage"].unique(maintain_order=True).to_list()
    figure = Figure(
        figsize=(figures.NARROW if narrow else figures.WIDE, 1.5 + 0.34 * len(stages)), layout="constrained"
    )
    panel = figure.subplots()
    colours = dict(zip([*COLLECTIONS, ALL], COLOURS, strict=True))
    left = np.zeros(len(stages))
    for name, part in table.group_by(["collection"], maintain_order=True):
        heights = [stages.index(stage) for stage in part["stage"]]
        panel.barh(
            heights, part["seconds"], left=left[heights], color=colours[name[0]], edgecolor="white", label=name[0]
        )
        left[heights] += part["seconds"].to_numpy()
    panel.set_yticks(range(len(stages)), stages)
    panel.invert_yaxis()
    panel.set_xlabel("seconds, wall clock")
    figure.legend(loc="outside upper left", ncols=2 if narrow else 6)
    return figure


def spent(table: pl.DataFrame) -> str:
    """The total time and the stage that took longest, in words."""
    if table.is_empty():
        return "No stage has run on this machine since its folder data/times was made: all came from DVC's cache."
    stages = table.group_by("stage", maintain_order=True).agg(pl.col("seconds", "processor").sum())
    total, worked = stages["seconds"].sum(), stages["processor"].sum()
    first = stages.sort("seconds", "stage", descending=[True, False]).row(0, named=True)
    longest = table.sort("seconds", "stage", descending=[True, False]).row(0, named=True)
    return (
        f"The last runs of {table.height} stages took {total:,.0f} seconds, one after the other, and {worked:,.0f} "
        f"processor seconds. {first['stage']} took {first['seconds'] / total:.0%} of it; the longest single one was "
        f"{longest['stage']} of {longest['collection']}, {longest['seconds']:,.0f} seconds."
    )


@matplotlib.rc_context(figures.STYLE)
def segment_lines(table: pl.DataFrame, narrow: bool = False) -> Figure:
    """Peak memory and seconds of a training step against the nodes of the graph, a line per way to train."""
    figure = Figure(figsize=(figures.NARROW, 5.8) if narrow else (figures.WIDE, 3.4), layout="constrained")
    panels = figure.subplots(2, 1) if narrow else figure.subplots(1, 2)
    most = table["configurations"].max()
    for variant, (colour, marker, text) in VARIANTS.items():
        rows = table.filter(variant=variant).sort("nodes")
        for panel, values in zip(panels, (rows["peak"] / GIB, rows["seconds"]), strict=True):
            panel.plot(rows["nodes"], values, "-", color=colour, linewidth=1.3, label=text, marker=marker)
            for nodes, value, count in zip(rows["nodes"], values, rows["configurations"], strict=True):
                if count < most:
                    panel.annotate(
                        f"only {count} fit", (nodes, value), (5, -10), textcoords="offset points", fontsize=8
                    )
    for panel, text in zip(panels, ("peak memory, GiB", "seconds of a step"), strict=True):
        panel.set(xscale="log", yscale="log", xlabel="nodes of the graph", ylabel=text)
        panel.xaxis.set_major_formatter("{x:,.0f}")
        panel.yaxis.set_major_formatter("{x:g}")
        panel.yaxis.set_minor_formatter("")
    figure.legend(*panels[0].get_legend_handles_labels(), loc="outside upper left", ncols=1 if narrow else 3)
    return figure


def grown(table: pl.DataFrame) -> str:
    """How memory and time of a step grow with the graph for each way to train, in words."""
    parts = []
    most = table["configurations"].max()
    for variant, (_, _, text) in VARIANTS.items():
        rows = table.filter(variant=variant, configurations=most).sort("nodes")
        if rows.is_empty():
            continue
        first, last = rows.row(0, named=True), rows.row(-1, named=True)
        if rows.height == 1:
            parts.append(f"{text} {_cost(first)} at {first['nodes']:,} nodes and does not fit beyond")
        else:
            parts.append(f"{text} {_cost(first)} at {first['nodes']:,} and {_cost(last)} at {last['nodes']:,} nodes")
    return f"A step of {most} configurations takes: {'; '.join(parts)}."


def machine(path: str | Path) -> str:
    """The machine that benchmarks/gst.py ran on, in words."""
    about: Mapping = json.loads(Path(path).read_text())["gst"].get("machine", {})
    return (
        f"Measured on {about.get('cores', '?')} cores, {about.get('cpu', 'unknown')}, torch {about.get('torch', '?')}."
    )


def _cost(row: Mapping) -> str:
    return f"{row['peak'] / GIB:.2f} GiB and {row['seconds']:.3g} s"
