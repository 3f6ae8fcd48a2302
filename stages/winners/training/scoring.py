"""Scores of a network for a graph's configurations, and of several networks as one."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from stages.graphs.dataset import PackedGraph
from stages.scoring.metrics import collection_score, kendall
from stages.winners.parts import Network, Prepared, Training

#: nodes x configurations scored at a time where a solution does not say how many configurations
CELLS = {"cpu": 2**18, "cuda": 2**21}
FIRST = 50  # configurations whose mean run time the first place looks at; engine.py:691-699


def chunk(settings: Training, nodes: int, device: torch.device) -> int:
    """Configurations of a graph that are scored together; some networks compare them with one another."""
    return settings.chunk or max(1, CELLS[device.type] // nodes)


@torch.inference_mode()
def predict(network: Network, prepared: Prepared, settings: Training) -> np.ndarray:
    """Scores (c,) float64 of all configurations, in float32 and in the file's order; smaller is faster."""
    device = next(network.parameters()).device
    network.eval()
    graph = prepared.graph
    size = chunk(settings, graph.nodes, device)
    pieces = (
        np.arange(start, min(start + size, graph.configurations)) for start in range(0, graph.configurations, size)
    )
    scores = [network(prepared.inputs(piece).to(device)).double().cpu().numpy() for piece in pieces]
    return np.concatenate(scores)


def quality(watched: str, scores: Sequence[np.ndarray], graphs: Sequence[PackedGraph]) -> float:
    """How good scores of valid graphs are, more is better; NaN where no graph can be ranked.

    Args:
        watched: "tau": mean of Kendall's over the graphs; "top 50": less the mean run time, in nanoseconds, of the
            50 configurations with the smallest scores, mean over the graphs.
        scores: (c,) of each graph.
        graphs: With their run times.
    """
    if watched == "tau":
        return collection_score(kendall(score, graph.target) for score, graph in zip(scores, graphs, strict=True))
    first = (np.argsort(score, kind="stable")[:FIRST] for score in scores)
    return -float(np.mean([graph.runtime[rows].mean() for rows, graph in zip(first, graphs, strict=True)]))


def together(scores: Sequence[np.ndarray], how: str) -> np.ndarray:
    """The scores (c,) of several networks as one.

    Args:
        scores: (c,) of each network.
        how: As `parts.Training.together`.
    """
    if how == "min-max mean":
        scores = [_scaled(score) for score in scores]
    return np.mean(scores, axis=0)


def _scaled(score: np.ndarray) -> np.ndarray:
    """Brought to [0, 1]; zeros where all are the same."""
    spread = np.ptp(score)
    return (score - score.min()) / spread if spread else np.zeros_like(score)
