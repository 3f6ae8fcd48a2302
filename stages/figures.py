"""Pictures and tables of the reports: one style, colours that the colour-blind tell apart, the same bytes each time.

Drawing functions take frames and return a `Figure`; `svg` and `table` turn results into what a notebook displays.
"""

import html
import io
from collections.abc import Mapping, Sequence

import matplotlib
import numpy as np
import polars as pl
from matplotlib.figure import Figure

# Okabe and Ito's palette. The learned members have colours, baselines are grey, so that the eye finds the comparison.
BLUE, ORANGE, GREEN, VERMILION, GREY = "#0072B2", "#E69F00", "#009E73", "#D55E00", "#B0B0B0"
COLOURS = {"blend": BLUE, "gnn": ORANGE, "gbdt": GREEN}
STYLE = {
    "font.size": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlesize": 10,
    "axes.titlelocation": "left",
    "axes.axisbelow": True,
    "legend.frameon": False,
    "figure.facecolor": "white",
    "svg.hashsalt": "tpugraphs",  # ids within a drawing are random without it
}


def svg(figure: Figure) -> str:
    """The figure as SVG text: no date, fixed ids, so the same figure is the same text."""
    stream = io.StringIO()
    with matplotlib.rc_context(STYLE):
        figure.savefig(stream, format="svg", metadata={"Date": None, "Creator": None})
    return stream.getvalue()


def table(frame: pl.DataFrame, decimals: int = 3) -> str:
    """The frame as an HTML table: floats rounded, nulls a dash, text escaped."""
    head = "".join(f"<th>{html.escape(name)}</th>" for name in frame.columns)
    rows = (
        "<tr>" + "".join(f"<td>{html.escape(_cell(value, decimals))}</td>" for value in row) + "</tr>"
        for row in frame.iter_rows()
    )
    return f"<table><thead><tr>{head}</tr></thead><tbody>{''.join(rows)}</tbody></table>"


def score_table(scores: pl.DataFrame, split: str) -> pl.DataFrame:
    """Members by collections, cells 'score [low, high]' or 'score', from the leaderboard's `scores`, in their order."""
    part = scores.filter(pl.col("split") == split)
    cells = {
        (row["member"], row["collection"]): f"{row['score']:.3f}"
        + ("" if row["low"] is None else f" [{row['low']:.2f}, {row['high']:.2f}]")
        for row in part.iter_rows(named=True)
    }
    members = part["member"].unique()
    columns = part["collection"].unique(maintain_order=True)
    rows = [[member, *(cells.get((member, name)) for name in columns)] for member in _sorted(members)]
    return pl.DataFrame(rows, schema=dict.fromkeys(("member", *columns), pl.String), orient="row")


def seed_table(scores: pl.DataFrame, split: str) -> pl.DataFrame:
    """Members that were trained with several seeds by collections, cells 'mean ± sd' of single seeds."""
    part = scores.filter((pl.col("split") == split) & pl.col("seed_sd").is_not_null())
    cells = {
        (row["member"], row["collection"]): f"{row['seed_mean']:.3f} ± {row['seed_sd']:.3f}"
        for row in part.iter_rows(named=True)
    }
    columns = part["collection"].unique(maintain_order=True)
    members = _sorted(part["member"].unique())
    seeds = {row["member"]: row["seeds"] for row in part.iter_rows(named=True)}
    rows = [[member, str(seeds[member]), *(cells.get((member, name)) for name in columns)] for member in members]
    return pl.DataFrame(rows, schema=dict.fromkeys(("member", "seeds", *columns), pl.String), orient="row")


@matplotlib.rc_context(STYLE)
def score_bars(scores: pl.DataFrame, split: str, label: str = "") -> Figure:
    """One panel per collection and for the mean: a bar per member with its 90% interval, the ceiling a dashed line."""
    part = scores.filter(pl.col("split") == split)
    names = part["collection"].unique(maintain_order=True).to_list()
    figure, panels = _panels(len(names), columns=3, height=2.5, label=label)
    for panel, name in zip(panels, names, strict=True):
        rows = part.filter(pl.col("collection") == name)
        bars = rows.filter(pl.col("member") != "ceiling").sort("score")
        values, low, high = (bars[column].to_numpy() for column in ("score", "low", "high"))
        places = np.arange(len(values))
        error = np.nan_to_num(np.maximum([values - low, high - values], 0))  # no interval: no line
        colours = [COLOURS.get(member, GREY) for member in bars["member"]]
        panel.barh(
            places, values, xerr=error, color=colours, height=0.7, error_kw={"linewidth": 1, "ecolor": "#444444"}
        )
        for value in rows.filter(pl.col("member") == "ceiling")["score"]:
            panel.axvline(value, color="black", linestyle="--", linewidth=1)
        panel.set_yticks(places, bars["member"].to_list())
        panel.set_title(name)
        panel.axvline(0, color="black", linewidth=0.8)
        panel.set_xlabel(
            "slowdown score" if name.startswith("tile") else "score" if name == "mean" else "Kendall tau-b"
        )
    return figure


@matplotlib.rc_context(STYLE)
def kin_bars(kin: pl.DataFrame, split: str, member: str = "blend", label: str = "") -> Figure:
    """Two bars per collection: siblings of training programs beside families never trained on, with their number."""
    part = kin.filter((pl.col("split") == split) & (pl.col("member") == member))
    names = part["collection"].unique(maintain_order=True).to_list()
    figure, (panel,) = _panels(1, columns=1, height=3.2, label=label)
    for offset, (group, colour) in zip((-0.2, 0.2), (("sibling", BLUE), ("unseen", VERMILION)), strict=True):
        rows = {row["collection"]: row for row in part.filter(pl.col("kin") == group).iter_rows(named=True)}
        shown = [(place, rows[name]) for place, name in enumerate(names) if name in rows]
        bars = panel.bar(
            [place + offset for place, _ in shown], [row["score"] for _, row in shown], 0.36, color=colour, label=group
        )
        panel.bar_label(bars, [f"{row['score']:.2f}\nn={row['graphs']}" for _, row in shown], fontsize=8, padding=2)
    panel.set_xticks(range(len(names)), names)
    panel.set_ylabel(f"score of {member}")
    panel.margins(y=0.25)
    panel.axhline(0, color="black", linewidth=0.8)
    panel.legend(loc="upper left", bbox_to_anchor=(1, 1))
    return figure


@matplotlib.rc_context(STYLE)
def rank_scatter(examples: pl.DataFrame, label: str = "") -> Figure:
    """Predicted against true place of every configuration, a panel for each example graph; the diagonal is perfect."""
    groups = examples.group_by(["which", "collection", "graph", "score"], maintain_order=True)
    shown = list(groups)
    figure, panels = _panels(len(shown), columns=3, height=4.0, label=label)
    for panel, ((which, collection, graph, score), rows) in zip(panels, shown, strict=True):
        panel.plot([1, rows.height], [1, rows.height], color=GREY, linewidth=1)
        panel.scatter(rows["true"], rows["predicted"], s=14, color=BLUE, alpha=0.7, linewidths=0)
        panel.set_title(f"{which}: tau {score:.2f}\n{collection}\n{_short(graph)}", fontsize=9)
        panel.set_xlabel("true place (1 = fastest)")
        panel.set_ylabel("predicted place")
        panel.set_aspect("equal")
    return figure


@matplotlib.rc_context(STYLE)
def buys_lines(buys: pl.DataFrame, split: str, label: str = "") -> Figure:
    """How near the fastest one gets by timing only k configurations: the first k of the ranking, or k at random."""
    part = buys.filter(pl.col("split") == split)
    names = part["collection"].unique(maintain_order=True).to_list()
    figure, panels = _panels(len(names), columns=3, height=2.6, label=label)
    for number, (panel, name) in enumerate(zip(panels, names, strict=True)):
        rows = part.filter(pl.col("collection") == name)
        panel.plot(rows["k"], 100 * rows["blend"], marker="o", color=BLUE, label="ranking")
        panel.plot(rows["k"], 100 * rows["random"], marker="s", color=GREY, label="random")
        panel.set_xscale("log")
        panel.set_xticks(rows["k"].to_list(), [str(k) for k in rows["k"]])
        panel.minorticks_off()
        panel.set_title(name)
        panel.set_xlabel("configurations timed")
        panel.set_ylabel("% of best speed")
        if number == 0:
            panel.legend(loc="lower right")
    return figure


@matplotlib.rc_context(STYLE)
def weight_lines(result: Mapping[str, pl.DataFrame], label: str = "") -> Figure:
    """Metric on valid against the weight of the first member; circle: chosen there, square: used after shrinking."""
    grid, weights = result["grid"], result["weights"]
    member = grid.columns[1]
    names = grid["collection"].unique(maintain_order=True).to_list()
    figure, panels = _panels(len(names), columns=3, height=2.5, label=label)
    for number, (panel, name) in enumerate(zip(panels, names, strict=True)):
        rows = grid.filter(pl.col("collection") == name).sort(member)
        used = weights.filter((pl.col("collection") == name) & (pl.col("member") == member)).row(0, named=True)
        panel.plot(rows[member], rows["valid"], color=GREY)
        for key, marker, colour in (("chosen", "o", ORANGE), ("weight", "s", BLUE)):
            height = np.interp(used[key], rows[member].to_numpy(), rows["valid"].to_numpy())
            text = {"chosen": "best on valid", "weight": "used"}[key]
            panel.plot([used[key]], [height], marker=marker, color=colour, linestyle="none", label=text)
        panel.set_title(name)
        panel.set_xlabel(f"weight of {member}")
        panel.set_ylabel("score on valid")
        panel.set_xlim(-0.05, 1.05)
        if number == 0:
            panel.legend()
    return figure


def _panels(count: int, columns: int, height: float, label: str) -> tuple[Figure, list]:
    """A figure of `count` panels, 9.5 inches wide, `height` inches a row; the label stands below in small print."""
    columns = max(min(columns, count), 1)
    rows = max(-(-count // columns), 1)
    figure = Figure(figsize=(9.5, height * rows + 0.2), layout="constrained")
    panels = list(np.ravel(figure.subplots(rows, columns)))
    for panel in panels[count:]:
        panel.remove()
    if label:
        figure.supxlabel(label, fontsize=8, color="#555555", x=1, ha="right")
    return figure, panels[:count]


def _sorted(members: Sequence[str]) -> list[str]:
    first = [name for name in ("blend", "gnn", "gbdt") if name in members]
    last = [name for name in ("ceiling",) if name in members]
    return first + sorted(set(members) - {*first, *last}) + last


def _short(text: str, length: int = 34) -> str:
    return text if len(text) <= length else text[: length - 1] + "…"


def _cell(value: object, decimals: int) -> str:
    if value is None:
        return "–"
    return f"{value:.{decimals}f}" if isinstance(value, float) else str(value)
