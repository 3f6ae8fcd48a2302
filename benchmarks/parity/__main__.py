"""The command; see `benchmarks.parity`."""

from __future__ import annotations

import argparse
import csv
import io
import itertools
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import torch

from benchmarks.parity.cases import CASES, Case
from benchmarks.parity.compare import Row, rows, trial
from benchmarks.parity.graphs import graphs
from stages.engine import files

DRIVERS = Path(__file__).parent / "theirs"
COLUMNS = list(Row.__dataclass_fields__)


def main(arguments: list[str] | None = None) -> int:
    """Compares all recipes, or those whose name has a word; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.parity", description=__doc__)
    parser.add_argument("folder", type=Path, help="clones of the originals")
    parser.add_argument("--real", type=Path, help="folder of real TpuGraphs files, with npz_all/npz")
    parser.add_argument("--out", type=Path, default=Path("reports/parity.csv"), help="the table")
    parser.add_argument("--torch", default=sys.executable, help="a Python with what the PyTorch originals import")
    parser.add_argument("--tensorflow", default=sys.executable, help="a Python with what the TensorFlow ones import")
    parser.add_argument(
        "--keep", type=Path, help="folder for the files that go to and fro, which are removed otherwise"
    )
    parser.add_argument("--wide", action="store_true", help="compute in float64 too on real graphs")
    parser.add_argument("--only", default="", help="part of the names of recipes; rows of others stay as they are")
    given = parser.parse_args(arguments)
    torch.set_num_threads(1)
    chosen = [case for case in CASES if given.only in case.name]
    names = {case.name for case in chosen}
    found = [row for row in _written(given.out) if row["recipe"] not in names] if given.only else []
    for _, group in itertools.groupby(chosen, key=lambda case: case.process):
        cases = list(group)
        original = given.folder.absolute() / cases[0].original
        if not original.is_dir():
            missing = ", ".join(case.name for case in cases)
            print(f"{missing}: {original} is missing; benchmarks/parity/__init__.py says what it is", file=sys.stderr)
            continue
        python = given.tensorflow if cases[0].tensorflow else given.torch
        with _folder(given.keep, len(found)) as work:
            for row in _group(cases, given.real, original, python, Path(work), given.wide):
                print(
                    f"{row.recipe:45} {row.what:14} {row.graph:32} {row.largest_difference:9.2e}  {row.note}",
                    flush=True,
                )
                found.append(vars(row) | {"largest_difference": f"{row.largest_difference:.3g}"})
    order = {case.name: place for place, case in enumerate(CASES)}
    found.sort(key=lambda row: order.get(row["recipe"], len(order)))
    given.out.parent.mkdir(parents=True, exist_ok=True)
    files.replace(given.out, _text(found).encode())
    return 0


def _group(
    cases: Sequence[Case], real: Path | None, original: Path, python: str, work: Path, wide: bool
) -> Iterator[Row]:
    """Runs an original once for several cases, and compares."""
    trials = []
    for case in cases:
        synthetic, *others = reversed(graphs(case.collection, real))
        for graph in [*(others[-1:] if case.heavy else reversed(others)), synthetic]:
            folder = work / str(len(trials))
            folder.mkdir()
            trials.append(trial(case, graph, folder, wide or graph is synthetic))
    files_ = [str(made.work / name) for made in trials for name in ("case.npz", "result.npz")]
    command = [python, str(DRIVERS / f"{cases[0].driver}.py"), str(original), *files_]
    done = subprocess.run(command, capture_output=True, text=True, cwd=work)
    for made in trials:
        if (made.work / "result.npz").exists():
            yield from rows(made)
        else:
            lines = [line for line in done.stderr.splitlines() if line.startswith(f"{made.work / 'case.npz'}: ")]
            why = lines[0].partition(": ")[2] if lines else (done.stderr.strip().splitlines() or ["no word"])[-1]
            print(f"{made.case.name}, {made.given.name}: the original did not run: {why}", file=sys.stderr)


@contextmanager
def _folder(kept: Path | None, number: int) -> Iterator[str]:
    """A new folder below this one, or one that is removed afterwards."""
    if kept is None:
        with tempfile.TemporaryDirectory() as work:
            yield work
        return
    kept.mkdir(parents=True, exist_ok=True)
    yield tempfile.mkdtemp(prefix=f"{number}-", dir=kept)


def _written(path: Path) -> list[dict[str, str]]:
    if not path.exists():
        return []
    with open(path, newline="") as file:
        return list(csv.DictReader(file))


def _text(found: list[dict]) -> str:
    text = io.StringIO()
    writer = csv.DictWriter(text, COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows(found)
    return text.getvalue()


if __name__ == "__main__":
    sys.exit(main())
