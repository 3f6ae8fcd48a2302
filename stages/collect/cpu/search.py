"""The two searches over layout configurations: `random`, and `default`, evolutionary from the compiler's own choice."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from stages.collect.hlo_text import MAX_RANK, ConfigurableNode

#: share of nodes that a configuration changes: from sparse, as TpuGraphs' own, to all
RATES = (0.03, 0.08, 0.2, 0.4, 0.7, 1.0)
#: but no more nodes than this on average: each relayout copy is a kernel more to compile, about 15 ms
MOST_CHANGED = 16
#: probability that a changed node changes a given one of its tensors; at least one changes
SLOT_RATE = 0.7
#: probability that a changed tensor takes the configuration's common permutation instead of one of its own
THEME_SHARES = (0.0, 0.0, 0.3, 0.9, 1.0)
GENERATIONS = 3
#: share of nodes that a child changes in its parents' configuration: few, to descend, or more, to keep looking around
CHILD_RATES = (0.02, 0.1, 0.3)


def mutated(
    parent: np.ndarray, nodes: list[ConfigurableNode], rate: float, theme_share: float, rng: np.random.Generator
) -> np.ndarray:
    """Copy of a configuration in which some nodes have new layouts.

    Args:
        parent: (nc, 3, 6) int8, minor-to-major, padded with -1.
        rate: Probability that a node changes, but for `MOST_CHANGED`; at least one changes.
        theme_share: Probability that a changed tensor takes the configuration's common permutation.
    """
    child = parent.copy()
    theme = rng.permutation(MAX_RANK)
    chosen = rng.random(len(nodes)) < min(rate, MOST_CHANGED / len(nodes))
    chosen[rng.integers(len(nodes))] = True
    for position in np.flatnonzero(chosen):
        ranks = nodes[position].ranks
        slots = [slot for slot, rank in enumerate(ranks) if rank >= 2]
        always = rng.choice(slots)
        for slot in slots:
            if slot != always and rng.random() >= SLOT_RATE:
                continue
            rank = ranks[slot]
            themed = rng.random() < theme_share
            child[position, slot, :rank] = theme[theme < rank] if themed else rng.permutation(rank)
    return child


class Population:
    """Distinct configurations, in the order in which a search came upon them."""

    def __init__(self, first: np.ndarray, accept: Callable[[np.ndarray], bool]):
        self.members: list[np.ndarray] = []
        self._accept = accept
        self._seen: set[bytes] = set()
        self.add(first)

    def add(self, configuration: np.ndarray) -> None:
        """Adds the configuration unless it was tried already or is not accepted."""
        if configuration.tobytes() not in self._seen:
            self._seen.add(configuration.tobytes())
            if self._accept(configuration):
                self.members.append(configuration)


def everything(configuration: np.ndarray) -> bool:
    """Accepts any configuration."""
    return True


def random_search(
    start: np.ndarray,
    nodes: list[ConfigurableNode],
    count: int,
    rng: np.random.Generator,
    accept: Callable[[np.ndarray], bool] = everything,
) -> np.ndarray:
    """Distinct configurations: ``start`` and random changes of it, sparse to heavy.

    Args:
        start: (nc, 3, 6) int8.
        count: Configurations at most.
        accept: Says of a configuration whether it can be had; the compiler refuses some.

    Returns:
        (c, nc, 3, 6) int8, c <= count.
    """
    population = Population(start, accept)
    for _ in range(20 * count):
        if len(population.members) == count:
            break
        population.add(mutated(start, nodes, rng.choice(RATES), rng.choice(THEME_SHARES), rng))
    return np.stack(population.members)


def evolutionary_search(
    start: np.ndarray,
    nodes: list[ConfigurableNode],
    count: int,
    rng: np.random.Generator,
    measure: Callable[[list[np.ndarray]], np.ndarray],
    accept: Callable[[np.ndarray], bool] = everything,
) -> np.ndarray:
    """Distinct configurations, bred from ``start`` by their times over `GENERATIONS`.

    Args:
        start: (nc, 3, 6) int8: the compiler's own choice.
        count: Configurations at most.
        measure: Takes the configurations so far and returns their times, (c,), in any one unit.
        accept: As in `random_search`.

    Returns:
        (c, nc, 3, 6) int8, c <= count.
    """
    population = Population(start, accept)
    for generation in range(GENERATIONS):
        size = round(count * (generation + 1) / GENERATIONS)
        parents = [start]
        if generation:
            times = measure(population.members)
            fastest = np.argsort(times, kind="stable")[: max(2, len(times) // 4)]
            parents = [population.members[index] for index in fastest]
        for _ in range(20 * count):
            if len(population.members) >= size:
                break
            parent = parents[rng.integers(len(parents))]
            if generation and rng.random() < 0.5:
                other = parents[rng.integers(len(parents))]
                parent = np.where(rng.random((len(nodes), 1, 1)) < 0.5, parent, other)
            rate = rng.choice(CHILD_RATES if generation else RATES)
            population.add(mutated(parent, nodes, rate, rng.choice(THEME_SHARES), rng))
    return np.stack(population.members)
