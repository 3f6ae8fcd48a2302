"""Folds of graphs that never part a family of programs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np

from stages.graphs.families import family


def folds(ids: Sequence[str], count: int, seed: int) -> np.ndarray:
    """Deals graphs into folds of about equal size, whole families of programs at a time.

    Where there is only one family its graphs are dealt one by one. A single graph is in fold 0.

    Args:
        ids: (n,) of the graphs.
        count: of folds, at most.
        seed: draws which family is in which fold.

    Returns:
        (n,) int64, the fold of each graph, 0 .. at most count - 1.
    """
    groups = [family(id) for id in ids]
    if len(set(groups)) < 2:
        groups = list(map(str, ids))
    sizes = Counter(groups)
    order = [sorted(sizes)[index] for index in np.random.default_rng(seed).permutation(len(sizes))]
    filled, fold_of = [0] * min(count, len(sizes)), {}
    for group in sorted(order, key=lambda group: -sizes[group]):  # large ones first, equal ones as drawn
        fold_of[group] = filled.index(min(filled))
        filled[fold_of[group]] += sizes[group]
    return np.array([fold_of[group] for group in groups], np.int64)


def held_out(graphs: Sequence[tuple[str, str]], count: int, seed: int) -> dict[tuple[str, str], int]:
    """The fold whose models did not train on each graph.

    Args:
        graphs: (n,) split and id of the graphs that are trained on.
        count: of folds, at most.
        seed: as in `folds`.

    Returns:
        The fold by split and id; empty where a single fold holds nothing out.
    """
    dealt = folds([id for _, id in graphs], count, seed)
    return dict(zip(graphs, dealt.tolist(), strict=True)) if dealt.any() else {}
