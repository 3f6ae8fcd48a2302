"""Disturbs runs of the pipeline, and checks that the next run ends with the bytes of an undisturbed one.

    python -m benchmarks.faults [--kills 20] [--seed 0] [--only FAULT ...] [--out reports/benchmarks.json]

It works in a temporary folder, in a fresh clone of the committed files, with the project's .venv and a DVC cache of its
own, on the sample with `SMALL` parameters. First the clone is run undisturbed. Each fault begins with a copy of it in
which one stage is undone. The run after the fault must end with the same dvc.lock and the same bytes of every output.
The faults:

killed       SIGKILL to the process group of `make repro` at random moments: the run is killed and started again until
             it ends; its bytes are compared, and it begins from nothing, until it was killed `--kills` times
interrupted  SIGINT to the process group while a stage works, as Ctrl-C sends it
kernel       SIGKILL to the process of a stage's notebook
orphaned     SIGTERM, SIGINT or SIGKILL to make alone, to DVC alone or to the runner alone while gbdt works. The next
             run begins at once with other parameters, `OTHER`, and must end with the bytes of a run with these
disk         the copy lies on a tmpfs with room for `ROOM` of the stage's outputs, which is enlarged afterwards
memory       a limit for all processes together, by a cgroup, lowered by a tenth until the stage fails
together     two runs at the same time: `make repro`'s own command twice, and plain `dvc repro` twice
read-only    reports/ or data/ is mounted read-only
torn         dvc.lock, or DVC's own list of locks, is truncated at a random byte, as a kill at that moment leaves it
content      a file that a parameter names by its path gets another content between two runs, and then its own again
interpreter  plain `.venv/bin/dvc repro` without an environment, and with another `python` first on PATH
root         data.root is one level too high or too low, lies on another computer, or has one collection alone
no kernel    a library of Jupyter is broken, so that no notebook's kernel starts
ray          a Ray cluster of three nodes with addresses of their own, benchmarks/namespaces.py, loses a node while it
             works: the node is killed or cut off. The pipeline is the tiny one of tests/support/pipeline.py,
             `made_long`, up to the networks. If the head is lost the run fails, and the next one has a new cluster

Disk, read-only and ray need root to mount and to divide the network; memory needs a cgroup of version 1. Without these
they are left out, and the table says so. A row for each fault is written to reports/benchmarks.json as soon as it is
measured, and the next run of this program goes on with the missing ones. A row has the identity of the code and the
data with which it was measured. A row of earlier code is measured again; until then it stays, marked. At the end the
table is written beside that file, as faults.md.
"""

from __future__ import annotations

import argparse
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from benchmarks import measure, namespaces
from benchmarks.faults import disturbances, runs, table
from benchmarks.faults.judging import good
from benchmarks.faults.plan import FUNCTIONS, Fault, planned
from benchmarks.faults.runs import LIMIT, MAKE, PROJECT
from benchmarks.namespaces import Missing
from stages.engine import files
from tests.support import pipeline

#: what makes an undisturbed run of the clone short; other parameters are those of params.yaml
SMALL: dict[str, dict[str, object]] = {
    "gnn": {"seeds": 2, "epochs": 4, "finetune": 2},
    "gbdt": {"seeds": 2, "trees": 30},
}


class Workshop:
    """The temporary folder of one identity, in which the faults are made and an interrupted program goes on."""

    def __init__(self, identity: str) -> None:
        self.folder = Path(tempfile.gettempdir(), f"faults-{identity}")
        self.fresh = self.folder / "fresh"  # never run
        self.source = self.folder / "undisturbed"
        self.copy = self.folder / "copy"  # of one fault
        self.killed = self.folder / "work"  # of all kills

    def undisturbed(self, kind: str) -> tuple[Path, dict]:
        """The project with which a fault of a kind begins, after an undisturbed run, and the results of that run."""
        project = self.folder / "tiny" if kind == "ray" else self.source
        mark = project.with_suffix(".whole")
        if not mark.exists():
            shutil.rmtree(project, ignore_errors=True)
            if kind == "ray":
                disturbances.made_long(project)
            else:
                self._run_source()
            mark.touch()
        return project, runs.state(project)

    @property
    def seconds(self) -> float:
        """How long the undisturbed run took."""
        return float(self.source.with_suffix(".seconds").read_text())

    def _run_source(self) -> None:
        shutil.rmtree(self.fresh, ignore_errors=True)
        shutil.copytree(clone(self.fresh), self.source, symlinks=True)
        began = time.monotonic()
        ended = runs.run(self.source, command=MAKE)
        if ended.status:
            raise RuntimeError(f"the undisturbed run failed: {ended.message}")
        self.source.with_suffix(".seconds").write_text(str(time.monotonic() - began))


def measured(kills: int, seed: int, only: Sequence[str], out: str | Path) -> dict:
    """Makes the faults that have no row of the present code.

    Args:
        kills: number of kills of `make repro`.
        seed: of all random moments and places.
        only: kinds of faults; empty for all.
        out: file of results.

    Returns:
        What is written there under "faults".
    """
    identity = _identity()
    results = {"kills": [], "begun": 0, "rows": {}} | measure.read("faults", out)
    if results.get("identity") != identity:
        results |= {"identity": identity, "parameters": SMALL, "begun": 0}
    workshop = Workshop(identity)
    for fault in missing(planned(seed), results, only):
        began = time.monotonic()
        row = _made(fault, workshop)
        about = {"fault": fault.kind, "identity": identity, "seconds": time.monotonic() - began}
        results["rows"][fault.name] = about | row
        measure.write("faults", results, out)
        verdict = (
            row.get("left_out") or f"{'same bytes after' if row['same'] else 'OTHER BYTES AFTER'}; {row['message']}"
        )
        print(f"{fault.kind}, {row['where']}: {verdict}"[:300], flush=True)
    if (not only or "killed" in only) and _kills_left(kills, results):
        _, reference = workshop.undisturbed("killed")
        print(f"undisturbed: {workshop.seconds:.0f} s", flush=True)
        for _ in kill_repeatedly(workshop, kills, seed, reference, results):
            measure.write("faults", results, out)
            current = _current_kills(results)
            where = current[-1]["where"] if current else "-"
            print(f"{len(current)} of {kills} kills, the last in {where}", flush=True)
        results["kills"] = _current_kills(results)  # without those of earlier code
        measure.write("faults", results, out)
    return results


def missing(faults: Iterator[Fault], results: Mapping, only: Sequence[str] = ()) -> list[Fault]:
    """The faults, of these kinds or of all, that have no row, or one of earlier code."""
    rows = results["rows"]
    stale = [fault for fault in faults if rows.get(fault.name, {}).get("identity") != results["identity"]]
    return [fault for fault in stale if not only or fault.kind in only]


def _made(fault: Fault, workshop: Workshop) -> dict:
    """Makes a fault and returns its row."""
    project, reference = workshop.undisturbed(fault.kind)
    try:
        return FUNCTIONS[fault.kind](workshop.copy, project, reference=reference, **fault.arguments)
    except Missing as reason:
        return {"where": fault.arguments.get("stage", ""), "left_out": str(reason)}
    finally:
        shutil.rmtree(workshop.copy, ignore_errors=True)


def kill_repeatedly(workshop: Workshop, kills: int, seed: int, reference: Mapping, results: dict) -> Iterator[None]:
    """Kills `make repro` at random moments, until there are enough kills and the run after the last one has ended.

    After an interruption it goes on in the workshop's folder.

    Yields:
        After each kill and each end, with its row in results["kills"].
    """
    work = workshop.killed
    while _kills_left(kills, results):
        if not work.exists():
            shutil.copytree(workshop.fresh, work, symlinks=True)
        process, console = runs.start(work, MAKE)
        enough = len(_current_kills(results)) >= kills
        moment = random.Random(f"{seed} {results['begun']}").uniform(0.02, 0.5) * workshop.seconds
        results["begun"] += 1
        try:
            process.wait(LIMIT if enough else moment)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            text = runs.finish(process, console).text
            running = [line for line in text.splitlines() if line.startswith("Running stage")]
            where = running[-1].split("'")[1] if running else "between stages"
            row = {"where": where, "seconds": moment, "same": None, "identity": results["identity"]}
            results["kills"].append(row)
        else:
            _compare(work, runs.finish(process, console), reference, results)
            shutil.rmtree(work)
        yield


def _compare(work: Path, ended: runs.Ended, reference: Mapping, results: dict) -> None:
    """Notes for all kills of a run whether it ended with the bytes of the reference."""
    same = ended.status == 0 and runs.state(work) == reference
    for row in _current_kills(results):
        if row["same"] is None:
            row["same"] = same
            if not same:
                row["after"] = ended.message[-2000:]
    runs.left(work)


def _current_kills(results: Mapping) -> list[dict]:
    return [row for row in results["kills"] if row.get("identity") == results["identity"]]


def _kills_left(kills: int, results: Mapping) -> bool:
    current = _current_kills(results)
    return len(current) < kills or any(row["same"] is None for row in current)


def clone(folder: Path) -> Path:
    """Clones the committed files, with `SMALL` parameters and the environment of this project."""
    subprocess.run(["git", "clone", "--quiet", str(PROJECT), str(folder)], check=True)
    (folder / ".venv").symlink_to(PROJECT / ".venv")
    runs.set_parameters(folder, **SMALL)
    (folder / "dvc.lock").unlink()
    return folder


def _identity() -> str:
    """Digest of the committed files and of this benchmark."""
    names = [f"HEAD:{name}" for name in ("stages", "notebooks", "data/sample", "params.yaml", "dvc.yaml", "Makefile")]
    done = subprocess.run(["git", "rev-parse", *names], cwd=PROJECT, capture_output=True, text=True, check=True)
    code = [*sorted(Path(__file__).parent.glob("*.py")), Path(namespaces.__file__), Path(pipeline.__file__)]
    return measure.identity(done.stdout.split(), SMALL, modules=(), files=code)


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.faults", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", nargs="+", default=(), choices=["killed", *FUNCTIONS], metavar="FAULT")
    parser.add_argument("--out", default=measure.RESULTS, metavar="FILE", help="file of results")
    options = parser.parse_args()
    results = measured(options.kills, options.seed, options.only, options.out)
    order = [fault.name for fault in planned(options.seed)]
    page = Path(options.out).with_name("faults.md")
    files.replace(page, table.page(results, SMALL, order).encode())
    print(page)
    rows = [row for row in results["rows"].values() if "left_out" not in row]
    return 0 if all(map(good, rows)) and all(row["same"] for row in results["kills"]) else 1


if __name__ == "__main__":
    sys.exit(main())
