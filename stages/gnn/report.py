"""What the gnn notebook shows: training curves, and sentences computed from the result."""

from collections.abc import Mapping

import matplotlib
import polars as pl
from matplotlib.figure import Figure

from stages import figures


def curves(result: Mapping) -> Figure:
    """Loss and validation metric by epoch, a line per seed, the best epoch of each a dot; from `run`'s result."""
    table = result["curves"]
    with matplotlib.rc_context(figures.STYLE):
        figure = Figure(figsize=(9.5, 3), layout="constrained")
        panels = figure.subplots(1, 2)
    for (seed,), rows in table.group_by("seed", maintain_order=True):
        for panel, column in zip(panels, ("loss", "valid"), strict=True):
            (line,) = panel.plot(rows["epoch"], rows[column], label=f"seed {seed}", linewidth=1.2)
        best = rows.filter(pl.col("valid").is_not_nan()).sort("valid", "epoch", descending=[True, False]).head(1)
        panels[1].plot(best["epoch"], best["valid"], "o", color=line.get_color())
    panels[0].set_title("pairwise hinge on train")
    panels[1].set_title(f"valid: {result['watched']}")
    for panel in panels:
        panel.set_xlabel("epoch")
    panels[0].legend()
    return figure


def findings(result: Mapping) -> str:
    """Which epoch won, how far seeds differ, and which graph is ranked worst, in words."""
    table, valid = result["curves"].filter(pl.col("valid").is_not_nan()), result["valid"].drop_nans("all")
    if not table.height or not valid.height:
        return "No validation graph can be ranked, so the weights of the last epoch were kept."
    best = table.sort("valid", "epoch", descending=[True, False]).unique("seed", keep="first", maintain_order=True)
    last = result["curves"].group_by("seed").agg(pl.col("epoch").max())
    worst = valid.row(0, named=True)
    gain = valid["all"].mean() - valid["mean"].mean()
    return (
        f"Over {valid.height} validation graphs the {result['metric']} is **{valid['all'].mean():.3f}** for the mean "
        f"rank of {best.height} seeds, {gain:+.3f} against a single seed. The best epochs were "
        f"{', '.join(str(epoch) for epoch in best.sort('seed')['epoch'])}, of {last.sort('seed')['epoch'].to_list()} "
        f"trained. Worst ranked is `{worst['graph']}` with {worst['all']:.3f} ({worst['nodes']} nodes, "
        f"{worst['configurations']} configurations, seeds {worst['sd']:.3f} apart)."
    )
