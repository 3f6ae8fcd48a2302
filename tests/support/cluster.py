"""A Ray cluster on this machine, of nodes that the tests start."""

import contextlib
import importlib.util
from pathlib import Path

import pytest

from stages.engine.engine import Engine

INSTALLED = importlib.util.find_spec("ray") is not None
RAY = pytest.mark.skipif(not INSTALLED, reason="Ray is not installed: make cluster")
TRIES = 4  # to start a node
#: What Ray's processes begin with. Its workers give way to all other processes unless told otherwise, and the other
#: tests would leave them little of a small machine. All import jsonschema, for which a grammar is built that takes two
#: thirds of the start: see stages/engine/processor.py, which a process of Ray's reads too late.
ENVIRONMENT = {"RAY_worker_niceness": "0", "PYTHONPATH": str(Path(__file__).with_name("quick"))}


@contextlib.contextmanager
def started(nodes):
    """Yields the engine of a new cluster of nodes with a core each; skips the test where Ray is missing."""
    utils = pytest.importorskip("ray.cluster_utils", reason="Ray is not installed: make cluster")
    node = {"num_cpus": 1, "object_store_memory": 100 * 2**20}
    with pytest.MonkeyPatch.context() as patch:
        for name, value in ENVIRONMENT.items():
            patch.setenv(name, value)
        cluster = utils.Cluster()
        added(cluster, **node, include_dashboard=False, no_monitor=True)  # nobody looks on, and it does not grow
        for _ in range(nodes - 1):
            added(cluster, **node)
    try:
        yield Engine("ray", cluster.address)
    finally:
        importlib.import_module("ray").shutdown()
        cluster.shutdown()


def added(cluster, **options):
    """Adds a node. It gives up where its agents need more than 15 s to start: on a busy machine once or twice."""
    for _ in range(TRIES - 1):
        with contextlib.suppress(Exception):  # Ray has no class for it
            return cluster.add_node(**options)
    return cluster.add_node(**options)
