"""What the gnn notebook shows: training curves, and sentences computed from the result."""

from __future__ import annotations

import matplotlib
import polars as pl
from matplotlib.figure import Figure

from stages.gnn.stage import Result
from stages.graphs.collection import is_tile
from stages.reporting import figures
from stages.reporting.colours import BLUE, DARK, GREEN, ORANGE, VERMILION

SEEDS = (BLUE, ORANGE, GREEN, VERMILION, DARK)
NODES = 20  # in the picture of attention
WORST = 10  # validation graphs that are not folded away
VARIES = 0.05  # standard deviation of a gate, whose mean is about 1, from which on attention tells configurations apart


def introduction(result: Result) -> str:
    """What the network of this collection does and how it was trained, in words."""
    settings = result.settings
    if is_tile(result.collection):
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


def _segments(result: Result) -> str:
    settings, segments = result.settings, result.segments
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


@matplotlib.rc_context(figures.STYLE)
def curves(result: Result, narrow: bool = False) -> Figure:
    """Loss and validation metric by epoch, a line per seed, the best epoch of each a dot.

    Epochs of the last layer's own training follow, dotted, after those of the network.
    """
    table, best = _numbered(result), _best(result)
    figure = Figure(figsize=(figures.NARROW, 5.6) if narrow else (figures.WIDE, 3), layout="constrained")
    panels = figure.subplots(2, 1) if narrow else figure.subplots(1, 2)
    for (seed,), rows in table.group_by("seed", maintain_order=True):
        colour = SEEDS[seed % len(SEEDS)]
        for part, style in (("network", "-"), ("head", ":")):
            shown = rows.filter(pl.col("part") == part)
            for panel, column in zip(panels, ("loss", "valid"), strict=True):
                label = f"seed {seed}" if part == "network" else None
                panel.plot(shown["row"], shown[column], style, label=label, color=colour, linewidth=1.2)
        best_epoch = best.filter(pl.col("seed") == seed)
        panels[1].plot(best_epoch["row"], best_epoch["valid"], "o", color=colour)
    panels[0].set_title("on train")
    panels[0].set_ylabel(f"loss ({result.settings.loss})")
    panels[1].set_title("on valid")
    panels[1].set_ylabel(result.watched)
    for panel in panels:
        panel.set_xlabel("epoch")
    panels[0].legend()
    return figure


def training(result: Result) -> str:
    """Which epoch won, of how many, and how many trainings overfitted after it, in words."""
    best = _best(result)
    if not best.height:
        return "There is no metric on valid to choose an epoch by, so the weights of the last epoch were kept."
    last = _numbered(result).group_by("seed").agg(pl.all().sort_by("row").last())
    ends = best.join(last, on="seed", suffix="_last").sort("seed")
    over = ends.filter(pl.col("loss_last") < pl.col("loss"), pl.col("valid_last") < pl.col("valid")).height
    epochs = ", ".join(f"{row['row']} of {row['row_last']}" for row in ends.iter_rows(named=True))
    return (
        f"Best epochs, of those trained, by seed: {epochs}. From there to the last epoch the loss on train fell while "
        f"the metric on valid fell too, which is overfitting, in {over} of {ends.height} trainings."
    )


def finding(result: Result) -> str:
    """The page's one finding: the metric on valid, and what several seeds gain."""
    valid, seeds = result.valid.drop_nans("all"), result.curves["seed"].n_unique()
    if not valid.height:
        return "No validation graph can be ranked."
    gain = valid["all"].mean() - valid["mean"].mean()
    members = f"the mean rank of {seeds} seeds, {gain:+.3f} against a single seed" if seeds > 1 else "the one seed"
    graphs = f"{valid.height} validation graphs" if valid.height > 1 else "one validation graph"
    return f"Over {graphs} the {result.metric} is {valid['all'].mean():.3f} for {members}."


def worst(result: Result) -> str:
    """How far to believe the metric on valid, and which graph is ranked worst, in words."""
    valid = result.valid.drop_nans("all")
    if not valid.height:
        return "The configurations of none of them have run times that differ."
    worst = valid.row(0, named=True)
    return (
        "These graphs chose the epoch, so the score on them flatters; the honest figure is that of test. Worst ranked "
        f"is `{worst['graph']}` with {worst['all']:.3f} ({worst['nodes']} nodes, {worst['configurations']} "
        f"configurations, standard deviation over seeds {worst['sd']:.3f})."
    )


def graphs(result: Result) -> tuple[pl.DataFrame, pl.DataFrame]:
    """The tables of the validation graphs ranked worst, and of the others."""
    valid = result.valid.fill_nan(None)
    return valid.head(WORST), valid.slice(WORST)


def sharing(result: Result) -> str:
    """What computing equal states once saves, in words."""
    table = result.sharing
    if not table.height:
        return "Nothing is shared here: every node is computed for every configuration."
    top = table.columns[-1]
    return (
        f"At the last level {table[top].mean():.0%} of nodes × configurations are distinct states on which the score "
        f"depends, between {table[top].min():.0%} and {table[top].max():.0%} by graph. Nodes that are the same in all "
        "configurations are left out: they cannot change a ranking."
    )


@matplotlib.rc_context(figures.STYLE)
def attention_map(result: Result, narrow: bool = False) -> Figure:
    """The gate of each configuration at the nodes that tell most between them."""
    table = result.attention
    chosen = _by_spread(table).head(NODES)["node"].to_list()
    order = table.filter(pl.col("node").is_in(chosen)).sort("rank", maintain_order=True)
    rows = [order.filter(node=node)["gate"].to_numpy() for node in chosen]
    opcodes = dict(table.select("node", "opcode").iter_rows())
    size = (figures.NARROW if narrow else 7.5, 1.2 + 0.22 * len(chosen))
    figure = Figure(figsize=size, layout="constrained")
    panel = figure.subplots()
    image = panel.imshow(rows, cmap="cividis", aspect="auto", interpolation="nearest")
    panel.set_yticks(range(len(chosen)), [f"{opcodes[node]} {node}" for node in chosen], fontsize=8)
    panel.set_xlabel("configurations, fastest left")
    panel.set_ylabel("node")
    figure.colorbar(image, label="gate (1: all alike)")
    return figure


def attended(result: Result) -> str:
    """Where attention tells configurations apart, and whether it passes more of the faster ones, in words."""
    table = result.attention
    if table.is_empty():
        return "There is no attention across configurations to show."
    nodes = _by_spread(table)
    most = nodes.row(0, named=True)
    means = table.group_by("rank").agg(pl.col("gate").mean()).sort("rank")
    going = pl.DataFrame({"a": means["rank"].rank(), "b": means["gate"].rank()}).select(pl.corr("a", "b")).item()
    text = (
        f"On `{table['graph'][0]}`, seed 0, the gate varies by more than {VARIES:g} (standard deviation) at "
        f"{nodes.filter(pl.col('spread') > VARIES).height} of {nodes.height} nodes, most at node {most['node']}, "
        f"{most['opcode']}, from {most['low']:.2f} to {most['high']:.2f}."
    )
    if going is None or going != going:
        return text
    side = "slower" if going > 0 else "faster"
    strength = "clearly" if abs(going) >= 0.5 else "weakly" if abs(going) >= 0.2 else "hardly"
    return text + (
        f" In the mean over the nodes it {strength} passes more of the {side} configurations (rank correlation with "
        f"the true place {going:+.2f})."
    )


def _by_spread(table: pl.DataFrame) -> pl.DataFrame:
    """Nodes of the attention frame with the spread of their gates, the widest first."""
    spread = table.group_by("node", "opcode", maintain_order=True).agg(
        spread=pl.col("gate").std(ddof=0), low=pl.col("gate").min(), high=pl.col("gate").max()
    )
    return spread.sort("spread", "node", descending=[True, False])


def _numbered(result: Result) -> pl.DataFrame:
    """The curves with `row`, an epoch's number counted on from the network's part to the head's."""
    return result.curves.with_columns(row=pl.int_range(1, pl.len() + 1).over("seed"))


def _best(result: Result) -> pl.DataFrame:
    """Every seed's best epoch, the first of equal ones; no row for seeds whose validation says nothing."""
    rows = _numbered(result).filter(pl.col("valid").is_not_nan())
    return rows.sort("valid", "row", descending=[True, False]).unique("seed", keep="first", maintain_order=True)
