"""Caches with a budget of bytes."""

import numpy as np
from cachetools import LRUCache

from stages.gnn import memory
from stages.gnn.batch import join
from tests.support import networks
from tests.support.graphs import (
    LAYOUT,
    TINY,
    prepared,
    sample,
)


def test_the_least_recently_used_goes_first():
    """By the bytes of what is kept, and nothing that is larger than all together."""
    cache = LRUCache(10, memory.held_bytes)
    values = {key: np.zeros(size, np.int8) for key, size in zip("abcdef", (4, 4, 2, 3, 11, 10), strict=True)}
    for key in "abc":
        memory.keep(cache, key, values[key])
    assert [cache.get(key) is values[key] for key in "bac"] == [True] * 3
    memory.keep(cache, "d", values["d"])  # 13 with all: b goes
    assert [key in cache for key in "abcd"] == [True, False, True, True]
    assert [cache.get(key) is values[key] for key in "acd"] == [True] * 3
    memory.keep(cache, "e", values["e"])
    assert [cache.get(key) is values.get(key) for key in "acd"] == [True] * 3 and "e" not in cache
    memory.keep(cache, "f", values["f"])
    assert [key in cache for key in "acdf"] == [False, False, False, True]


def test_what_is_kept_is_weighed():
    """Every array and tensor once, a sparse matrix twice for its transpose."""
    (static,) = prepared([sample(LAYOUT)], networks.settings(**TINY))
    batch = join([static], [np.arange(8)])
    matrix = batch.readout.matrix
    assert memory.held_bytes(batch.readout) == 2 * (4 + 4) * matrix.values().numel()
    assert memory.held_bytes([batch.x, np.zeros(3), None, 7]) == batch.x.numel() * 4 + 24
    parts = [getattr(batch, name) for name in batch.__dataclass_fields__]
    assert memory.held_bytes(batch) == sum(map(memory.held_bytes, parts)) > memory.held_bytes(batch.readout)
