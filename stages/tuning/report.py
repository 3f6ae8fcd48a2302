"""The page of a search, and the files beside it: outcome.json, layouts.json, constrained.hlo, tuned.py."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import matplotlib
import nbformat
import numpy as np
import polars as pl
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from stages.engine import files
from stages.reporting import figures
from stages.reporting.colours import BLUE, GREY, VERMILION
from stages.reporting.tables import table
from stages.reporting.words import counted, listed
from stages.runner import page
from stages.tuning.outcome import OTHER_TARGET, TIMES, Forced, Outcome, by_kind
from stages.tuning.snippet import Snippet

#: how far below the compiler's own speed the curve's picture reaches at least
LEAST_DEPTH = 0.05
#: rows of a table of the page; outcome.json has all
ROWS = 25
PAGE, OUTCOME, LAYOUTS, HLO = "index.html", "outcome.json", "layouts.json", "constrained.hlo"
TUNED = "tuned.py"


def write(folder: Path, outcome: Outcome, text: str, snippet: Snippet | None = None) -> None:
    """Writes the files of a search, each whole or not at all, the page last.

    Args:
        folder: Of the program.
        outcome: The search's.
        text: HLO before layout assignment with the layouts found, constrained.
        snippet: The function in JAX with them; None where there is none.
    """
    contents = {
        HLO: text,
        LAYOUTS: json.dumps([_layout(each) for each in outcome.layouts], indent=1) + "\n",
        OUTCOME: json.dumps(record(outcome), indent=1) + "\n",
        PAGE: html(outcome, snippet),
    }
    if snippet is None:
        (folder / TUNED).unlink(missing_ok=True)  # of an earlier search
    else:
        contents = {TUNED: snippet.text} | contents
    for name, content in contents.items():
        files.replace(folder / name, content.encode())


def record(outcome: Outcome) -> dict:
    """The outcome as JSON holds it."""
    fields = asdict(outcome) | {"gain": outcome.gain, "times": TIMES, "layouts": len(outcome.layouts)}
    return fields | {"best_so_far_ns": outcome.best_so_far().tolist()}


def _layout(forced: Forced) -> dict:
    """A layout as ``jax.experimental.layout.with_layout_constraint`` needs it."""
    return {
        "node": forced.node,
        "slot": forced.slot,
        "opcode": forced.opcode,
        "shape": forced.shape,
        "major_to_minor": list(forced.major_to_minor),
        "minor_to_major": list(forced.minor_to_major),
    }


def html(outcome: Outcome, snippet: Snippet | None = None) -> str:
    """The page; the same outcome gives the same bytes."""
    cells = [_words(f"# {outcome.program}\n\n**{outcome.finding()}**\n\n{_about(outcome)}")]
    cells.append(_words(f"## What each compilation bought\n\n{_bought(outcome)}"))
    if outcome.times_ns:
        cells.append(_result(figures.responsive(curve, _bought(outcome), outcome)))
    if outcome.found_ns < outcome.own_ns:
        cells.append(_words(f"## Where the gain comes from\n\n{_sources(outcome)}"))
        cells.append(_result(table(kernels(outcome), decimals=1, words=["kernel", "kind"])))
        cells.append(_words(f"## The layouts that were set\n\n{_set(outcome)}"))
        cells.append(_result(table(layouts(outcome), words=["node", "tensor", "shape", "layout", "own"])))
        cells.append(_words(f"## The same in JAX\n\n{in_jax(outcome, snippet)}"))
    cells.append(_words(f"## What this is worth\n\n{_worth()}"))
    return page.html(nbformat.v4.new_notebook(cells=cells), f"Layouts of {outcome.program}")


def _words(text: str) -> nbformat.NotebookNode:
    return nbformat.v4.new_markdown_cell(text)


def _result(content: str) -> nbformat.NotebookNode:
    output = nbformat.v4.new_output("display_data", data={"text/html": content})
    return nbformat.v4.new_code_cell("", outputs=[output])


def _about(outcome: Outcome) -> str:
    judge = {
        "models": f"the trained models of `{outcome.collection}`, which judged {counted(outcome.judged, 'candidate')}",
        "random": "nobody: random search, without a model",
        "evolution": "nobody: evolution by the compiled times, without a model",
    }[outcome.judge]
    text = (
        f"Times are **{TIMES}**, for one core of a TPU {outcome.target}. The graph before layout assignment has "
        f"{counted(outcome.nodes, 'node')}, {outcome.configurable:,} of them configurable, with "
        f"{counted(outcome.slots, 'tensor')} whose layout can be chosen. Candidates were judged by {judge}."
    )
    return text if outcome.target == "v3" else f"{text} **Mind that {OTHER_TARGET}.**"


def _bought(outcome: Outcome) -> str:
    best, failed = outcome.best_so_far(), sum(time is None for time in outcome.times_ns)
    marks = [mark for mark in (1, 3, 10, 20, 50, 100, 200, 500) if mark < len(best)] + [len(best) - 1]
    steps = [f"{outcome.own_ns / best[mark]:.3f} after {mark}" for mark in dict.fromkeys(marks) if mark]
    text = f"The compiler's own time over the best so far: {listed(steps)}." if steps else "Nothing was compiled."
    last = int(np.argmin(best))
    if last:
        text += f" The fastest was compilation {last}."
    return f"{text} {counted(failed, 'configuration')} could not be compiled." if failed else text


@matplotlib.rc_context(figures.STYLE)
def curve(outcome: Outcome, narrow: bool = False) -> Figure:
    """Draws each compiled configuration's speed and the best so far, over the compilations.

    Slow ones may be many times as slow: they stand at the lower edge.
    """
    figure, (panel,) = figures.panels(1, columns=1, height=3.2, label=TIMES, narrow=narrow)
    times = np.array([np.nan if time is None else time for time in outcome.times_ns])
    best = outcome.own_ns / outcome.best_so_far()
    lowest = 1 - max(LEAST_DEPTH, 2 * (best[-1] - 1))
    count = np.arange(1, len(times) + 1)
    panel.plot(
        count,
        np.maximum(outcome.own_ns / times, lowest),
        "o",
        color=GREY,
        markersize=4,
        label="a compiled configuration",
    )
    panel.axhline(1.0, color=VERMILION, linewidth=1, linestyle="--", label="the compiler's own choice")
    panel.step(np.arange(len(best)), best, where="post", color=BLUE, linewidth=2, label="best so far")
    panel.xaxis.set_major_locator(MaxNLocator(integer=True))
    panel.set_xlabel("compilations")
    panel.set_ylabel("speed (compiler's own = 1)")
    figure.legend(loc="outside upper left", fontsize=8, ncols=1 if narrow else 3)
    return figure


def kernels(outcome: Outcome) -> pl.DataFrame:
    """The kernels that gained or lost most, most gained first."""
    most = sorted(outcome.kernels, key=lambda kernel: -abs(kernel.saved_ns))[:ROWS]
    shown = [kernel for kernel in outcome.kernels if kernel in most]

    def microseconds(value: float | None) -> float | None:
        return None if value is None else value / 1000

    columns = {
        "kernel": [kernel.name for kernel in shown],
        "kind": [kernel.kind for kernel in shown],
        "before (µs)": [microseconds(kernel.before_ns) for kernel in shown],
        "after (µs)": [microseconds(kernel.after_ns) for kernel in shown],
        "saved (µs)": [kernel.saved_ns / 1000 for kernel in shown],
    }
    return pl.DataFrame(columns, schema_overrides={"before (µs)": pl.Float64, "after (µs)": pl.Float64})


def _sources(outcome: Outcome) -> str:
    saved = [f"{kind} {ns / 1000:+,.1f} µs" for kind, ns in by_kind(outcome.kernels).items()]
    won, lost = (sum(sign * kernel.saved_ns > 0 for kernel in outcome.kernels) for sign in (1, -1))
    text = (
        f"By kind of kernel, time saved (+) or lost (−): {listed(saved) or 'nothing'}. Of the kernels that differ "
        f"{won} gained and {lost} lost. A dash stands where a program has no kernel of the name: fusions form anew."
    )
    more = len(outcome.kernels) - ROWS
    return f"{text} The {ROWS} largest changes are shown; {OUTCOME} has {more} more." if more > 0 else text


def layouts(outcome: Outcome) -> pl.DataFrame:
    """The layouts that were set, as XLA writes them."""
    shown = outcome.layouts[:ROWS]

    columns = {
        "node": [each.node for each in shown],
        "tensor": [each.slot for each in shown],
        "shape": [each.shape.replace("[", " [").replace(",", ", ") for each in shown],
        "layout": [written(each.minor_to_major) for each in shown],
        "own": ["–" if each.own is None else written(each.own) for each in shown],
    }
    return pl.DataFrame(columns, schema=dict.fromkeys(columns, pl.String))


def written(layout: tuple[int, ...]) -> str:
    """A layout as XLA writes it, with spaces where a narrow table may break it."""
    return f"{{{', '.join(map(str, layout))}}}"


def _set(outcome: Outcome) -> str:
    text = (
        f"{counted(len(outcome.layouts), 'layout')}, minor dimension first; `own` is what the compiler takes "
        f"by itself. All other tensors follow from these. `{LAYOUTS}` has them as `jax.experimental.layout` takes "
        f"them, major dimension first, and `{HLO}` is the whole program with them."
    )
    more = len(outcome.layouts) - ROWS
    return f"{text} The first {ROWS} are shown; {LAYOUTS} has {more} more." if more > 0 else text


def in_jax(outcome: Outcome, snippet: Snippet | None) -> str:
    """What of the layouts JAX can say, and what is left of the gain then."""
    if snippet is None:
        return (
            "None of these layouts can be forced in JAX: they stand on instructions that the compiler made, and not on "
            f"results or operands of the function's own equations. `{HLO}` has them."
        )
    text = f"`{TUNED}` forces {snippet.forced} of the {snippet.of} layouts on equations of the function itself"
    if snippet.time_ns is None:
        return f"{text}, but the compiler refuses it so. `{HLO}` has all of them."
    saved, left = outcome.own_ns - outcome.found_ns, outcome.own_ns - snippet.time_ns
    return (
        f"{text}, by `with_layout_constraint`. Compiled so it takes {snippet.time_ns / 1000:,.1f} µs: of the "
        f"{saved / 1000:,.1f} µs that the search saves {left / 1000:,.1f} are left."
    )


def _worth() -> str:
    return (
        "A gain here is one by the schedule that Google's compiler writes down, kernel by kernel, and by a model of a "
        "TPU's memory (`stages/collect/tpu/time_model.py`). No clock took it. Time a program on a TPU with these "
        "layouts before you rely on them."
    )
