"""What the prune notebook shows: tables, a picture and sentences, made from the rows that `run` returns."""

from __future__ import annotations

import matplotlib
import polars as pl
from matplotlib.figure import Figure

from stages.graphs.collection import SPLITS
from stages.reporting import figures
from stages.reporting.colours import BLUE, GREY, ORANGE, VERMILION
from stages.reporting.words import counted

#: colour and marker of the graphs of a split
LOOKS = dict(zip(SPLITS, ((BLUE, "o"), (ORANGE, "^"), (VERMILION, "s")), strict=True))
#: graphs of the table of those that lose least
LEAST = 5
NAMES = {"nodes": "nodes kept", "whole_nodes": "nodes", "edges": "edges kept", "whole_edges": "edges"}


def finding(graphs: pl.DataFrame) -> str:
    """The page's one finding: how much of the graphs is kept."""
    totals = graphs.select(pl.col(*NAMES).sum()).row(0, named=True)
    nodes, edges = totals["whole_nodes"], totals["whole_edges"]
    if (nodes, edges) == (totals["nodes"], totals["edges"]):
        return f"All {nodes:,} nodes and {edges:,} edges of {counted(len(graphs), 'graph')} are kept."
    share = totals["nodes"] / nodes
    return f"Of {nodes:,} nodes {totals['nodes']:,} are kept, {share:.0%}, and of {edges:,} edges {totals['edges']:,}."


def shares(graphs: pl.DataFrame) -> str:
    """How much is kept of one graph and of another, in words."""
    kept = (graphs["nodes"] / graphs["whole_nodes"]).sort()
    return (
        f"By graph between {kept[0]:.0%} and {kept[-1]:.0%} of the nodes are kept, {kept.median():.0%} of the median "
        "graph's."
    )


def amounts(graphs: pl.DataFrame) -> pl.DataFrame:
    """A row for each split: its graphs, what of them is kept, and their configurations."""
    counts = ("whole_nodes", "nodes", "whole_edges", "edges", "configurations", "distinct")
    by_split = graphs.group_by("split", maintain_order=True)
    return by_split.agg(pl.len().alias("graphs"), pl.col(*counts).sum()).rename(NAMES)


@matplotlib.rc_context(figures.STYLE)
def picture(graphs: pl.DataFrame, narrow: bool = False) -> Figure:
    """Nodes kept against nodes of the whole graph, a point for each graph."""
    figure = Figure(figsize=(figures.NARROW, 4) if narrow else (5.5, 4.6), layout="constrained")
    panel = figure.subplots()
    for split, (colour, marker) in LOOKS.items():
        rows = graphs.filter(split=split)
        panel.scatter(rows["whole_nodes"], rows["nodes"], s=16, alpha=0.6, label=split, color=colour, marker=marker)
    ends = (graphs["nodes"].min() or 1) / 1.5, (graphs["whole_nodes"].max() or 1) * 1.5
    panel.plot(ends, ends, color=GREY, linewidth=0.8)
    panel.set(xscale="log", yscale="log", xlabel="nodes of the whole graph", ylabel="nodes kept")
    for axis in (panel.xaxis, panel.yaxis):
        axis.set_major_formatter("{x:,.0f}")
    panel.legend()
    return figure


def least(graphs: pl.DataFrame) -> pl.DataFrame:
    """The graphs that lose least, and the share of their nodes that is kept."""
    share = pl.col("nodes") / pl.col("whole_nodes")
    first = graphs.sort(share, "id", descending=[True, False]).head(LEAST)
    shown = first.select("id", "split", "whole_nodes", "nodes", "configurable").rename(NAMES, strict=False)
    return shown.with_columns(pl.Series("share kept", [f"{value:.0%}" for value in first.select(share).to_series()]))
