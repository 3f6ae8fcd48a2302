"""The pipeline's run on tiny data, once for all tests that look at what it makes."""

from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.support import pipeline


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
