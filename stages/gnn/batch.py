"""What is done once a step: the tensors of a few graphs, each with a sample of its configurations.

A batch joins the parts that `batch_part` makes of each graph's segments: states, nodes and copies are numbered on.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, is_dataclass, replace

import numpy as np
import torch
from scipy.sparse import csr_array, hstack

from stages.gnn import memory
from stages.gnn.batch_part import BatchPart, CopiesPart, LayerPart, is_all, make
from stages.gnn.prepared_graph import PreparedGraph
from stages.gnn.sparse import (
    SparseMatrix,
    block_diagonal,
    catenated,
    concatenated,
    csr_tensor,
    renumbered,
    used_columns,
)


@dataclass(frozen=True, eq=False)
class Layer:
    """Messages from the states of one level to the s states of the next.

    senders: per kind of message, states below whose message is read, (r_kind,) int64; messages: (s, sum of r_kind), one
    kind after the other; own (s,) int64: the state below of the same node; node (s,) int64: number of the state's node
    in the batch, ascending; counts (m, s), CSR: configurations of the sample in each of a node's states; members: ones
    in their place; count (s, 1): the same as a column; total (m, 1): configurations of the sample; row (s,): the unit
    and configuration of a state where nothing is shared, else None.
    """

    senders: list[torch.Tensor]
    messages: SparseMatrix
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

    senders: states of level 0 that are consumers', (r_0,) int64, and those that are producers', (r_1,); facts: (s, r_0
    + r_1 + COPY_COLUMNS), two ones a row for its ends, and its columns; copy (s,) int64, ascending: number of the copy
    in the batch, below `number`; readout (units * k, s): which happen in a configuration.
    """

    senders: list[torch.Tensor]
    facts: SparseMatrix
    copy: torch.Tensor
    number: int
    readout: SparseMatrix


@dataclass(frozen=True, eq=False)
class Batch:
    """Units, a segment of a graph each, of b graphs with at most k configurations of each.

    x (m, F), opcode (m,), layout (m, 6) tokens, derived (m, 2), free (m, 1) or None: nodes of level 0, see
    `SegmentInputs`; tokens (t, 18): distinct layout triples; columns (p, STATE_COLUMNS): of the states of level 0 whose
    nodes are configurable. inputs (s, m + t + p): what the s states of level 0 are sums of, a node and, where it is
    configurable, a triple and a row of `columns`. readout (units * k, last level's states): how often a state occurs in
    a configuration, None for kernels, which are not read out so; unit (units,), graph (s,) int64: the graph of each
    unit, and of each state of level 0. nodes (b,): of the graphs as packed. order (b, k) int64; mask (b, k) bool or
    None where every graph has k; scale (b,); tile (b, k, G) or None; tile_row (s,) int64 row of tile, flat, of each
    state of level 0 where nothing is shared; assigned (b, k, L) or None: what layout assignment makes of each
    configuration.
    """

    x: torch.Tensor
    opcode: torch.Tensor
    layout: torch.Tensor
    derived: torch.Tensor
    free: torch.Tensor | None
    tokens: torch.Tensor
    columns: torch.Tensor
    inputs: SparseMatrix
    layers: list[Layer]
    readout: SparseMatrix | None
    copies: Copies | None
    nodes: torch.Tensor
    unit: torch.Tensor
    graph: torch.Tensor
    order: torch.Tensor
    mask: torch.Tensor | None
    scale: torch.Tensor
    tile: torch.Tensor | None = None
    tile_row: torch.Tensor | None = None
    assigned: torch.Tensor | None = None

    def to(self, target: torch.device | torch.dtype) -> Batch:
        """The batch on a device, or in another floating-point type."""
        there = target in (self.x.device, self.x.dtype)
        return self if there else _moved(self, target)


def join(graphs: list[PreparedGraph], samples: list[np.ndarray], chosen: list[np.ndarray] | None = None) -> Batch:
    """One batch of graphs with samples of their configurations; shorter samples are padded and masked.

    A batch of one graph with all of its configurations is kept: the next time it is there.

    Args:
        graphs: b of them.
        samples: (k_i,) indices of configurations of each.
        chosen: numbers of the segments of each; all by default.
    """
    chosen = chosen or [np.arange(len(prepared.segments)) for prepared in graphs]
    first = graphs[0]
    recurs = len(graphs) == 1 and first.keeps_states and is_all(first, samples[0])
    key = (first, "batch", *map(int, chosen[0]))
    if recurs and (batch := first.caches.batches.get(key)) is not None:
        return batch
    with torch.inference_mode(False):  # what is kept may be trained on later
        batch = _joined(graphs, samples, chosen)
    if recurs:
        memory.keep(first.caches.batches, key, batch)
    return batch


def _joined(graphs: list[PreparedGraph], samples: list[np.ndarray], chosen: list[np.ndarray]) -> Batch:
    view, k = graphs[0].view, max(map(len, samples))
    units = [
        (graph, make(prepared, int(number), sample, k, recurs=len(graphs) > 1))
        for graph, (prepared, sample, numbers) in enumerate(zip(graphs, samples, chosen, strict=True))
        for number in numbers
    ]
    parts = [part for _, part in units]
    inputs = [part.inputs for part in parts]
    padded = [np.concatenate([sample, np.repeat(sample[:1], k - len(sample))]) for sample in samples]
    lengths = np.array([len(sample) for sample in samples])
    mask = torch.from_numpy(np.arange(k) < lengths[:, None])
    tile = _tiles(graphs, padded)
    tile_row = None
    if tile is not None and not view.shared:
        tile_row = torch.from_numpy(np.concatenate([graph * k + part.example for graph, part in units]))
    return Batch(
        x=catenated([each.x for each in inputs]),
        opcode=catenated([each.opcode for each in inputs]),
        layout=catenated([each.layout for each in inputs]),
        derived=catenated([each.derived for each in inputs]),
        free=catenated([each.free for each in inputs]) if view.overridden else None,
        tokens=catenated([each.tokens for each in inputs]),
        columns=torch.from_numpy(concatenated([part.columns for part in parts])),
        inputs=_inputs(parts),
        layers=[_layer([part.layers[level] for part in parts]) for level in range(len(parts[0].layers))],
        readout=None if parts[0].readout is None else _blocks([part.readout for part in parts]),
        copies=_copies([part.copies for part in parts]) if view.copies else None,
        nodes=torch.from_numpy(np.array([prepared.nodes for prepared in graphs], np.float32)),
        unit=torch.tensor([graph for graph, _ in units]),
        graph=torch.from_numpy(np.repeat([graph for graph, _ in units], [len(part.node) for part in parts])),
        order=torch.from_numpy(np.stack([one.order[sample] for one, sample in zip(graphs, padded, strict=True)])),
        mask=None if mask.all() else mask,
        scale=torch.tensor([prepared.scale for prepared in graphs]),
        tile=tile,
        tile_row=tile_row,
        assigned=_assigned(graphs, padded),
    )


def _tiles(graphs: list[PreparedGraph], padded: list[np.ndarray]) -> torch.Tensor | None:
    """(b, k, G) tile bounds of the samples, padded to one length; None for layout graphs."""
    if graphs[0].graph.tile_config is None:
        return None
    tiles = [np.asarray(one.graph.tile_config)[sample] for one, sample in zip(graphs, padded, strict=True)]
    return torch.from_numpy(np.stack(tiles).astype(np.float32))


def _assigned(graphs: list[PreparedGraph], padded: list[np.ndarray]) -> torch.Tensor | None:
    """(b, k, L) what layout assignment makes of the samples; None for kernels, and where that is left out."""
    first = graphs[0].graph.layout_config
    if first is None or not first.shape[1]:
        return None
    columns = [np.asarray(one.graph.layout_config)[sample] for one, sample in zip(graphs, padded, strict=True)]
    return torch.from_numpy(np.stack(columns))


def _inputs(parts: list[BatchPart]) -> SparseMatrix:
    """`Batch.inputs` of the parts: one column a state for its node, two more where it is configurable."""
    nodes, triples = [len(part.inputs.x) for part in parts], [len(part.inputs.tokens) for part in parts]
    node = renumbered([part.node for part in parts], nodes)
    configured = concatenated([part.triple for part in parts]) >= 0
    triple = renumbered([part.triple for part in parts], triples)[configured]
    pointer = np.concatenate([[0], np.cumsum(1 + 2 * configured)])
    column = np.empty(pointer[-1], np.int64)
    column[pointer[:-1]] = node
    after = pointer[:-1][configured]
    column[after + 1] = sum(nodes) + triple
    column[after + 2] = sum(nodes) + sum(triples) + np.arange(len(after))
    shape = (len(node), sum(nodes) + sum(triples) + len(after))
    return SparseMatrix.of(csr_array((np.ones(len(column), np.float32), column, pointer), shape=shape))


def _layer(parts: list[LayerPart]) -> Layer:
    nodes = [part.nodes for part in parts]
    node = renumbered([part.node for part in parts], nodes)
    count = concatenated([part.count for part in parts]).astype(np.float32)
    total = np.repeat([part.sampled for part in parts], nodes).astype(np.float32)
    pointer, every = np.searchsorted(node, np.arange(sum(nodes) + 1)), np.arange(len(node))
    shape = sum(nodes), len(node)
    senders, messages = used_columns(block_diagonal([part.messages for part in parts]), parts[0].kinds)
    row = None
    if parts[0].configuration is not None:
        row = torch.from_numpy(renumbered([part.configuration for part in parts], [part.k for part in parts]))
    return Layer(
        senders=senders,
        messages=SparseMatrix.of(messages),
        own=torch.from_numpy(renumbered([part.own for part in parts], [part.below for part in parts])),
        node=torch.from_numpy(node),
        counts=csr_tensor(pointer, every, count, shape),
        members=csr_tensor(pointer, every, np.ones_like(count), shape),
        count=torch.from_numpy(count)[:, None],
        total=torch.from_numpy(total)[:, None],
        row=row,
    )


def _copies(parts: list[CopiesPart]) -> Copies:
    senders, ends = used_columns(block_diagonal([part.ends for part in parts]), kinds=2)
    facts = hstack([ends, csr_array(concatenated([part.columns for part in parts]))], format="csr")
    return Copies(
        senders=senders,
        facts=SparseMatrix.of(facts),
        copy=torch.from_numpy(renumbered([part.copy for part in parts], [part.number for part in parts])),
        number=sum(part.number for part in parts),
        readout=_blocks([part.readout for part in parts]),
    )


def _blocks(blocks: list[csr_array]) -> SparseMatrix:
    return SparseMatrix.of(block_diagonal(blocks))


def _moved(value, target: torch.device | torch.dtype):
    """The value, with all tensors below it on a device or in another floating-point type."""
    if isinstance(value, torch.Tensor):
        whole = isinstance(target, torch.dtype) and not value.is_floating_point()
        return value if whole else value.to(target)
    if isinstance(value, list):
        return [_moved(item, target) for item in value]
    if not is_dataclass(value):
        return value
    moved = replace(value, **{item.name: _moved(getattr(value, item.name), target) for item in fields(value)})
    if isinstance(value, SparseMatrix) and isinstance(target, torch.device):
        moved.__dict__["transposed"] = value.transposed.to(target)  # scipy, which makes it, knows no device
    return moved
