"""What all tests share: one thread a process, and the pipeline's run on tiny data, made once."""

# ruff: noqa: E402

import os
import sys

#: Workers of pytest-xdist take all cores, and sums depend on the number of threads. NumPy and torch read these
#: variables when they are loaded, the processes that tests start inherit them.
os.environ |= dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")

#: A module is compiled once, and __pycache__ is left behind, as a user's is: by tests and by processes that they start.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False

import fcntl
import shutil

import pytest

import stages  # noqa: F401 (before nbformat, whose import it makes quicker)
from tests.support import pipeline

#: The files whose tests take longest, so that the workers end at about the same time; first the one whose worker makes
#: `reproduced` while the others are at work on those that do without for the longest time.
LONGEST = (
    "tests/pipeline/test_pipeline.py",
    "tests/engine/test_ray_pipeline.py",
    "tests/engine/test_ray_cluster.py",
    "tests/studies/test_recipes.py",
    "tests/benchmarks/test_faults.py",
    "tests/engine/test_lifetime.py",
    "tests/notebooks/test_by_hand.py",
    "tests/notebooks/test_pages.py",
    "tests/gnn/test_kept_training.py",
    "tests/benchmarks/test_ablate.py",
    "tests/gnn/test_stage.py",
    "tests/gnn/test_worker_group.py",
    "tests/gnn/test_network_shared.py",
    "tests/runner/test_notebook.py",
)


def pytest_xdist_auto_num_workers():
    """A worker more than there are cores: a worker often waits for processes that its tests started."""
    return os.cpu_count() + 1


def pytest_collection_modifyitems(items):
    """Puts the longest files first. The order within a file stays."""
    places = {name: place for place, name in enumerate(LONGEST)}
    items.sort(key=lambda item: places.get(item.nodeid.partition("::")[0], len(LONGEST)))


@pytest.fixture(scope="session", autouse=True)
def one_core():
    """Stages that a test runs in its own process do all work there: others would load all libraries for tiny work.

    Tests of several processes give themselves more cores. Processes that tests start have those of the machine.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "cpu_count", lambda: 1)
        yield


@pytest.fixture(scope="session")
def reproduced(tmp_path_factory):
    """(folder, what the console showed) of a run of the tiny pipeline from nothing.

    It is made once, by the worker that is the first to ask for it. The others wait for it, so no test writes there:
    `pipeline.again` gives a copy.
    """
    place = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        place = place.parent  # which all workers share
    folder, console = place / "reproduced", place / "reproduced.txt"
    with open(place / "reproduced.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not console.exists():
            shutil.rmtree(folder, ignore_errors=True)  # of a worker that failed
            console.write_text(pipeline.dvc_alone(pipeline.copy(folder), "repro"))
    return folder, console.read_text()
