"""The pictures, the table and the sentences of the configuration page, made from the example."""

from __future__ import annotations

import matplotlib
import numpy as np
import polars as pl
from matplotlib.figure import Figure

from stages.configuration.stage import Example
from stages.graphs.tensors import SLOTS
from stages.graphs.topology import topological_order
from stages.reporting import figures
from stages.reporting.colours import BLUE, DARK, GREY, ORANGE, VERMILION

#: inches of a drawing at most, from top to bottom
DEEPEST = 14
#: nodes of a drawing beyond which their names would cover each other
LABELLED = 60
#: passes over the rows of a drawing, down and up, that bring nodes near their neighbours
PASSES = 8
#: run times in their picture at most
POINTS = 400
#: tiles at either end of a kernel's that the table shows
ENDS = 5


@matplotlib.rc_context(figures.STYLE)
def drawing(example: Example, narrow: bool = False) -> Figure:
    """The program before and after pruning: operands above what consumes them, configurable nodes coloured.

    The thick line is the copy, between the node that writes the tensor and the one that reads it. A kernel, which stays
    whole, is drawn twice alike.
    """
    x, y = _positions(len(example.opcodes), example.edges)
    height = float(np.clip(0.42 * (int(-y.min()) + 1), 3, DEEPEST))
    size = (figures.NARROW, 2 * height) if narrow else (figures.WIDE, height + 0.4)
    figure = Figure(figsize=size, layout="constrained")
    before, after = figure.subplots(*((2, 1) if narrow else (1, 2)), sharex=True, sharey=True)
    before.set_title(f"before: {len(x)} nodes, {len(example.edges)} edges")
    _draw(before, example, x, y, np.ones(len(x), bool), example.edges)
    after.set_title(f"after: {example.kept.sum()} nodes, {len(example.kept_edges)} edges")
    _draw(after, example, x, y, example.kept, example.kept_edges)
    handles, texts = before.get_legend_handles_labels()
    each_once = dict(zip(texts, handles, strict=True))
    figure.legend(each_once.values(), each_once.keys(), loc="outside lower left", ncols=2 if narrow else 4)
    return figure


@matplotlib.rc_context(figures.STYLE)
def times(example: Example, narrow: bool = False) -> Figure:
    """The run time of every configuration, the fastest first."""
    figure = Figure(figsize=(figures.NARROW if narrow else 7.5, 2.6), layout="constrained")
    panel = figure.subplots()
    ascending = np.sort(example.runtime)
    count = len(ascending)
    shown = np.unique(np.linspace(0, count - 1, min(POINTS, count)).round().astype(int))
    panel.plot(shown + 1, ascending[shown] / 1e6, "o-", color=BLUE, markersize=4, linewidth=1)
    panel.set_ylim(bottom=0)
    panel.set_xlabel("configurations, fastest first")
    panel.set_ylabel("run time, ms")
    return figure


def table(example: Example) -> pl.DataFrame:
    """A row for each configurable node: its shape, and its layouts in the fastest and in the slowest configuration.

    Of a kernel: a row for each tile, of the fastest and the slowest ones.
    """
    if example.tiles is not None:
        return _tiles(example)
    rows = []
    for number, node in enumerate(example.configurable.tolist()):
        fastest, slowest = (" ".join(example.layouts[end, number]) for end in (0, 1))
        rows.append((f"{example.opcodes[node]} {node}", example.shapes[node], fastest, slowest))
    return pl.DataFrame(rows, schema=["node", "shape", "fastest", "slowest"], orient="row")


def introduction(example: Example) -> str:
    """What the program is and what can be chosen in it, in words."""
    fastest, slowest = (_milliseconds(example, index) for index in (example.fastest, example.slowest))
    if example.tiles is not None:
        return (
            f"`{example.id}` is a kernel of {len(example.opcodes)} instructions. They are the nodes of its graph; an "
            "edge leads from an operand down to what consumes it. A kernel is compiled as one loop over pieces of its "
            "output, the tiles, and their size can be chosen. One choice is a configuration: "
            f"{len(example.runtime)} were tried. The fastest took {fastest}, the slowest {slowest}."
        )
    return (
        f"`{example.id}` is a program of {len(example.opcodes)} instructions. They are the nodes of its graph; an edge "
        f"leads from an operand down to what consumes it. At {len(example.configurable)} of the nodes, convolutions, "
        "dots, reshapes and the like, the compiler can choose in which order the dimensions of the output and of the "
        "operands lie in memory. One choice for all of them is a configuration: "
        f"{len(example.runtime)} were tried. The fastest took {fastest}, the slowest {slowest}. Between "
        f"these two, {len(_differing(example))} of the {len(example.configurable)} nodes have layouts that differ."
    )


def pruned(example: Example) -> str:
    """What pruning keeps, and the copy, in words."""
    if example.tiles is not None:
        return f"Kernels are small, and pruning leaves them whole: all {len(example.kept)} nodes stay."
    text = (
        f"Pruning to {example.hops} step{'' if example.hops == 1 else 's'} around the configurable nodes keeps "
        f"{example.kept.sum()} of {len(example.kept)} nodes and {len(example.kept_edges)} of {len(example.edges)} "
        f"edges. All {len(example.configurable)} configurable nodes stay."
    )
    if example.copy is None:
        return text + " The slowest configuration forces no copy between two of them that the fastest does not."
    consumer, producer, slot = example.copy.consumer, example.copy.producer, example.copy.slot
    numbers = {int(node): number for number, node in enumerate(example.configurable)}
    written, read = example.layouts[1, numbers[producer], 0], example.layouts[1, numbers[consumer], slot]
    return text + (
        f" The thick line is a relayout copy of the slowest configuration: {example.opcodes[producer]} {producer} "
        f"writes its {example.shapes[producer]} result as {written}, {example.opcodes[consumer]} {consumer} reads its "
        f"{SLOTS[slot]} as {read}, so {example.copy.bytes:,} bytes are copied into another order. In the fastest "
        "configuration they are not."
    )


def chosen(example: Example) -> str:
    """What the table of configurations shows, in words."""
    if example.tiles is not None:
        return "The bounds of the output's tile, dimension by dimension, and how long the kernel takes with it."
    return (
        "The layouts of output, input and kernel at every configurable node, as XLA writes them: the most minor "
        "dimension first. {1,0} is a matrix whose rows lie in memory one after the other, {0,1} one whose columns do. "
        "– stands where the node has no such tensor, or where the layout is left to the compiler."
    )


def differing(example: Example) -> str:
    """At which nodes the fastest and the slowest configuration differ, in words."""
    if example.tiles is not None:
        return f"The fastest has {example.tiles[example.fastest]}, the slowest {example.tiles[example.slowest]}."
    names = _differing(example)
    if not names:
        return "The two have the same layouts at every node."
    return f"They differ at {len(names)} of {len(example.configurable)} nodes: {', '.join(names)}."


def finding(example: Example) -> str:
    """The page's one finding: what choosing one configuration or another is worth."""
    fastest, slowest = example.runtime[[example.fastest, example.slowest]]
    return (
        f"The slowest of {len(example.runtime)} configurations of `{example.id}` takes {slowest / fastest:.2f} times "
        "as long as the fastest."
    )


def spread(example: Example) -> str:
    """What a good ranking is worth, in words."""
    median = float(np.median(example.runtime))
    return (
        f"The median one takes {median / example.runtime[example.fastest]:.2f} times as long as the fastest: that is "
        "what a good ranking is worth on this program."
    )


def _draw(panel, example: Example, x: np.ndarray, y: np.ndarray, nodes: np.ndarray, edges: np.ndarray) -> None:
    """Draws some nodes (n,) bool of the example and the edges (k, 2) between them at their positions x and y (n,)."""
    for edge in edges:
        panel.plot(x[edge], y[edge], color=GREY, linewidth=0.9, zorder=1)
    if example.copy:
        ends = [example.copy.producer, example.copy.consumer]
        panel.plot(x[ends], y[ends], color=VERMILION, linewidth=2.5, zorder=2, label="relayout copy")
    configurable = np.isin(np.arange(len(x)), example.configurable)
    kinds = (
        ("configurable", configurable, ORANGE, ORANGE, "s"),
        ("neighbour, kept" if example.tiles is None else "kept", ~configurable & example.kept, BLUE, BLUE, "o"),
        ("dropped", ~example.kept, "white", DARK, "o"),
    )
    for text, is_kind, fill, rim, marker in kinds:
        shown = nodes & is_kind
        if shown.any():
            panel.plot(x[shown], y[shown], marker, color=fill, markeredgecolor=rim, label=text, markersize=6)
    if nodes.sum() <= LABELLED:
        for node in np.flatnonzero(nodes):
            offset = (4, 3 if round(2 * x[node]) % 4 in (0, 1) else -8)  # neighbours in a row take turns
            panel.annotate(example.opcodes[node], (x[node], y[node]), offset, textcoords="offset points", fontsize=6.5)
    panel.axis("off")
    panel.margins(x=0.12)


def _positions(nodes: int, edges: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """x and y (n,): a node lies one row below the lowest of its operands, and within its row near its neighbours."""
    consumers: list[list[int]] = [[] for _ in range(nodes)]
    operands: list[list[int]] = [[] for _ in range(nodes)]
    for consumer, producer in edges.tolist():
        consumers[producer].append(consumer)
        operands[consumer].append(producer)
    depth = _depths(topological_order(nodes, edges).tolist(), operands, consumers)
    rows = [np.flatnonzero(depth == level) for level in range(depth.max() + 1)]
    x = np.zeros(nodes)
    for number in range(PASSES):
        downward = number % 2 == 0
        for row in rows if downward else rows[::-1]:
            neighbours = operands if downward else consumers
            wanted = [np.mean(x[neighbours[node]]) if neighbours[node] else x[node] for node in row]
            x[row[np.argsort(wanted, kind="stable")]] = np.arange(len(row)) - (len(row) - 1) / 2
    return x, -depth.astype(float)


def _depths(order: list[int], operands: list[list[int]], consumers: list[list[int]]) -> np.ndarray:
    """The row (n,) of each node, from 0: below its operands, and right above its first consumer."""
    depth = np.zeros(len(order), np.int64)
    for node in order:
        depth[node] = max((depth[producer] + 1 for producer in operands[node]), default=0)
    for node in reversed(order):  # so that edges are short
        depth[node] = min((depth[consumer] - 1 for consumer in consumers[node]), default=depth[node])
    return depth - depth.min()


def _tiles(example: Example) -> pl.DataFrame:
    ascending = np.argsort(example.runtime, kind="stable").tolist()
    shown = ascending if len(ascending) <= 2 * ENDS else ascending[:ENDS] + ascending[-ENDS:]
    fastest = example.runtime[example.fastest]
    rows = [
        (example.tiles[index], _milliseconds(example, index), f"{example.runtime[index] / fastest:.2f}")
        for index in shown
    ]
    return pl.DataFrame(rows, schema=["output tile", "run time", "times the fastest"], orient="row")


def _differing(example: Example) -> list[str]:
    """The configurable nodes whose layouts in the fastest and in the slowest configuration differ."""
    fastest, slowest = example.layouts
    return [
        f"{example.opcodes[node]} {node}"
        for number, node in enumerate(example.configurable.tolist())
        if (fastest[number] != slowest[number]).any()
    ]


def _milliseconds(example: Example, index: int) -> str:
    return f"{example.runtime[index] / 1e6:.3f} ms"
