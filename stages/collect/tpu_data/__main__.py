"""`python -m stages.collect`: makes the TPU data set, by Google's compiler; may be killed and started again.

Each program's records are kept until the data set holds it. What the data set holds already is not collected again.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from stages.collect.programs.check import recorded_sizes
from stages.collect.programs.registry import PROGRAMS
from stages.collect.tpu_data import plan, work
from stages.collect.tpu_data.standing import SAMPLE, Standing
from stages.collect.tpu_data.store import Store
from stages.engine.errors import InputError
from stages.runner import failures

RECORDS = Path("data/records")


def count(text: str) -> int:
    """A whole number of zero or more, for argparse."""
    if not text.isdigit():
        raise argparse.ArgumentTypeError(f"{text} is no whole number")
    return int(text)


def arguments(words: Sequence[str] | None) -> argparse.Namespace:
    """The options of a command line, of this process's where `words` is None."""
    parser = argparse.ArgumentParser(prog="python -m stages.collect", description=__doc__.splitlines()[0])
    parser.add_argument("programs", nargs="*", default=["*"], help="ids, families, sources, splits: patterns")
    parser.add_argument("--first", type=count, help="only so many programs, the first in the order of collecting")
    parser.add_argument("--configs", type=count, default=plan.CONFIGURATIONS, help="of a graph (default: %(default)s)")
    parser.add_argument(
        "--many", type=count, default=plan.MANY, help=f"of a graph of {len(plan.LONG)} programs (default: %(default)s)"
    )
    parser.add_argument("--kernels", type=count, default=plan.KERNELS, help="of a program (default: %(default)s)")
    parser.add_argument("--windows", type=count, default=plan.WINDOWS, help="of a kernel (default: %(default)s)")
    parser.add_argument("--workers", type=count, default=1, help="programs at a time, a core each (default: 1)")
    parser.add_argument("--records", type=Path, default=RECORDS, help="folder of the records (default: %(default)s)")
    parser.add_argument("--cache", type=Path, help="file of compiled kernels (default: kernels.sqlite in the records)")
    parser.add_argument("--sample", type=Path, default=SAMPLE, help="the data set (%(default)s)")
    parser.add_argument("--again", action="store_true", help="also the programs that the data set holds")
    parser.add_argument("--check", type=count, metavar="N", help="only compare N programs and N kernels, made anew")
    parser.add_argument("--part", type=count, metavar="K", help="with --check: of a program only K configurations")
    parser.add_argument("--seed", type=count, help="of what --check draws (default: another one each time)")
    parser.add_argument("--dry-run", action="store_true", help="list the programs in their order, and stop")
    return parser.parse_args(words)


def jobs(options: argparse.Namespace) -> list[plan.Job]:
    """The jobs of the programs that were asked for, in their order.

    Raises:
        InputError: No program matches.
    """
    programs = plan.ordered(PROGRAMS.values(), {name: counts[0] for name, counts in recorded_sizes().items()})
    wanted = plan.matching(programs, options.programs)[: options.first]
    if not wanted:
        raise InputError(f"{' '.join(options.programs)}: no such program; --dry-run lists them all")
    cache = options.cache or options.records / "kernels.sqlite"
    return [
        plan.Job(
            program.id,
            plan.configurations_of(program.id, options.configs, options.many),
            options.kernels,
            options.windows,
            str(options.records),
            str(cache),
        )
        for program in wanted
    ]


def collect(wanted: Sequence[plan.Job], store: Store, workers: int) -> int:
    """Does the jobs with a bar in configurations and kernels, but those that failed before; the exit status."""
    from tqdm import tqdm

    failed = store.failures()
    todo = [job for job in wanted if job.identifier not in failed]
    done = {job.identifier: 0 for job in todo}
    later = []
    with tqdm(total=sum(job.size for job in todo), unit="cfg", mininterval=2, smoothing=0.02) as bar:
        for job, kind, what in work.run(todo, workers):
            steps = what if kind == "tick" else job.size
            bar.update(steps - done[job.identifier])
            done[job.identifier] = steps
            if kind != "tick":
                bar.set_postfix_str(job.identifier, refresh=False)
            if kind in ("failed", "later"):
                bar.write(f"{job.identifier}: {what}", file=sys.stderr)
            if kind == "later":
                later.append(job.identifier)
    print(f"{len(todo)} programs; {len(store.failures())} cannot be collected: {store.folder / 'failed'} says why")
    if later:
        print(f"{len(later)} programs are not finished; start again for them: {' '.join(later)}", file=sys.stderr)
    return 1 if later else 0


def open_jobs(wanted: Sequence[plan.Job], sample: Path) -> list[plan.Job]:
    """The jobs whose programs a data set does not hold, or holds with fewer configurations."""
    standing = Standing.read(sample)
    return [job for job in wanted if not standing.holds(job.identifier, job.configurations)]


def main(words: Sequence[str] | None = None) -> int:
    """Collects, or checks, what the command line asks for; the exit status."""
    options = arguments(words)

    def command() -> int:
        if options.check is not None:
            from stages.collect.tpu_data import check

            return check.run(options)
        wanted = jobs(options)
        if not options.again:
            wanted = open_jobs(wanted, options.sample)
        if options.dry_run:
            for job in wanted:
                program = PROGRAMS[job.identifier]
                print(f"{program.kind} {program.split:5s} {program.family:18s} {job.identifier:44s} {job.size}")
            return 0
        if not wanted:
            print(f"{options.sample} holds all of them; --check N compares with it, --again makes them anew")
            return 0
        status = collect(wanted, Store(options.records), max(1, options.workers))
        from stages.collect.tpu_data import export

        export.tell(export.export(Store(options.records), options.sample), options.sample)
        return status

    return failures.exit_status(command, "interrupted; the same command goes on from here")


if __name__ == "__main__":
    sys.exit(main())
