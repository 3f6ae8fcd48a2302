"""Kills the gnn stage at random moments and checks that it ends with the bytes of an undisturbed run.

    python -m benchmarks.faults.kills [--collection layout:xla:random] [--kills 10] [--seed 0]

Both runs use the collection's parameters in params.yaml, on a copy of data/prune and data/pad in a temporary folder.
The disturbed run is started, killed after a random time with SIGKILL, together with its children, and started again. If
it ends before its kill, its bytes are compared and it begins from nothing. After the last kill it runs to its end. Each
kill prints a line with its time and the states of the checkpoints, which is also written to reports/benchmarks.json. If
this program is interrupted, the next run goes on in the same folder with the remaining kills.
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
    """Starts the stage in a process group of its own, so that a kill ends its workers too."""
    command = [sys.executable, "-c", RUN, json.dumps(arguments)]
    return subprocess.Popen(command, start_new_session=True, stderr=subprocess.DEVNULL)


def kill_after(arguments: dict, seconds: float) -> bool:
    """Starts the stage and kills it after a time.

    Args:
        knobs: arguments of the stage.
        seconds: when to kill it.

    Returns:
        Whether it was killed; False if it ended before.

    Raises:
        RuntimeError: the stage failed.
    """
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
    """SHA-256 of each output by its name."""
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(folder.iterdir())}


def reached(folder: Path) -> list[str]:
    """The state of each checkpoint, as "part epoch.step"."""
    states = []
    for path in sorted(folder.glob("[0-9]*.safetensors")):
        with safe_open(path, "numpy") as file:
            progress = json.loads(file.metadata()["training"])["progress"]
        states.append(f"{progress['part']} {progress['epoch']}.{progress['step']}")
    return states


def copied(source: Path, folder: Path, collection: str) -> None:
    """Copies the collection's pruned and padded graphs to a new folder, without outputs of an earlier run."""
    shutil.rmtree(folder, ignore_errors=True)
    for stage in ("prune", "pad"):
        shutil.copytree(source / stage / slug(collection), folder / stage / slug(collection))


def disturb(collection: str, knobs: dict, kills: int, seed: int, source: Path, out: str | Path) -> dict:
    """Runs the stage undisturbed, and then disturbed by kills.

    Args:
        collection: official name.
        knobs: the stage's parameters.
        kills: their number.
        seed: of the random times.
        source: the folder of all data.
        out: file of results.

    Returns:
        The results, which are written to `out` under "kills": seconds of the undisturbed run, a row per kill (seconds,
        standing), and whether all finished runs had the same bytes.
    """
    files = sorted(path for stage in ("prune", "pad") for path in (source / stage / slug(collection)).rglob("*.*"))
    identity = measure.identity(
        collection, knobs, kills, seed, [hashlib.sha256(p.read_bytes()).hexdigest() for p in files]
    )
    folder = Path(tempfile.gettempdir(), f"kills-{identity}")
    results = measure.read("kills", out)
    if results.get("identity") != identity or not folder.exists():
        results = {"identity": identity, "collection": collection, "rows": [], "same": None}
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
    options = parser.parse_args()
    knobs = params.section("params.yaml", "gnn", options.collection)
    results = disturb(options.collection, knobs, options.kills, options.seed, Path("data"), options.out)
    print(f"{results['seconds']:.1f} s undisturbed; {'the same' if results['same'] else 'different'} bytes")
    return 0 if results["same"] else 1


if __name__ == "__main__":
    sys.exit(main())
