"""What a configuration is, on one small program: its graph before and after pruning, and what its layouts force; or
on one small kernel: its graph, which pruning leaves whole, and its tiles.

The page is for a reader who has never seen an HLO graph; no stage reads what this one finds.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import matplotlib
import numpy as np
import polars as pl
from matplotlib.figure import Figure

from stages import checks
from stages.errors import InputError
from stages.graphs import dataset, npz
from stages.graphs.collection import folder, is_tile
from stages.graphs.opcodes import OPCODE_NUMBERS
from stages.graphs.tensors import MAX_RANK, dimensions, shape
from stages.graphs.topology import topological_order, within
from stages.reporting import figures
from stages.statistics import copies, orders
from stages.statistics.copies import slot_tensors
from stages.statistics.layout import distinct_layouts
from stages.statistics.tile import GROUPS

TRIED = 20  # of the smallest programs, until one has a copy to show
POINTS = 400  # in the picture of run times
DEEPEST = 14  # inches of a drawing
ENDS = 5  # tiles shown at either end of a kernel's
LABELLED = 60  # nodes of a drawing beyond which their names would cover each other
_NAMES = {number: name for name, number in OPCODE_NUMBERS.items()}
SLOTS = ("output", "input", "kernel")


@dataclass(frozen=True, eq=False)
class Example:
    """One program of n nodes, m edges and nc configurable nodes, its fastest and its slowest configuration.

    opcodes, shapes: (n,) texts; edges (m, 2), [u, v]: u consumes the output of v; configurable (nc,) nodes; kept (n,)
    bool: what pruning leaves, and kept_edges (k, 2) of it; runtime (c,) in nanoseconds; fastest, slowest: places in it;
    layouts (2, nc, 3) texts, of the fastest and the slowest; copy: (consumer, producer, bytes, slot of the consumer) of
    the largest copy between two nodes that the slowest forces and the fastest does not, None where there is none.
    tiles: (c,) texts, the bounds of a kernel's output tile, of which a configuration is the choice; None of a program,
    as a kernel has no configurable nodes.
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
    copy: tuple[int, int, int, int] | None
    tiles: list[str] | None = None


@checks.entry("configuration")
def run(*, collection: str, program: str | None = None, root: str | Path, data: str | Path = "data") -> Example:
    """A train program of a layout collection, as published below `root` and as pruned below `data`, or a train kernel.

    program: its id; None takes the smallest that has a copy to show, of the `TRIED` smallest, and of kernels, none of
    which has, the smallest of all.
    Raises InputError for an unknown program, and a program that was pruned from another file.
    """
    kept = dataset.manifest(dataset.prune_folder(data, collection))
    sizes = {entry["id"]: entry["whole_nodes"] for entry in kept["graphs"]["train"]}
    if not sizes:
        raise InputError(f"{dataset.prune_folder(data, collection)}/manifest.json: lists no train graph")
    if program is not None and program not in sizes:
        raise InputError(f"params.yaml, configuration.program: {program!r} is no train graph of {collection}")
    graphs = {graph.id: graph for graph in dataset.graphs(data, collection, "train")}
    smallest = sorted(sizes, key=lambda id: (sizes[id], id))[:TRIED]
    if is_tile(collection):
        return _kernel(graphs[program or smallest[0]])
    tried = [program] if program else smallest
    chosen = next((id for id in tried if _copy(graphs[id]) is not None), tried[0])
    return _example(graphs[chosen], root, kept["hops"], kept["direction"])


def _example(graph: dataset.PackedGraph, root: str, hops: int | str, direction: str) -> Example:
    path = folder(root, graph.collection, "train") / f"{graph.id}.npz"
    with npz.LayoutFile(path) as file:
        edges, ids, opcode = file.edge_index, file.node_config_ids, file.node_opcode
        shapes = ["×".join(map(str, shape(row))) or "scalar" for row in dimensions(file.node_feat)]
    inside = within(len(opcode), edges, ids, hops, direction)
    nodes = np.flatnonzero(inside)
    if len(nodes) != graph.nodes or (opcode[nodes] != graph.node_opcode).any():
        raise InputError(f"{path}: is not what {graph.id} was pruned from; run the prune stage again")
    ends = _ends(graph)
    copy = _copy(graph)
    return Example(
        id=graph.id,
        hops=hops,
        opcodes=[_NAMES.get(int(number), "other") for number in opcode],
        shapes=shapes,
        edges=edges,
        configurable=ids,
        kept=inside,
        kept_edges=nodes[graph.edge_index],
        runtime=graph.runtime,
        fastest=ends[0],
        slowest=ends[1],
        layouts=_texts(graph.layouts(np.array(ends))),
        copy=None if copy is None else (int(ids[copy[0]]), int(ids[copy[1]]), *copy[2:]),
    )


def _kernel(graph: dataset.PackedGraph) -> Example:
    """A kernel, its run times as they were taken: without the normalizers, which are for ranking."""
    fastest, slowest = _ends(graph)
    bounds = graph.config_feat[:, GROUPS["output"] : GROUPS["output"] + MAX_RANK].astype(int)
    return Example(
        id=graph.id,
        hops="all",
        opcodes=[_NAMES.get(int(number), "other") for number in graph.node_opcode],
        shapes=["×".join(map(str, shape(row))) or "scalar" for row in dimensions(graph.node_feat)],
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
    )


def _ends(graph: dataset.PackedGraph) -> tuple[int, int]:
    """Places of the fastest and of the slowest configuration."""
    return int(graph.runtime.argmin()), int(graph.runtime.argmax())


def _copy(graph: dataset.PackedGraph) -> tuple[int, int, int, int] | None:
    """(consumer, producer, bytes, slot) of the largest copy between two configurable nodes, by place, that the
    slowest configuration forces and the fastest does not; of equal ones the first."""
    layouts, slots = distinct_layouts(graph.triples)
    sides = copies.Sides(layouts)
    event = copies.events(graph, slot_tensors(graph), sides)
    if not len(event.kind):
        return None
    ids = slots[graph.codes[list(_ends(graph))]]
    fast, slow = copies.happening(event, ids, sides.table, orders.differ(list(sides.orders))) > 0
    found = np.flatnonzero(slow & ~fast & (event.consumer != event.producer))
    if not len(found):
        return None
    first = found[event.bytes[found].argmax()]
    return tuple(int(part[first]) for part in (event.consumer, event.producer, event.bytes, event.slot))


def _texts(layouts: np.ndarray) -> np.ndarray:
    """Layouts (k, nc, 18) as texts (k, nc, 3), as XLA writes them: {1,0}, most minor dimension first; "–" for none."""
    parts = layouts.reshape(*layouts.shape[:2], 3, 6)
    flat = [",".join(str(axis) for axis in row if axis >= 0) for row in parts.reshape(-1, 6).tolist()]
    return np.array([f"{{{text}}}" if text else "–" for text in flat]).reshape(parts.shape[:3])


def table(example: Example) -> pl.DataFrame:
    """A row per configurable node: its shape, and its layouts in the fastest and in the slowest configuration.

    Of a kernel: a row per tile, the fastest and the slowest ones.
    """
    if example.tiles is not None:
        order = np.argsort(example.runtime, kind="stable").tolist()
        chosen = order if len(order) <= 2 * ENDS else order[:ENDS] + order[-ENDS:]
        fastest = example.runtime[example.fastest]
        rows = [
            (example.tiles[place], _milliseconds(example, place), f"{example.runtime[place] / fastest:.2f}")
            for place in chosen
        ]
        return pl.DataFrame(rows, schema=["output tile", "run time", "times the fastest"], orient="row")
    rows = []
    for place, node in enumerate(example.configurable.tolist()):
        fast, slow = (" ".join(part for part in example.layouts[end, place]) for end in (0, 1))
        rows.append((f"{example.opcodes[node]} {node}", example.shapes[node], fast, slow))
    return pl.DataFrame(rows, schema=["node", "shape", "fastest", "slowest"], orient="row")


@matplotlib.rc_context(figures.STYLE)
def drawing(example: Example, narrow: bool = False) -> Figure:
    """The program before and after pruning: operands above what consumes them, configurable nodes coloured.

    A kernel, which stays whole, is drawn twice alike. The copy is drawn where its tensor would be copied, between
    producer and consumer.
    """
    x, y = _positions(len(example.opcodes), example.edges)
    deep = int(-y.min()) + 1
    height = float(np.clip(0.42 * deep, 3, DEEPEST))
    size = (figures.NARROW, 2 * height) if narrow else (figures.WIDE, height + 0.4)
    figure = Figure(figsize=size, layout="constrained")
    panels = (
        figure.subplots(2, 1, sharex=True, sharey=True) if narrow else figure.subplots(1, 2, sharex=True, sharey=True)
    )
    marked = np.isin(np.arange(len(x)), example.configurable)
    whole = np.ones(len(x), bool)
    for panel, title, nodes, edges in (
        (panels[0], f"before: {len(x)} nodes, {len(example.edges)} edges", whole, example.edges),
        (
            panels[1],
            f"after: {example.kept.sum()} nodes, {len(example.kept_edges)} edges",
            example.kept,
            example.kept_edges,
        ),
    ):
        for consumer, producer in edges:
            panel.plot(x[[producer, consumer]], y[[producer, consumer]], color=figures.GREY, linewidth=0.9, zorder=1)
        if example.copy:
            ends = [example.copy[1], example.copy[0]]
            panel.plot(x[ends], y[ends], color=figures.VERMILION, linewidth=2.5, zorder=2, label="relayout copy")
        for text, chosen, colour, marker in (
            ("configurable", nodes & marked, figures.ORANGE, "s"),
            ("neighbour, kept" if example.tiles is None else "kept", nodes & ~marked & example.kept, figures.BLUE, "o"),
            ("dropped", nodes & ~example.kept, "white", "o"),
        ):
            if chosen.any():
                edge = figures.DARK if colour == "white" else colour
                panel.plot(x[chosen], y[chosen], marker, color=colour, markeredgecolor=edge, label=text, markersize=6)
        if nodes.sum() <= LABELLED:
            for node in np.flatnonzero(nodes):
                offset = (4, 3 if round(2 * x[node]) % 4 in (0, 1) else -8)  # neighbours in a row turn about
                panel.annotate(
                    example.opcodes[node], (x[node], y[node]), offset, textcoords="offset points", fontsize=6.5
                )
        panel.set_title(title)
        panel.axis("off")
        panel.margins(x=0.12)
    found = dict(zip(*panels[0].get_legend_handles_labels()[::-1], strict=True))
    figure.legend(found.values(), found.keys(), loc="outside lower left", ncols=2 if narrow else 4)
    return figure


def _positions(nodes: int, edges: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """x and y (n,): a node lies one row below the lowest of its operands, and within its row near them."""
    depth = np.zeros(nodes, np.int64)
    consumers: list[list[int]] = [[] for _ in range(nodes)]
    operands: list[list[int]] = [[] for _ in range(nodes)]
    for consumer, producer in edges.tolist():
        consumers[producer].append(consumer)
        operands[consumer].append(producer)
    order = topological_order(nodes, edges).tolist()
    for node in order:
        depth[node] = max((depth[producer] + 1 for producer in operands[node]), default=0)
    for node in reversed(order):  # down to right above its first consumer, so that edges are short
        depth[node] = min((depth[consumer] - 1 for consumer in consumers[node]), default=depth[node])
    depth -= depth.min()
    x = np.zeros(nodes)
    rows = [np.flatnonzero(depth == level) for level in range(depth.max() + 1)]
    for turn in range(8):
        for row in rows if turn % 2 == 0 else rows[::-1]:
            near = operands if turn % 2 == 0 else consumers
            wanted = [np.mean([x[other] for other in near[node]]) if near[node] else x[node] for node in row]
            for place, which in enumerate(np.argsort(wanted, kind="stable")):
                x[row[which]] = place - (len(row) - 1) / 2
    return x, -depth.astype(float)


def introduction(example: Example) -> str:
    """What the program is and what is chosen in it, in words."""
    if example.tiles is not None:
        return (
            f"`{example.id}` is a kernel of {len(example.opcodes)} instructions, the nodes; an edge leads from an "
            "operand down to what consumes it. It is compiled as one loop over pieces of its output, the tiles, whose "
            f"size may be chosen. One choice is a configuration: {len(example.runtime)} were compiled and timed. "
            f"The fastest took {_milliseconds(example, example.fastest)}, the slowest "
            f"{_milliseconds(example, example.slowest)}."
        )
    counts = [
        len(np.unique([text for text in example.layouts[:, place].ravel() if text != "–"]))
        for place in range(len(example.configurable))
    ]
    return (
        f"`{example.id}` is a program of {len(example.opcodes)} instructions, the nodes; an edge leads from an operand "
        f"down to what consumes it. At {len(example.configurable)} of them, convolutions, dots, reshapes and the like, "
        "the compiler may choose in which order the dimensions of the output and of the operands lie in memory. One "
        f"choice for all of them is a configuration: {len(example.runtime)} were compiled and timed. The fastest took "
        f"{_milliseconds(example, example.fastest)}, the slowest {_milliseconds(example, example.slowest)}; between "
        f"these two, {sum(count > 1 for count in counts)} of the {len(counts)} nodes have layouts that differ."
    )


def pruned(example: Example) -> str:
    """What pruning keeps, and the copy, in words."""
    if example.tiles is not None:
        return f"Kernels are small, and pruning leaves them whole: all {len(example.kept)} nodes stay."
    text = (
        f"Pruning to {example.hops} step{'' if example.hops == 1 else 's'} around the configurable nodes keeps "
        f"{example.kept.sum()} of {len(example.kept)} nodes and {len(example.kept_edges)} of {len(example.edges)} "
        f"edges; all {len(example.configurable)} configurable nodes stay."
    )
    if example.copy is None:
        return text + " The slowest configuration forces no copy between two of them that the fastest does not."
    consumer, producer, size, slot = example.copy
    places = {int(node): place for place, node in enumerate(example.configurable)}
    made = example.layouts[1, places[producer], 0]
    asked = example.layouts[1, places[consumer], slot]
    return text + (
        f" The thick line is a relayout copy of the slowest configuration: {example.opcodes[producer]} {producer} "
        f"writes its {example.shapes[producer]} result as {made}, {example.opcodes[consumer]} {consumer} takes its "
        f"{SLOTS[slot]} as {asked}, so {size:,} bytes are copied into another order. In the fastest they are not."
    )


def chosen(example: Example) -> str:
    """What the table of configurations shows, in words."""
    if example.tiles is not None:
        return "The bounds of the output's tile, dimension by dimension, and how long the kernel takes with it."
    return (
        "The layouts of output, input and kernel at every configurable node, minor to major as XLA writes them: {1,0} "
        "is a matrix whose rows lie in memory one after the other, {0,1} one whose columns do; – is a place that the "
        "node does not have, or that is left to the compiler."
    )


def differing(example: Example) -> str:
    """At which nodes the fastest and the slowest configuration differ, in words."""
    if example.tiles is not None:
        return f"The fastest has {example.tiles[example.fastest]}, the slowest {example.tiles[example.slowest]}."
    fast, slow = example.layouts
    names = [
        f"{example.opcodes[node]} {node}"
        for place, node in enumerate(example.configurable.tolist())
        if (fast[place] != slow[place]).any()
    ]
    if not names:
        return "The two have the same layouts at every node."
    return f"They differ at {len(names)} of {len(example.configurable)} nodes: {', '.join(names)}."


@matplotlib.rc_context(figures.STYLE)
def times(example: Example, narrow: bool = False) -> Figure:
    """Run time of every configuration, fastest first."""
    figure = Figure(figsize=(figures.NARROW if narrow else 7.5, 2.6), layout="constrained")
    panel = figure.subplots()
    ordered = np.sort(example.runtime)
    shown = np.unique(np.linspace(0, len(ordered) - 1, min(POINTS, len(ordered))).round().astype(int))
    panel.plot(shown + 1, ordered[shown] / 1e6, "o-", color=figures.BLUE, markersize=4, linewidth=1)
    panel.set_ylim(bottom=0)
    panel.set_xlabel("configurations, fastest first")
    panel.set_ylabel("run time, ms")
    return figure


def spread(example: Example) -> str:
    """What choosing one configuration or another is worth, in words."""
    middle = float(np.median(example.runtime))
    fastest, slowest = example.runtime[[example.fastest, example.slowest]]
    return (
        f"The slowest takes {slowest / fastest:.2f} times as long as the fastest, the median one "
        f"{middle / fastest:.2f} times: that is what a good ranking is worth on this program."
    )


def _milliseconds(example: Example, place: int) -> str:
    return f"{example.runtime[place] / 1e6:.3f} ms"
