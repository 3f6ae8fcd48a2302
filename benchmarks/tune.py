"""Tunes the test programs of the data set with the models as judge and without: gains by compilations.

    .venv-collect/bin/python -m benchmarks.tune [PATTERN …] [--judges models evolution random] [--budgets 10 50 200]

One search of the largest budget gives all of them: what it compiles does not depend on the budget. A row per program,
judge and budget goes to reports/tune.csv as soon as the search ends; the next run goes on with what is missing, in the
search that was cut short too. Then it prints median and quartiles of the compiler's own time over the one found.
PATTERN are shell patterns of ids; programs of train and valid have been seen by the models, and are there to try the
search itself. Times are simulated from the TPU compiler's schedule, not measured.
"""

from __future__ import annotations

import argparse
import fnmatch
import io
import sys
from collections.abc import Sequence
from pathlib import Path

import polars as pl

from stages.collect.programs.registry import PROGRAMS
from stages.engine import files
from stages.engine.errors import InputError
from stages.runner import failures
from stages.tuning import command
from stages.tuning.outcome import TIMES

BUDGETS = (10, 50, 200)
JUDGES = ("models", "evolution", "random")
SCHEMA = {
    "program": pl.String,
    "judge": pl.String,
    "seed": pl.Int64,
    "compilations": pl.Int64,
    "failed": pl.Int64,
    "own_ns": pl.Int64,
    "found_ns": pl.Int64,
    "gain": pl.Float64,
}


def programs(sample: Path, patterns: Sequence[str], split: str = "test") -> list[str]:
    """Ids of the programs of the data set that match a pattern, or of all of a split, those of fewest nodes first.

    Raises:
        InputError: There is none.
    """
    graphs = pl.read_csv(sample / "programs.csv", infer_schema_length=None).filter(pl.col("kind").is_null())
    if patterns:
        graphs = graphs.filter([any(fnmatch.fnmatchcase(id, pattern) for pattern in patterns) for id in graphs["id"]])
    else:
        graphs = graphs.filter(split=split)
    ids = graphs.sort("nodes", "id")["id"].unique(maintain_order=True).to_list()
    if not (known := [id for id in ids if id in PROGRAMS]):
        raise InputError(f"{', '.join(patterns) or sample}: no program of the data set; give other patterns")
    return known


def rows(program: str, judge: str, budgets: Sequence[int], options: argparse.Namespace) -> pl.DataFrame:
    """Searches a program once, and what was found with each budget."""
    settings = command.Options(
        program, compilations=max(budgets), judge=judge, out=options.out, cache=options.cache, seed=options.seed
    )
    result, _ = command.tune(settings)
    if result.interrupted:
        raise KeyboardInterrupt
    best, times = result.best_so_far(), result.times_ns
    lines = [
        {
            "program": program,
            "judge": judge,
            "seed": options.seed,
            "compilations": budget,
            "failed": sum(time is None for time in times[:budget]),
            "own_ns": round(result.own_ns),
            "found_ns": round(best[min(budget, len(times))]),
            "gain": result.own_ns / best[min(budget, len(times))],
        }
        for budget in budgets
    ]
    return pl.DataFrame(lines, schema=SCHEMA)


def summary(table: pl.DataFrame) -> pl.DataFrame:
    """Quartiles of the gain by judge and budget, over programs and seeds."""
    gain = pl.col("gain")
    quartiles = {
        "lower quartile": gain.quantile(0.25, "linear"),
        "median": gain.median(),
        "upper quartile": gain.quantile(0.75, "linear"),
    }
    grouped = table.group_by("judge", "compilations").agg(programs=pl.col("program").n_unique(), **quartiles)
    return grouped.sort("compilations", "judge")


def measure(options: argparse.Namespace) -> None:
    """Searches what is missing in the table, and prints the summary."""
    path: Path = options.table
    table = pl.read_csv(path, schema=SCHEMA) if path.exists() else pl.DataFrame(schema=SCHEMA)
    chosen = programs(Path("data/sample"), options.patterns)
    for program in chosen:
        for judge in options.judges:
            there = table.filter(program=program, judge=judge, seed=options.seed)["compilations"].to_list()
            if set(options.budgets) <= set(there):
                continue
            print(f"{program}: {judge}", file=sys.stderr)
            made = rows(program, judge, options.budgets, options)
            table = table.join(made, on=["program", "judge", "seed", "compilations"], how="anti")
            table = pl.concat([table, made]).sort("program", "judge", "seed", "compilations")
            content = io.BytesIO()
            table.write_csv(content, float_precision=5)
            files.replace(path, content.getvalue())
    shown = table.filter(pl.col("program").is_in(chosen) & pl.col("compilations").is_in(options.budgets))
    with pl.Config(tbl_rows=-1, tbl_hide_dataframe_shape=True, tbl_hide_column_data_types=True, float_precision=3):
        print(f"compiler's own time / found; {TIMES}", summary(shown), sep="\n")


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.tune", description=__doc__.splitlines()[0])
    parser.add_argument("patterns", nargs="*", metavar="PATTERN", help="of ids; default: all test programs")
    parser.add_argument("--judges", nargs="+", choices=JUDGES, default=JUDGES, help="default: %(default)s")
    parser.add_argument("--budgets", nargs="+", type=int, default=BUDGETS, help="compilations (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="of the searches")
    parser.add_argument("--table", type=Path, default=Path("reports/tune.csv"), help="default: %(default)s")
    parser.add_argument("--out", type=Path, default=Path("data/tune-benchmark"), help="default: %(default)s")
    parser.add_argument("--cache", type=Path, help="file of compiled kernels, which the collector may share")
    options = parser.parse_args(arguments)
    return failures.exit_status(lambda: measure(options))


if __name__ == "__main__":
    sys.exit(main())
