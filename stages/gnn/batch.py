"""From model-ready graphs to the tensors of one step: the static is found once, a step takes what its sample touches.

A graph is cut into segments (one, unless Graph Segment Training wants more), a segment has the levels of shared states
of `states.find`, and a batch joins segments of several graphs by numbering their states on.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass, field, fields, is_dataclass, replace

import numpy as np
import torch
from scipy.sparse import block_diag, csr_array

from stages.dataset import ModelGraph
from stages.gnn import layouts, segments, states, store
from stages.gnn.moves import COPY_COLUMNS, STATE_COLUMNS, Moves
from stages.gnn.view import View

#: states of a graph over all its configurations are kept up to so many nodes x configurations; beyond, a step finds
#: those of its sample
KEPT_CELLS = 2**26


@dataclass(frozen=True, eq=False)
class Segment:
    """A part of a graph: n of its nodes and the edges among them.

    nodes (n,) int64: their numbers in the graph, at the end those of other segments that a copy is made of the output
    of; own (n,) bool: False for these; config (n,) int64: place among the graph's configurable nodes, -1 for others;
    relations: (n, n) operators that average over the nodes heard of, one for each kind of message; copies (e,) int64:
    rows of `Moves.between` for which a node of the segment asks; ends (e, 2) int64: their consumers and producers.
    """

    nodes: np.ndarray
    config: np.ndarray
    own: np.ndarray
    relations: list[csr_array]
    copies: np.ndarray
    ends: np.ndarray


@dataclass(frozen=True, eq=False)
class Static:
    """A graph, its segments and, per segment, the states over all its configurations once they are needed.

    order (c,) int64: dense rank of the run times, equal where and only where they are equal (float32 run times would
    merge distinct ones).
    """

    graph: ModelGraph
    view: View
    order: np.ndarray
    moves: Moves | None
    segments: list[Segment]
    data: str | None = None
    cache: dict = field(default_factory=dict)

    @property
    def nodes(self) -> int:
        return len(self.graph.x)

    @property
    def scale(self) -> float:
        """Square root of the number of configurable nodes: divides sums over nodes."""
        return float(np.sqrt(max(1, len(self.graph.config_nodes)))) if self.graph.config_nodes is not None else 1.0

    def whole(self, segment: int) -> states.Whole:
        """States of a segment over all configurations: found once, then read from below `data`, if that is given."""
        if segment not in self.cache:
            self.cache[segment] = self._stored(segment) if self.data else _whole(self, self.segments[segment], None)
        return self.cache[segment]

    def _stored(self, segment: int) -> states.Whole:
        if "key" not in self.cache:
            self.cache["key"] = store.identity(self.graph, self.view)
        path, key = store.path(self.data, self.graph, segment), self.cache["key"]
        if (found := store.read(path, key)) is None:
            found = _whole(self, self.segments[segment], None)
            store.write(path, found, key)
        return found


@dataclass(frozen=True)
class Sparse:
    """A constant sparse matrix and its transpose, CSR both: gradients need the second."""

    matrix: torch.Tensor
    transposed: torch.Tensor

    def __matmul__(self, x: torch.Tensor) -> torch.Tensor:
        return _Product.apply(self.matrix, self.transposed, x)


class _Product(torch.autograd.Function):
    """In float32 also where the rest is autocast: sparse products have no bfloat16 everywhere, and sums want digits."""

    @staticmethod
    @torch.amp.custom_fwd(device_type="cuda", cast_inputs=torch.float32)
    def forward(ctx, matrix, transposed, x):
        ctx.transposed = transposed
        return matrix @ x

    @staticmethod
    @torch.amp.custom_bwd(device_type="cuda")
    def backward(ctx, grad):
        return None, None, ctx.transposed @ grad.contiguous()


@dataclass(frozen=True)
class Layer:
    """Messages from the states of one level to the s states of the next.

    messages: (s, relations * states below); own (s,) int64: the state below of the same node; node (s,) int64: number
    of the state's node in the batch, ascending; starts (m + 1,): first state of each; count (s, 1): configurations of
    the sample in a state; total (m, 1): configurations of the sample; row (s,): the unit and configuration of a state
    where nothing is shared, else None.
    """

    messages: Sparse
    own: torch.Tensor
    node: torch.Tensor
    starts: torch.Tensor
    count: torch.Tensor
    total: torch.Tensor
    row: torch.Tensor | None


@dataclass(frozen=True)
class Copies:
    """States of the relayout copies between two nodes.

    consumer, producer (s,) int64: states of level 0 at the ends; columns (s, COPY_COLUMNS); copy (s,) int64, ascending:
    number of the copy in the batch, below `number`; readout (units * k, s): which happen in a configuration.
    """

    consumer: torch.Tensor
    producer: torch.Tensor
    columns: torch.Tensor
    copy: torch.Tensor
    number: int
    readout: Sparse


@dataclass(frozen=True)
class Batch:
    """Units, a segment of a graph each, of b graphs with at most k configurations of each.

    x (m, F), opcode (m,), layout (m, 6) tokens, derived (m, 2): nodes of level 0; place (s,) int64: the node of each
    state of level 0; slot (s,) int64: 0, or 1 + its row in `triple` (p,) int64 and `columns` (p, STATE_COLUMNS);
    tokens (t, 18): distinct layout triples. readout (units * k, last level's states): how often a state occurs in a
    configuration; unit (units,), graph (s,) int64: the graph of each unit, and of each state of level 0. nodes (b,):
    of the graphs as packed. order (b, k) int64; mask (b, k) bool or None where every
    graph has k; scale (b,); tile (b, k, G) or None; tile_row (s,) int64 row of tile, flat, of each state of level 0
    where nothing is shared.
    """

    x: torch.Tensor
    opcode: torch.Tensor
    layout: torch.Tensor
    derived: torch.Tensor
    place: torch.Tensor
    slot: torch.Tensor
    triple: torch.Tensor
    columns: torch.Tensor
    tokens: torch.Tensor
    layers: list[Layer]
    readout: Sparse
    copies: Copies | None
    nodes: torch.Tensor
    unit: torch.Tensor
    graph: torch.Tensor
    order: torch.Tensor
    mask: torch.Tensor | None
    scale: torch.Tensor
    tile: torch.Tensor | None = None
    tile_row: torch.Tensor | None = None

    def to(self, *target) -> Batch:
        """On a device, or in another floating-point type."""
        return _moved(self, target)


def _moved(value, target):
    if isinstance(value, torch.Tensor):
        dtype = isinstance(target[0], torch.dtype)
        return value if dtype and not value.is_floating_point() else value.to(*target)
    if isinstance(value, list):
        return [_moved(item, target) for item in value]
    if is_dataclass(value):
        return replace(value, **{item.name: _moved(getattr(value, item.name), target) for item in fields(value)})
    return value


def prepare(graph: ModelGraph, view: View, data: str | None = None) -> Static:
    """Everything of one graph that does not change from step to step; its states are kept below `data`, if given."""
    total = len(graph.x)
    moves = None if graph.config_nodes is None else Moves(graph.packed)
    config = np.full(total, -1)
    between = np.zeros((0, 2), np.int64)
    if moves is not None:
        config[graph.config_nodes] = np.arange(len(graph.config_nodes))
        between = graph.config_nodes[moves.between]
    edges = _edges(graph, view)
    return Static(
        graph=graph,
        view=view,
        order=np.unique(np.asarray(graph.target), return_inverse=True)[1].reshape(-1),
        moves=moves,
        segments=[_segment(part, total, config, edges, between, view) for part in partitioned(graph, view)],
        data=data,
    )


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

    Shorter samples are padded and masked.
    """
    chosen = chosen or [np.arange(len(static.segments)) for static in statics]
    k = max(map(len, samples))
    units = [
        (graph, _unit(static, int(number), sample, k))
        for graph, (static, sample, numbers) in enumerate(zip(statics, samples, chosen, strict=True))
        for number in numbers
    ]
    parts = [part for _, part in units]
    padded = [np.concatenate([sample, np.repeat(sample[:1], k - len(sample))]) for sample in samples]
    lengths = np.array([len(sample) for sample in samples])
    mask = torch.from_numpy(np.arange(k) < lengths[:, None])
    triples, triple = _triples([(statics[graph].graph, part["code"]) for graph, part in units])
    rows = [(statics[graph].graph, part["rows"]) for graph, part in units]
    layout = np.concatenate([graph.layout[row] for graph, row in rows])
    tile = tile_row = None
    if statics[0].graph.tile_config is not None:
        tiles = [np.asarray(static.graph.tile_config)[i] for static, i in zip(statics, padded, strict=True)]
        tile = torch.from_numpy(np.stack(tiles).astype(np.float32))
        if not statics[0].view.shared:
            tile_row = torch.from_numpy(np.concatenate([graph * k + part["example"] for graph, part in units]))
    return Batch(
        x=torch.from_numpy(np.concatenate([graph.x[row] for graph, row in rows]).astype(np.float32, copy=False)),
        opcode=torch.from_numpy(np.concatenate([graph.opcode[row] for graph, row in rows]).astype(np.int64)),
        layout=torch.from_numpy(layouts.tokens(layout)),
        derived=torch.from_numpy(layouts.own_columns(layout)),
        place=_numbered_on([part["place"] for part in parts], [len(part["rows"]) for part in parts]),
        slot=_slots([part["code"] for part in parts]),
        triple=torch.from_numpy(triple),
        columns=torch.from_numpy(np.concatenate([part["columns"] for part in parts])),
        tokens=torch.from_numpy(layouts.tokens(triples)),
        layers=[_layer([part["layers"][level] for part in parts]) for level in range(len(parts[0]["layers"]))],
        readout=_sparse([part["readout"] for part in parts]),
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
    relations = [_mean_over(consumers, producers, len(every))]
    if view.direction == "both":
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
        _, state, row, edge = states.entries(above, below, relation)
        rows.append(row)
        columns.append(state * kinds + kind)
        values.append(relation.data[edge])
    shape = (len(above.states), kinds * len(below.states))
    return csr_array((np.concatenate(values), (np.concatenate(rows), np.concatenate(columns))), shape=shape)


def _unit(static: Static, number: int, sample: np.ndarray, k: int) -> dict:
    """The parts of a batch that one segment with a sample of configurations adds."""
    segment, view = static.segments[number], static.view
    cells = static.graph.configurations * len(segment.nodes)
    keeps = view.shared and cells <= KEPT_CELLS
    every = len(sample) == static.graph.configurations and (np.diff(sample) > 0).all()
    if every and keeps and (number, k) in static.cache:
        return static.cache[number, k]
    whole = static.whole(number) if keeps else _whole(static, segment, sample)
    indices = sample if keeps else np.arange(len(sample))
    picked = states.pick(whole.levels, indices)
    bottom, kinds = picked[0], view.relations
    code = whole.code[bottom.states]
    configured = np.cumsum(whole.code >= 0) - 1
    unit = {
        "rows": whole.rows,
        "place": bottom.place,
        "code": code,
        "columns": whole.columns[configured[bottom.states[code >= 0]]],
        "layers": [],
        "readout": _readout(picked[-1], indices, k, segment.own[picked[-1].level.nodes]),
        "copies": _copy_unit(whole, bottom, indices, k),
        "example": np.zeros(0, np.int64) if view.shared else bottom.example,
    }
    for below, above, matrix in zip(picked[:-1], picked[1:], whole.matrices, strict=True):
        chosen = matrix if len(above.states) == matrix.shape[0] else matrix[above.states]
        columns = below.number[chosen.indices // kinds] * kinds + chosen.indices % kinds
        shape = (len(above.states), kinds * len(below.states))
        unit["layers"].append(
            {
                "matrix": csr_array((chosen.data, columns, chosen.indptr), shape=shape),
                "own": states.own(above, below),
                "node": above.place,
                "nodes": len(above.level.nodes),
                "below": len(below.states),
                "count": above.count,
                "total": len(sample),
                "row": None if view.shared else above.example,
                "k": k,
            }
        )
    if every and keeps:
        static.cache[number, k] = unit
    return unit


def _copy_unit(whole: states.Whole, bottom: states.Picked, sample: np.ndarray, k: int) -> dict:
    picked = states.pick([whole.copies], sample)[0]
    consumer, producer = bottom.number[whole.copy_ends[picked.states]].T
    return {
        "consumer": consumer,
        "producer": producer,
        "columns": whole.copy_columns[picked.states],
        "copy": picked.place,
        "number": len(whole.copies.nodes),
        "below": len(bottom.states),
        "readout": _readout(picked, sample, k, np.ones(len(whole.copies.nodes), bool)),
    }


def _copies(parts: list[dict]) -> Copies:
    below = [part["below"] for part in parts]
    return Copies(
        consumer=_numbered_on([part["consumer"] for part in parts], below),
        producer=_numbered_on([part["producer"] for part in parts], below),
        columns=torch.from_numpy(np.concatenate([part["columns"] for part in parts])),
        copy=_numbered_on([part["copy"] for part in parts], [part["number"] for part in parts]),
        number=sum(part["number"] for part in parts),
        readout=_sparse([part["readout"] for part in parts]),
    )


def _readout(top: states.Picked, sample: np.ndarray, k: int, read: np.ndarray) -> csr_array:
    """(k, s): how often a state of the nodes that are read occurs in each configuration; empty rows pad to k."""
    found = states.occurrences(top, sample)[:, read]
    pointer = np.concatenate([np.arange(len(sample) + 1), np.full(k - len(sample), len(sample))]) * found.shape[1]
    return csr_array((np.ones(found.size, np.float32), found.ravel(), pointer), shape=(k, len(top.states)))


def _layer(parts: list[dict]) -> Layer:
    nodes = [part["nodes"] for part in parts]
    node = _numbered_on([part["node"] for part in parts], nodes)
    starts = torch.searchsorted(node, torch.arange(sum(nodes) + 1))
    total = np.repeat([part["total"] for part in parts], nodes).astype(np.float32)
    shared = parts[0]["row"] is None
    return Layer(
        messages=_sparse([part["matrix"] for part in parts]),
        own=_numbered_on([part["own"] for part in parts], [part["below"] for part in parts]),
        node=node,
        starts=starts,
        count=torch.from_numpy(np.concatenate([part["count"] for part in parts]).astype(np.float32))[:, None],
        total=torch.from_numpy(total)[:, None],
        row=None if shared else _numbered_on([part["row"] for part in parts], [part["k"] for part in parts]),
    )


def _triples(parts: list[tuple[ModelGraph, np.ndarray]]) -> tuple[np.ndarray, np.ndarray]:
    """Layout triples (t, 18) that occur, distinct within each unit, and the row of each configured state (p,)."""
    tables, places, known = [np.zeros((0, layouts.TRIPLE), np.int8)], [np.zeros(0, np.int64)], 0
    for graph, code in parts:
        if graph.triples is None:
            continue
        distinct, place = np.unique(code[code >= 0], return_inverse=True)
        tables.append(np.asarray(graph.triples)[distinct])
        places.append(place.reshape(-1) + known)
        known += len(distinct)
    return np.concatenate(tables), np.concatenate(places)


def _slots(codes: list[np.ndarray]) -> torch.Tensor:
    configured = np.concatenate(codes) >= 0
    return torch.from_numpy(np.where(configured, np.cumsum(configured), 0))


def _numbered_on(parts: list[np.ndarray], sizes: list[int]) -> torch.Tensor:
    """Parts in one array, each counting on from the sizes of those before."""
    first = np.cumsum([0, *sizes[:-1]])
    return torch.from_numpy(np.concatenate([part + start for part, start in zip(parts, first, strict=True)]))


def _sparse(blocks: list[csr_array]) -> Sparse:
    matrix = blocks[0] if len(blocks) == 1 else csr_array(block_diag(blocks, format="csr"))
    return Sparse(_torch(matrix), _torch(csr_array(matrix.T)))


def _torch(matrix: csr_array) -> torch.Tensor:
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Sparse CSR tensor support is in beta")
        return torch.sparse_csr_tensor(
            torch.from_numpy(matrix.indptr.astype(np.int64)),
            torch.from_numpy(matrix.indices.astype(np.int64)),
            torch.from_numpy(matrix.data.astype(np.float32)),
            size=matrix.shape,
            check_invariants=False,
        )


def _mean_over(row: np.ndarray, column: np.ndarray, nodes: int) -> csr_array:
    """(nodes, nodes) operator whose product is each row's mean over its columns; parallel edges count each."""
    degree = np.maximum(np.bincount(row, minlength=nodes), 1)
    matrix = csr_array(((1 / degree[row]).astype(np.float32), (row, column)), shape=(nodes, nodes))
    matrix.sum_duplicates()
    return matrix
