"""From model-ready graphs to the tensors of one step: the static is found once, a step takes what its sample touches.

A graph is cut into segments (one, unless Graph Segment Training wants more), a segment has the levels of shared states
of `states.find`, and a batch joins segments of several graphs by numbering their states on.
"""

from __future__ import annotations

import warnings
from collections import OrderedDict
from collections.abc import Hashable
from dataclasses import dataclass, field, fields, is_dataclass, replace
from functools import cached_property

import numpy as np
import torch
from scipy.sparse import block_diag, csr_array, hstack

from stages.gnn import layout_columns, segments, state_files, states
from stages.gnn.graph_view import View
from stages.gnn.relayout_copies import COPY_COLUMNS, STATE_COLUMNS, Moves
from stages.graphs.dataset import ModelGraph

#: states of a graph over all its configurations are found, and stored, up to so many nodes x configurations; beyond, a
#: step finds those of its sample
KEPT_CELLS = 2**24
#: segments whose stored states are open at a time: each is a file, of which a process has a thousand or so
OPEN = 16
#: bytes that are kept of what no step changes, of all graphs together, and of batches of all configurations: most of a
#: collection of the sample fits, and however large graphs are, it is less than a tenth of what a process holds
KNOWN_BYTES, BATCH_BYTES = 2**23, 3 * 2**23

with warnings.catch_warnings():  # torch says once a process that CSR is in beta
    warnings.filterwarnings("ignore", message="Sparse CSR tensor support is in beta")
    torch.sparse_csr_tensor([0], [], [], size=(0, 0), check_invariants=False)


@dataclass(frozen=True, eq=False)
class Segment:
    """A part of a graph: n of its nodes and the edges among them.

    nodes (n,) int64: their numbers in the graph, at the end those of other segments that a copy is made of the output
    of; own (n,) bool: False for these; config (n,) int64: place among the graph's configurable nodes, -1 for others;
    relations: (n, n) operators over the nodes heard of, means or normalised sums, one for each kind of message; copies
    (e,) int64: rows of `Moves.between` for which a node of the segment asks; ends (e, 2) int64: their consumers and
    producers.
    """

    nodes: np.ndarray
    config: np.ndarray
    own: np.ndarray
    relations: list[csr_array]
    copies: np.ndarray
    ends: np.ndarray


class Recent:
    """Values by key, of which the least recently used goes once their sizes add up to more than a budget."""

    def __init__(self, budget: int):
        self._budget, self._used = budget, 0
        self._entries: OrderedDict[Hashable, tuple[object, int]] = OrderedDict()

    def get(self, key: Hashable):
        """The value, None where there is none."""
        if key not in self._entries:
            return None
        self._entries.move_to_end(key)
        return self._entries[key][0]

    def put(self, key: Hashable, value, size: int = 1) -> None:
        """Keeps a value that is not there yet; one larger than the budget is not kept."""
        if size > self._budget:
            return
        self._entries[key] = value, size
        self._used += size
        while self._used > self._budget:
            self._used -= self._entries.popitem(last=False)[1][1]


class Memory:
    """What the graphs of a process keep from step to step, together: stored states that are open, what is known of
    them, and batches, or units of batches, that come again."""

    def __init__(self):
        self.states, self.known, self.batches = Recent(OPEN), Recent(KNOWN_BYTES), Recent(BATCH_BYTES)


@dataclass(frozen=True, eq=False)
class Static:
    """A graph, its segments and, per segment, the states over all its configurations once they are needed.

    order (c,) int64: dense rank of the run times, equal where and only where they are equal (float32 run times would
    merge distinct ones). data: folder below which states are stored; without it they are found once, and stay.
    """

    graph: ModelGraph
    view: View
    order: np.ndarray
    moves: Moves | None
    segments: list[Segment]
    data: str | None = None
    memory: Memory = field(default_factory=Memory)
    found: dict[int, states.Whole] = field(default_factory=dict)

    @property
    def nodes(self) -> int:
        return len(self.graph.x)

    @property
    def keeps(self) -> bool:
        """Whether states are found over all configurations, once, or for each sample anew."""
        return self.view.shared and self.graph.configurations * self.nodes <= KEPT_CELLS

    @cached_property
    def key(self) -> str:
        return state_files.identity(self.graph, self.view)

    @property
    def scale(self) -> float:
        """Square root of the number of configurable nodes: divides sums over nodes."""
        return float(np.sqrt(max(1, len(self.graph.config_nodes)))) if self.graph.config_nodes is not None else 1.0

    def whole(self, segment: int) -> states.Whole:
        """States of a segment over all configurations: found once, then read from below `data`, if that is given."""
        if self.data is None:
            if segment not in self.found:
                self.found[segment] = _whole(self, self.segments[segment], None)
            return self.found[segment]
        if (whole := self.memory.states.get((self, segment))) is None:
            whole = self._stored(segment)
            self.memory.states.put((self, segment), whole)
        return whole

    def _stored(self, segment: int) -> states.Whole:
        path = state_files.path(self.data, self.graph, segment)
        if (stored := state_files.read(path, self.key)) is not None:
            return stored
        found = _whole(self, self.segments[segment], None)
        state_files.write(path, found, self.key)
        return state_files.read(path, self.key) or found  # mapped, it is no memory of this process

    def known(self, segment: int) -> Known:
        """What no sample changes of a segment's states over all configurations."""
        if (known := self.memory.known.get((self, segment))) is None:
            known = _known(self.graph, self.whole(segment), self.view)
            self.memory.known.put((self, segment), known, _bytes(known))
        return known


@dataclass(frozen=True, eq=False)
class Known:
    """What of a segment's states no sample of configurations changes; m nodes and s states of level 0.

    x (m, F), opcode (m,), layout (m, 6) tokens, derived (m, 2): of the nodes; free (m, 1): 0 where configurations set
    the node's layout, else 1, None where they do not override it; tokens (t, 18): distinct layout triples; triple (s,):
    place of each state's triple among these, -1 where its node is not configurable; columns (s,): row of each state
    that has a triple in `Whole.columns`; own: per level above 0, the state that each state's node had one level below.
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
class Sparse:
    """A constant sparse matrix, CSR; its transpose, which gradients need, is made for the first of them."""

    matrix: torch.Tensor

    @cached_property
    def transposed(self) -> torch.Tensor:
        parts = (self.matrix.values(), self.matrix.col_indices(), self.matrix.crow_indices())
        columns = csr_array(tuple(part.numpy() for part in parts), shape=tuple(self.matrix.shape)).tocsc()
        return _csr(columns.indptr, columns.indices, columns.data, columns.shape[::-1])

    def __matmul__(self, x: torch.Tensor) -> torch.Tensor:
        return _Product.apply(self, x)


class _Product(torch.autograd.Function):
    """In float32 also where the rest is autocast: sparse products have no bfloat16 everywhere, and sums want digits."""

    @staticmethod
    @torch.amp.custom_fwd(device_type="cuda", cast_inputs=torch.float32)
    def forward(ctx, sparse, x):
        ctx.sparse = sparse
        return sparse.matrix @ x

    @staticmethod
    @torch.amp.custom_bwd(device_type="cuda")
    def backward(ctx, grad):
        return None, ctx.sparse.transposed @ grad.contiguous()


@dataclass(frozen=True, eq=False)
class Layer:
    """Messages from the states of one level to the s states of the next.

    spoken: per kind of message, states below of which one is heard, (r_kind,) int64; messages: (s, sum of r_kind), one
    kind after the other; own (s,) int64: the state below of the same node; node (s,) int64: number of the state's node
    in the batch, ascending; counts (m, s), CSR: configurations of the sample in each of a node's states; members: ones
    in their place; count (s, 1): the same as a column; total (m, 1): configurations of the sample; row (s,): the unit
    and configuration of a state where nothing is shared, else None.
    """

    spoken: list[torch.Tensor]
    messages: Sparse
    own: torch.Tensor
    node: torch.Tensor
    counts: torch.Tensor
    members: torch.Tensor
    count: torch.Tensor
    total: torch.Tensor
    row: torch.Tensor | None


@dataclass(frozen=True, eq=False)
class Copies:
    """States of the relayout copies between two nodes.

    spoken: states of level 0 that are consumers', (r_0,) int64, and those that are producers', (r_1,); facts: (s, r_0 +
    r_1 + COPY_COLUMNS), two ones a row for its ends, and its columns; copy (s,) int64, ascending: number of the copy in
    the batch, below `number`; readout (units * k, s): which happen in a configuration.
    """

    spoken: list[torch.Tensor]
    facts: Sparse
    copy: torch.Tensor
    number: int
    readout: Sparse


@dataclass(frozen=True, eq=False)
class Batch:
    """Units, a segment of a graph each, of b graphs with at most k configurations of each.

    x (m, F), opcode (m,), layout (m, 6) tokens, derived (m, 2), free (m, 1) or None: nodes of level 0, see `Known`;
    tokens (t, 18): distinct layout triples; columns (p, STATE_COLUMNS): of the states of level 0 whose nodes are
    configurable. inputs (s, m + t + p): what the s states of level 0 are sums of, a node and, where it is configurable,
    a triple and a row of `columns`. readout (units * k, last level's states): how often a state occurs in a
    configuration, None for kernels, which are not read out so; unit (units,), graph (s,) int64: the graph of each unit,
    and of each state of level 0. nodes (b,): of the graphs as packed. order (b, k) int64; mask (b, k) bool or None
    where every graph has k; scale (b,); tile (b, k, G) or None; tile_row (s,) int64 row of tile, flat, of each state of
    level 0 where nothing is shared.
    """

    x: torch.Tensor
    opcode: torch.Tensor
    layout: torch.Tensor
    derived: torch.Tensor
    free: torch.Tensor | None
    tokens: torch.Tensor
    columns: torch.Tensor
    inputs: Sparse
    layers: list[Layer]
    readout: Sparse | None
    copies: Copies | None
    nodes: torch.Tensor
    unit: torch.Tensor
    graph: torch.Tensor
    order: torch.Tensor
    mask: torch.Tensor | None
    scale: torch.Tensor
    tile: torch.Tensor | None = None
    tile_row: torch.Tensor | None = None

    def to(self, target: torch.device | torch.dtype) -> Batch:
        """On a device, or in another floating-point type."""
        there = target in (self.x.device, self.x.dtype)
        return self if there else _moved(self, target)


def _moved(value, target):
    if isinstance(value, torch.Tensor):
        dtype = isinstance(target, torch.dtype)
        return value if dtype and not value.is_floating_point() else value.to(target)
    if isinstance(value, list):
        return [_moved(item, target) for item in value]
    if not is_dataclass(value):
        return value
    moved = replace(value, **{item.name: _moved(getattr(value, item.name), target) for item in fields(value)})
    if isinstance(value, Sparse) and isinstance(target, torch.device):
        moved.__dict__["transposed"] = value.transposed.to(target)  # scipy, which makes it, knows no device
    return moved


def _bytes(value) -> int:
    """What a value's tensors and arrays hold, transposes that may still come with them."""
    if isinstance(value, Sparse):
        return 2 * sum(_bytes(part) for part in (value.matrix.values(), value.matrix.col_indices()))
    if isinstance(value, torch.Tensor) and value.layout is torch.sparse_csr:
        return _bytes(value.values()) + _bytes(value.col_indices())
    if isinstance(value, torch.Tensor | np.ndarray):
        return value.nbytes
    if isinstance(value, csr_array):
        return value.data.nbytes + value.indices.nbytes
    if isinstance(value, list):
        return sum(map(_bytes, value))
    if isinstance(value, dict):
        return sum(map(_bytes, value.values()))
    return sum(_bytes(getattr(value, item.name)) for item in fields(value)) if is_dataclass(value) else 0


def prepare(graph: ModelGraph, view: View, data: str | None = None, memory: Memory | None = None) -> Static:
    """Everything of one graph that does not change from step to step.

    data: folder below which its states are stored; memory: what it keeps with other graphs, one of its own by default.
    """
    total = len(graph.x)
    moves = None if graph.config_nodes is None else Moves(graph.packed)
    config = np.full(total, -1)
    between = np.zeros((0, 2), np.int64)
    if moves is not None:
        config[graph.config_nodes] = np.arange(len(graph.config_nodes))
        between = graph.config_nodes[moves.between]
    edges = _edges(graph, view)
    static = Static(
        graph=graph,
        view=view,
        order=np.unique(np.asarray(graph.target), return_inverse=True)[1].reshape(-1),
        moves=moves,
        segments=[_segment(part, total, config, edges, between, view) for part in partitioned(graph, view)],
        data=data,
        memory=memory or Memory(),
    )
    state_files.release(graph.x, graph.packed.node_feat)
    return static


def partitioned(graph: ModelGraph, view: View) -> list[np.ndarray]:
    """Nodes of each segment of a graph, ascending."""
    tile = graph.config_nodes is None
    nodes = np.sort(graph.config_nodes) if view.contracted and not tile else np.arange(len(graph.x))
    if view.segment_nodes is None or tile:
        return [nodes]
    number = np.full(len(graph.x), -1)
    number[nodes] = np.arange(len(nodes))
    splits = np.asarray(graph.packed.node_split)[nodes]
    found = segments.partition(number[_edges(graph, view)], splits, view.partition, view.segment_nodes)
    return [nodes[part] for part in found]


def _edges(graph: ModelGraph, view: View) -> np.ndarray:
    """(m, 2) [consumer, producer] of the graph as the view has it."""
    if view.contracted and graph.config_nodes is not None:
        return graph.config_nodes[graph.packed.contracted]
    return np.asarray(graph.edge_index).T


def join(statics: list[Static], samples: list[np.ndarray], chosen: list[np.ndarray] | None = None) -> Batch:
    """One batch of graphs, each with its sampled configurations (indices) and, of its segments, those `chosen`.

    Shorter samples are padded and masked. A batch of one graph with all of its configurations is kept: the next time
    it is there.
    """
    chosen = chosen or [np.arange(len(static.segments)) for static in statics]
    first = statics[0]
    alone = len(statics) == 1 and first.keeps and _every(first, samples[0])
    key = (first, "batch", *map(int, chosen[0]))
    if alone and (kept := first.memory.batches.get(key)) is not None:
        return kept
    with torch.inference_mode(False):  # what is kept may be trained on later
        batch = _join(statics, samples, chosen)
    if alone:
        first.memory.batches.put(key, batch, _bytes(batch))
    return batch


def _join(statics: list[Static], samples: list[np.ndarray], chosen: list[np.ndarray]) -> Batch:
    k = max(map(len, samples))
    units = [
        (graph, _unit(static, int(number), sample, k, keep=len(statics) > 1))
        for graph, (static, sample, numbers) in enumerate(zip(statics, samples, chosen, strict=True))
        for number in numbers
    ]
    parts = [part for _, part in units]
    known = [part["known"] for part in parts]
    padded = [np.concatenate([sample, np.repeat(sample[:1], k - len(sample))]) for sample in samples]
    lengths = np.array([len(sample) for sample in samples])
    mask = torch.from_numpy(np.arange(k) < lengths[:, None])
    tile = tile_row = None
    if statics[0].graph.tile_config is not None:
        tiles = [np.asarray(static.graph.tile_config)[i] for static, i in zip(statics, padded, strict=True)]
        tile = torch.from_numpy(np.stack(tiles).astype(np.float32))
        if not statics[0].view.shared:
            tile_row = torch.from_numpy(np.concatenate([graph * k + part["example"] for graph, part in units]))
    return Batch(
        x=_cat([part.x for part in known]),
        opcode=_cat([part.opcode for part in known]),
        layout=_cat([part.layout for part in known]),
        derived=_cat([part.derived for part in known]),
        free=_cat([part.free for part in known]) if statics[0].view.overridden else None,
        tokens=_cat([part.tokens for part in known]),
        columns=torch.from_numpy(_concatenated([part["columns"] for part in parts])),
        inputs=_inputs(parts),
        layers=[_layer([part["layers"][level] for part in parts]) for level in range(len(parts[0]["layers"]))],
        readout=None if parts[0]["readout"] is None else _sparse([part["readout"] for part in parts]),
        copies=_copies([part["copies"] for part in parts]) if statics[0].view.copies else None,
        nodes=torch.from_numpy(np.array([static.nodes for static in statics], np.float32)),
        unit=torch.tensor([graph for graph, _ in units]),
        graph=torch.from_numpy(np.repeat([graph for graph, _ in units], [len(part["place"]) for part in parts])),
        order=torch.from_numpy(np.stack([static.order[i] for static, i in zip(statics, padded, strict=True)])),
        mask=None if mask.all() else mask,
        scale=torch.tensor([static.scale for static in statics]),
        tile=tile,
        tile_row=tile_row,
    )


def _every(static: Static, sample: np.ndarray) -> bool:
    """Whether a sample is all of a graph's configurations, in their order."""
    return len(sample) == static.graph.configurations and bool((np.diff(sample) > 0).all())


def _segment(
    nodes: np.ndarray, total: int, config: np.ndarray, edges: np.ndarray, between: np.ndarray, view: View
) -> Segment:
    inside = np.zeros(total, bool)
    inside[nodes] = True
    asked = inside[between[:, 0]] & (view.shared | inside[between[:, 1]])  # the dense network reads all nodes it has
    copies = np.flatnonzero(asked & view.copies)
    beyond = np.setdiff1d(between[copies, 1], nodes)
    every = np.concatenate([nodes, beyond])
    number = np.full(total, -1)
    number[every] = np.arange(len(every))
    consumers, producers = number[edges[inside[edges].all(axis=1)]].T
    relations = []
    if view.normalised:
        relations.append(_normalised(consumers, producers, len(every)))
    elif view.direction != "consumers":
        relations.append(_mean_over(consumers, producers, len(every)))
    if view.direction != "producers" and not view.normalised:
        relations.append(_mean_over(producers, consumers, len(every)))
    return Segment(
        nodes=every,
        own=np.arange(len(every)) < len(nodes),
        config=config[every],
        relations=relations,
        copies=copies,
        ends=number[between[copies]],
    )


def _whole(static: Static, segment: Segment, sample: np.ndarray | None) -> states.Whole:
    """States of a segment over a sample of the configurations, or over all."""
    graph, view = static.graph, static.view
    inside = np.flatnonzero(segment.config >= 0)
    codes = np.zeros((graph.configurations if sample is None else len(sample), 0), np.uint16)
    if len(inside):
        codes = np.asarray(graph.codes if sample is None else graph.codes[sample])
    if view.shared:
        neighbours = csr_array(sum(segment.relations))
        held = np.zeros(len(segment.nodes), bool)
        held[segment.ends] = True
        ours = codes[:, segment.config[inside]]
        levels = states.find(ours, inside, neighbours, view.layers, segment.own, held, view.constants)
        copies = states.pairs(levels[0], *segment.ends.T)
    else:
        levels = states.unshared(len(codes), len(segment.nodes), view.layers)
        copies = states.unshared(len(codes), len(segment.copies), 0)[0]
    picked = states.pick(levels, np.arange(len(codes)))
    bottom = levels[0]
    config = segment.config[bottom.nodes[bottom.place]]
    configured = np.flatnonzero(config >= 0)
    code = np.full(bottom.size, -1)
    code[configured] = codes[bottom.example[configured], config[configured]]
    columns, copy_columns = np.zeros((0, STATE_COLUMNS), np.float32), np.zeros((0, COPY_COLUMNS), np.float32)
    ends = np.searchsorted(bottom.nodes, segment.ends)[copies.place]
    ends = np.stack([bottom.states(copies.example, ends[:, side]) for side in (0, 1)], axis=1)
    if static.moves is not None:
        columns = static.moves.state_columns(config[configured], code[configured])
        copy_columns = static.moves.copy_columns(segment.copies[copies.place], code[ends[:, 0]], code[ends[:, 1]])
    pairs = zip(picked[:-1], picked[1:], strict=True)
    return states.Whole(
        levels=levels,
        rows=segment.nodes[bottom.nodes],
        code=code,
        columns=columns,
        matrices=[_matrix(above, below, segment.relations) for below, above in pairs],
        copies=copies,
        copy_ends=ends,
        copy_columns=copy_columns,
    )


def _matrix(above: states.Picked, below: states.Picked, relations: list[csr_array]) -> csr_array:
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


def _known(graph: ModelGraph, whole: states.Whole, view: View) -> Known:
    rows, configured, kinds = whole.rows, whole.code >= 0, view.relations
    layout = graph.layout[rows]
    distinct, place = np.unique(whole.code[configured], return_inverse=True)
    triple = np.full(len(whole.code), -1)
    triple[configured] = place.reshape(-1)
    triples = (
        np.zeros((0, layout_columns.TRIPLE), np.int8) if graph.triples is None else np.asarray(graph.triples)[distinct]
    )
    known = Known(
        x=torch.from_numpy(graph.x[rows].astype(np.float32, copy=False)),
        opcode=torch.from_numpy(graph.opcode[rows].astype(np.int64)),
        layout=torch.from_numpy(layout_columns.tokens(layout)),
        derived=torch.from_numpy(layout_columns.own_columns(layout)),
        free=torch.from_numpy(_free(graph, rows)) if view.overridden else None,
        tokens=torch.from_numpy(layout_columns.tokens(triples)),
        triple=triple,
        columns=np.cumsum(configured) - 1,
        own=[matrix.indices[matrix.indices % kinds == 0] // kinds for matrix in whole.matrices],
    )
    state_files.release(graph.x)
    return known


def _free(graph: ModelGraph, rows: np.ndarray) -> np.ndarray:
    """(m, 1) float32 of nodes (m,): 0 for configurable ones, else 1."""
    free = np.ones((len(graph.x), 1), np.float32)
    free[graph.config_nodes] = 0
    return free[rows]


def _unit(static: Static, number: int, sample: np.ndarray, k: int, keep: bool) -> dict:
    """The parts of a batch that one segment with a sample of configurations adds; kept, with `keep`, where the next
    step's are the same."""
    segment, view, tile = static.segments[number], static.view, static.graph.config_nodes is None
    key = (static, "unit", number, None if tile else k)
    again = keep and static.keeps and (tile or _every(static, sample))
    if again and (unit := static.memory.batches.get(key)) is not None:
        return unit
    if static.keeps:
        whole, known, indices = static.whole(number), static.known(number), sample
    else:
        whole, indices = _whole(static, segment, sample), np.arange(len(sample))
        known = _known(static.graph, whole, view)
    picked = states.pick(whole.levels, indices)
    bottom, kinds = picked[0], view.relations
    triple = known.triple[bottom.states]
    unit = {
        "known": known,
        "place": bottom.place,
        "triple": triple,
        "columns": whole.columns[known.columns[bottom.states[triple >= 0]]],
        "layers": [],
        "readout": None if tile else _readout(picked[-1], indices, k, segment.own[picked[-1].level.nodes]),
        "copies": _copy_unit(whole, bottom, indices, k) if view.copies else None,
        "example": np.zeros(0, np.int64) if view.shared else bottom.example,
    }
    for below, above, matrix, own in zip(picked[:-1], picked[1:], whole.matrices, known.own, strict=True):
        chosen = matrix.copy() if len(above.states) == matrix.shape[0] else matrix[above.states]
        column = (below.number[:, None] * kinds + np.arange(kinds)).reshape(-1)[chosen.indices]
        shape = (len(above.states), kinds * len(below.states))
        unit["layers"].append(
            {
                "kinds": kinds,
                "matrix": csr_array((chosen.data, column, chosen.indptr), shape=shape),
                "own": below.number[own[above.states]],
                "node": above.place,
                "nodes": len(above.level.nodes),
                "below": len(below.states),
                "count": above.count,
                "total": len(sample),
                "row": None if view.shared else above.example,
                "k": k,
            }
        )
    state_files.release(whole.code)
    if again:
        static.memory.batches.put(key, unit, _bytes(unit))
    return unit


def _copy_unit(whole: states.Whole, bottom: states.Picked, sample: np.ndarray, k: int) -> dict:
    picked = states.pick([whole.copies], sample)[0]
    ends = 2 * bottom.number[whole.copy_ends[picked.states]] + np.arange(2)
    pointer = 2 * np.arange(len(ends) + 1)
    shape = (len(ends), 2 * len(bottom.states))
    return {
        "ends": csr_array((np.ones(ends.size, np.float32), ends.reshape(-1), pointer), shape=shape),
        "columns": whole.copy_columns[picked.states],
        "copy": picked.place,
        "number": len(whole.copies.nodes),
        "readout": _readout(picked, sample, k, np.ones(len(whole.copies.nodes), bool)),
    }


def _copies(parts: list[dict]) -> Copies:
    spoken, ends = _spoken([part["ends"] for part in parts], kinds=2)
    facts = hstack([ends, csr_array(_concatenated([part["columns"] for part in parts]))], format="csr")
    return Copies(
        spoken=spoken,
        facts=_torch(facts),
        copy=torch.from_numpy(_numbered_on([part["copy"] for part in parts], [part["number"] for part in parts])),
        number=sum(part["number"] for part in parts),
        readout=_sparse([part["readout"] for part in parts]),
    )


def _readout(top: states.Picked, sample: np.ndarray, k: int, read: np.ndarray) -> csr_array:
    """(k, s): how often a state of the nodes that are read occurs in each configuration; empty rows pad to k."""
    found = states.occurrences(top, sample)
    found = found if read.all() else found[:, read]
    pointer = np.concatenate([np.arange(len(sample) + 1), np.full(k - len(sample), len(sample))]) * found.shape[1]
    return csr_array((np.ones(found.size, np.float32), found.ravel(), pointer), shape=(k, len(top.states)))


def _inputs(parts: list[dict]) -> Sparse:
    """`Batch.inputs` of units that are joined."""
    known = [part["known"] for part in parts]
    nodes, triples = [len(part.x) for part in known], [len(part.tokens) for part in known]
    place = _numbered_on([part["place"] for part in parts], nodes)
    configured = _concatenated([part["triple"] for part in parts]) >= 0
    triple = _numbered_on([part["triple"] for part in parts], triples)[configured]
    pointer = np.concatenate([[0], np.cumsum(1 + 2 * configured)])
    column = np.empty(pointer[-1], np.int64)
    column[pointer[:-1]] = place
    after = pointer[:-1][configured]
    column[after + 1] = sum(nodes) + triple
    column[after + 2] = sum(nodes) + sum(triples) + np.arange(len(after))
    shape = (len(place), sum(nodes) + sum(triples) + len(after))
    return _torch(csr_array((np.ones(len(column), np.float32), column, pointer), shape=shape))


def _layer(parts: list[dict]) -> Layer:
    nodes = [part["nodes"] for part in parts]
    node = _numbered_on([part["node"] for part in parts], nodes)
    count = _concatenated([part["count"] for part in parts]).astype(np.float32)
    total = np.repeat([part["total"] for part in parts], nodes).astype(np.float32)
    starts, place = np.searchsorted(node, np.arange(sum(nodes) + 1)), np.arange(len(node))
    shape = sum(nodes), len(node)
    spoken, messages = _spoken([part["matrix"] for part in parts], parts[0]["kinds"])
    row = None
    if parts[0]["row"] is not None:
        row = torch.from_numpy(_numbered_on([part["row"] for part in parts], [part["k"] for part in parts]))
    return Layer(
        spoken=spoken,
        messages=_torch(messages),
        own=torch.from_numpy(_numbered_on([part["own"] for part in parts], [part["below"] for part in parts])),
        node=torch.from_numpy(node),
        counts=_csr(starts, place, count, shape),
        members=_csr(starts, place, np.ones_like(count), shape),
        count=torch.from_numpy(count)[:, None],
        total=torch.from_numpy(total)[:, None],
        row=row,
    )


def _cat(parts: list[torch.Tensor]) -> torch.Tensor:
    return parts[0] if len(parts) == 1 else torch.cat(parts)


def _concatenated(parts: list[np.ndarray]) -> np.ndarray:
    return parts[0] if len(parts) == 1 else np.concatenate(parts)


def _numbered_on(parts: list[np.ndarray], sizes: list[int]) -> np.ndarray:
    """Parts in one array, each counting on from the sizes of those before."""
    if len(parts) == 1:
        return parts[0]
    first = np.cumsum([0, *sizes[:-1]])
    return np.concatenate([part + start for part, start in zip(parts, first, strict=True)])


def _sparse(blocks: list[csr_array]) -> Sparse:
    return _torch(_diagonal(blocks))


def _spoken(blocks: list[csr_array], kinds: int) -> tuple[list[torch.Tensor], csr_array]:
    """The rows of each kind that a matrix with columns row * kinds + kind has entries for, and it with those alone, one
    kind after the other: what nobody hears need not be computed."""
    matrix = _diagonal(blocks)
    heard = np.zeros(matrix.shape[1], bool)
    heard[matrix.indices] = True
    heard = heard.reshape(-1, kinds).T
    number = np.cumsum(heard).reshape(kinds, -1).T.reshape(-1) - 1
    shape = matrix.shape[0], int(heard.sum())
    rows = [torch.from_numpy(np.flatnonzero(row)) for row in heard]
    return rows, csr_array((matrix.data, number[matrix.indices], matrix.indptr), shape=shape)


def _diagonal(blocks: list[csr_array]) -> csr_array:
    return blocks[0] if len(blocks) == 1 else csr_array(block_diag(blocks, format="csr"))


def _torch(matrix: csr_array) -> Sparse:
    return Sparse(_csr(matrix.indptr, matrix.indices, matrix.data, matrix.shape))


def _csr(pointer: np.ndarray, column: np.ndarray, data: np.ndarray, shape: tuple[int, int]) -> torch.Tensor:
    """A CSR tensor, with indices of the 32 bits that torch's sparse products on a CPU would else convert to."""
    return torch.sparse_csr_tensor(
        torch.from_numpy(pointer.astype(np.int32, copy=False)),
        torch.from_numpy(column.astype(np.int32, copy=False)),
        torch.from_numpy(data),
        size=shape,
        check_invariants=False,
    )


def _normalised(consumers: np.ndarray, producers: np.ndarray, nodes: int) -> csr_array:
    """(nodes, nodes) D^-1/2 (A + A^T + I) D^-1/2 of the adjacency A, D the row sums; parallel edges count each."""
    every = np.arange(nodes)
    row, column = np.concatenate([consumers, producers, every]), np.concatenate([producers, consumers, every])
    root = np.sqrt(np.bincount(row, minlength=nodes))
    matrix = csr_array(((1 / (root[row] * root[column])).astype(np.float32), (row, column)), shape=(nodes, nodes))
    matrix.sum_duplicates()
    return matrix


def _mean_over(row: np.ndarray, column: np.ndarray, nodes: int) -> csr_array:
    """(nodes, nodes) operator whose product is each row's mean over its columns; parallel edges count each."""
    degree = np.maximum(np.bincount(row, minlength=nodes), 1)
    matrix = csr_array(((1 / degree[row]).astype(np.float32), (row, column)), shape=(nodes, nodes))
    matrix.sum_duplicates()
    return matrix
