"""What all tests share: one thread a process, and the pipeline's run on tiny data, made once."""

# ruff: noqa: E402

import os

#: A worker of pytest-xdist works on each core, and sums depend on the number of threads. NumPy and torch read these
#: variables when they are loaded, the processes that tests start inherit them.
os.environ |= dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")

from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.support import pipeline

PIPELINE = "pipeline"


def group(item):
    """The name of the tests that one worker is to have, because they share what takes long to make.

    All that look at the pipeline's run are one group. Of the others each file is one, for its fixtures' sake.
    """
    return PIPELINE if "copies" in getattr(item, "fixturenames", ()) else item.path.as_posix()


def pytest_itemcollected(item):
    """Marks each test with its group, for `--dist loadgroup`, before xdist reads the marks."""
    item.add_marker(pytest.mark.xdist_group(group(item)))


def pytest_collection_modifyitems(items):
    """Puts the pipeline's group first, because it is the longest."""
    items.sort(key=lambda item: group(item) != PIPELINE)


@pytest.fixture(scope="session")
def copies(tmp_path_factory):
    """Return [(folder, what the console showed)] of two runs from nothing, made side by side to save time."""
    folders = [pipeline.copy(tmp_path_factory.mktemp(name)) for name in ("first", "second")]
    with ThreadPoolExecutor(2) as pool:
        shown = list(pool.map(lambda folder: pipeline.dvc(folder, "repro"), folders))
    return list(zip(folders, shown, strict=True))


@pytest.fixture(scope="session")
def reproduced(copies):
    return copies[0]
