"""Summaries of the ablation, whose rows `make ablate` writes; notebooks/ablation.ipynb shows them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import matplotlib
import numpy as np
import polars as pl
from matplotlib.figure import Figure

from stages.engine import checks
from stages.engine.errors import InputError
from stages.graphs.collection import COLLECTIONS, is_tile
from stages.reporting import figures
from stages.reporting.colours import BLUE, GREY, VERMILION

TABLE = Path("reports", "ablation.csv")
SCHEMA = {
    "group": pl.String,
    "variant": pl.String,
    "collection": pl.String,
    "seed": pl.Int64,
    "split": pl.String,
    "score": pl.Float64,
    "train_seconds": pl.Float64,
    "identity": pl.String,
}


@dataclass(frozen=True)
class Group:
    """A group of variants of one choice.

    Attributes:
        subject: the choice, in words.
        beside: group and variant of the row with which the variants are compared. It is what params.yaml had, but of
            the rules of blending, whose rows do not tell which of them was in use.
        name: name of that row in the group's table.
    """

    subject: str
    beside: tuple[str, str]
    name: str


NETWORK, TREES = ("default", "network"), ("default", "trees")
#: in the order of the report; benchmarks/ablate.py says what their variants change
GROUPS = {
    "pruning": Group("pruning of the graph", NETWORK, "1 hop"),
    "padding": Group("padding of layouts", NETWORK, "-1"),
    "attention": Group("attention across configurations", NETWORK, "on"),
    "segments": Group("Graph Segment Training", NETWORK, "gst+efd"),
    "trees": Group("statistics of the trees", TREES, "all statistics"),
    "blend": Group("rule of blending", ("blend", "rank"), "rank"),
    "network": Group("other choices of the network", NETWORK, "default"),
}


@checks.entry("ablation")
def read(table: str | Path = TABLE) -> pl.DataFrame:
    """Reads the rows of an ablation, in `SCHEMA`; InputError if the file is missing or has other columns."""
    if not Path(table).exists():
        raise InputError(f"{table}: not there; make ablate writes it")
    rows = pl.read_csv(table, schema_overrides={"variant": pl.String})
    if rows.columns != list(SCHEMA):
        raise InputError(f"{table}: holds other columns than {', '.join(SCHEMA)}; remove it and run make ablate")
    return rows.cast(SCHEMA)


def groups(table: pl.DataFrame) -> list[str]:
    """The groups that have rows, in the order of the report; the default is not among them."""
    return [name for name in GROUPS if not table.filter(pl.col("group") == name).is_empty()]


def summary(table: pl.DataFrame, group: str) -> pl.DataFrame:
    """A row per variant of a group; what they are compared with is the first.

    Args:
        table: all rows, as `read` gives them.
        group: one of `GROUPS`.

    Returns:
        Columns: variant; for each collection the mean score over the seeds; lead, the difference between the score and
        the first row's, as a mean over the collections and seeds that both have; error, the standard error of the lead
        over the seeds, null for one seed; seconds, mean processor seconds of a training.
    """
    first_group, first_variant = GROUPS[group].beside
    first = table.filter(pl.col("group") == first_group, pl.col("variant") == first_variant)
    others = table.filter(pl.col("group") == group)
    variants = {
        variant: part
        for (variant,), part in others.group_by(["variant"], maintain_order=True)
        if (group, variant) != (first_group, first_variant)
    }
    columns = [collection for collection in COLLECTIONS if collection in set(others["collection"])]
    rows = []
    for variant, part in [(GROUPS[group].name, first), *variants.items()]:
        means = {key: value for key, value in part.group_by("collection").agg(pl.col("score").mean()).iter_rows()}
        both = part.join(first, on=["collection", "seed"], suffix="_first")
        leads = both.group_by("seed").agg((pl.col("score") - pl.col("score_first")).mean().alias("lead")).sort("seed")
        error = float(leads["lead"].std() / np.sqrt(leads.height)) if leads.height > 1 else None
        cells = [means.get(column) for column in columns]
        rows.append((variant, *cells, leads["lead"].mean(), error, part["train_seconds"].mean()))
    schema = ["variant", *columns, "lead", "error", "seconds"]
    return pl.DataFrame(
        rows, schema={key: pl.Float64 if key != "variant" else pl.String for key in schema}, orient="row"
    )


def heading(group: str) -> str:
    """The choice that a group is of, as a heading or the beginning of a sentence."""
    subject = GROUPS[group].subject
    return subject[0].upper() + subject[1:]


def board(table: pl.DataFrame, group: str) -> pl.DataFrame:
    """The table that the page shows of a group: `summary` with leads by their sign and without empty times."""
    found = summary(table, group)
    lead = pl.Series("lead", [f"{lead:+z.3f}" for lead in found["lead"]])
    return found.with_columns(lead, seconds=pl.col("seconds").round().cast(pl.Int64).replace(0, None))


def meaning(table: pl.DataFrame, group: str) -> str:
    """One sentence on a group: which variants lead or trail by more than twice the standard error."""
    rows = list(summary(table, group).iter_rows(named=True))[1:]
    clear = [row for row in rows if row["error"] is not None and abs(row["lead"]) > 2 * row["error"]]
    gains = _named([row for row in clear if row["lead"] > 0])
    losses = _named([row for row in clear if row["lead"] < 0])
    rest = [row["variant"] for row in rows if row not in clear]
    text = [f"{gains} better" if gains else "", f"{losses} worse" if losses else ""]
    if rest:
        text.append(f"{_list(rest)} {'makes' if len(rest) == 1 else 'make'} no difference that the seeds can show")
    return f"{heading(group)}, beside {GROUPS[group].name}: {'; '.join(filter(None, text))}."


@matplotlib.rc_context(figures.STYLE)
def picture(table: pl.DataFrame, narrow: bool = False) -> Figure:
    """The lead of every variant over what it is compared with, and twice its standard error, a panel per group."""
    names = groups(table)
    summaries = {group: summary(table, group)[1:] for group in names}
    heights = [frame.height for frame in summaries.values()]
    size = (figures.NARROW if narrow else figures.WIDE, 0.8 * len(names) + 0.24 * sum(heights))
    figure = Figure(figsize=size, layout="constrained")
    panels = figure.subplots(len(names), 1, sharex=True, squeeze=False, height_ratios=heights)[:, 0]
    for panel, (group, frame) in zip(panels, summaries.items(), strict=True):
        positions, lead = np.arange(frame.height), frame["lead"].to_numpy()
        error = 2 * frame["error"].fill_null(0).to_numpy()
        clear = (np.abs(lead) > error) & (error > 0)
        colours = np.where(~clear, GREY, np.where(lead > 0, BLUE, VERMILION))
        panel.axvline(0, color="black", linewidth=0.8)
        panel.errorbar(lead, positions, xerr=error, fmt="none", ecolor="#444444", elinewidth=1)
        panel.scatter(lead, positions, c=colours, s=30, zorder=3)
        panel.set_title(f"{GROUPS[group].subject}, beside {GROUPS[group].name}", fontsize=8.5 if narrow else 10)
        panel.set_ylim(frame.height - 0.4, -0.6)
        panel.set_yticks(positions, frame["variant"].to_list())
    panels[-1].set_xlabel("lead on valid, ± twice its standard error")
    return figure


def finding(table: pl.DataFrame) -> str:
    """The page's one finding: the change that costs most of all that seeds can tell."""
    rows = [
        row | {"group": group}
        for group in groups(table)
        for row in list(summary(table, group).iter_rows(named=True))[1:]
    ]
    worse = [row for row in rows if row["error"] is not None and row["lead"] < -2 * row["error"]]
    if not worse:
        return "No change makes a difference that the seeds can show."
    most = min(worse, key=lambda row: row["lead"])
    return (
        f"Of all changes, `{most['variant']}` ({GROUPS[most['group']].subject}) costs most: {-most['lead']:.3f} of the "
        "score."
    )


def note(table: pl.DataFrame) -> str:
    """The numbers of trainings, seeds and collections behind the figures, in words."""
    layouts = [name for name in COLLECTIONS if name in set(table["collection"]) and not is_tile(name)]
    minutes = table["train_seconds"].sum() / 60
    return (
        f"{table.height} rows of {table['seed'].n_unique()} seeds on {len(layouts)} layout collections, and on tiles "
        f"where a choice touches them; {minutes:.0f} processor minutes of training. The parameters of `params.yaml` "
        "were chosen on valid too, which favours them."
    )


def _named(rows: list[dict]) -> str:
    """'a (+0.012) and b (+0.003) are': the rows with their leads, the largest first, and the verb."""
    rows = sorted(rows, key=lambda row: -abs(row["lead"]))
    text = [f"{row['variant']} ({row['lead']:+.3f})" for row in rows]
    return f"{_list(text)} {'is' if len(rows) == 1 else 'are'}" if rows else ""


def _list(names: list[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
