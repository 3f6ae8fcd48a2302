"""Memory-mapped files whose pages are handed back to the system."""

from __future__ import annotations

import mmap

import numpy as np


def release(*arrays: np.ndarray) -> None:
    """Releases the pages of mapped files that were read through these arrays.

    Until then they count as memory of this process. They come back when they are read again.
    """
    for array in arrays:
        while isinstance(array, np.ndarray):
            array = array.base
        array = array.obj if isinstance(array, memoryview) else array
        if isinstance(array, mmap.mmap) and hasattr(array, "madvise"):
            array.madvise(mmap.MADV_DONTNEED)
