"""What the gnn notebook shows: training curves, and sentences computed from the result."""

from collections.abc import Mapping

import matplotlib
import polars as pl
from matplotlib.figure import Figure

from stages import figures
from stages.collection import is_tile


def introduction(collection: str, cross_attention: bool) -> str:
    """What the network of this collection does, in words."""
    if is_tile(collection):
        return (
            "The network encodes the kernel once, by messages along its edges, and each tile by itself; the two meet "
            "late, in the layers that give the score. No tile is compared with another before it has its score."
        )
    compares = "compares the configurations of a graph with one another at every node, " if cross_attention else ""
    return (
        "The network sees a configuration at the nodes it configures from the first layer on, passes messages along "
        f"the edges in both directions, {compares}and adds up a cost per node."
    )


def curves(result: Mapping) -> Figure:
    """Loss and validation metric by epoch, a line per seed, the best epoch of each a dot; from `run`'s result."""
    table, best = result["curves"], _best(result)
    with matplotlib.rc_context(figures.STYLE):
        figure = Figure(figsize=(9.5, 3), layout="constrained")
        panels = figure.subplots(1, 2)
    for (seed,), rows in table.group_by("seed", maintain_order=True):
        for panel, column in zip(panels, ("loss", "valid"), strict=True):
            (line,) = panel.plot(rows["epoch"], rows[column], label=f"seed {seed}", linewidth=1.2)
        kept = best.filter(pl.col("seed") == seed)
        panels[1].plot(kept["epoch"], kept["valid"], "o", color=line.get_color())
    panels[0].set_title("pairwise hinge on train")
    panels[1].set_title(f"valid: {result['watched']}")
    for panel in panels:
        panel.set_xlabel("epoch")
    panels[0].legend()
    return figure


def training(result: Mapping) -> str:
    """Which epoch won, of how many, and how many trainings overfitted after it, in words."""
    rows, best = result["curves"], _best(result)
    if not best.height:
        return "No validation graph can be ranked, so the weights of the last epoch were kept."
    last = rows.group_by("seed").agg(pl.all().sort_by("epoch").last())
    ends = best.join(last, on="seed", suffix="_last").sort("seed")
    over = ends.filter(pl.col("loss_last") < pl.col("loss"), pl.col("valid_last") < pl.col("valid")).height
    epochs = ", ".join(f"{row['epoch']} of {row['epoch_last']}" for row in ends.iter_rows(named=True))
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


def _best(result: Mapping) -> pl.DataFrame:
    """Every seed's best epoch, the first of equal ones; no row for seeds whose validation says nothing."""
    rows = result["curves"].filter(pl.col("valid").is_not_nan())
    return rows.sort("valid", "epoch", descending=[True, False]).unique("seed", keep="first", maintain_order=True)
