"""The README of the data set, written with it."""

from __future__ import annotations

from pathlib import Path

import polars

from stages.collect.tpu import libtpu
from stages.collect.tpu.search import LEAST_DISTINCT, LEAST_SPREAD
from stages.collect.tpu_data import tiles
from stages.graphs.collection import COLLECTIONS

_TEMPLATE = Path(__file__).with_name("readme_template.md")


def counts(programs: polars.DataFrame) -> str:
    """A table in Markdown: graphs of each split, families, sizes and spreads of each collection.

    Args:
        programs: As programs.csv.
    """
    lines = [
        "| collection | train | valid | test (siblings + unseen) | families | median nodes | configurations a graph | "
        "median distinct | median slowest/fastest |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for collection in COLLECTIONS:
        part = programs.filter(polars.col("collection") == collection)
        if part.is_empty():
            continue
        split = dict(part.group_by("split").len().iter_rows())
        kin = dict(part.filter(polars.col("split") == "test").group_by("kin").len().iter_rows())
        test = f"{split.get('test', 0)} ({kin.get('sibling', 0)} + {kin.get('unseen', 0)})"
        cells = [
            f"`{collection}`",
            split.get("train", 0),
            split.get("valid", 0),
            test,
            part["family"].n_unique(),
            f"{part['nodes'].median():.0f}",
            f"{part['configurations'].mean():.1f}",
            f"{part['distinct'].median():.0f}",
            f"{part['slowest_over_fastest'].median():.2f}",
        ]
        lines.append("| " + " | ".join(map(str, cells)) + " |")
    return "\n".join(lines)


def text(programs: polars.DataFrame, dropped: polars.DataFrame) -> str:
    """The README.

    Args:
        programs, dropped: As programs.csv and dropped.csv.
    """
    left_out = f"{dropped.height} graphs were dropped or could not be compiled; `dropped.csv` says why."
    return _TEMPLATE.read_text().format(
        version=libtpu.VERSION,
        counts=f"{counts(programs)}\n\n{left_out}",
        distinct=LEAST_DISTINCT,
        spread=LEAST_SPREAD,
        windows=tiles.LEAST_WINDOWS,
    )
