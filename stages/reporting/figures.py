"""Pictures and tables of the reports: one style, colours that the colour-blind tell apart, the same bytes each time.

Drawing functions take frames and return a `Figure`; `svg`, `picture`, `responsive` and `table` turn results into what
a notebook displays. With `narrow` a drawing has its panels below one another, for a phone.
"""

import base64
import html
import io
import re
from collections.abc import Callable, Mapping, Sequence

import matplotlib
import numpy as np
import polars as pl
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator

# Okabe and Ito's palette. The learned members have colours, baselines are grey, so that the eye finds the comparison.
BLUE, ORANGE, GREEN, VERMILION, GREY = "#0072B2", "#E69F00", "#009E73", "#D55E00", "#B0B0B0"
DARK = "#444444"
COLOURS = {"blend": BLUE, "gnn": ORANGE, "gbdt": GREEN}
LINES = {"blend": "-", "gnn": "-", "gbdt": "-", "random": ":"}  # a baseline's is dashed
#: what a graph is like, by the leaderboard's columns
PROPERTIES = {
    "spread": "slowest / fastest configuration",
    "nodes": "nodes after pruning",
    "configurable": "configurable nodes",
    "ceiling": "tau between two timing passes",
}
WIDE, NARROW = 9.5, 4.2  # inches; at the page's 96 dots an inch they fill a desktop's column and a phone
SPACE = "\N{NO-BREAK SPACE}"  # within an interval, so that a narrow table breaks a cell before it
STYLE = {
    "font.size": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlesize": 10,
    "axes.titlelocation": "left",
    "axes.axisbelow": True,
    "legend.frameon": False,
    "figure.facecolor": "white",
    "path.simplify": False,  # it would drop lines of no length
    "svg.hashsalt": "tpugraphs",  # ids within a drawing are random without it
}


def svg(figure: Figure) -> str:
    """The figure as SVG text: no date, fixed ids, so the same figure is the same text."""
    stream = io.StringIO()
    with matplotlib.rc_context(STYLE):
        figure.savefig(stream, format="svg", metadata={"Date": None, "Creator": None})
    return stream.getvalue()


def picture(figure: Figure, text: str) -> str:
    """The figure as an HTML image; `text` is what it shows, for those who do not see it."""
    return f'<img alt="{html.escape(text)}" src="{_address(figure)}">'


def responsive(draw: Callable[..., Figure], text: str, *arguments) -> str:
    """The drawing as an HTML image, on a narrow screen the narrow one; `text` as in `picture`.

    draw: one of the functions below; arguments: its own, without `narrow`.
    """
    small = f'<source media="(max-width: 600px)" srcset="{_address(draw(*arguments, narrow=True))}">'
    return f"<picture>{small}{picture(draw(*arguments), text)}</picture>"


def table(frame: pl.DataFrame, decimals: int = 3, words: Sequence[str] = ()) -> str:
    """The frame as an HTML table: floats rounded, nulls a dash, text escaped; the columns `words` are set as prose."""
    kind = [' class="words"' if name in words else "" for name in frame.columns]
    head = "".join(f"<th{kind[place]}>{_breakable(name)}</th>" for place, name in enumerate(frame.columns))
    rows = (
        "<tr>"
        + "".join(f"<td{kind[place]}>{_breakable(_cell(value, decimals))}</td>" for place, value in enumerate(row))
        + "</tr>"
        for row in frame.iter_rows()
    )
    return f"<table><thead><tr>{head}</tr></thead><tbody>{''.join(rows)}</tbody></table>"


def wide(frame: pl.DataFrame, row: str, value: str, interval: bool = False) -> pl.DataFrame:
    """The values of the column `row` by collections; cells 'value', or 'value [low, high]'; a lead has its sign.

    Members stand in the order of the report, everything else in the frame's, collections as well.
    """
    cells = {(cell[row], cell["collection"]): _bracketed(cell, value, interval) for cell in frame.iter_rows(named=True)}
    names = frame[row].unique(maintain_order=True)
    columns = frame["collection"].unique(maintain_order=True)
    order = _sorted(names.to_list()) if row == "member" else names.to_list()
    rows = [[str(name), *(cells.get((name, column)) for column in columns)] for name in order]
    return pl.DataFrame(rows, schema=dict.fromkeys((row, *columns), pl.String), orient="row")


def kin_table(kin: pl.DataFrame) -> pl.DataFrame:
    """Siblings and unseen families of each collection, with their number, by members; from the `kin` of one split.

    Cells 'score', the blend's 'score [low, high]'.
    """
    members = _sorted(kin["member"].unique().to_list())
    rows = []
    for (collection,), part in kin.group_by(["collection"], maintain_order=True):
        for (group,), rest in part.sort("kin", maintain_order=True).group_by(["kin"], maintain_order=True):
            cells = {
                row["member"]: _bracketed(row, "score", row["member"] == "blend") for row in rest.iter_rows(named=True)
            }
            rows.append([collection, group, str(rest["graphs"].max()), *(cells.get(member) for member in members)])
    return pl.DataFrame(rows, schema=dict.fromkeys(("collection", "kin", "graphs", *members), pl.String), orient="row")


def seed_table(scores: pl.DataFrame, split: str) -> pl.DataFrame:
    """Members that were trained with several seeds by collections, cells 'mean ± sd' of single seeds."""
    part = scores.filter((pl.col("split") == split) & pl.col("seed_sd").is_not_null())
    cells = {
        (row["member"], row["collection"]): f"{row['seed_mean']:.3f}{SPACE}±{SPACE}{row['seed_sd']:.3f}"
        for row in part.iter_rows(named=True)
    }
    columns = part["collection"].unique(maintain_order=True)
    members = _sorted(part["member"].unique())
    seeds = {row["member"]: row["seeds"] for row in part.iter_rows(named=True)}
    rows = [[member, str(seeds[member]), *(cells.get((member, name)) for name in columns)] for member in members]
    return pl.DataFrame(rows, schema=dict.fromkeys(("member", "seeds", *columns), pl.String), orient="row")


@matplotlib.rc_context(STYLE)
def score_bars(scores: pl.DataFrame, split: str, label: str = "", narrow: bool = False) -> Figure:
    """One panel per collection and for the mean: a bar per member with its 90% interval, the ceiling a dashed line."""
    part = scores.filter(pl.col("split") == split)
    names = part["collection"].unique(maintain_order=True).to_list()
    figure, panels = _panels(len(names), columns=3, height=2.5, label=label, narrow=narrow)
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
def kin_bars(kin: pl.DataFrame, split: str, member: str = "blend", label: str = "", narrow: bool = False) -> Figure:
    """Two bars per collection: siblings of training programs beside families never trained on, with 90% intervals."""
    part = kin.filter((pl.col("split") == split) & (pl.col("member") == member))
    names = part["collection"].unique(maintain_order=True).to_list()
    figure, (panel,) = _panels(1, columns=1, height=3.4, label=label, narrow=narrow)
    for offset, (group, colour) in zip((-0.2, 0.2), (("sibling", BLUE), ("unseen", VERMILION)), strict=True):
        rows = {row["collection"]: row for row in part.filter(pl.col("kin") == group).iter_rows(named=True)}
        shown = [(place + offset, rows[name]) for place, name in enumerate(names) if name in rows]
        places, values = [place for place, _ in shown], [row["score"] for _, row in shown]
        panel.bar(places, values, 0.36, color=colour, label=group)
        for place, row in shown:
            if row["low"] is not None:
                panel.plot([place, place], [row["low"], row["high"]], color="#444444", linewidth=1)
            top = max(row["score"], row["high"] or 0, 0)
            text = f"{row['score']:.2f}\nn={row['graphs']}"
            size = 6 if narrow else 8
            panel.annotate(text, (place, top), (0, 2), textcoords="offset points", ha="center", fontsize=size)
    panel.set_xticks(range(len(names)), [name.replace(":", ":\n") for name in names])
    panel.set_ylabel(f"score of {member}")
    panel.margins(y=0.25)
    panel.axhline(0, color="black", linewidth=0.8)
    figure.legend(loc="outside upper left", ncols=2)
    return figure


@matplotlib.rc_context(STYLE)
def rank_scatter(examples: pl.DataFrame, label: str = "", narrow: bool = False) -> Figure:
    """Predicted against true place of every configuration, a panel for each example graph; the diagonal is perfect."""
    groups = examples.group_by(["which", "collection", "graph", "score"], maintain_order=True)
    shown = list(groups)
    figure, panels = _panels(len(shown), columns=3, height=4.0, label=label, narrow=narrow)
    for panel, ((which, collection, graph, score), rows) in zip(panels, shown, strict=True):
        last = max(1, rows["true"].max())
        panel.plot([1, last], [1, last], color=GREY, linewidth=1)
        panel.scatter(rows["true"], rows["predicted"], s=14, color=BLUE, alpha=0.7, linewidths=0)
        panel.set_title(f"{which}: tau {score:.2f}\n{collection}\n{short(graph)}", fontsize=9)
        panel.set_xlabel("true place (1 = fastest)")
        panel.set_ylabel("predicted place")
        panel.set_aspect("equal")
    return figure


@matplotlib.rc_context(STYLE)
def rank_grid(places: pl.DataFrame, label: str = "", narrow: bool = False) -> Figure:
    """Predicted against true place, a small panel for each graph, the best of a collection first; from `places`."""
    groups = list(places.group_by(["collection", "graph", "score"], maintain_order=True))
    columns, width = (4, NARROW) if narrow else (9, WIDE)
    rows = -(-len(groups) // columns)
    height = 1.45 * width / columns * rows + 0.9
    figure = Figure(figsize=(width, height))  # no layout engine: for dozens of panels it takes seconds
    grid = figure.add_gridspec(
        rows, columns, left=0.4 / width, right=0.99, bottom=0.35 / height, top=1 - 0.55 / height, hspace=0.5
    )
    for place, ((collection, _, score), dots) in enumerate(groups):
        panel = figure.add_subplot(grid[place // columns, place % columns])
        panel.plot([0, 1], [0, 1], color=GREY, linewidth=0.8, transform=panel.transAxes)
        # A dot is a line of no length with round ends: a marker of its own for each takes thrice the bytes.
        points = [dots[name].to_numpy().repeat(3) for name in ("true", "predicted")]
        for values in points:
            values[2::3] = np.nan
        panel.plot(*points, color=BLUE, linewidth=2.2, solid_capstyle="round")
        panel.set_title(f"{collection.removeprefix('layout:')}\n{score:.2f}", fontsize=7)
        panel.set(xticks=[], yticks=[], aspect="equal")
    figure.text(0.02, 0.5, "predicted place, fastest below", rotation=90, va="center", fontsize=9)
    figure.text(0.5, 1 - 0.2 / height, "above each panel its collection and tau", ha="center", fontsize=9)
    figure.text(0.02, 0.1 / height, "true place, fastest left", fontsize=9)
    figure.text(0.99, 0.1 / height, label, fontsize=8, color="#555555", ha="right")
    return figure


@matplotlib.rc_context(STYLE)
def graph_dots(graphs: pl.DataFrame, label: str = "", narrow: bool = False) -> Figure:
    """Score of the blend on each layout graph against what the graph is like, a panel for each property.

    graphs: frame of `odd`'s columns; squares are families that nothing was trained on.
    """
    properties = [name for name in PROPERTIES if graphs[name].null_count() < graphs.height]
    figure, panels = _panels(len(properties), columns=2, height=2.7, label=label, narrow=narrow)
    kinds = (("sibling of training programs", "o", BLUE, ~_unseen()), ("unseen family", "s", VERMILION, _unseen()))
    for panel, name in zip(panels, properties, strict=True):
        for text, marker, colour, chosen in kinds:
            part = graphs.filter(chosen).drop_nulls(name)
            if part.height:
                panel.plot(part[name], part["blend"], marker, color=colour, label=text, alpha=0.7, markersize=5)
        panel.set_xlabel(PROPERTIES[name])
        panel.set_ylabel("Kendall tau-b")
        if name != "ceiling":
            panel.set_xscale("log")
            panel.xaxis.set_major_locator(LogLocator(subs=(1, 1.5, 2, 3, 5)))
            panel.xaxis.set_major_formatter("{x:g}")
            panel.minorticks_off()
    handles = dict(zip(*panels[0].get_legend_handles_labels()[::-1], strict=True)) if panels else {}
    if len(handles) > 1:
        figure.legend(handles.values(), handles.keys(), loc="outside upper left", ncols=1 if narrow else 2)
    return figure


@matplotlib.rc_context(STYLE)
def buys_lines(buys: pl.DataFrame, split: str, label: str = "", narrow: bool = False) -> Figure:
    """How near the fastest one gets by timing only the first k configurations of each member's ranking.

    Trained members have colours, baselines are grey and dashed, k at random is dotted.
    """
    part = buys.filter(pl.col("split") == split)
    names = part["collection"].unique(maintain_order=True).to_list()
    figure, panels = _panels(len(names), columns=3, height=2.6, label=label, narrow=narrow)
    for panel, name in zip(panels, names, strict=True):
        rows = part.filter(pl.col("collection") == name)
        for member in _sorted(rows["member"].unique().to_list())[::-1]:
            line = rows.filter(member=member)
            style, colour = LINES.get(member, "--"), COLOURS.get(member, DARK if member == "random" else GREY)
            width = 2.2 if member == "blend" else 1.3
            panel.plot(line["k"], 100 * line["closeness"], style, color=colour, label=member, linewidth=width)
        ticks = [k for k in (1, 2, 5, 10, 20, 50, 100, 1000, 10000, 100000) if k <= rows["k"].max()]
        panel.set_xscale("log")
        panel.set_xticks(ticks, [f"{k:,}" for k in ticks])
        panel.minorticks_off()
        panel.set_title(name)
        panel.set_xlabel("configurations timed, k")
        panel.set_ylabel("% of best speed")
    found = {text: line for panel in panels for line, text in zip(*panel.get_legend_handles_labels(), strict=True)}
    order = _sorted(list(found))
    figure.legend([found[text] for text in order], order, loc="outside upper left", ncols=3 if narrow else 8)
    return figure


@matplotlib.rc_context(STYLE)
def weight_lines(result: Mapping[str, pl.DataFrame], label: str = "", narrow: bool = False) -> Figure:
    """Best metric on valid for every weight of a member; circle: chosen there, square: after shrinking.

    Of two members the second's line would be the first's mirrored, and is left out. Of more, the others' weights are
    the best ones for the weight shown.
    """
    grid, weights = result["grid"], result["weights"]
    members = grid.columns[1:-1] if len(grid.columns) > 4 else grid.columns[1:2]
    names = grid["collection"].unique(maintain_order=True).to_list()
    heights = dict(
        result["rules"].filter(rule="rank").select("collection", pl.col("valid").fill_null(np.nan)).iter_rows()
    )
    figure, panels = _panels(len(names), columns=3, height=2.5, label=label, narrow=narrow)
    for number, (panel, name) in enumerate(zip(panels, names, strict=True)):
        for member in members:
            line = grid.filter(collection=name).group_by(member).agg(pl.col("valid").max()).sort(member)
            known = weights.filter(collection=name, member=member).row(0, named=True)
            panel.plot(line[member], line["valid"], color=COLOURS.get(member, GREY), label=member)
            panel.plot(known["chosen"], line["valid"].max(), "o", color=VERMILION, label="best on valid")
            panel.plot(known["shrunk"], heights[name], "s", color=BLUE, label="shrunk")
        panel.set_title(name)
        panel.set_xlabel(f"weight of {members[0]}" if len(members) == 1 else "weight")
        panel.set_ylabel("score on valid")
        panel.set_xlim(-0.05, 1.05)
        if number == 0:
            handles = dict(zip(*panel.get_legend_handles_labels()[::-1], strict=True))
            panel.legend(handles.values(), handles.keys())
    return figure


@matplotlib.rc_context(STYLE)
def choice_dots(rules: pl.DataFrame, label: str = "", narrow: bool = False) -> Figure:
    """For each collection the lead of chosen over equal weights on valid: judged on other families, and on all graphs.

    A row without the first has valid graphs of one family only. From the blend's `rules`.
    """
    names = rules["collection"].unique(maintain_order=True).to_list()
    figure, (panel,) = _panels(1, columns=1, height=0.9 + 0.35 * len(names), label=label, narrow=narrow)
    kinds = (
        ("judged on families left out", "nested", BLUE, "o", 0.12),
        ("judged on the graphs that chose", "valid", VERMILION, "D", -0.12),
    )
    for text, value, colour, marker, shift in kinds:
        scores = rules.pivot("rule", index="collection", values=value, maintain_order=True)
        leads = scores.select(pl.col("rank") - pl.col("borda")).to_series().fill_null(np.nan)
        places = np.arange(len(names))[::-1] + shift
        panel.hlines(places, 0, leads, color=colour, linewidth=1)
        panel.plot(leads, places, marker, color=colour, label=text)
    panel.axvline(0, color="black", linewidth=0.8)
    panel.set_yticks(np.arange(len(names))[::-1], names)
    panel.set_xlabel("score on valid, over that of equal weights")
    panel.margins(x=0.05, y=0.1)
    figure.legend(loc="outside upper left", ncols=1 if narrow else 2)
    return figure


@matplotlib.rc_context(STYLE)
def disagreement(frame: pl.DataFrame, label: str = "", narrow: bool = False) -> Figure:
    """Metric of one member against another's, a dot per graph, and tau between the two rankings in the last panel.

    On the line both members are equally good. A panel for each collection and two members, one more for all taus, where
    the bar is the mean; from a stage's `disagreement`.
    """
    groups = list(frame.group_by(["collection", "first", "second"], maintain_order=True))
    figure, panels = _panels(len(groups) + 1, columns=3, height=2.9, label=label, narrow=narrow)
    better, worse = (reach("first_score", "second_score") for reach in (pl.max_horizontal, pl.min_horizontal))
    above, below = (pl.col("blend") - better).round(12) > 0, (worse - pl.col("blend")).round(12) > 0
    kinds = (
        ("between", ~above & ~below, GREY, "o"),
        ("above both", above, GREEN, "^"),
        ("below both", below, VERMILION, "v"),
    )
    for panel, ((collection, first, second), rows) in zip(panels, groups, strict=False):
        ends = rows.select(worse.min().alias("low"), better.max().alias("high")).row(0)
        panel.plot(ends, ends, color=GREY, linewidth=1, zorder=0)
        for text, chosen, colour, marker in kinds:
            part = rows.filter(chosen)
            panel.plot(
                part["first_score"], part["second_score"], marker, color=colour, label=f"blend {text}", alpha=0.8
            )
        panel.set_title(collection)
        panel.set_xlabel(f"score of {first}")
        panel.set_ylabel(f"score of {second}")
    if groups:
        panels[0].legend(fontsize=8)
    for place, (_, rows) in zip(range(len(groups))[::-1], groups, strict=True):
        taus = rows["tau"].drop_nulls()
        panels[-1].plot(taus, np.full(len(taus), place), "o", color=BLUE, alpha=0.4, markersize=5)
        panels[-1].plot(taus.mean() if len(taus) else np.nan, place, "|", color="black", markersize=16)
    named = [names[0] if frame["first"].n_unique() == 1 else " ".join(names) for names, _ in groups]
    panels[-1].set_yticks(range(len(groups))[::-1], named)
    panels[-1].set_title("tau between the two rankings")
    panels[-1].margins(y=0.1)
    return figure


def _bracketed(row: Mapping, value: str, interval: bool) -> str | None:
    """'value', a lead with its sign, and with `interval` also ' [low, high]' where the row has them."""
    if row[value] is None:
        return None
    sign, decimals = ("+", 3) if value == "lead" else ("", 2)
    if not interval or row["low"] is None:
        return f"{row[value]:{sign}.3f}"
    low, high = (f"{row[name]:{sign}.{decimals}f}" for name in ("low", "high"))
    return f"{row[value]:{sign}.3f} [{low},{SPACE}{high}]"


def _address(figure: Figure) -> str:
    return f"data:image/svg+xml;base64,{base64.b64encode(svg(figure).encode()).decode()}"


def _panels(count: int, columns: int, height: float, label: str, narrow: bool = False) -> tuple[Figure, list]:
    """A figure of `count` panels, `WIDE` or `NARROW`, `height` inches a row; the label stands below in small print.

    A narrow one has a panel to a row.
    """
    columns = 1 if narrow else max(min(columns, count), 1)
    rows = max(-(-count // columns), 1)
    figure = Figure(figsize=(NARROW if narrow else WIDE, height * rows + 0.2), layout="constrained")
    panels = list(np.ravel(figure.subplots(rows, columns)))
    for panel in panels[count:]:
        panel.remove()
    if label:
        figure.supxlabel(label, fontsize=8, color="#555555", x=1, ha="right")
    return figure, panels[:count]


def _unseen() -> pl.Expr:
    return pl.col("kin").eq_missing("unseen")


def _sorted(members: Sequence[str]) -> list[str]:
    first = [name for name in ("blend", "gnn", "gbdt") if name in members]
    last = [name for name in ("ceiling",) if name in members]
    return first + sorted(set(members) - {*first, *last}) + last


def short(text: str, length: int = 34) -> str:
    """The text, or its beginning and an ellipsis where it is longer."""
    return text if len(text) <= length else text[: length - 1] + "…"


def _breakable(text: str) -> str:
    """As HTML that a narrow table may break within the names of collections, members and graphs."""
    return re.sub("[:_]", r"\g<0><wbr>", html.escape(text))


def _cell(value: object, decimals: int) -> str:
    if value is None:
        return "–"
    return f"{value:.{decimals}f}" if isinstance(value, float) else str(value)
