"""What a process holds: caches with a budget of bytes, and memory that is handed back to the system."""

from __future__ import annotations

import contextlib
import ctypes
from collections.abc import Hashable
from dataclasses import fields, is_dataclass

import numpy as np
import torch
from cachetools import LRUCache
from scipy.sparse import csr_array

from stages.gnn.sparse import SparseMatrix

#: segments whose stored states are open at a time: each is a file, of which a process has a thousand or so
OPEN_FILES = 16
#: bytes that are kept of what no step changes, and of batches of all configurations. Most of a collection of the sample
#: fits, and however large graphs are, it is less than a tenth of what a process holds.
INPUT_BYTES, BATCH_BYTES = 2**23, 3 * 2**23


class Caches:
    """What all graphs of a process keep together from step to step; the least recently used goes first.

    states: stored states that are open; inputs: what no step changes of a segment; batches: batches, or parts of them,
    that come again.
    """

    def __init__(self):
        self.states = LRUCache(OPEN_FILES)
        self.inputs = LRUCache(INPUT_BYTES, held_bytes)
        self.batches = LRUCache(BATCH_BYTES, held_bytes)


def keep(cache: LRUCache, key: Hashable, value: object) -> None:
    """Keeps a value in a cache; one that is larger than the cache is not kept."""
    with contextlib.suppress(ValueError):  # "value too large"
        cache[key] = value


def held_bytes(value: object) -> int:
    """Bytes of a value's tensors and arrays, with the transposes of sparse matrices that may still come."""
    if isinstance(value, SparseMatrix):
        return 2 * sum(held_bytes(part) for part in (value.matrix.values(), value.matrix.col_indices()))
    if isinstance(value, torch.Tensor) and value.layout is torch.sparse_csr:
        return held_bytes(value.values()) + held_bytes(value.col_indices())
    if isinstance(value, torch.Tensor | np.ndarray):
        return value.nbytes
    if isinstance(value, csr_array):
        return value.data.nbytes + value.indices.nbytes
    if isinstance(value, list):
        return sum(map(held_bytes, value))
    return sum(held_bytes(getattr(value, item.name)) for item in fields(value)) if is_dataclass(value) else 0


def trim() -> None:
    """Hands memory that was freed back to the system, where the C library can.

    Else pieces of it that lie between others stay with the process, more with every segment of another size.
    """
    if (malloc_trim := getattr(ctypes.CDLL(None), "malloc_trim", None)) is not None:
        malloc_trim(0)
