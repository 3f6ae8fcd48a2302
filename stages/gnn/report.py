"""What the gnn notebook shows: training curves, and sentences computed from the result."""

from __future__ import annotations

from collections.abc import Mapping

import matplotlib
import polars as pl
from matplotlib.figure import Figure

from stages import figures
from stages.collection import is_tile


def introduction(result: Mapping) -> str:
    """What the network of this collection does and how it was trained, in words; from `run`'s result."""
    settings = result["settings"]
    if is_tile(result["collection"]):
        meet = {
            "late": "each tile by itself; the two meet late, in the layers that give the score",
            "early": "once per tile, which is added to every node before the first layer",
        }[settings.fusion]
        return (
            f"The network encodes the kernel by messages along its edges, and {meet}. No tile is compared with another "
            "before it has its score."
        )
    compares = "compares the configurations of a graph at every node, " if settings.cross_attention else ""
    last = {"sum": "adds up a cost per node", "mean": "averages a cost per node", "max": "takes each channel's maximum"}
    return (
        "The network sees a configuration at the nodes it configures from the first layer on, passes messages along "
        f"the edges, {compares}and {last[settings.readout]}. {_segments(result)}"
    )


def _segments(result: Mapping) -> str:
    settings, segments = result["settings"], result["segments"]
    if settings.gst == "full":
        return "It is trained on whole graphs."
    several = segments.filter(pl.col("segments") > 1)
    others = {
        "gst": "the others are computed without",
        "gst+e": "what the others add comes from a table of their last embeddings",
    }
    rest = others["gst+e" if settings.stores() else "gst"]
    drops = f"; of these, {1 - settings.keep:.0%} are dropped at random" if settings.drops() else ""
    last = ", and at the end the last layer is trained alone" if settings.finetunes() else ""
    return (
        f"It is trained with Graph Segment Training (`{settings.gst}`): {several.height} of {segments.height} training "
        f"graphs are cut into up to {segments['segments'].max()} segments of {settings.segment_nodes} nodes at most; "
        f"in a step {settings.segments} of them get gradients, {rest}{drops}{last}."
    )


def curves(result: Mapping) -> Figure:
    """Loss and validation metric by epoch, a line per seed, the best epoch of each a dot; from `run`'s result.

    Epochs of the last layer's own training follow, dotted, after those of the network.
    """
    table, best = _numbered(result), _best(result)
    with matplotlib.rc_context(figures.STYLE):
        figure = Figure(figsize=(9.5, 3), layout="constrained")
        panels = figure.subplots(1, 2)
    for (seed,), rows in table.group_by("seed", maintain_order=True):
        colour = None
        for part, style in (("network", "-"), ("head", ":")):
            shown = rows.filter(pl.col("part") == part)
            for panel, column in zip(panels, ("loss", "valid"), strict=True):
                label = f"seed {seed}" if part == "network" else None
                (line,) = panel.plot(shown["row"], shown[column], style, label=label, color=colour, linewidth=1.2)
                colour = line.get_color()
        kept = best.filter(pl.col("seed") == seed)
        panels[1].plot(kept["row"], kept["valid"], "o", color=colour)
    panels[0].set_title("loss on train")
    panels[1].set_title(f"valid: {result['watched']}")
    for panel in panels:
        panel.set_xlabel("epoch")
    panels[0].legend()
    return figure


def training(result: Mapping) -> str:
    """Which epoch won, of how many, and how many trainings overfitted after it, in words."""
    best = _best(result)
    if not best.height:
        return "No validation graph can be ranked, so the weights of the last epoch were kept."
    last = _numbered(result).group_by("seed").agg(pl.all().sort_by("row").last())
    ends = best.join(last, on="seed", suffix="_last").sort("seed")
    over = ends.filter(pl.col("loss_last") < pl.col("loss"), pl.col("valid_last") < pl.col("valid")).height
    epochs = ", ".join(f"{row['row']} of {row['row_last']}" for row in ends.iter_rows(named=True))
    return (
        f"Best epochs, of those trained, by seed: {epochs}. From there to the last epoch the loss on train fell while "
        f"the metric on valid fell too, which is overfitting, in {over} of {ends.height} trainings."
    )


def findings(result: Mapping) -> str:
    """The metric on valid, what several seeds gain, and which graph is ranked worst, in words."""
    valid, seeds = result["valid"].drop_nans("all"), result["curves"]["seed"].n_unique()
    if not valid.height:
        return "No validation graph can be ranked."
    worst = valid.row(0, named=True)
    gain = valid["all"].mean() - valid["mean"].mean()
    members = f"the mean rank of {seeds} seeds, {gain:+.3f} against a single seed" if seeds > 1 else "the one seed"
    graphs = f"{valid.height} validation graphs" if valid.height > 1 else "one validation graph"
    return (
        f"Over {graphs} the {result['metric']} is **{valid['all'].mean():.3f}** for {members}. These graphs chose the "
        "epoch, so this flatters; the honest figure is that of test. Worst ranked is "
        f"`{worst['graph']}` with {worst['all']:.3f} ({worst['nodes']} nodes, {worst['configurations']} "
        f"configurations, standard deviation over seeds {worst['sd']:.3f})."
    )


def sharing(result: Mapping) -> str:
    """What computing equal states once saves, in words."""
    table = result["sharing"]
    if not table.height:
        return "Nothing is shared here: every node is computed for every configuration."
    top = table.columns[-1]
    return (
        f"At the last level {table[top].mean():.0%} of nodes x configurations are distinct states on which the score "
        f"depends, between {table[top].min():.0%} and {table[top].max():.0%} by graph. Nodes that are the same in all "
        "configurations are left out: they cannot change a ranking."
    )


def _numbered(result: Mapping) -> pl.DataFrame:
    """The curves with `row`, an epoch's number counted on from the network's part to the head's."""
    return result["curves"].with_columns(row=pl.int_range(1, pl.len() + 1).over("seed"))


def _best(result: Mapping) -> pl.DataFrame:
    """Every seed's best epoch, the first of equal ones; no row for seeds whose validation says nothing."""
    rows = _numbered(result).filter(pl.col("valid").is_not_nan())
    return rows.sort("valid", "row", descending=[True, False]).unique("seed", keep="first", maintain_order=True)
