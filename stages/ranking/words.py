"""What the screen shows of a ranking: the first configurations, and what changes in them."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from stages.graphs.dataset import PackedGraph
from stages.graphs.opcodes import OPCODE_NAMES
from stages.graphs.tensors import MAX_RANK, SLOTS
from stages.ranking.scoring import Ranking
from stages.scoring.metrics import TOP
from stages.statistics.tile import GROUPS

SHOWN = 10
#: changes of a configuration that are told in full
TOLD = 3
#: rows of codes looked at together
BLOCK = 4096


@dataclass(frozen=True)
class Reference:
    """The configuration with which others are compared. times: how often it is in the file."""

    configuration: int
    times: int

    def __str__(self) -> str:
        why = f"the most common, {self.times} times" if self.times > 1 else "the file's first"
        return f"configuration {self.configuration}, {why}"


def shown(file: Path, collection: str, ranking: Ranking, nodes: np.ndarray | None) -> str:
    """The lines of one file.

    Args:
        file: As the user named it.
        collection: Whose models ranked it.
        ranking: Of the file.
        nodes: (nc,) numbers of the configurable nodes in the file; None of a tile.
    """
    graph = ranking.graph
    count = f"{graph.configurations:,} configurations"
    what = f"{count} of {len(nodes):,} nodes" if nodes is not None else count
    lines = [f"{file}: {what}, ranked by the models of {collection}"]
    if nodes is None:
        last, told = "tile", {number: bounds(graph.config_feat[number]) for number in _first(ranking)}
    else:
        reference = most_common(graph.codes)
        last = f"beside {reference}"
        told = {number: changes(graph, nodes, reference.configuration, number) for number in _first(ranking)}
    rows = [("rank", "configuration", "score", *ranking.members, last)]
    for _, rank, number, score in ranking.table.head(SHOWN).iter_rows():
        of_members = (f"{values[number]:.4f}" for values in ranking.members.values())
        rows.append((str(rank), str(number), f"{score:.4f}", *of_members, told[number]))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        *numbers, text = row
        lines.append("  ".join([*(cell.rjust(width) for cell, width in zip(numbers, widths, strict=False)), text]))
    if ranking.metric is not None:
        lines.append(measured(ranking, tile=nodes is None))
    return "\n".join(lines)


def measured(ranking: Ranking, tile: bool) -> str:
    """How good the ranking is, where the file has run times."""
    if np.isnan(ranking.metric):
        return "by the file's run times: they order nothing"
    name = f"1 - slowdown of the best of the first {TOP}" if tile else "Kendall tau-b"
    text = f"by the file's run times: {name} {ranking.metric:.3f}"
    if ranking.seen:
        text += f" (the models have seen these: {ranking.graph.id} is one of their {ranking.seen} graphs)"
    return text


def most_common(codes: np.ndarray) -> Reference:
    """The configuration that is most often in the file, or the first where none is there twice.

    Args:
        codes: (c, nc), read block by block.
    """
    times, first = Counter(), {}
    for start in range(0, len(codes), BLOCK):
        for number, row in enumerate(np.asarray(codes[start : start + BLOCK]), start):
            key = hash(row.tobytes())
            times[key] += 1
            first.setdefault(key, number)
    (key, count), *_ = times.most_common(1)
    return Reference(first[key], count)


def changes(graph: PackedGraph, nodes: np.ndarray, reference: int, configuration: int) -> str:
    """Where a configuration has other layouts than the reference: node, slot, layout there and layout here."""
    before, after = graph.layouts(np.array([reference, configuration])).reshape(2, len(nodes), len(SLOTS), MAX_RANK)
    different = np.argwhere((before != after).any(axis=2))
    if not len(different):
        return "the same"
    told = []
    for place, slot in different[:TOLD]:
        opcode = OPCODE_NAMES.get(int(graph.node_opcode[graph.config_nodes[place]]), "other")
        change = f"{layout(before[place, slot])} → {layout(after[place, slot])}"
        told.append(f"{opcode} {nodes[place]} {SLOTS[slot]} {change}")
    if len(different) > TOLD:
        told.append(f"{len(different) - TOLD} more layouts")
    count = len(np.unique(different[:, 0]))
    return f"{count} node{'' if count == 1 else 's'}: {'; '.join(told)}"


def layout(order: np.ndarray) -> str:
    """A layout (6,) as XLA writes it: {1,0}, most minor dimension first; "–" for none."""
    return f"{{{','.join(str(axis) for axis in order if axis >= 0)}}}" if (order >= 0).any() else "–"


def bounds(config_feat: np.ndarray) -> str:
    """The bounds of a tile (24,): of kernel, output and input, those that are there."""
    texts = []
    for group, start in GROUPS.items():
        sizes = [str(size) for size in config_feat[start : start + MAX_RANK].astype(int).tolist() if size]
        if sizes:
            texts.append(f"{group} {'×'.join(sizes)}")
    return ", ".join(texts) or "–"


def _first(ranking: Ranking) -> list[int]:
    return ranking.table["configuration"].head(SHOWN).to_list()
