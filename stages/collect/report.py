"""Words and pictures of the page `collect`: what a data set holds, and how well its times are known."""

from __future__ import annotations

import os
from pathlib import Path

import matplotlib
import numpy as np
import polars as pl
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator

from stages.collect.tpu import real_runs
from stages.engine import checks
from stages.engine.errors import InputError
from stages.graphs.collection import COLLECTIONS, SPLITS
from stages.reporting import figures
from stages.reporting.colours import BLUE, GREY, VERMILION

#: the place of a collection among all
PLACES = {name: place for place, name in enumerate(COLLECTIONS)}
#: columns of time-model.csv, which `real_runs --out` writes
ESTIMATES = {"kernel": pl.Int64, "run": pl.Int64, "estimate_ns": pl.Int64}


@checks.entry("collect")
def tables(
    programs: str | Path, dropped: str | Path, time_model: str | Path
) -> tuple[pl.DataFrame, pl.DataFrame, pl.DataFrame | None]:
    """Reads what the page shows.

    Args:
        programs, dropped: programs.csv and dropped.csv of a data set.
        time_model: As in `estimates`.

    Returns:
        The graphs, those that were left out, and `estimates`.

    Raises:
        InputError: A table is not there.
    """
    for name, path in (("programs", programs), ("dropped", dropped)):
        if not Path(path).is_file():
            raise InputError(f"collect.{name}: {path} is not there; name a table of the data set")
    graphs, left_out = (pl.read_csv(path, infer_schema_length=None) for path in (programs, dropped))
    return graphs, left_out, estimates(time_model)


def is_simulated(programs: pl.DataFrame) -> bool:
    """Whether the times of a data set are simulated; else a clock took them.

    Args:
        programs: Its programs.csv.
    """
    return "own_over_fastest" in programs.columns


def opening(programs: pl.DataFrame) -> str:
    """The page's first paragraph, in Markdown: what the times are."""
    if is_simulated(programs):
        return (
            "Published networks at full size, compiled by Google's TPU compiler under many layouts, and their kernels "
            "under many tile sizes. **Times are those of the compiler's static schedule for a TPU v3: simulated, not "
            "measured.** `README.md` beside the data says how."
        )
    return (
        "Programs and kernels compiled by XLA for the CPU under many layouts and tile sizes, each of them timed. "
        "**These are XLA:CPU times, not TPU times.** `README.md` beside the data says on which machine, how, and what "
        "was left out."
    )


def finding(programs: pl.DataFrame) -> str:
    """The page's one finding: what the choice of a configuration is worth, where least and where most."""
    medians = programs.group_by("collection").agg(pl.median("slowest_over_fastest").alias("ratio"))
    ascending = medians.sort("ratio", "collection")
    (least, low), (most, high) = ascending.row(0), ascending.row(-1)
    text = f"In the median graph of {most} the slowest configuration takes {high:.2f} times as long as the fastest"
    return f"{text}." if least == most else f"{text}, in that of {least} {low:.2f} times."


def amounts(programs: pl.DataFrame) -> pl.DataFrame:
    """A row for each collection: its graphs by split, its families and configurations, and how large its graphs are.

    Kernels have no configurable nodes: the dash says so.
    """
    counts = programs.group_by("collection").agg(
        *(pl.col("split").eq(split).sum().alias(split) for split in SPLITS),
        pl.col("family").n_unique().alias("families"),
        pl.sum("configurations"),
        pl.median("nodes").round().cast(pl.Int64).alias("median nodes"),
        pl.median("configurable").round().cast(pl.Int64).replace(0, None).alias("median configurable"),
    )
    return counts.sort(pl.col("collection").replace_strict(PLACES))


def kin(programs: pl.DataFrame) -> str:
    """A paragraph on the test graphs: whose families are trained on."""
    counts = programs.filter(pl.col("split") == "test").group_by("kin").len().sort("kin")
    words = " and ".join(f"{count} {name}" for name, count in counts.iter_rows())
    return (
        f"The test split holds {words} graphs: a sibling's family is trained on, an unseen one's never is. "
        "Look at both in the leaderboard: only the second says how a model does on a new kind of program."
    )


def families(programs: pl.DataFrame) -> pl.DataFrame:
    """A row for each family: the splits that it stands in, and its graphs in each collection."""
    counts = programs.group_by("family", "collection").len()
    counts = counts.sort(pl.col("collection").replace_strict(PLACES)).pivot("collection", index="family", values="len")
    splits = programs.sort(pl.col("split").replace_strict({split: place for place, split in enumerate(SPLITS)}))
    splits = splits.group_by("family").agg(pl.col("split").unique(maintain_order=True).str.join(", ").alias("splits"))
    return splits.join(counts, on="family").sort("family")


def family_words(programs: pl.DataFrame) -> str:
    """How many families there are, and how many of them nothing is trained on, in words."""
    trained = programs.group_by("family").agg(pl.col("split").eq("train").any())["split"]
    return (
        f"A family is a kind of network, such as all sizes of one design. There are {len(trained)}; "
        f"{(~trained).sum()} of them stand in valid or test alone, and nothing is trained on them."
    )


@matplotlib.rc_context(figures.STYLE)
def spreads(programs: pl.DataFrame, narrow: bool = False) -> Figure:
    """Box plots by collection of what a wrong choice costs.

    Below it stands, for measured times, how well two timings agree, and for simulated ones how far the compiler's own
    choice is from the best.
    """
    names = sorted(programs["collection"].unique(), key=PLACES.get, reverse=True)
    parts = [programs.filter(pl.col("collection") == name) for name in names]
    second = ("repeatability", "Kendall τ between two timing passes")
    if is_simulated(programs):
        second = ("own_over_fastest", "the compiler's own choice / fastest")
    figure, panels = figures.panels(2, columns=1, height=2.4, label="", narrow=narrow)
    for panel, (column, title) in zip(
        panels, (("slowest_over_fastest", "slowest / fastest configuration"), second), strict=True
    ):
        panel.boxplot([part[column].drop_nulls() for part in parts], orientation="horizontal", tick_labels=names)
        panel.set_title(title)
        if column != "repeatability":
            panel.set_xscale("log")
            panel.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
            panel.xaxis.set_major_formatter("{x:g}")
            panel.xaxis.set_minor_formatter("")
    return figure


def spread_words(programs: pl.DataFrame) -> str:
    """What the pictures of `spreads` say, a line for each collection."""
    lines = []
    ordered = programs.sort(pl.col("collection").replace_strict(PLACES), maintain_order=True)
    for (name,), part in ordered.group_by("collection", maintain_order=True):
        worst = part["slowest_over_fastest"].median()
        cost = f"- `{name}`: in the median graph the worst choice costs {worst:.2f}× the best"
        if is_simulated(programs):
            own = part["own_over_fastest"].median() - 1
            lines.append(f"{cost}, and the compiler's own choice {own:.1%} more than the best that was found.")
        else:
            tau = part["repeatability"].median()
            lines.append(
                f"{cost}, and two timings agree with τ = {tau:.3f}. Perfect knowledge could score somewhat more: the "
                "label is the better of both."
            )
    return "\n".join(lines)


def dropped(table: pl.DataFrame) -> pl.DataFrame:
    """How many graphs were left out of each collection for which reason, figures left out of the reasons."""
    reason = pl.col("reason").str.replace(r"[:,].*", "").str.replace_all(r"\d+(\.\d+)?", "…")
    counts = table.with_columns(reason=reason).group_by("collection", "reason").agg(pl.len().alias("graphs"))
    return counts.sort("collection", "reason")


def dropped_words(table: pl.DataFrame) -> str:
    """How many graphs were left out, in words."""
    return (
        f"{len(table):,} graphs or programs were left out; `dropped.csv` beside the data names each. … stands for a "
        "number."
    )


def estimates(path: str | Path, folder: str | Path | None = None) -> pl.DataFrame | None:
    """Simulated beside measured times of the kernels of TpuGraphs' `op_tuning_data.pb`.

    Args:
        path: time-model.csv.
        folder: That holds the real files; None: TPUGRAPHS_DIR.

    Returns:
        kernel, name, run, estimate_ns and measured_ns; None where the file or the folder is not at hand.
    """
    folder = folder or os.environ.get("TPUGRAPHS_DIR")
    if not folder or not Path(path).is_file():
        return None
    timed = real_runs.timed_of(Path(folder))
    frame = pl.read_csv(path, schema=ESTIMATES)
    runs = [timed[number] for number in frame["run"]]
    return frame.with_columns(
        name=pl.Series([run.name for run in runs], dtype=pl.String),
        measured_ns=pl.Series([run.measured_ns for run in runs], dtype=pl.Int64),
    )


@matplotlib.rc_context(figures.STYLE)
def estimated(frame: pl.DataFrame, narrow: bool = False) -> Figure:
    """Each real run: its measured time across, its simulated one up; a perfect model's dots lie on the line."""
    figure, (panel,) = figures.panels(1, columns=1, height=4, label="", narrow=narrow)
    measured, simulated = frame["measured_ns"] / 1000, frame["estimate_ns"] / 1000
    ends = np.array([min(measured.min(), simulated.min()), max(measured.max(), simulated.max())])
    panel.plot(ends, ends, color=GREY, linewidth=1, zorder=1)
    large = frame["kernel"] == frame["kernel"].mode(maintain_order=True)[0]
    for part, colour, label in ((large, VERMILION, "the kernel with most runs"), (~large, BLUE, "all others")):
        panel.scatter(measured.filter(part), simulated.filter(part), s=6, color=colour, label=label, linewidths=0)
    panel.set(xscale="log", yscale="log", xlabel="measured on a TPU v3 (µs)", ylabel="simulated (µs)")
    panel.legend(loc="upper left")
    return figure


def estimate_table(frame: pl.DataFrame) -> pl.DataFrame:
    """How well simulated times tell a kernel's measured ones, a line for each kernel (`real_runs.row`)."""
    rows = []
    for (_, name), part in frame.group_by("kernel", "name", maintain_order=True):
        each = real_runs.row(name, part["estimate_ns"].to_numpy(), part["measured_ns"].to_numpy())
        rows.append(
            {
                "kernel": each.name,
                "runs": each.runs,
                "τ": each.tau,
                "first choice above the best (%)": 100 * each.first,
                "best of five above the best (%)": 100 * each.five,
                "median error (%)": 100 * each.error,
            }
        )
    return pl.DataFrame(rows, schema_overrides={"τ": pl.Float64})
