"""Folds of graphs that never part a family of programs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np

from stages.graphs.families import family


def folds(ids: Sequence[str], count: int, seed: int) -> np.ndarray:
    """Fold (n,) int64 of each graph, 0 .. at most count-1, about equal in graphs; a family is in one fold.

    The seed draws which. Of one family its graphs are parted, and a single graph is in fold 0.
    """
    groups = [family(id) for id in ids]
    if len(set(groups)) < 2:
        groups = list(map(str, ids))
    sizes = Counter(groups)
    drawn = [sorted(sizes)[place] for place in np.random.default_rng(seed).permutation(len(sizes))]
    filled, chosen = [0] * min(count, len(sizes)), {}
    for group in sorted(drawn, key=lambda group: -sizes[group]):  # large ones first, equal ones as drawn
        chosen[group] = filled.index(min(filled))
        filled[chosen[group]] += sizes[group]
    return np.array([chosen[group] for group in groups], np.int64)
