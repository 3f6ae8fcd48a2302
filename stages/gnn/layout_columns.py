"""Columns derived from layouts, the ones a trial found to matter: how far a layout is from row-major."""

import numpy as np

VOCABULARY = 7  # values -1 "no such place", 0..5 dimensions: one table for own and configured layouts
TRIPLE = 18  # a configuration sets the layouts of output, input and kernel, six columns each
OWN_COLUMNS = 2  # inversions, non-row-major


def tokens(layout: np.ndarray) -> np.ndarray:
    """Rows of the shared vocabulary table, int64, for layout values in -1..5."""
    return layout.astype(np.int64) + 1


def inversions(layout: np.ndarray) -> np.ndarray:
    """Pairs of dimensions in another order than row-major, (...,) int64, of minor-to-major layouts (..., 6).

    Row-major is r-1, ..., 0 in minor-to-major order; negative entries (padding) take no part, so a
    layout left to the compiler has none.
    """
    first, second = np.triu_indices(6, 1)
    left, right = layout[..., first], layout[..., second]
    return ((left >= 0) & (right >= 0) & (left < right)).sum(axis=-1)


def own_columns(layout: np.ndarray) -> np.ndarray:
    """(n, 2) float32 of nodes' own layouts (n, 6): inversions / 4 (about unit spread at rank 4), non-row-major."""
    count = inversions(layout)
    return np.stack([count / 4, count > 0], axis=-1).astype(np.float32)
