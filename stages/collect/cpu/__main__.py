"""`python -m stages.collect --target cpu`: measures a data set of layouts and tiles on this machine's XLA:CPU."""

from __future__ import annotations

import argparse
import fnmatch
import json
import os
import sys
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

from stages.collect.cpu.jobs import SEARCHES, Job, perform, records_of
from stages.collect.cpu.kernels.registry import kernels
from stages.collect.cpu.programs.registry import programs
from stages.engine import engine, params
from stages.engine.errors import InputError


def planned(options: argparse.Namespace) -> list[Job]:
    """Jobs of the programs and kernels whose id matches the pattern, tile kernels spread among the programs."""
    searches = options.search or SEARCHES
    layout_searches = tuple(search for search in SEARCHES[:2] if search in searches)
    turns = []
    if layout_searches:
        turns += _turns(list(programs()), layout_searches, options)
    if "tile" in searches:
        turns += _turns(list(kernels()), ("tile",), options)
    ordered = [job for _, job in sorted(turns, key=lambda turn: turn[0])]
    return [job for job in ordered if fnmatch.fnmatch(job.identifier, options.programs)]


def _turns(
    identifiers: list[str], searches: tuple[str, ...], options: argparse.Namespace
) -> Iterator[tuple[float, Job]]:
    """Jobs with where they stand among all of theirs: 0 for the first, nearly 1 for the last."""
    for index, identifier in enumerate(identifiers):
        job = Job(identifier, searches, options.configs, str(options.out), options.compile_limit)
        yield index / len(identifiers), job


def positive(text: str) -> int:
    """A whole number of at least one, for argparse."""
    if int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text} is not a positive number")
    return int(text)


def arguments(words: Sequence[str] | None) -> argparse.Namespace:
    """The options of a command line, of this process's where `words` is None."""
    parser = argparse.ArgumentParser(prog="python -m stages.collect --target cpu", description=__doc__)
    parser.add_argument("--programs", default="*", help="ids to measure, as a shell pattern (default: all)")
    parser.add_argument("--search", choices=SEARCHES, action="append", help="may be repeated (default: all three)")
    parser.add_argument("--configs", type=positive, default=42, help="of a graph and search (default: 42)")
    parser.add_argument("--out", type=Path, default=Path("data/records-cpu"), help="records (default: %(default)s)")
    parser.add_argument("--workers", type=positive, default=os.cpu_count(), help="one a core (default: all)")
    parser.add_argument(
        "--compile-limit",
        type=float,
        default=2.5,
        help="leave a program for later if compiling it takes more processor seconds (default: 2.5)",
    )
    parser.add_argument("--dry-run", action="store_true", help="list what would be measured, and stop")
    return parser.parse_args(words)


def main(words: Sequence[str] | None = None) -> int:
    """Measures what the command line asks for; the exit status."""
    options = arguments(words)
    jobs = planned(options)
    if not jobs:
        print(f"--programs {options.programs}: no such program or kernel; --dry-run lists them all", file=sys.stderr)
        return 1
    failures = options.out / "failed.jsonl"
    failed = set()
    if failures.exists():
        failed = {json.loads(line)["id"] for line in failures.read_text().splitlines()}
    tried = {job for job in jobs if job.identifier in failed or all(path.exists() for path in records_of(job))}
    open_jobs = [job for job in jobs if job not in tried]
    if options.dry_run:
        for job in open_jobs:
            print(f"{job.identifier:60s} {', '.join(job.searches)}")
        print(f"{len(open_jobs)} of {len(jobs)} to measure, {options.configs} configurations each and search")
        return 0
    try:
        return collect(open_jobs, failures, options.workers)
    except InputError as error:
        print(error, file=sys.stderr)
        return 1


def collect(jobs: list[Job], failures: Path, workers: int) -> int:
    """Measures the jobs on this machine, or on a cluster as params.yaml has it, with a bar in configurations.

    Args:
        failures: File to which a line is added for each job that failed.
        workers: Cores of this machine.
    """
    from tqdm import tqdm

    from stages.collect.cpu import compiling

    compiling.set_allocator()
    failures.parent.mkdir(parents=True, exist_ok=True)
    bar = tqdm(total=sum(_configurations(job) for job in jobs), unit="cfg", mininterval=2, smoothing=0.02)
    ticks: dict[str, int] = {}
    for kind, job, reason in _outcomes(jobs, workers):
        if kind == "tick":
            ticks[job.identifier] = ticks.get(job.identifier, 0) + 1
            bar.update(1)
            continue
        bar.update(_configurations(job) - ticks.get(job.identifier, 0))
        if kind in ("failed", "later"):
            bar.write(f"{job.identifier}: {reason}", file=sys.stderr)
        if kind == "failed":
            with open(failures, "a") as file:
                file.write(json.dumps({"id": job.identifier, "reason": reason}) + "\n")
        bar.set_postfix_str(job.identifier, refresh=False)
    bar.close()
    return 0


def _configurations(job: Job) -> int:
    return job.configurations * len(job.searches)


def _outcomes(jobs: list[Job], workers: int) -> Iterator[tuple[str, Job, str | None]]:
    """What `pool.run` yields; from a cluster, whose machines write their records themselves, without ticks."""
    from stages.collect import pool

    where = engine.of(params.read("params.yaml").get("engine", {}))
    if where.kind == "local":
        yield from pool.run(jobs, perform, sorted(os.sched_getaffinity(0))[:workers])
        return
    knobs = {
        "memory_knob": "--configs",
        "calls": pool.GRAPHS_A_WORKER,
        "fallback": ("later", "the worker process died"),
    }
    for index, (kind, reason) in where.spread(partial(pool.ended, task=perform), jobs, **knobs):
        yield kind, jobs[index], reason


if __name__ == "__main__":
    sys.exit(main())
