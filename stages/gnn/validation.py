"""The metric on valid that chooses the epoch."""

from __future__ import annotations

import numpy as np

from stages.gnn.prepared_graph import PreparedGraph
from stages.graphs.collection import is_tile
from stages.scoring.metrics import collection_score, kendall

TOP = 10


def quality(predictions: list[np.ndarray], graphs: list[PreparedGraph]) -> float:
    """Validation metric, larger is better: the mean over the graphs that can be ranked; NaN where there are none.

    Layout: Kendall tau-b. Tile: 2 - mean of the predicted ten / mean of the best ten; the official best of five is too
    noisy to choose an epoch by (first-place solution).

    Args:
        predictions: scores (c,) of the configurations of each graph.
        graphs: with their run times.
    """
    pairs = zip(predictions, graphs, strict=True)
    return collection_score(_graph_quality(scores, prepared) for scores, prepared in pairs)


def smoothed_slowdown(score: np.ndarray, target: np.ndarray, top: int = TOP) -> float:
    """2 - mean target of the `top` first by score (stable) / mean of the `top` smallest targets; at most 1."""
    first = target[np.argsort(score, kind="stable")[:top]]
    return 2 - float(first.mean() / np.sort(target)[:top].mean())


def _graph_quality(scores: np.ndarray, prepared: PreparedGraph) -> float:
    target = np.asarray(prepared.graph.target)
    if not is_tile(prepared.graph.collection):
        return kendall(scores, target)
    return smoothed_slowdown(scores, target) if len(np.unique(target)) > 1 else float("nan")
