"""Kills the gnn stage at random moments and checks that it ends with the bytes of an undisturbed run.

    python -m benchmarks.kills [--collection layout:xla:random] [--kills 10] [--seed 0]

Both runs use the collection's parameters in params.yaml on a copy of data/prune and data/pad in a temporary folder. The
disturbed one is started, killed with SIGKILL (with its children) after a random time, and started again, until it has
been killed so often; then it runs to its end. Prints a line per kill: when, and the epoch its checkpoints had reached.
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

from stages import params
from stages.collection import slug

RUN = "import json, sys; from stages import gnn; gnn.run(**json.loads(sys.argv[1]))"


def start(knobs: dict) -> subprocess.Popen:
    """The stage in a process group of its own, so that a kill takes its workers too."""
    command = [sys.executable, "-c", RUN, json.dumps(knobs)]
    return subprocess.Popen(command, start_new_session=True, stderr=subprocess.DEVNULL)


def outputs(folder: Path) -> dict[str, str]:
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(folder.iterdir())}


def reached(folder: Path) -> list[str]:
    """Where each checkpoint stands."""
    found = []
    for path in sorted(folder.glob("*.safetensors")):
        with safe_open(path, "numpy") as file:
            progress = json.loads(file.metadata()["training"])["progress"]
        found.append(f"{progress['part']} {progress['epoch']}.{progress['step']}")
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--collection", default="layout:xla:random")
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    draw = random.Random(options.seed)
    knobs = params.section("params.yaml", "gnn", options.collection)
    with tempfile.TemporaryDirectory() as folder:
        ends = []
        for name, kills in (("undisturbed", 0), ("disturbed", options.kills)):
            data = Path(folder, name)
            for stage in ("prune", "pad"):
                shutil.copytree(Path("data", stage, slug(options.collection)), data / stage / slug(options.collection))
            call = {**knobs, "collection": options.collection, "data": str(data)}
            begin = time.monotonic()
            for number in range(kills):
                process = start(call)
                after = draw.uniform(0.15, 0.9) * whole  # noqa: F821, the undisturbed run comes first
                try:
                    process.wait(after)
                except subprocess.TimeoutExpired:
                    os.killpg(process.pid, signal.SIGKILL)
                    process.wait()
                standing = ", ".join(reached(data / "checkpoints" / "gnn" / slug(options.collection)))
                print(f"kill {number + 1} after {after:.1f} s: {standing or 'no checkpoint'}", flush=True)
            if start(call).wait() != 0:
                print(f"the {name} run failed", file=sys.stderr)
                return 1
            whole = time.monotonic() - begin
            ends.append(outputs(data / "gnn" / slug(options.collection)))
            print(f"{name}: {whole:.1f} s", flush=True)
    same = ends[0] == ends[1]
    print("same bytes" if same else f"different: {[name for name in ends[0] if ends[0][name] != ends[1].get(name)]}")
    return 0 if same else 1


if __name__ == "__main__":
    sys.exit(main())
