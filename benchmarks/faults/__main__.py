"""Takes the pipeline through what breaks, and checks that the next run ends with the bytes of an undisturbed one.

    python -m benchmarks.faults [--kills 20] [--seed 0] [--only FAULT ...] [--out reports/benchmarks.json]

It works in a fresh clone of what is committed, in a temporary folder, with the project's .venv and a DVC cache of its
own, on the sample with `SMALL` parameters. The clone is run undisturbed once; each fault then begins with a copy of it
in which one stage is not done yet, and is followed by a run that is to end with the same dvc.lock and the same bytes of
every output. The faults:

killed       kill -9 of the process group of `make repro` at random moments: the run is started, killed, started again,
             until it ends; its bytes are compared; it begins from nothing again until it was killed so often
interrupted  SIGINT to the process group while a stage works, as Ctrl-C sends it
kernel       kill -9 of the process of a stage's notebook
orphaned     SIGTERM, SIGINT or SIGKILL to make alone, to DVC alone or to the runner alone while gbdt works; then other
             parameters, `OTHER`, and at once the next run, which is to end with the bytes of a run of these
disk         the copy lies on a tmpfs with room for `ROOM` of what the stage makes; then it is given more
memory       a limit for all processes together, by a cgroup, lowered by a tenth until the stage fails
together     two runs at once: `make repro`'s own command twice, and plain `dvc repro` twice
read-only    reports/ or data/ mounted read-only
torn         dvc.lock, or DVC's own list of locks, cut off at a random place, as a kill at that moment leaves it
content      a file that a parameter names by its path gets another content between two runs; then it is taken back
interpreter  plain `.venv/bin/dvc repro` without an environment, and with another `python` first on PATH
root         data.root one level too high or too low, as on another computer, or of one collection alone
no kernel    a library of Jupyter's is broken, so that no notebook's kernel starts
ray          a Ray cluster of three nodes with addresses of their own, benchmarks/namespaces.py, of which one is killed
             or cut off while it works: on the tiny data of tests/support/pipeline.py, `made_long`, up to the networks.
             Where the head is lost the run fails, and the next one has a new cluster

Disk, read-only and ray need root to mount and to divide the network, memory a cgroup of the first version too; without,
they are left out and said to be. A row for each is written to reports/benchmarks.json as soon as it is there, and what
was cut short goes on. A row carries the identity of the code and the data that it was made with. One of earlier code is
made anew, and stays, marked, until then. At the end the table is written beside that file, as faults.md.
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
    """The temporary folder in which the faults are made, one for each identity: what was cut short goes on there."""

    def __init__(self, identity: str) -> None:
        self.folder = Path(tempfile.gettempdir(), f"faults-{identity}")
        self.fresh = self.folder / "fresh"  # never run
        self.source = self.folder / "undisturbed"
        self.copy = self.folder / "copy"  # of one fault
        self.killed = self.folder / "work"  # of the kills, one after the other

    def undisturbed(self, kind: str) -> tuple[Path, dict]:
        """The project that a fault of a kind begins with, run undisturbed, and what that run made."""
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
    """Makes the faults that have no row of the code of now.

    Args:
        kills: how often `make repro` is killed.
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
        said = row.get("left_out") or f"{'same bytes after' if row['same'] else 'OTHER BYTES AFTER'}; {row['message']}"
        print(f"{fault.kind}, {row['where']}: {said}"[:300], flush=True)
    if (not only or "killed" in only) and _kills_left(kills, results):
        _, reference = workshop.undisturbed("killed")
        print(f"undisturbed: {workshop.seconds:.0f} s", flush=True)
        for _ in kill_repeatedly(workshop, kills, seed, reference, results):
            measure.write("faults", results, out)
            current = _current_kills(results)
            where = current[-1]["where"] if current else "-"
            print(f"{len(current)} of {kills} kills, the last in {where}", flush=True)
        results["kills"] = _current_kills(results)  # those of earlier code have made way
        measure.write("faults", results, out)
    return results


def missing(faults: Iterator[Fault], results: Mapping, only: Sequence[str] = ()) -> list[Fault]:
    """The faults, of these kinds or of all, that have no row, or one of earlier code."""
    rows = results["rows"]
    stale = [fault for fault in faults if rows.get(fault.name, {}).get("identity") != results["identity"]]
    return [fault for fault in stale if not only or fault.kind in only]


def _made(fault: Fault, workshop: Workshop) -> dict:
    """The row of a fault, which is made here."""
    project, reference = workshop.undisturbed(fault.kind)
    try:
        return FUNCTIONS[fault.kind](workshop.copy, project, reference=reference, **fault.arguments)
    except Missing as reason:
        return {"where": fault.arguments.get("stage", ""), "left_out": str(reason)}
    finally:
        shutil.rmtree(workshop.copy, ignore_errors=True)


def kill_repeatedly(workshop: Workshop, kills: int, seed: int, reference: Mapping, results: dict) -> Iterator[None]:
    """Kills `make repro` at random moments, until so many kills have been followed by a run to the end.

    It goes on in the workshop's folder where it was cut short.

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
    """Notes, of all kills that led to this end, whether it has the bytes of the reference."""
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
    """What is committed, with `SMALL` parameters and the environment of this project."""
    subprocess.run(["git", "clone", "--quiet", str(PROJECT), str(folder)], check=True)
    (folder / ".venv").symlink_to(PROJECT / ".venv")
    runs.set_parameters(folder, **SMALL)
    (folder / "dvc.lock").unlink()
    return folder


def _identity() -> str:
    """Digest of what is committed and of this benchmark."""
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
