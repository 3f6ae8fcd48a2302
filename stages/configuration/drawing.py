"""The pictures of the configuration page: a stretch of the program before and after pruning, and all run times."""

from __future__ import annotations

import matplotlib
import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from stages.configuration import stretch
from stages.configuration.stage import Example
from stages.reporting import figures
from stages.reporting.colours import BLUE, DARK, GREY, ORANGE, VERMILION
from stages.reporting.words import UNITS, unit

#: inches from one row of a drawing to the next
ROW = 0.36
#: fill of the nodes that are kept and not configurable, light enough for their names
PALE = "#CFE5F3"
#: run times in their picture at most
POINTS = 400


def shown(example: Example) -> np.ndarray:
    """The nodes that are drawn (k,), sorted: those around the copy; of a small kernel all."""
    return stretch.around(len(example.opcodes), example.edges, _middle(example))


@matplotlib.rc_context(figures.STYLE)
def drawing(example: Example, narrow: bool = False) -> Figure:
    """A stretch of the program before and after pruning: operands above what consumes them, configurable nodes orange.

    The thick line is the copy, from the node that writes the tensor to the one that reads it. A kernel stays whole and
    is drawn once.
    """
    nodes = shown(example)
    place = stretch.positions(len(nodes), stretch.inside(example.edges, nodes))
    panels = {"before pruning": (nodes, example.edges)}
    panels["after pruning"] = nodes[example.kept[nodes]], example.kept_edges
    if example.tiles is not None:
        panels = {"": (nodes, example.edges)}
    deep, wide = (len(panels), 1) if narrow else (1, len(panels))
    height = ROW * (int(-place[1].min()) + 2)
    width = figures.NARROW if narrow else figures.WIDE / 2 * wide
    figure = Figure(figsize=(width, deep * height + 0.4), layout="constrained")
    for panel, (title, (drawn, edges)) in zip(np.ravel(figure.subplots(deep, wide)), panels.items(), strict=True):
        _draw(panel, example, nodes, drawn, stretch.inside(edges, nodes), place)
        panel.set_title(title)
    handles = _legend(example, nodes)
    figure.legend(handles=handles, loc="outside lower left", ncols=2 if narrow else len(handles))
    return figure


@matplotlib.rc_context(figures.STYLE)
def times(example: Example, narrow: bool = False) -> Figure:
    """The run time of every configuration, the fastest first."""
    figure = Figure(figsize=(figures.NARROW if narrow else 7.5, 2.6), layout="constrained")
    panel = figure.subplots()
    ascending = np.sort(example.runtime)
    count = len(ascending)
    chosen = np.unique(np.linspace(0, count - 1, min(POINTS, count)).round().astype(int))
    name = unit(ascending[-1])
    panel.plot(chosen + 1, ascending[chosen] / UNITS[name], "o-", color=BLUE, markersize=4, linewidth=1)
    panel.set_ylim(bottom=0)
    panel.set_xlabel("configurations, fastest first")
    panel.set_ylabel(f"run time, {name}")
    return figure


def _middle(example: Example) -> list[int]:
    """The nodes that the drawing is around: the copy's way; else a configurable node that differs, or the output."""
    if example.copy is not None:
        return stretch.path(len(example.opcodes), example.edges, example.copy.producer, example.copy.consumer)
    if example.output is not None:
        return [example.output]
    differs = (example.layouts[0] != example.layouts[1]).any(axis=1)
    return [int(example.configurable[differs.argmax()])]


def _draw(panel, example: Example, nodes: np.ndarray, drawn: np.ndarray, edges: np.ndarray, place: tuple) -> None:
    """Draws some of the nodes of a stretch at their places.

    Args:
        panel: empty.
        example: the program.
        nodes: (k,) of the stretch, sorted.
        drawn: those of them that are drawn.
        edges: (e, 2) between places in `nodes`.
        place: x and y (k,).
    """
    x, y = place
    for edge in edges:
        panel.plot(x[edge], y[edge], color=GREY, linewidth=1, zorder=1)
    if example.copy is not None:
        way = np.searchsorted(nodes, _middle(example))
        panel.plot(x[way], y[way], color=VERMILION, linewidth=3, zorder=2)
    for number in np.searchsorted(nodes, drawn):
        node = int(nodes[number])
        box = {"boxstyle": "round,pad=0.25", **_look(example, node)}
        panel.text(x[number], y[number], name(example, node), fontsize=8, ha="center", va="center", bbox=box)
    panel.axis("off")
    panel.set_xlim(x.min() - 0.6, x.max() + 0.6)
    panel.set_ylim(y.min() - 0.6, y.max() + 0.6)


def name(example: Example, node: int) -> str:
    """What a node is called: its opcode, and its number where its layouts can be chosen."""
    return f"{example.opcodes[node]} {node}" if node in example.configurable else example.opcodes[node]


def _look(example: Example, node: int) -> dict[str, object]:
    """Fill and rim of a node's box."""
    if node in example.configurable or node == example.output:
        return {"facecolor": ORANGE, "edgecolor": DARK, "linewidth": 0.6}
    if example.kept[node]:
        return {"facecolor": PALE, "edgecolor": DARK, "linewidth": 0.6}
    return {"facecolor": "white", "edgecolor": DARK, "linewidth": 0.6, "linestyle": ":"}


def _legend(example: Example, nodes: np.ndarray) -> list[Patch | Line2D]:
    """What the colours of the nodes of a stretch mean."""
    if example.tiles is not None:
        return [Patch(label="output, which is cut into tiles", **_look(example, example.output))]
    kinds = {"configurable": example.configurable, "kept beside them": np.flatnonzero(example.kept)}
    kinds["dropped"] = np.flatnonzero(~example.kept)
    looks: dict[str, Patch | Line2D] = {}
    for text, of_kind in kinds.items():
        found = np.setdiff1d(np.intersect1d(nodes, of_kind), [] if text == "configurable" else example.configurable)
        if len(found):
            looks[text] = Patch(label=text, **_look(example, int(found[0])))
    if example.copy is not None:
        looks["copy"] = Line2D([], [], color=VERMILION, linewidth=3, label="relayout copy")
    return list(looks.values())
