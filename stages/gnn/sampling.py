"""What a training step draws: configurations of its graphs, and segments that gradients flow through."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from stages.gnn.history import sampled, stale_weights
from stages.gnn.prepared_graph import PreparedGraph
from stages.gnn.settings import Settings


@dataclass(frozen=True, eq=False)
class GraphDraw:
    """What a step draws of one training graph.

    position: of the graph in the list of training graphs; sample (k,) int64: configurations, ascending; fresh (s,):
    numbers of the segments that gradients flow through; weight: of each of these in the graph's sum; stale (t,):
    numbers of other segments whose embeddings are added as they are. None for both where the step computes every
    segment of all its graphs.
    """

    position: int
    prepared: PreparedGraph
    sample: np.ndarray
    fresh: np.ndarray
    weight: float | None = None
    stale: np.ndarray | None = None

    @property
    def rankable(self) -> bool:
        """Whether the sample has two run times: without them its loss is 0."""
        return bool(np.ptp(self.prepared.order[self.sample]) > 0)


def draw(
    train: list[PreparedGraph], positions: Sequence[int], settings: Settings, rng: np.random.Generator
) -> list[GraphDraw]:
    """What a step on the training graphs at these positions draws: all samples first, then all segments."""
    graphs = [train[position] for position in positions]
    samples = [sample(prepared, settings, rng) for prepared in graphs]
    fresh = [sampled(len(prepared.segments), settings.segments, rng) for prepared in graphs]
    rows = list(zip(positions, graphs, samples, fresh, strict=True))
    if all(len(prepared.segments) <= len(numbers) for _, prepared, _, numbers in rows):
        return [GraphDraw(*row) for row in rows]
    keep = settings.keep if settings.drops() else None
    return [GraphDraw(*row, *stale_weights(len(row[1].segments), row[3], keep, rng)) for row in rows]


def sample(prepared: PreparedGraph, settings: Settings, rng: np.random.Generator) -> np.ndarray:
    """Configurations of a graph for one step, ascending: reading them from a memory-mapped file is then one pass.

    All, where there are no more than wanted. uniform: any; spread: one of each of so many equal stretches of the
    ranking, so that fast and slow ones are always there.
    """
    count, wanted = prepared.graph.configurations, settings.configurations
    if count <= wanted:
        return np.arange(count)
    if settings.sampling == "uniform":
        return np.sort(rng.choice(count, wanted, replace=False))
    ranking = np.argsort(prepared.order, kind="stable")
    ends = np.linspace(0, count, wanted + 1).astype(np.int64)
    return np.sort(ranking[rng.integers(ends[:-1], ends[1:])])
