"""Shared states: what a node knows after k layers depends only on the configurations within k hops of it, and over the
configurations of one graph those neighbourhoods repeat. Each distinct (node, neighbourhood) is a state; a layer is a
bipartite graph from the states of one level to those of the next, far smaller than nodes x configurations.

States are found exactly, once per graph: the state of a node at level k is the pair of its own state and its
neighbours' states at level k - 1, folded in one neighbour at a time and renumbered. No hash, so no collision.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy.sparse import csr_array

_LARGEST_KEY = 2**62
#: keys up to so many times the configurations are renumbered through a table and not by sorting
_TABLE = 8
#: values of the level below that are held as whole columns: 128 MB
_CACHED = 2**24


@dataclass(frozen=True, eq=False)
class Level:
    """States of one level, numbered node by node.

    nodes (m,) int64, ascending: nodes whose state matters to the score; starts (m + 1,) int64: first state of each;
    varying (v,) int64: indices in `nodes` of those with several states; table (c, v) uint16 or uint32: which of its
    states each varying node is in, per configuration; example (s,) int64: a configuration in which a state occurs.
    """

    nodes: np.ndarray
    starts: np.ndarray
    varying: np.ndarray
    table: np.ndarray
    example: np.ndarray

    @property
    def size(self) -> int:
        """Number of states."""
        return int(self.starts[-1])

    @cached_property
    def index(self) -> np.ndarray:
        """(s,) index in `nodes` of each state's node."""
        return np.repeat(np.arange(len(self.nodes)), np.diff(self.starts))

    @cached_property
    def column(self) -> np.ndarray:
        """(m,) column of `table` of each index, -1 for nodes of one state."""
        column = np.full(len(self.nodes), -1)
        column[self.varying] = np.arange(len(self.varying))
        return column

    def states(self, configuration: np.ndarray, index: np.ndarray) -> np.ndarray:
        """State of the node at each `index` in each `configuration`, two int arrays of one shape."""
        column = self.column[index]
        state = self.starts[index]
        several = column >= 0
        state[several] += self.table[configuration[several], column[several]]
        return state

    def keep(self, mask: np.ndarray) -> Level:
        """The level without the nodes at indices where `mask` (m,) is False."""
        count = np.diff(self.starts)
        varying = self.varying[mask[self.varying]]
        return Level(
            nodes=self.nodes[mask],
            starts=_starts(count[mask]),
            varying=(np.cumsum(mask) - 1)[varying],
            table=self.table[:, mask[self.varying]],
            example=self.example[mask[self.index]],
        )


def find(
    codes: np.ndarray,
    config_nodes: np.ndarray,
    neighbours: csr_array,
    layers: int,
    read: np.ndarray | None = None,
    held: np.ndarray | None = None,
    constants: bool = False,
) -> list[Level]:
    """The levels 0 ... layers of a graph of n nodes, over all its configurations.

    A level holds the nodes on which the score depends: those that are read and, below, all whose messages these read.
    Nodes with one state add the same to every configuration: they are read only with `constants`.

    Args:
        codes: (c, nc) number of each configurable node's layouts.
        config_nodes: (nc,) these nodes.
        neighbours: (n, n) whose row v has an entry for every node that sends v a message.
        layers: levels above the first.
        read: (n,) bool, nodes that the readout adds up; all by default.
        held: (n,) bool, nodes that level 0 has in any case.
        constants: whether nodes with one state are read.
    """
    nodes = neighbours.shape[0]
    read = np.ones(nodes, bool) if read is None else read
    hears = csr_array((np.ones(neighbours.nnz, np.int32), neighbours.indices, neighbours.indptr), shape=(nodes, nodes))
    varies = np.zeros(nodes, bool)
    varies[config_nodes] = True
    reach = [varies]
    for _ in range(layers):
        reach.append(reach[-1] | (hears @ reach[-1] > 0))
    wanted = _pulled_back(read if constants else read & reach[-1], hears, layers)
    held = np.zeros(nodes, bool) if held is None else held
    levels = [_first(codes, config_nodes, wanted[0] | held)]
    for mask, variable in zip(wanted[1:], reach[1:], strict=True):
        levels.append(_next(levels[-1], hears, np.flatnonzero(mask), variable))
    if constants:
        return levels
    several = np.zeros(nodes, bool)
    several[levels[-1].nodes[levels[-1].varying]] = True
    needed = _pulled_back(several, hears, layers)
    needed[0] = needed[0] | held
    return [level.keep(mask[level.nodes]) for level, mask in zip(levels, needed, strict=True)]


def unshared(configurations: int, nodes: int, layers: int) -> list[Level]:
    """Levels in which every node has a state of its own in every configuration: the dense network, as a reference and
    for normalisation over the nodes of a configuration."""
    every = np.arange(nodes)
    table = np.repeat(np.arange(configurations, dtype=np.uint32)[:, None], nodes, axis=1)
    several = every if configurations > 1 else every[:0]
    level = Level(
        nodes=every,
        starts=np.arange(nodes + 1) * configurations,
        varying=several,
        table=table[:, several],
        example=np.tile(np.arange(configurations), nodes),
    )
    return [level] * (layers + 1)


def pairs(bottom: Level, first: np.ndarray, second: np.ndarray) -> Level:
    """States of pairs of nodes (e,), as a level whose nodes are 0 ... e - 1: the distinct pairs of their states.

    bottom: the level of the nodes' own states, which holds them all.
    """
    builder = _Builder(len(bottom.table), np.arange(len(first)))
    count = np.diff(bottom.starts)
    ends = np.searchsorted(bottom.nodes, np.stack([first, second], axis=1)).reshape(-1, 2)
    for number, (left, right) in enumerate(ends.tolist()):
        columns = [(index, bottom.column[index]) for index in {left, right} if bottom.column[index] >= 0]
        key, size = np.zeros(len(bottom.table), np.int64), 1
        for index, column in sorted(columns):
            key, size = key * int(count[index]) + bottom.table[:, column], size * int(count[index])
        if columns:
            builder.add(number, *_renumbered(key, size))
    return builder.level()


@dataclass(frozen=True, eq=False)
class SegmentStates:
    """A segment's states over some configurations, with all that a network needs of them.

    levels: as `find` gives them; rows (m,) int64: nodes of level 0, numbered as in the graph; code (s,) int64:
    number of the layouts of level 0's states, -1 where the node is not configurable; columns (p, STATE_COLUMNS): facts
    of those that are; matrices: (s_k, relations * s_below) messages to each level above 0, column state * relations +
    kind; copies: states of the copies between two nodes, with copy_ends (s_c, 2), the states of level 0 at both ends,
    and copy_columns (s_c, COPY_COLUMNS).
    """

    levels: list[Level]
    rows: np.ndarray
    code: np.ndarray
    columns: np.ndarray
    matrices: list[csr_array]
    copies: Level
    copy_ends: np.ndarray
    copy_columns: np.ndarray


@dataclass(frozen=True, eq=False)
class Picked:
    """States of one level that a sample of configurations touches.

    states (s,) int64: their numbers in the level, ascending; number (level size,) int64: index of a state among them,
    -1 if it is not; count (s,) int64: configurations of the sample in which each occurs.
    """

    level: Level
    states: np.ndarray
    number: np.ndarray
    count: np.ndarray

    @property
    def index(self) -> np.ndarray:
        """(s,) index in the level's nodes."""
        return self.level.index[self.states]

    @property
    def example(self) -> np.ndarray:
        return self.level.example[self.states]


def pick(levels: list[Level], sample: np.ndarray) -> list[Picked]:
    """What each level has of a sample of configurations (k,)."""
    picked = []
    for level in levels:
        count = np.zeros(level.size, np.int64)
        count[level.starts[:-1][level.column < 0]] = len(sample)
        if len(level.varying):
            ids = level.starts[level.varying] + level.table[sample]
            count += np.bincount(ids.ravel(), minlength=level.size)
        touched = count > 0
        number = np.where(touched, np.cumsum(touched) - 1, -1)
        picked.append(Picked(level, np.flatnonzero(touched), number, count[touched]))
    return picked


def entries(above: Picked, below: Picked, relation: csr_array) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Entries of a relation between nodes, carried over to the states of two levels.

    Args:
        above: states that read messages.
        below: states that send them.
        relation: (n, n) whose row v has an entry for every node that sends v a message.

    Returns:
        Per entry, by ascending state of `above`: the state of `below`, the state of `above`, the index in
        relation.data.
    """
    node = above.level.nodes[above.index]
    degree = np.diff(relation.indptr)[node]
    row = np.repeat(np.arange(len(node)), degree)
    edge = np.arange(len(row)) + (relation.indptr[node] - _starts(degree)[:-1])[row]
    index = np.searchsorted(below.level.nodes, relation.indices[edge])
    state = below.level.states(above.example[row], index)
    return below.number[state], row, edge


def own(above: Picked, below: Picked) -> np.ndarray:
    """(s,) the state that each state's node had one level below."""
    index = np.searchsorted(below.level.nodes, above.level.nodes[above.index])
    return below.number[below.level.states(above.example, index)]


def occurrences(picked: Picked, sample: np.ndarray) -> np.ndarray:
    """(k, m) int64: the state, among the picked, of every node of the level in every configuration of the sample."""
    level = picked.level
    if len(level.varying) == len(level.nodes):
        ids = level.starts[:-1] + level.table[sample]
    else:
        ids = np.broadcast_to(level.starts[:-1], (len(sample), len(level.nodes))).copy()
        ids[:, level.varying] += level.table[sample]
    return ids if len(picked.states) == level.size else picked.number[ids]


def share(levels: list[Level], nodes: int, configurations: int) -> list[float]:
    """Distinct states of each level as a share of nodes x configurations."""
    return [level.size / max(1, nodes * configurations) for level in levels]


def _pulled_back(top: np.ndarray, hears: csr_array, layers: int) -> list[np.ndarray]:
    """Masks (n,) of the nodes that each level needs so that the last has those of `top`."""
    masks = [top]
    for _ in range(layers):
        masks.append(masks[-1] | (hears.T @ masks[-1] > 0))
    return masks[::-1]


def _first(codes: np.ndarray, config_nodes: np.ndarray, wanted: np.ndarray) -> Level:
    nodes = np.flatnonzero(wanted)
    index = dict(zip(nodes.tolist(), range(len(nodes)), strict=True))
    builder = _Builder(len(codes), nodes)
    columns = [(index[node], column) for column, node in enumerate(config_nodes.tolist()) if node in index]
    for where, column in sorted(columns):
        values = np.asarray(codes[:, column]).astype(np.int64)
        builder.add(where, *_renumbered(values, int(values.max()) + 1))
    return builder.level()


def _next(below: Level, hears: csr_array, nodes: np.ndarray, variable: np.ndarray) -> Level:
    """The level above: a node's state is its own and its neighbours' states below, folded in one at a time."""
    column = np.full(hears.shape[0], -1)
    column[below.nodes] = below.column
    count = np.diff(below.starts)[below.varying]
    builder = _Builder(len(below.table), nodes)
    cache: dict[int, np.ndarray] = {}

    def values(number: int) -> np.ndarray:
        if number not in cache:
            if len(cache) * len(below.table) > _CACHED:
                cache.clear()
            cache[number] = below.table[:, number].astype(np.int64)
        return cache[number]

    for index in np.flatnonzero(variable[nodes]).tolist():
        node = nodes[index]
        around = hears.indices[hears.indptr[node] : hears.indptr[node + 1]]
        heard = np.unique(column[np.append(around, node)])
        heard = heard[heard >= 0].tolist()
        if not heard:
            continue
        key, size = values(heard[0]), int(count[heard[0]])
        for number in heard[1:]:
            if size * int(count[number]) > _LARGEST_KEY:
                key, example = _renumbered(key, size)
                size = len(example)
            key, size = key * int(count[number]) + values(number), size * int(count[number])
        builder.add(index, *_renumbered(key, size))
    return builder.level()


class _Builder:
    """Collects the nodes of a level that have several states, in ascending order of their indices."""

    def __init__(self, configurations: int, nodes: np.ndarray):
        self.configurations, self.nodes = configurations, nodes
        self.indices: list[int] = []
        self.columns: list[np.ndarray] = []
        self.examples: list[np.ndarray] = []

    def add(self, index: int, local: np.ndarray, example: np.ndarray) -> None:
        if len(example) > 1:
            self.indices.append(index)
            self.columns.append(local.astype(np.uint16 if len(example) <= 2**16 else np.uint32))
            self.examples.append(example)

    def level(self) -> Level:
        count = np.ones(len(self.nodes), np.int64)
        count[self.indices] = [len(example) for example in self.examples]
        starts = _starts(count)
        example = np.zeros(starts[-1], np.int64)
        for index, examples in zip(self.indices, self.examples, strict=True):
            example[starts[index] : starts[index + 1]] = examples
        table = np.stack(self.columns, axis=1) if self.columns else np.zeros((self.configurations, 0), np.uint16)
        return Level(self.nodes, starts, np.array(self.indices, np.int64), table, example)


def _renumbered(keys: np.ndarray, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Keys (c,) int64 in 0 ... size - 1 as indices (c,) among the distinct ones, and the first occurrence of each."""
    if size > _TABLE * len(keys) + 256:
        _, example, index = np.unique(keys, return_index=True, return_inverse=True)
        return index.reshape(-1), example
    first = np.full(size, -1)
    first[keys[::-1]] = np.arange(len(keys) - 1, -1, -1)  # of equal keys the last one written, the first one, stays
    present = first >= 0
    return (np.cumsum(present) - 1)[keys], first[present]


def _starts(count: np.ndarray) -> np.ndarray:
    return np.concatenate([[0], np.cumsum(count)])
