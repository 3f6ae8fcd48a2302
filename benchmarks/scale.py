"""Runs the whole pipeline on a stand-in of the competition's data: `python -m benchmarks.scale FOLDER [--scale 0.1]`.

It writes the stand-in (benchmarks/synthesize.py) below FOLDER, copies the project's tracked files there, names the
stand-in in the copy's params.yaml, and runs `dvc repro` in the copy, as `make repro` does. DVC's cache uses hard links,
so that no file is on disk twice. The parameters are the default ones except for `PARAMETERS`. For every stage and
collection it writes to reports/benchmarks.json:

seconds          from DVC's line that the stage runs to its line that dvc.lock has the outputs. This includes the time
                 in which DVC hashes and caches them; the time before the stage, in which DVC hashes its inputs, counts
                 in the total only
peak_bytes       the largest sum of resident memory (VmRSS) over the processes of `dvc repro`, read every `LOOK`
                 seconds. Pages that processes share or map from files count in each: it is an upper bound of the need
anonymous_bytes  the same for RssAnon, memory that belongs to no file and that the system cannot drop

At the end it checks the submission against the stand-in's test graphs. `full` estimates the published size: the
seconds of each stage times the growth of what its work depends on (`GROWS`), in proportion. Start-up costs make the
estimate too large; a lack of memory would make it too small. The run after an interrupted one goes on: the stand-in's
files stay, and DVC skips finished stages. Only seconds and bytes mean anything here, and not the scores of the models.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from threading import Event, Thread

import polars as pl
import yaml

from benchmarks import measure, synthesize
from stages.graphs.collection import slug
from stages.scoring import submission

PROJECT = Path(__file__).parents[1]
#: tracked files that the copy does not need: links, graphs of the data sets, reports and tests
LEFT = ("data/inputs/", "data/sample/npz_all/", "data/sample-cpu/", "reports/", "tests/", "dvc.lock")
#: the parameters that differ from params.yaml's. Segments are as large as in the published code of Graph Segment
#: Training on TpuGraphs, because the 40 nodes of params.yaml suit graphs of hundreds of nodes and would cut the largest
#: pruned graph into 270 segments. The stand-in has no solution and no table of programs.
PARAMETERS: dict[str, dict[str, object]] = {
    "gnn": {"segment_nodes": 1000},
    "leaderboard": {"solution": None, "programs": None},
}
LOOK = 0.2  # seconds between two readings of the memory
RUNNING, DONE = re.compile(r"Running stage '(.+?)':"), re.compile(r"Updating lock file")
#: stage -> the quantity with which its work grows, in its collection or, if it sees all collections, in all five
GROWS: dict[str, tuple[str, Callable[[synthesize.Size], int]]] = {
    "synthesize": ("configurations x configurable nodes", lambda size: size.configurations * size.configurable),
    "inputs": ("nothing", lambda size: 0),
    "prune": ("configurations x configurable nodes", lambda size: size.configurations * size.configurable),
    "configuration": ("graphs", lambda size: 1),
    "pad": ("nodes", lambda size: size.nodes),
    "gnn": ("graphs", lambda size: 1),
    "gbdt": ("configurations", lambda size: size.configurations),
    "blend": ("valid and test configurations", lambda size: size.configurations * (size.split != "train")),
    "leaderboard": ("configurations x configurable nodes", lambda size: size.configurations * size.configurable),
}


def copy(project: Path, folder: Path, root: Path, parameters: Mapping[str, Mapping[str, object]]) -> str:
    """Copies the project's tracked files, with uncommitted changes, and makes the copy a DVC project without git.

    Results in an earlier copy stay.

    Args:
        project: the project's folder.
        folder: of the copy.
        root: data.root of the copy.
        parameters: section -> changed parameters of the copy.

    Returns:
        A digest of the copied files.
    """
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=project, capture_output=True, text=True, check=True)
    names = [name for name in sorted(listed.stdout.split("\0")) if name and not name.startswith(LEFT)]
    digest = hashlib.sha256()
    for name in names:
        content = (project / name).read_bytes()
        if name == "params.yaml":
            content = _changed(content, root, parameters)
        if not name.endswith((".md", ".gitignore")):
            digest.update(name.encode() + content)
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if not path.exists() or path.read_bytes() != content:
            path.write_bytes(content)
    (folder / ".dvc" / "config.local").write_text("[core]\n    no_scm = true\n[cache]\n    type = hardlink,copy\n")
    return digest.hexdigest()[:16]


def _changed(text: bytes, root: Path, parameters: Mapping[str, Mapping[str, object]]) -> bytes:
    values = yaml.safe_load(text)
    for stage, changes in [*parameters.items(), ("data", {"root": str(root)})]:
        values[stage] = values[stage] | changes
    return yaml.safe_dump(values, sort_keys=False).encode()


def tree(pid: int) -> list[int]:
    """The numbers of a process and of all running processes below it."""
    children: dict[int, list[int]] = {}
    for path in Path("/proc").glob("[0-9]*/status"):
        if parent := measure.status("PPid", path, unit=1):
            children.setdefault(parent, []).append(int(path.parent.name))
    numbers = [pid]
    for parent in numbers:
        numbers += children.get(parent, [])
    return numbers


class Memory:
    """Watches the memory of a process tree: the largest resident and anonymous bytes since `reset`. A context."""

    def __init__(self, pid: int):
        self._pid, self._end = pid, Event()
        self._thread = Thread(target=self._watch, daemon=True)
        self.reset()

    def __enter__(self) -> Memory:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._end.set()
        self._thread.join()

    def reset(self) -> None:
        self.resident = self.anonymous = 0

    def _watch(self) -> None:
        while not self._end.wait(LOOK):
            paths = [Path(f"/proc/{pid}/status") for pid in tree(self._pid)]
            self.resident = max(self.resident, sum(measure.status("VmRSS", path) for path in paths))
            self.anonymous = max(self.anonymous, sum(measure.status("RssAnon", path) for path in paths))


def watched(command: Sequence[str], folder: Path) -> Iterator[dict]:
    """Runs `dvc repro` and yields a row for each stage that ran to its end.

    Args:
        command: `dvc repro`, or another command with the same lines on the console.
        folder: in which it runs.

    Raises:
        RuntimeError: the command fails, after its own message.
    """
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    environment = os.environ | {"PATH": path, "PYTHONUNBUFFERED": "1", "DVC_NO_ANALYTICS": "1"}
    environment.pop("PYTHONPATH", None)  # it would make the copy import the project's stages
    process = subprocess.Popen(command, cwd=folder, env=environment, stdout=subprocess.PIPE, text=True)
    name, began = None, 0.0
    try:
        with Memory(process.pid) as memory:
            for line in process.stdout:
                print(line, end="", file=sys.stderr, flush=True)
                if match := RUNNING.search(line):
                    name, began = match[1], time.monotonic()
                    memory.reset()
                elif name and DONE.search(line):
                    stage, _, collection = name.partition("@")
                    yield {
                        "stage": stage,
                        "collection": collection,
                        "seconds": time.monotonic() - began,
                        "peak_bytes": memory.resident,
                        "anonymous_bytes": memory.anonymous,
                        "load": os.getloadavg()[0],
                    }
                    name = None
        if process.wait():
            raise RuntimeError(f"{command[-1]} ended with status {process.returncode}")
    finally:
        process.kill()


def work(sizes: Iterable[synthesize.Size], stage: str, collection: str) -> int:
    """The quantity with which the work of a stage grows, see `GROWS`."""
    _, amount = GROWS[stage]
    return sum(amount(size) for size in sizes if collection in ("", slug(size.collection)))


def extrapolated(rows: Sequence[Mapping], scale: float) -> list[dict]:
    """Estimates the seconds of each stage and collection at the published size.

    Args:
        rows: measured rows.
        scale: at which they were measured.

    Returns:
        Rows of stage, collection, grows_with, times (the growth of that quantity), and seconds at the published size.
    """
    part, whole = synthesize.sizes(scale), synthesize.sizes()
    estimates = []
    for row in rows:
        stage, collection = row["stage"], row["collection"]
        done = work(part, stage, collection)
        times = work(whole, stage, collection) / done if done else 1
        about = {"stage": stage, "collection": collection, "grows_with": GROWS[stage][0], "times": times}
        estimates.append(about | {"seconds": row["seconds"] * times})
    return estimates


def check(folder: Path, scale: float) -> int:
    """Checks that the copy's submission lists the stand-in's test graphs, with all configurations or five tiles each.

    Returns:
        The number of its rows.

    Raises:
        InputError: it does not.
    """
    rows = submission.read(folder / "data" / "leaderboard" / "submission.csv")
    test = [size for size in synthesize.sizes(scale) if size.split == "test"]
    submission.validate(rows, {f"{size.collection}:{size.id}": size.configurations for size in test})
    return len(rows)


def bytes_of(folder: Path) -> int:
    """Bytes of the files below a folder; a file with several names counts once."""
    states = {(state.st_dev, state.st_ino): state for path in folder.rglob("*") if (state := path.lstat())}
    return sum(state.st_blocks * 512 for state in states.values())


def measured(folder: Path, scale: float, out: str | Path, command: Sequence[str]) -> dict:
    """Runs the pipeline on the stand-in below `folder`, and returns what is written to `out` under "scale"."""
    project = folder / "project"
    identity = measure.identity(copy(PROJECT, project, (folder / "npz_all").resolve(), PARAMETERS), scale)
    results = measure.read("scale", out)
    if results.get("identity") != identity:
        results = {"identity": identity, "scale": scale, "parameters": PARAMETERS, "rows": [], "seconds": 0.0}
        shutil.rmtree(project)  # results of other code or data would count as finished
        copy(PROJECT, project, (folder / "npz_all").resolve(), PARAMETERS)
    began = time.monotonic()
    if not any(row["stage"] == "synthesize" for row in results["rows"]):
        synthesize.main([str(folder), "--scale", str(scale)])
        row = {"stage": "synthesize", "collection": "", "seconds": time.monotonic() - began}
        results["rows"].append(row | {"peak_bytes": None, "anonymous_bytes": None, "load": os.getloadavg()[0]})
        measure.write("scale", results, out)
    began, before = time.monotonic(), results["seconds"]
    for row in watched(command, project):
        others = [
            old for old in results["rows"] if (old["stage"], old["collection"]) != (row["stage"], row["collection"])
        ]
        results |= {"rows": [*others, row], "seconds": before + time.monotonic() - began}
        measure.write("scale", results, out)
    results |= {
        "submission_rows": check(project, scale),
        "peak_bytes": max(row["peak_bytes"] or 0 for row in results["rows"]),
        "disk_bytes": {"npz_all": bytes_of(folder / "npz_all"), "project": bytes_of(project)},
        "largest_page_bytes": max(path.stat().st_size for path in (project / "reports").glob("*.html")),
        "full": extrapolated(results["rows"], scale),
    }
    results["full_seconds"] = sum(row["seconds"] for row in results["full"] if row["stage"] != "synthesize")
    measure.write("scale", results, out)
    return results


def table(results: Mapping) -> pl.DataFrame:
    """Seconds and GiB of each stage and collection, and hours at full size."""
    full = {(row["stage"], row["collection"]): row["seconds"] / 3600 for row in results["full"]}
    gib = lambda value: None if value is None else value / 2**30  # noqa: E731
    rows = [
        {
            "stage": row["stage"],
            "collection": row["collection"],
            "seconds": row["seconds"],
            "peak GiB": gib(row["peak_bytes"]),
            "anonymous GiB": gib(row["anonymous_bytes"]),
            "full size, hours": full[row["stage"], row["collection"]],
        }
        for row in results["rows"]
    ]
    return pl.DataFrame(rows)


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="where the stand-in and the copy of the project are kept")
    parser.add_argument("--scale", type=float, default=0.1, help="share of the published number of graphs")
    parser.add_argument("--out", type=Path, default=measure.RESULTS, help="file of results")
    options = parser.parse_args(arguments)
    command = [sys.executable, "-m", "dvc", "repro"]
    results = measured(options.folder, options.scale, options.out, command)
    with pl.Config(tbl_rows=-1, float_precision=2):
        print(table(results))
    hours = results["full_seconds"] / 3600
    print(
        f"{results['seconds'] / 60:.1f} minutes in all, {results['submission_rows']} rows; full size {hours:.1f} hours"
    )


if __name__ == "__main__":
    sys.exit(main())
