"""Times the pipeline on this machine without Ray and on a Ray cluster of three nodes: `python -m benchmarks.cluster`.

It copies the project's tracked files twice below a temporary folder, with `engine.kind: local` and `ray`, and runs `dvc
repro` in each from nothing, as `make repro` does. The cluster (Ray's `cluster_utils`, all on this machine) is started
before the clock. Its head takes no tasks, as usual, and each of its two other nodes takes one at a time, so that on two
cores as many tasks run as without Ray. It writes to reports/benchmarks.json under "cluster" the seconds of every stage
and in all, for each kind, and whether dvc.lock, which has the hashes of all outputs, and submission.csv have the same
bytes. The ratio of the two times is the cost of Ray; on two cores it can gain nothing.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path

from ray.cluster_utils import Cluster

from benchmarks import measure, scale
from stages.engine import params

NODES = 3
NODE = {"num_cpus": 1, "object_store_memory": 200 * 2**20}
SAME = ("dvc.lock", "data/leaderboard/submission.csv")


def repro(folder: Path, engine: dict) -> dict:
    """Runs the pipeline in a copy of the project.

    Args:
        folder: of the copy.
        engine: its section of params.yaml.

    Returns:
        seconds in all; rows: stage, collection and seconds of each stage.
    """
    root = (scale.PROJECT / params.read(scale.PROJECT / "params.yaml")["data"]["root"]).resolve()
    scale.copy(scale.PROJECT, folder, root, {"engine": engine})
    begin = time.monotonic()
    rows = [
        {name: row[name] for name in ("stage", "collection", "seconds")}
        for row in scale.watched([sys.executable, "-m", "dvc", "repro"], folder)
    ]
    return {"seconds": time.monotonic() - begin, "rows": rows}


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", default=measure.RESULTS, metavar="FILE", help="file of results")
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as name:
        local, cluster = Path(name, "local"), Path(name, "ray")
        results = {"nodes": NODES, "local": repro(local, {"kind": "local"})}
        nodes = Cluster(initialize_head=True, head_node_args=NODE | {"num_cpus": 0, "include_dashboard": False})
        try:
            for _ in range(NODES - 1):
                nodes.add_node(**NODE)
            results["ray"] = repro(cluster, {"kind": "ray", "address": nodes.address})
        finally:
            nodes.shutdown()
        results["same"] = all((local / file).read_bytes() == (cluster / file).read_bytes() for file in SAME)
    measure.write("cluster", results, options.out)
    seconds = [results[kind]["seconds"] for kind in ("local", "ray")]
    print(
        f"here {seconds[0]:.0f} s, on {NODES} nodes {seconds[1]:.0f} s: {seconds[1] / seconds[0]:.2f} times as long; ",
        end="",
    )
    print("the same bytes" if results["same"] else "DIFFERENT BYTES")
    return 0 if results["same"] else 1


if __name__ == "__main__":
    sys.exit(main())
