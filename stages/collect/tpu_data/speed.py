"""`python -m stages.collect.tpu_data.speed`: how fast a collection went, by size of the graph."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import polars

from stages.collect.tpu_data.__main__ import RECORDS

#: upper ends of the bands of nodes that the table has
BANDS = (400, 800, 1500, 3000, 5000, 7000, 9000)


def table(log: polars.DataFrame) -> list[str]:
    """Lines of a table in Markdown.

    Args:
        log: The lines of speed.jsonl: step, id, nodes, count, runs, seconds.
    """
    rate = polars.col("count").sum() * 60 / polars.col("seconds").sum()
    runs = polars.col("runs").sum() * 60 / polars.col("seconds").sum()
    lines = ["| nodes | graphs | configurations a minute | programs compiled a minute |", "|---|---|---|---|"]
    graphs = log.filter(polars.col("nodes") > 0)
    for low, high in zip((0, *BANDS), BANDS, strict=False):
        part = graphs.filter((polars.col("nodes") > low) & (polars.col("nodes") <= high))
        if part.height:
            speed, compiled = part.select(rate.alias("rate"), runs.alias("runs")).row(0)
            lines.append(f"| {low} to {high} | {part.height} | {speed:.1f} | {compiled:.1f} |")
    kernels = log.filter(polars.col("step") == "kernel")
    if kernels.height:
        minutes = kernels["seconds"].sum() / 60
        lines.append("")
        lines.append(
            f"{kernels.height} kernels: {kernels.height / minutes:.1f} a minute, "
            f"{kernels['runs'].sum() / minutes:.1f} windows a minute"
        )
    programs = log.filter(polars.col("step") == "program")
    if programs.height:
        lines.append(f"{programs.height} programs compiled for the first time: {programs['seconds'].mean():.0f} s each")
    lines.append(f"{log['seconds'].sum() / 3600:.2f} hours of one worker in all")
    return lines


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m stages.collect.tpu_data.speed", description=__doc__)
    parser.add_argument("records", nargs="?", type=Path, default=RECORDS, help="default: %(default)s")
    path = parser.parse_args().records / "speed.jsonl"
    if not path.is_file():
        print(f"{path}: not there; name the folder of a collection", file=sys.stderr)
        return 1
    print("\n".join(table(polars.read_ndjson(path))))
    return 0


if __name__ == "__main__":
    sys.exit(main())
