"""The disagreement of two members by graph: a picture and sentences that the blend and the leaderboard share."""

import matplotlib
import numpy as np
import polars as pl
from matplotlib.figure import Figure

from stages.reporting import figures
from stages.reporting.colours import BLUE, GREEN, GREY, VERMILION
from stages.reporting.words import counted

_BETTER, _WORSE = (reach("first_score", "second_score") for reach in (pl.max_horizontal, pl.min_horizontal))
# Rounded, because equal metrics may differ in their last bit.
_ABOVE, _BELOW = (pl.col("blend") - _BETTER).round(12) > 0, (_WORSE - pl.col("blend")).round(12) > 0


@matplotlib.rc_context(figures.STYLE)
def drawing(frame: pl.DataFrame, label: str = "", narrow: bool = False) -> Figure:
    """Draws the metric of one member against another's, a dot per graph, and the tau between their rankings.

    There is a panel for each collection and pair of members. On its line both members are equally good. The last panel
    has the taus of all; its bars are the means.

    Args:
        frame: collection, graph, first and second (two members), first_score, second_score, blend, tau.
        label, narrow: as in `figures.panels`.
    """
    groups = list(frame.group_by(["collection", "first", "second"], maintain_order=True))
    figure, (*panels, last) = figures.panels(len(groups) + 1, columns=3, height=2.9, label=label, narrow=narrow)
    for panel, ((collection, first, second), rows) in zip(panels, groups, strict=True):
        _scores(panel, rows)
        panel.set_title(collection)
        panel.set_xlabel(f"score of {first}")
        panel.set_ylabel(f"score of {second}")
    if panels:
        panels[0].legend(fontsize=8)
    one_first = frame["first"].n_unique() == 1
    names = [group[0] if one_first else " ".join(group) for group, _ in groups]
    _taus(last, names, [rows["tau"].drop_nulls() for _, rows in groups])
    return figure


def sentences(frame: pl.DataFrame) -> str:
    """How alike two members rank, how many graphs each of them leads, and where the blend beats both, in words.

    Args:
        frame: as in `drawing`.
    """
    if frame.is_empty():
        return "There are no two members that could disagree."
    parts = [
        sentence
        for (first, second), rows in frame.group_by(["first", "second"], maintain_order=True)
        for sentence in (_agreement(first, second, rows), _leads(first, second, rows))
    ]
    return " ".join(filter(None, parts))


def _scores(panel, rows: pl.DataFrame) -> None:
    ends = rows.select(_WORSE.min().alias("low"), _BETTER.max().alias("high")).row(0)
    panel.plot(ends, ends, color=GREY, linewidth=1, zorder=0)
    kinds = (
        ("between", ~_ABOVE & ~_BELOW, GREY, "o"),
        ("above both", _ABOVE, GREEN, "^"),
        ("below both", _BELOW, VERMILION, "v"),
    )
    for text, is_kind, colour, marker in kinds:
        dots = rows.filter(is_kind)
        panel.plot(dots["first_score"], dots["second_score"], marker, color=colour, label=f"blend {text}", alpha=0.8)


def _taus(panel, names: list[str], taus: list[pl.Series]) -> None:
    heights = range(len(names))[::-1]
    for height, of_group in zip(heights, taus, strict=True):
        panel.plot(of_group, np.full(len(of_group), height), "o", color=BLUE, alpha=0.4, markersize=5)
        panel.plot(of_group.mean() if len(of_group) else np.nan, height, "|", color="black", markersize=16)
    panel.set_yticks(heights, [name.replace(":", ":\n", 1) for name in names])
    panel.set_title("tau between the two rankings")
    panel.margins(y=0.1)


def _agreement(first: str, second: str, rows: pl.DataFrame) -> str | None:
    taus = rows.drop_nulls("tau").group_by("collection", maintain_order=True).agg(pl.col("tau").mean())
    if taus.is_empty():
        return None
    ascending = taus.sort("tau", "collection")
    (least, least_tau), (most, most_tau) = ascending.row(0), ascending.row(-1)
    text = f"The rankings of {first} and {second} agree most on {most} (mean tau between them {most_tau:.2f})"
    return text + (f" and least on {least} ({least_tau:.2f})." if taus.height > 1 else ".")


def _leads(first: str, second: str, rows: pl.DataFrame) -> str:
    leads = (rows["first_score"] - rows["second_score"]).round(12)
    above, below = (rows.select(count.sum()).item() for count in (_ABOVE, _BELOW))
    return (
        f"Of {counted(rows.height, 'graph')} {first} is ahead on {(leads > 0).sum()} and {second} on "
        f"{(leads < 0).sum()}; the blend is above both on {above} and below both on {below}."
    )
