"""Kills the gnn stage at random moments and checks that it ends with the bytes of an undisturbed run.

    python -m benchmarks.kills [--collection layout:xla:random] [--kills 10] [--seed 0]

Both runs use the collection's parameters in params.yaml on a copy of data/prune and data/pad in a temporary folder. The
disturbed one is started, killed with SIGKILL (with its children) after a random time, and started again; where it has
ended before its kill, its bytes are compared and it begins anew, until it has been killed so often. Then it runs to
its end. A line per kill says when, and where its checkpoints stood. They go to reports/benchmarks.json one by one, and
this program, cut short, goes on in its folder with the kills that are left.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from safetensors import safe_open

from benchmarks import measure
from stages.engine import params
from stages.graphs.collection import slug

RUN = "import json, sys; from stages import gnn; gnn.run(**json.loads(sys.argv[1]))"


def start(arguments: dict) -> subprocess.Popen:
    """The stage in a process group of its own, so that a kill takes its workers too."""
    command = [sys.executable, "-c", RUN, json.dumps(arguments)]
    return subprocess.Popen(command, start_new_session=True, stderr=subprocess.DEVNULL)


def kill_after(arguments: dict, seconds: float) -> bool:
    """Starts the stage and kills it after so many seconds; False where it ended before. RuntimeError if it failed."""
    process = start(arguments)
    try:
        if process.wait(seconds):
            raise RuntimeError(f"the stage ended with status {process.returncode}")
        return False
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        return True


def outputs(folder: Path) -> dict[str, str]:
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(folder.iterdir())}


def reached(folder: Path) -> list[str]:
    """Where each checkpoint stands."""
    found = []
    for path in sorted(folder.glob("[0-9]*.safetensors")):
        with safe_open(path, "numpy") as file:
            progress = json.loads(file.metadata()["training"])["progress"]
        found.append(f"{progress['part']} {progress['epoch']}.{progress['step']}")
    return found


def copied(source: Path, folder: Path, collection: str) -> None:
    """The collection's graphs, without what an earlier run made of them."""
    shutil.rmtree(folder, ignore_errors=True)
    for stage in ("prune", "pad"):
        shutil.copytree(source / stage / slug(collection), folder / stage / slug(collection))


def disturb(collection: str, knobs: dict, kills: int, seed: int, source: Path, out: str | Path) -> dict:
    """Runs the stage undisturbed, then killed so often, and returns what is written to `out` under "kills": the seconds
    of the undisturbed run, a row per kill (seconds, standing) and whether all runs to the end had the same bytes."""
    files = sorted(path for stage in ("prune", "pad") for path in (source / stage / slug(collection)).rglob("*.*"))
    known = measure.identity(
        collection, knobs, kills, seed, [hashlib.sha256(p.read_bytes()).hexdigest() for p in files]
    )
    folder = Path(tempfile.gettempdir(), f"kills-{known}")
    results = measure.read("kills", out)
    if results.get("identity") != known or not folder.exists():
        results = {"identity": known, "collection": collection, "rows": [], "same": None}
    data = {name: folder / name for name in ("undisturbed", "disturbed")}
    made = {name: data[name] / "gnn" / slug(collection) for name in data}
    call = {name: {"collection": collection, "knobs": knobs, "data": str(data[name])} for name in data}
    if "seconds" not in results:
        for name in data:
            copied(source, data[name], collection)
        begin = time.monotonic()
        if start(call["undisturbed"]).wait():
            raise RuntimeError("the undisturbed run failed")
        results |= {"seconds": time.monotonic() - begin, "begun": 0}
        measure.write("kills", results, out)
    while len(results["rows"]) < kills:
        draw = random.Random(f"{seed} {results['begun']}")
        after = draw.uniform(0.15, 0.9) * results["seconds"]
        results["begun"] += 1
        if kill_after(call["disturbed"], after):
            standing = reached(data["disturbed"] / "checkpoints" / "gnn" / slug(collection))
            results["rows"].append({"seconds": after, "standing": ", ".join(standing) or "no checkpoint"})
            print(f"kill {len(results['rows'])} after {after:.1f} s: {results['rows'][-1]['standing']}", flush=True)
        elif outputs(made["disturbed"]) != outputs(made["undisturbed"]):
            break
        else:
            copied(source, data["disturbed"], collection)
        measure.write("kills", results, out)
    if start(call["disturbed"]).wait():
        raise RuntimeError("the disturbed run failed")
    results["same"] = outputs(made["disturbed"]) == outputs(made["undisturbed"])
    measure.write("kills", results, out)
    shutil.rmtree(folder)
    return results


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--collection", default="layout:xla:random")
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", default=measure.RESULTS, metavar="FILE", help="file of results")
    given = parser.parse_args()
    knobs = params.section("params.yaml", "gnn", given.collection)
    results = disturb(given.collection, knobs, given.kills, given.seed, Path("data"), given.out)
    print(f"{results['seconds']:.1f} s undisturbed; {'the same' if results['same'] else 'different'} bytes")
    return 0 if results["same"] else 1


if __name__ == "__main__":
    sys.exit(main())
