"""Columns derived from layouts, the ones a trial found to matter: how far a layout is from row-major."""

import numpy as np

VOCABULARY = 8  # values -2 "not configurable", -1 pad, 0..5 dimensions: one table for own and configured layouts
SLOTS = 3  # a configuration sets the layouts of output, input and kernel, six columns each
TRIPLE = 6 * SLOTS
NOT_CONFIGURABLE = np.full(TRIPLE, -2, np.int8)
OWN_COLUMNS = 2  # inversions, non-row-major
PAIR_COLUMNS = 2 * SLOTS + 1  # the same of every slot, and the mismatch


def tokens(layout: np.ndarray) -> np.ndarray:
    """Rows of the shared vocabulary table, int64, for layout values in -2..5."""
    return layout.astype(np.int64) + 2


def inversions(layout: np.ndarray) -> np.ndarray:
    """Pairs of dimensions in another order than row-major, (...,) int64, of minor-to-major layouts (..., 6).

    Row-major is r-1, ..., 0 in minor-to-major order; negative entries (padding, not configurable) take no part, so a
    layout left to the compiler has none.
    """
    first, second = np.triu_indices(6, 1)
    left, right = layout[..., first], layout[..., second]
    return ((left >= 0) & (right >= 0) & (left < right)).sum(axis=-1)


def own_columns(layout: np.ndarray) -> np.ndarray:
    """(n, 2) float32 of nodes' own layouts (n, 6): inversions / 4 (about unit spread at rank 4), non-row-major."""
    count = inversions(layout)
    return np.stack([count / 4, count > 0], axis=-1).astype(np.float32)


def pair_columns(own: np.ndarray, triple: np.ndarray) -> np.ndarray:
    """(p, 7) float32 of pairs of a node's own layout (p, 6) and its configured triple (p, 18).

    Per slot inversions / 4 and non-row-major; last, whether output and own layout name different dimensions in one of
    the places, counted from the minor one, that both fill. Layouts of TPU searches often give the two minor dimensions
    alone, and these may be the node's own. Dimensions of size one, which move nothing, are not known here: they
    count in all of the columns.
    """
    slots = triple.reshape(-1, SLOTS, 6)
    count = inversions(slots)
    output = slots[:, 0]
    mismatch = ((output >= 0) & (own >= 0) & (output != own)).any(axis=1)
    return np.concatenate([count / 4, count > 0, mismatch[:, None]], axis=1).astype(np.float32)
