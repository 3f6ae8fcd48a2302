"""The pipeline on the sample here and on a Ray cluster of three nodes on this machine: `python -m benchmarks.cluster`.

Copies the project's tracked files twice below a temporary folder, with `engine.kind: local` and `ray`, and runs `dvc
repro` in each from nothing, as `make repro` does. The cluster (Ray's own `cluster_utils`) is started before and not
counted; its head takes no tasks, as is usual, and each of two nodes one at a time, so that on two cores as many work
there as here. Written to reports/benchmarks.json under "cluster": of each kind the seconds of every stage and in all,
and whether dvc.lock, which has the hashes of all outputs, and submission.csv have the same bytes. What Ray costs is the
ratio of the two; on two cores nothing can be gained.
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
    """Runs the pipeline in a copy of the project; {"seconds", "rows": stage, collection and seconds of each}."""
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
    given = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as name:
        local, cluster = Path(name, "local"), Path(name, "ray")
        found = {"nodes": NODES, "local": repro(local, {"kind": "local"})}
        nodes = Cluster(initialize_head=True, head_node_args=NODE | {"num_cpus": 0, "include_dashboard": False})
        try:
            for _ in range(NODES - 1):
                nodes.add_node(**NODE)
            found["ray"] = repro(cluster, {"kind": "ray", "address": nodes.address})
        finally:
            nodes.shutdown()
        found["same"] = all((local / file).read_bytes() == (cluster / file).read_bytes() for file in SAME)
    measure.write("cluster", found, given.out)
    seconds = [found[kind]["seconds"] for kind in ("local", "ray")]
    print(
        f"here {seconds[0]:.0f} s, on {NODES} nodes {seconds[1]:.0f} s: {seconds[1] / seconds[0]:.2f} times as long; ",
        end="",
    )
    print("the same bytes" if found["same"] else "DIFFERENT BYTES")
    return 0 if found["same"] else 1


if __name__ == "__main__":
    sys.exit(main())
