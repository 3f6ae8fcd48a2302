"""Which graphs and configurations a training step takes, drawn from (seed, epoch or step) alone.

So a step can be drawn without those before it, and a training that goes on from a checkpoint takes the same.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from stages.winners.parts import Training

ROOT, PASSES, FAST = "root passes", "passes", "fast"


@dataclass(frozen=True, eq=False)
class Pool:
    """The graphs of a stream, as drawing sees them.

    Attributes:
        runtimes: Of each graph, (c,) run times of its configurations.
        graphs: Of a step.
        configurations: Of each graph of a step; None for all.
    """

    runtimes: Sequence[np.ndarray]
    graphs: int
    configurations: int | None

    @cached_property
    def counts(self) -> np.ndarray:
        """Configurations of each graph."""
        return np.array([len(runtime) for runtime in self.runtimes])

    @cached_property
    def visits(self) -> np.ndarray:
        """How many configurations of each graph an epoch takes in root passes.

        The root of its own number times the largest graph's; the fifth place's src/dataset.py:93.
        """
        return np.sqrt(self.counts * self.counts.max()).astype(np.int64)


@dataclass(frozen=True)
class Draw:
    """What a step takes: the number of the stream, and for each graph its position and configurations (k,)."""

    stream: int
    graphs: list[tuple[int, np.ndarray]]


class Plan:
    """The steps of a training.

    Args:
        pools: One for each stream; steps of several come in random order.
        settings: How configurations are drawn, and how long the training is.
        seed: Of the draws.
        scale: Share of the steps that are taken, one at least.
    """

    def __init__(self, pools: Sequence[Pool], settings: Training, seed: int, scale: float = 1.0) -> None:
        self.pools, self.settings, self.seed = list(pools), settings, seed
        self._pieces = [self._piece_counts(pool) for pool in self.pools]
        #: steps of an epoch, of each stream
        self.stream_steps = [
            self._steps_of(pool, pieces) for pool, pieces in zip(self.pools, self._pieces, strict=True)
        ]
        #: and of all
        self.epoch = sum(self.stream_steps)
        whole = settings.steps if settings.steps is not None else math.ceil(settings.epochs * self.epoch)
        #: of the training
        self.steps = max(1, round(scale * whole))
        self._order: tuple[int, list[np.ndarray], np.ndarray] | None = None

    def every(self, scale: float = 1.0) -> int:
        """Steps between two looks at valid, in a training of this scale."""
        interval = self.settings.evaluate
        steps = self.epoch * (interval or 1) if interval <= 1 else interval
        return max(1, int(scale * steps))

    def draw(self, step: int) -> Draw:
        """The graphs and configurations of a step, counted from 0."""
        epoch, place = divmod(step, self.epoch)
        orders, steps = self._orders(epoch)
        stream = int(np.searchsorted(np.cumsum(self.stream_steps), steps[place], side="right"))
        number = int(steps[place]) - sum(self.stream_steps[:stream])
        pool = self.pools[stream]
        pieces = orders[stream][number * pool.graphs : (number + 1) * pool.graphs]
        rng = np.random.default_rng([self.seed, 1, step])
        if self.settings.drawn not in (PASSES, ROOT):
            return Draw(stream, [(int(graph), self._sample(pool, int(graph), rng)) for graph in pieces])
        ends = np.cumsum(self._pieces[stream])
        graphs = np.searchsorted(ends, pieces, side="right")
        firsts = pieces - (ends - self._pieces[stream])[graphs]
        return Draw(
            stream,
            [
                (int(graph), self._piece(pool, [epoch, stream, int(graph)], int(first)))
                for graph, first in zip(graphs, firsts, strict=True)
            ],
        )

    def _piece_counts(self, pool: Pool) -> np.ndarray:
        """Pieces of each graph in an epoch: one, or as many as a pass cuts its configurations to."""
        if self.settings.drawn == PASSES:  # what is left over is dropped, but a small graph is one piece
            return np.maximum(1, pool.counts // pool.configurations)
        if self.settings.drawn == ROOT:  # a piece that reaches beyond the end begins anew
            return -(-pool.visits // pool.configurations)
        return np.ones(len(pool.counts), np.int64)

    def _steps_of(self, pool: Pool, pieces: np.ndarray) -> int:
        """Steps of an epoch; in passes, pieces that fill no step are left out."""
        total = int(pieces.sum())
        if self.settings.drawn in (PASSES, ROOT):
            return max(1, total // pool.graphs)
        return -(-total // pool.graphs)

    def _orders(self, epoch: int) -> tuple[list[np.ndarray], np.ndarray]:
        """The order of each stream's pieces in an epoch, and that of the steps."""
        if self._order is None or self._order[0] != epoch:
            rng = np.random.default_rng([self.seed, 0, epoch])
            orders = [rng.permutation(int(pieces.sum())) for pieces in self._pieces]
            steps = rng.permutation(self.epoch) if len(self.pools) > 1 else np.arange(self.epoch)
            self._order = epoch, orders, steps
        return self._order[1:]

    def _sample(self, pool: Pool, graph: int, rng: np.random.Generator) -> np.ndarray:
        count, wanted = len(pool.runtimes[graph]), pool.configurations
        if wanted is None:
            return np.arange(count)
        if self.settings.replacement:
            return rng.integers(count, size=wanted)
        if count <= wanted:
            return np.arange(count)
        if self.settings.drawn == FAST:
            return fast(pool.runtimes[graph], wanted, rng)
        return np.sort(rng.choice(count, wanted, replace=False))

    def _piece(self, pool: Pool, key: list[int], piece: int) -> np.ndarray:
        """Configurations of a piece of a graph's pass, which is a permutation drawn for (epoch, stream, graph)."""
        graph, wanted = key[-1], pool.configurations
        rng = np.random.default_rng([self.seed, 2, *key])
        if self.settings.drawn == PASSES:
            return rng.permutation(len(pool.runtimes[graph]))[piece * wanted : (piece + 1) * wanted]
        visits = int(pool.visits[graph])
        taken = np.arange(piece * wanted, (piece + 1) * wanted) % visits
        return rng.permutation(visits)[taken] % len(pool.runtimes[graph])


def fast(runtime: np.ndarray, wanted: int, rng: np.random.Generator) -> np.ndarray:
    """Configurations (k,) with more weight on fast ones: the largest of Gumbel noise + 1 - rank / c.

    The data set's own code draws them so: tpu_graphs/baselines/layout/data.py:106-119 at ddd187c.
    """
    order, count = np.argsort(runtime, kind="stable"), len(runtime)
    weight = (count - np.arange(count)) / count + rng.gumbel(size=count)
    return order[np.argsort(-weight, kind="stable")[:wanted]]


def rate_steps(settings: Training, plan: Plan, step: int, by_epoch: bool) -> tuple[int, int]:
    """Where a training stands for its schedule: (step, steps), or the same counted in epochs."""
    if by_epoch:
        return step // plan.epoch, max(1, -(-plan.steps // plan.epoch))
    return step, plan.steps
