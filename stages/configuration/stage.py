"""What a configuration is: one small program, before and after pruning, and what its layouts force; or one kernel.

The page is for a reader who has never seen an HLO graph. No stage reads what this one returns. Pruning leaves a kernel
whole, and its configurations are tiles.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from stages.engine import checks
from stages.engine.errors import InputError
from stages.graphs import dataset
from stages.graphs.collection import is_tile
from stages.graphs.opcodes import CONVOLUTION, DOT, OPCODE_NAMES
from stages.graphs.tensors import MAX_RANK, ROOT, dimensions, shape
from stages.graphs.topology import within
from stages.graphs.whole_program import OPCODE, SHAPE
from stages.statistics import copies, orders
from stages.statistics.copies import slot_tensors
from stages.statistics.layout import distinct_layouts
from stages.statistics.tile import GROUPS

#: of the smallest programs, how many are looked at until one has a copy to show
TRIED = 20
#: nodes from which on a kernel is more than a copy or a sum
TELLING = 8
#: opcodes of the kernels whose tiles matter most
PRODUCTS = (CONVOLUTION, DOT)


@dataclass(frozen=True)
class Copy:
    """A relayout copy between two configurable nodes: the consumer asks for another layout than the producer writes.

    Attributes:
        consumer: index of the node that reads the tensor, in the whole graph.
        producer: index of the node that writes it.
        bytes: size of the tensor.
        slot: which tensor of the consumer it is, an index into `SLOTS`.
    """

    consumer: int
    producer: int
    bytes: int
    slot: int


@dataclass(frozen=True, eq=False)
class Example:
    """One program or kernel, with its fastest and its slowest configuration.

    It has n nodes, m edges, nc configurable nodes and c configurations.

    Attributes:
        id: the graph's id.
        hops: how many steps around configurable nodes pruning keeps, or "all".
        opcodes: (n,) names of the nodes' opcodes.
        shapes: (n,) shapes of their outputs, as texts.
        edges: (m, 2) pairs [u, v]: u consumes the output of v.
        configurable: (nc,) indices of the configurable nodes.
        kept: (n,) bool, the nodes that pruning leaves.
        kept_edges: (k, 2) the edges that pruning leaves, between nodes of the whole graph.
        runtime: (c,) run times in nanoseconds.
        fastest: index of the fastest configuration.
        slowest: index of the slowest configuration.
        layouts: (2, nc, 3) layouts as texts, in the fastest and in the slowest configuration, by `SLOTS`.
        copy: the largest copy between two nodes that the slowest configuration forces and the fastest does not; None
            where there is none.
        tiles: (c,) bounds of a kernel's output tile as texts: a configuration is the choice of one. None of a program.
        output: index of the node whose result a kernel's tiles cut; None of a program.
    """

    id: str
    hops: int | str
    opcodes: list[str]
    shapes: list[str]
    edges: np.ndarray
    configurable: np.ndarray
    kept: np.ndarray
    kept_edges: np.ndarray
    runtime: np.ndarray
    fastest: int
    slowest: int
    layouts: np.ndarray
    copy: Copy | None
    tiles: list[str] | None = None
    output: int | None = None


@checks.entry("configuration")
def run(*, collection: str, program: str | None = None, data: str | Path = "data") -> Example:
    """A train program of a layout collection, or a train kernel.

    Args:
        collection: name of the collection.
        program: id of the program or kernel. None takes, of the `TRIED` smallest programs, the smallest that has a copy
            to show; of kernels the smallest of `TELLING` nodes or more that has a dot or a convolution. Where there is
            none, it takes the smallest.
        data: the folder of the stages' outputs.

    Raises:
        InputError: an unknown program.
    """
    manifest = dataset.manifest(dataset.prune_folder(data, collection))
    nodes = {entry["id"]: entry["whole_nodes"] for entry in manifest["graphs"]["train"]}
    if not nodes:
        raise InputError(f"{dataset.prune_folder(data, collection)}/manifest.json: lists no train graph")
    if program is not None and program not in nodes:
        raise InputError(f"params.yaml, configuration.program: {program!r} is no train graph of {collection}")
    graphs = {graph.id: graph for graph in dataset.graphs(data, collection, "train")}
    candidates = [program] if program else sorted(nodes, key=lambda id: (nodes[id], id))
    if is_tile(collection):
        return _kernel(graphs[next((id for id in candidates if _tells(graphs[id])), candidates[0])])
    chosen = next((id for id in candidates[:TRIED] if _copy(graphs[id]) is not None), candidates[0])
    return _program(graphs[chosen], manifest["hops"], manifest["direction"])


def _tells(kernel: dataset.PackedGraph) -> bool:
    """Whether a kernel has a product, and something beside it."""
    return kernel.nodes >= TELLING and bool(np.isin(kernel.node_opcode, PRODUCTS).any())


def _program(graph: dataset.PackedGraph, hops: int | str, direction: str) -> Example:
    """A program, whole and pruned."""
    edges, configurable, opcodes = graph.whole_edges, graph.whole_slots[:, 0], graph.whole_nodes[:, OPCODE]
    kept = within(len(opcodes), edges, configurable, hops, direction)
    kept_nodes = np.flatnonzero(kept)
    fastest, slowest = _ends(graph)
    return Example(
        id=graph.id,
        hops=hops,
        opcodes=_opcode_names(opcodes),
        shapes=_shapes(graph.whole_nodes[:, SHAPE]),
        edges=edges,
        configurable=configurable,
        kept=kept,
        kept_edges=kept_nodes[graph.edge_index],
        runtime=graph.runtime,
        fastest=fastest,
        slowest=slowest,
        layouts=_layout_texts(graph.layouts(np.array([fastest, slowest]))),
        copy=_copy(graph, configurable),
    )


def _kernel(graph: dataset.PackedGraph) -> Example:
    """A kernel. Its run times are as they were taken: without the normalizers, which are for ranking."""
    fastest, slowest = _ends(graph)
    bounds = graph.config_feat[:, GROUPS["output"] : GROUPS["output"] + MAX_RANK].astype(int)
    roots = np.flatnonzero(
        graph.node_feat[:, ROOT]
    )  # of the computations that the kernel calls, and its own at the end
    return Example(
        id=graph.id,
        hops="all",
        opcodes=_opcode_names(graph.node_opcode),
        shapes=_shapes(dimensions(graph.node_feat)),
        edges=graph.edge_index,
        configurable=np.zeros(0, np.int64),
        kept=np.ones(graph.nodes, bool),
        kept_edges=graph.edge_index,
        runtime=graph.runtime,
        fastest=fastest,
        slowest=slowest,
        layouts=np.zeros((2, 0, 3), str),
        copy=None,
        tiles=["×".join(str(bound) for bound in row if bound) or "–" for row in bounds.tolist()],
        output=int(roots[-1]) if len(roots) else graph.nodes - 1,
    )


def _ends(graph: dataset.PackedGraph) -> tuple[int, int]:
    """Indices of the fastest and of the slowest configuration."""
    return int(graph.runtime.argmin()), int(graph.runtime.argmax())


def _copy(graph: dataset.PackedGraph, configurable: np.ndarray | None = None) -> Copy | None:
    """The largest copy between two configurable nodes that the slowest configuration forces and the fastest does not.

    Args:
        graph: the packed graph.
        configurable: (nc,) indices of the configurable nodes in the whole graph; None numbers them from 0.

    Returns:
        Of equally large copies the first; None where there is none.
    """
    layouts, slots = distinct_layouts(graph.triples)
    sides = copies.Sides(layouts)
    events = copies.possible_copies(graph, slot_tensors(graph), sides)
    if not len(events.kind):
        return None
    ids = slots[graph.codes[list(_ends(graph))]]
    in_fastest, in_slowest = copies.happening(events, ids, sides.table, orders.differ(list(sides.orders))) > 0
    candidates = np.flatnonzero(in_slowest & ~in_fastest & (events.consumer != events.producer))
    if not len(candidates):
        return None
    largest = candidates[events.bytes[candidates].argmax()]
    consumer, producer = int(events.consumer[largest]), int(events.producer[largest])
    if configurable is not None:
        consumer, producer = int(configurable[consumer]), int(configurable[producer])
    return Copy(consumer, producer, int(events.bytes[largest]), int(events.arrival.slot[largest]))


def _opcode_names(numbers: np.ndarray) -> list[str]:
    return [OPCODE_NAMES.get(int(number), "other") for number in numbers]


def _shapes(dims: np.ndarray) -> list[str]:
    """Shapes of the nodes' outputs, such as 8×128, from their dimensions (n, 6)."""
    return ["×".join(map(str, shape(row))) or "scalar" for row in dims]


def _layout_texts(layouts: np.ndarray) -> np.ndarray:
    """Layouts (k, nc, 18) as texts (k, nc, 3), as XLA writes them: {1,0}, most minor dimension first; "–" for none."""
    slots = layouts.reshape(*layouts.shape[:2], 3, 6)
    flat = [",".join(str(axis) for axis in row if axis >= 0) for row in slots.reshape(-1, 6).tolist()]
    return np.array([f"{{{text}}}" if text else "–" for text in flat]).reshape(slots.shape[:3])
