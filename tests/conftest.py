"""What all tests share: one thread a process, and the pipeline's run on tiny data, made once."""

# ruff: noqa: E402

import os

#: A worker of pytest-xdist works on each core, and sums depend on the number of threads. NumPy and torch read these
#: variables when they are loaded, the processes that tests start inherit them.
os.environ |= dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")

from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.support import pipeline

#: files whose tests look at the pipeline's run, or most of them; one worker has them all
PIPELINE = (
    "tests/benchmarks/test_faults.py",
    "tests/engine/test_ray_cluster.py",
    "tests/notebooks/test_by_hand.py",
    "tests/notebooks/test_pages.py",
    "tests/pipeline/test_pipeline.py",
    "tests/pipeline/test_remote.py",
)


def pytest_collection_modifyitems(items):
    """Puts the pipeline's tests first, because together they are the longest."""
    items.sort(key=lambda item: not item.nodeid.startswith(PIPELINE))


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config, log):
    """Gives a file to one worker, for its fixtures' sake, and all files of the pipeline's run to one.

    pytest-xdist's own `loadgroup` does not see its marks under pytest 9.2, which keeps a test's id elsewhere.
    """
    from xdist.scheduler import LoadScopeScheduling

    class Scheduling(LoadScopeScheduling):
        def _split_scope(self, nodeid):
            return "pipeline" if nodeid.startswith(PIPELINE) else nodeid.partition("::")[0]

    return Scheduling(config, log)


@pytest.fixture(scope="session")
def copies(tmp_path_factory):
    """[(folder, what the console showed)] of two runs from nothing, made side by side to save time."""
    folders = [pipeline.copy(tmp_path_factory.mktemp(name)) for name in ("first", "second")]
    with ThreadPoolExecutor(2) as pool:
        shown = list(pool.map(lambda folder: pipeline.dvc(folder, "repro"), folders))
    return list(zip(folders, shown, strict=True))


@pytest.fixture(scope="session")
def reproduced(copies):
    return copies[0]
