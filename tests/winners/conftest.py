"""Two small graphs that several winners' features are read from."""

import pytest

from benchmarks.parity.graphs import synthetic_layout, synthetic_tile
from tests.support.packing import packed


@pytest.fixture(scope="module")
def layout():
    return packed(synthetic_layout(0), hops="all")


@pytest.fixture(scope="module")
def tile():
    return packed(synthetic_tile(0))
