"""The tables and the sentences of the configuration page, made from the example."""

from __future__ import annotations

import numpy as np
import polars as pl

from stages.configuration import drawing
from stages.configuration.stage import Example
from stages.configuration.stretch import HUB
from stages.graphs.tensors import SLOTS
from stages.reporting.tables import SPACE
from stages.reporting.words import counted, duration

#: rows of the table of nodes at most, but for those that are drawn
ROWS = 12
#: tiles at either end of a kernel's that the table shows
ENDS = 5
#: what a cell says that has no layout
LEFT = "left to the compiler"


def table(example: Example) -> pl.DataFrame:
    """A row for each configurable node that is drawn, and for those that differ most, with its layouts.

    They are those in the fastest and in the slowest configuration. Of a kernel: a row for each tile, of the fastest and
    the slowest ones.
    """
    return _tiles(example) if example.tiles is not None else _nodes(example, _told(example))


def rest(example: Example) -> pl.DataFrame:
    """The configurable nodes that `table` leaves out, in the same columns."""
    told = set(_told(example))
    return _nodes(example, [number for number in range(len(example.configurable)) if number not in told])


def left_out(example: Example) -> str:
    """What `rest` holds, in words."""
    told = set(_told(example))
    others = [number for number in range(len(example.configurable)) if number not in told]
    return f"The other {counted(len(others), 'node')}, {np.count_nonzero(_differing(example)[others])} of which differ"


def introduction(example: Example) -> str:
    """What the program is and what can be chosen in it, in words."""
    fastest, slowest = (duration(example.runtime[index]) for index in (example.fastest, example.slowest))
    tried = f"{len(example.runtime):,} were tried. The fastest took {fastest}, the slowest {slowest}."
    if example.tiles is not None:
        return (
            f"`{example.id}` is a kernel: {len(example.opcodes)} instructions of a program that run together. They are "
            "the nodes of its graph; an edge leads from an operand down to what consumes it. A fusion runs a "
            "computation of its own, whose last instruction leads into it. A kernel is compiled as one loop over "
            f"pieces of its output, here {example.shapes[example.output]}. The size of these pieces, the tiles, can be "
            f"chosen. One choice is a configuration: {tried}"
        )
    return (
        f"`{example.id}` is a program of {len(example.opcodes):,} instructions. They are the nodes of its graph; an "
        f"edge leads from an operand down to what consumes it. At {len(example.configurable)} of the nodes, "
        "convolutions, dots, reshapes and the like, the compiler can choose in which order the dimensions of the "
        f"output and of the operands lie in memory. One choice for all of them is a configuration: {tried} Between "
        f"these two, {np.count_nonzero(_differing(example))} of the {len(example.configurable)} nodes have layouts "
        "that differ."
    )


def drawn(example: Example) -> str:
    """How much of the program the drawing shows, in words."""
    shown, whole = len(drawing.shown(example)), len(example.opcodes)
    if shown == whole:
        return f"The drawing has all {whole} nodes."
    middle = "relayout copy" if example.copy is not None else "first choice that differs"
    if example.tiles is not None:
        middle = "output"
    return (
        f"The drawing has {shown} of the {whole:,} nodes, those nearest to the {middle}. The other {whole - shown:,} "
        f"lie further off, or have more than {HUB} neighbours, as a constant that is used everywhere. Edges to them "
        "are left out too."
    )


def pruned(example: Example) -> str:
    """What pruning keeps, and the copy, in words."""
    if example.tiles is not None:
        return f"Kernels are small, and pruning leaves them whole: all {len(example.kept)} nodes stay."
    text = (
        f"Pruning to {counted(example.hops, 'step') if example.hops != 'all' else 'all steps'} around the configurable "
        f"nodes keeps {example.kept.sum():,} of {len(example.kept):,} nodes and {len(example.kept_edges):,} of "
        f"{len(example.edges):,} edges. All {len(example.configurable)} configurable nodes stay."
    )
    if example.copy is None:
        return text + " The slowest configuration forces no copy between two of them that the fastest does not."
    consumer, producer, slot = example.copy.consumer, example.copy.producer, example.copy.slot
    numbers = {int(node): number for number, node in enumerate(example.configurable)}
    written, read = example.layouts[1, numbers[producer], 0], example.layouts[1, numbers[consumer], slot]
    return text + (
        f" The thick line is a relayout copy of the slowest configuration: {drawing.name(example, producer)} "
        f"writes its {example.shapes[producer]} result as {written}, {drawing.name(example, consumer)} reads its "
        f"{SLOTS[slot]} as {read}, so {example.copy.bytes:,} bytes are copied into another order. In the fastest "
        "configuration they are not."
    )


def chosen(example: Example) -> str:
    """What the table shows, in words."""
    if example.tiles is not None:
        count, least = len(example.tiles), min(len(example.tiles), 2 * ENDS)
        which = f"The {ENDS} fastest and the {ENDS} slowest of {count} tiles" if count > least else "All tiles"
        return (
            f"{which}: the bounds of the output's tile as the compiler counts them, the most major dimension first, "
            "and how long the kernel takes with it. On a TPU the last two count blocks of 8 × 128 numbers, which is a "
            "register."
        )
    return (
        "The layouts in the fastest and in the slowest configuration: first of the nodes in the drawing, then of those "
        "that differ most. They are written as XLA does, the most minor dimension first: {1,0} is a matrix whose rows "
        "lie in memory one after the other, {0,1} one whose columns do. Where fewer dimensions stand than the tensor "
        "has, the compiler orders the others."
    )


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
    what = "kernel" if example.tiles is not None else "program"
    return (
        f"The median one takes {median / example.runtime[example.fastest]:.2f} times as long as the fastest: that is "
        f"what a good ranking is worth on this {what}."
    )


def _told(example: Example) -> list[int]:
    """The configurable nodes that the table shows, by their numbers among them: those drawn, then those differing most.

    A node differs the more, the more of its tensors have another layout, and then the larger its output is.
    """
    drawn = np.flatnonzero(np.isin(example.configurable, drawing.shown(example))).tolist()
    differing, sizes = _differing(example), [_size(example.shapes[node]) for node in example.configurable]
    others = [number for number in np.flatnonzero(differing).tolist() if number not in drawn]
    others.sort(key=lambda number: (-differing[number], -sizes[number]))
    return drawn + others[: max(ROWS - len(drawn), 0)]


def _nodes(example: Example, numbers: list[int]) -> pl.DataFrame:
    rows = []
    for number in numbers:
        node = int(example.configurable[number])
        name = f"{drawing.name(example, node)}, {example.shapes[node]}"
        rows.append((name, *(_layouts(example.layouts[end, number]) for end in (0, 1))))
    columns = ("node and its output", "in the fastest", "in the slowest")
    return pl.DataFrame(rows, schema=dict.fromkeys(columns, pl.String), orient="row")


def _layouts(texts: np.ndarray) -> str:
    """'output {1,0}, kernel {0,1}': the layouts (3,) of a node's tensors that are chosen."""
    named = [f"{slot}{SPACE}{text}" for slot, text in zip(SLOTS, texts, strict=True) if text != "–"]
    return ", ".join(named) or LEFT


def _tiles(example: Example) -> pl.DataFrame:
    ascending = np.argsort(example.runtime, kind="stable").tolist()
    shown = ascending if len(ascending) <= 2 * ENDS else ascending[:ENDS] + ascending[-ENDS:]
    fastest = example.runtime[example.fastest]
    rows = [
        (example.tiles[index], duration(example.runtime[index]), f"{example.runtime[index] / fastest:.2f}")
        for index in shown
    ]
    return pl.DataFrame(rows, schema=["output tile", "run time", "times the fastest"], orient="row")


def _differing(example: Example) -> np.ndarray:
    """(nc,) how many tensors of a configurable node have another layout in the slowest than in the fastest."""
    fastest, slowest = example.layouts
    return (fastest != slowest).sum(axis=1)


def _size(shape: str) -> int:
    """Number of elements of a tensor of this shape, a text."""
    return int(np.prod([int(size) for size in shape.split("×") if size.isdigit()]))
