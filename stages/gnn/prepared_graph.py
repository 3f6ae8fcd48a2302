"""What is done once a graph: it is cut into segments, and the shared states of each segment are found.

A graph is one segment, unless Graph Segment Training wants more. A segment has the levels of shared states of
`states.find`, of which `batch.join` then takes what a step's sample of configurations touches.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import torch
from scipy.sparse import csr_array

from stages.gnn import identity, layout_columns, mapped_files, memory, segments, sparse, state_files, states
from stages.gnn.graph_view import GraphView
from stages.gnn.memory import Caches
from stages.gnn.relayout_copies import COPY_COLUMNS, STATE_COLUMNS, RelayoutCopies
from stages.graphs.dataset import ModelGraph

#: states of a graph over all its configurations are found, and stored, up to so many nodes x configurations; beyond, a
#: step finds those of its sample
MOST_CELLS = 2**24


@dataclass(frozen=True, eq=False)
class Segment:
    """A part of a graph: n of its nodes and the edges among them.

    nodes (n,) int64: their numbers in the graph, at the end those of other segments that a copy is made of the output
    of; own (n,) bool: False for these; config (n,) int64: index among the graph's configurable nodes, -1 for others;
    relations: (n, n) operators over the neighbours, means or normalised sums, one for each kind of message; copies
    (e,) int64: rows of `RelayoutCopies.between` for which a node of the segment asks; ends (e, 2) int64: their
    consumers and producers.
    """

    nodes: np.ndarray
    config: np.ndarray
    own: np.ndarray
    relations: list[csr_array]
    copies: np.ndarray
    ends: np.ndarray


@dataclass(frozen=True, eq=False)
class SegmentInputs:
    """What no sample of configurations changes of a segment's states; m nodes and s states of level 0.

    x (m, F), opcode (m,), layout (m, 6) tokens, derived (m, 2): of the nodes; free (m, 1): 0 where configurations set
    the node's layout, else 1, None where they do not override it; tokens (t, 18): distinct layout triples; triple (s,):
    index of each state's triple among these, -1 where its node is not configurable; columns (s,): row of each state
    that has a triple in `SegmentStates.columns`; own: per level above 0, the state that each state's node had one level
    below.
    """

    x: torch.Tensor
    opcode: torch.Tensor
    layout: torch.Tensor
    derived: torch.Tensor
    free: torch.Tensor | None
    tokens: torch.Tensor
    triple: np.ndarray
    columns: np.ndarray
    own: list[np.ndarray]


@dataclass(frozen=True, eq=False)
class PreparedGraph:
    """A graph, its segments and, per segment, the states over all its configurations once they are needed.

    order (c,) int64: dense rank of the run times, equal where and only where they are equal (float32 run times would
    merge distinct ones). data: folder below which states are stored; without it they are found once, and stay in
    `in_memory`, by segment.
    """

    graph: ModelGraph
    view: GraphView
    order: np.ndarray
    copies: RelayoutCopies | None
    segments: list[Segment]
    data: str | None = None
    caches: Caches = field(default_factory=Caches)
    in_memory: dict[int, states.SegmentStates] = field(default_factory=dict)

    @property
    def nodes(self) -> int:
        return len(self.graph.x)

    @property
    def keeps_states(self) -> bool:
        """Whether states are found over all configurations, once, or for each sample anew."""
        return self.view.shared and self.graph.configurations * self.nodes <= MOST_CELLS

    @cached_property
    def identity(self) -> str:
        """Digest of what decides the states."""
        return identity.of_states(self.graph, self.view)

    @property
    def scale(self) -> float:
        """Square root of the number of configurable nodes: divides sums over nodes."""
        return float(np.sqrt(max(1, len(self.graph.config_nodes)))) if self.graph.config_nodes is not None else 1.0

    def states(self, segment: int) -> states.SegmentStates:
        """States of a segment over all configurations: found once, then read from below `data`, if that is given."""
        if self.data is None:
            if segment not in self.in_memory:
                self.in_memory[segment] = find_states(self, segment)
            return self.in_memory[segment]
        key = self, segment
        if (opened := self.caches.states.get(key)) is None:
            opened = self._stored(segment)
            memory.keep(self.caches.states, key, opened)
        return opened

    def _stored(self, segment: int) -> states.SegmentStates:
        path = state_files.path(self.data, self.graph, segment)
        if (stored := state_files.read(path, self.identity)) is not None:
            return stored
        found = find_states(self, segment)
        state_files.write(path, found, self.identity)
        return state_files.read(path, self.identity) or found  # mapped, it is no memory of this process

    def inputs(self, segment: int) -> SegmentInputs:
        """What no sample changes of a segment's states over all configurations."""
        key = self, segment
        if (inputs := self.caches.inputs.get(key)) is None:
            inputs = segment_inputs(self.graph, self.states(segment), self.view)
            memory.keep(self.caches.inputs, key, inputs)
        return inputs


def prepare(graph: ModelGraph, view: GraphView, data: str | None = None, caches: Caches | None = None) -> PreparedGraph:
    """Everything of one graph that does not change from step to step.

    Args:
        graph: model-ready.
        view: how the network sees it.
        data: folder below which its states are stored; None to keep them in memory.
        caches: shared with other graphs of this process; by default it has its own.
    """
    total = len(graph.x)
    copies = None if graph.config_nodes is None else RelayoutCopies(graph.packed)
    config = np.full(total, -1)
    between = np.zeros((0, 2), np.int64)
    if copies is not None:
        config[graph.config_nodes] = np.arange(len(graph.config_nodes))
        between = graph.config_nodes[copies.between]
    edges = _edges(graph, view)
    prepared = PreparedGraph(
        graph=graph,
        view=view,
        order=np.unique(np.asarray(graph.target), return_inverse=True)[1].reshape(-1),
        copies=copies,
        segments=[_segment(nodes, total, config, edges, between, view) for nodes in partitioned(graph, view)],
        data=data,
        caches=caches or Caches(),
    )
    mapped_files.release(graph.x, graph.packed.node_feat)
    return prepared


def partitioned(graph: ModelGraph, view: GraphView) -> list[np.ndarray]:
    """Nodes of each segment of a graph, ascending."""
    tile = graph.config_nodes is None
    nodes = np.sort(graph.config_nodes) if view.contracted and not tile else np.arange(len(graph.x))
    if view.segment_nodes is None or tile:
        return [nodes]
    number = np.full(len(graph.x), -1)
    number[nodes] = np.arange(len(nodes))
    splits = np.asarray(graph.packed.node_split)[nodes]
    parts = segments.partition(number[_edges(graph, view)], splits, view.partition, view.segment_nodes)
    return [nodes[part] for part in parts]


def find_states(prepared: PreparedGraph, number: int, sample: np.ndarray | None = None) -> states.SegmentStates:
    """States of a segment over a sample of the configurations, or over all.

    Args:
        prepared: the graph.
        number: of the segment.
        sample: (k,) indices of configurations; None for all.
    """
    segment, view = prepared.segments[number], prepared.view
    codes = _codes(prepared.graph, segment, sample)
    levels, copies = _levels(segment, codes, view)
    bottom = levels[0]
    config = segment.config[bottom.nodes[bottom.index]]
    configured = np.flatnonzero(config >= 0)
    code = np.full(bottom.size, -1)
    code[configured] = codes[bottom.example[configured], config[configured]]
    ends = np.searchsorted(bottom.nodes, segment.ends)[copies.index]
    ends = np.stack([bottom.states(copies.example, ends[:, side]) for side in (0, 1)], axis=1)
    columns, copy_columns = np.zeros((0, STATE_COLUMNS), np.float32), np.zeros((0, COPY_COLUMNS), np.float32)
    if prepared.copies is not None:
        columns = prepared.copies.state_columns(config[configured], code[configured])
        pairs = segment.copies[copies.index]
        copy_columns = prepared.copies.copy_columns(pairs, code[ends[:, 0]], code[ends[:, 1]])
    every = states.pick(levels, np.arange(len(codes)))
    return states.SegmentStates(
        levels=levels,
        rows=segment.nodes[bottom.nodes],
        code=code,
        columns=columns,
        matrices=[
            _messages(above, below, segment.relations) for below, above in zip(every[:-1], every[1:], strict=True)
        ],
        copies=copies,
        copy_ends=ends,
        copy_columns=copy_columns,
    )


def segment_inputs(graph: ModelGraph, of: states.SegmentStates, view: GraphView) -> SegmentInputs:
    """What no sample changes of these states of a segment of the graph."""
    rows, configured, kinds = of.rows, of.code >= 0, view.relations
    layout = graph.layout[rows]
    distinct, index = np.unique(of.code[configured], return_inverse=True)
    triple = np.full(len(of.code), -1)
    triple[configured] = index.reshape(-1)
    triples = np.zeros((0, layout_columns.TRIPLE), np.int8)
    if graph.triples is not None:
        triples = np.asarray(graph.triples)[distinct]
    inputs = SegmentInputs(
        x=torch.from_numpy(graph.x[rows].astype(np.float32, copy=False)),
        opcode=torch.from_numpy(graph.opcode[rows].astype(np.int64)),
        layout=torch.from_numpy(layout_columns.tokens(layout)),
        derived=torch.from_numpy(layout_columns.own_columns(layout)),
        free=torch.from_numpy(_free(graph, rows)) if view.overridden else None,
        tokens=torch.from_numpy(layout_columns.tokens(triples)),
        triple=triple,
        columns=np.cumsum(configured) - 1,
        own=[matrix.indices[matrix.indices % kinds == 0] // kinds for matrix in of.matrices],
    )
    mapped_files.release(graph.x)
    return inputs


def _edges(graph: ModelGraph, view: GraphView) -> np.ndarray:
    """(m, 2) [consumer, producer] of the graph as the view has it."""
    if view.contracted and graph.config_nodes is not None:
        return graph.config_nodes[graph.packed.contracted]
    return np.asarray(graph.edge_index).T


def _segment(
    nodes: np.ndarray, total: int, config: np.ndarray, edges: np.ndarray, between: np.ndarray, view: GraphView
) -> Segment:
    """The segment of these nodes.

    Args:
        nodes: (n,) ascending.
        total: nodes of the graph.
        config: (total,) index of each among the configurable nodes, -1 for others.
        edges: (m, 2) [consumer, producer] of the graph.
        between: (e, 2) consumer and producer of each copy that is possible between two nodes.
        view: how the network sees the graph.
    """
    inside = np.zeros(total, bool)
    inside[nodes] = True
    asked = inside[between[:, 0]] & (view.shared | inside[between[:, 1]])  # the dense network reads all nodes it has
    copies = np.flatnonzero(asked & view.copies)
    beyond = np.setdiff1d(between[copies, 1], nodes)
    every = np.concatenate([nodes, beyond])
    number = np.full(total, -1)
    number[every] = np.arange(len(every))
    consumers, producers = number[edges[inside[edges].all(axis=1)]].T
    return Segment(
        nodes=every,
        own=np.arange(len(every)) < len(nodes),
        config=config[every],
        relations=_relations(consumers, producers, len(every), view),
        copies=copies,
        ends=number[between[copies]],
    )


def _relations(consumers: np.ndarray, producers: np.ndarray, nodes: int, view: GraphView) -> list[csr_array]:
    """An operator (nodes, nodes) for each kind of message along the edges (m,), (m,)."""
    if view.normalised:
        return [sparse.normalised_adjacency(consumers, producers, nodes)]
    relations = []
    if view.direction != "consumers":
        relations.append(sparse.mean_over(consumers, producers, nodes))
    if view.direction != "producers":
        relations.append(sparse.mean_over(producers, consumers, nodes))
    return relations


def _codes(graph: ModelGraph, segment: Segment, sample: np.ndarray | None) -> np.ndarray:
    """(k, nc) codes of a sample of the configurations, or of all; nc is 0 where the segment has no configurable node:
    then nothing is read."""
    if not (segment.config >= 0).any():
        return np.zeros((graph.configurations if sample is None else len(sample), 0), np.uint16)
    return np.asarray(graph.codes if sample is None else graph.codes[sample])


def _levels(segment: Segment, codes: np.ndarray, view: GraphView) -> tuple[list[states.Level], states.Level]:
    """Levels of a segment's nodes, and the level of its copies, in configurations with these codes (k, nc)."""
    if not view.shared:
        levels = states.unshared(len(codes), len(segment.nodes), view.layers)
        return levels, states.unshared(len(codes), len(segment.copies), 0)[0]
    configurable = np.flatnonzero(segment.config >= 0)
    neighbours = csr_array(sum(segment.relations))
    needed = np.zeros(len(segment.nodes), bool)
    needed[segment.ends] = True
    levels = states.find(
        codes[:, segment.config[configurable]],
        configurable,
        neighbours,
        view.layers,
        segment.own,
        needed,
        view.constants,
    )
    return levels, states.pairs(levels[0], *segment.ends.T)


def _messages(above: states.Picked, below: states.Picked, relations: list[csr_array]) -> csr_array:
    """(states above, kinds * states below) messages of all kinds, column state * kinds + kind; kind 0 is a node's own
    state."""
    kinds = 1 + len(relations)
    rows = [np.arange(len(above.states))]
    columns = [states.own(above, below) * kinds]
    values = [np.ones(len(above.states), np.float32)]
    for kind, relation in enumerate(relations, 1):
        state, row, edge = states.entries(above, below, relation)
        rows.append(row)
        columns.append(state * kinds + kind)
        values.append(relation.data[edge])
    shape = (len(above.states), kinds * len(below.states))
    return csr_array((np.concatenate(values), (np.concatenate(rows), np.concatenate(columns))), shape=shape)


def _free(graph: ModelGraph, rows: np.ndarray) -> np.ndarray:
    """(m, 1) float32 of nodes (m,): 0 for configurable ones, else 1."""
    free = np.ones((len(graph.x), 1), np.float32)
    free[graph.config_nodes] = 0
    return free[rows]
