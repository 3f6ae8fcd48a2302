"""Which layouts the configurable nodes of a TPU program may have, and how a choice is written down.

As TpuGraphs writes them: a convolution's output and input say their two minor dimensions, feature and batch, its kernel
output and input features; a dot's tensors the two dimensions that are multiplied or kept (not its batch); a reshape's
tensors whole layouts; -1 beyond, and in the whole slot where the compiler chooses.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

import numpy as np

from stages.collect.hlo_text import MAX_RANK, ConfigurableNode, Instruction, layouts_of, row_major

#: the compiler chooses
FREE = -1
#: tiles of a TPU's memory: the second minor dimension is padded to 8, the minor one to 128
SUBLANES, LANES = 8, 128
#: a layout that pads a tensor to more than this many times its size is never drawn: it would not fit the memory
MOST_PADDING = 32.0

_LABELS = re.compile(r"dim_labels=(\w+)_(\w+)->(\w+)")


@dataclass(frozen=True)
class Slot:
    """A tensor of a node whose layout may be chosen.

    Attributes:
        node: Position of the node among the configurable ones.
        slot: 0 output, 1 input, 2 kernel.
        layouts: The layouts that may be chosen, each whole, minor to major.
        written: How many of a layout's dimensions stand in the configuration.
        odds: Of each layout, to be drawn; they add up to one.
        own: Which of them the compiler chooses by itself, FREE if none.
    """

    node: int
    slot: int
    layouts: tuple[tuple[int, ...], ...]
    written: int
    odds: tuple[float, ...]
    own: int = FREE


def padding(dims: tuple[int, ...], layout: tuple[int, ...]) -> float:
    """Elements in memory per element of a tensor that is tiled in this layout."""
    padded = list(dims)
    for position, tile in zip(layout, (LANES, SUBLANES), strict=False):
        padded[position] = -(-dims[position] // tile) * tile
    return math.prod(padded) / math.prod(dims)


def _minor(rank: int, pair: tuple[int, int]) -> list[tuple[int, ...]]:
    """Whole layouts with the pair minor, in either order, the rest row-major."""
    rest = [dimension for dimension in row_major(rank) if dimension not in pair]
    return [(*pair, *rest), (*pair[::-1], *rest)]


def _reshaped(rank: int) -> list[tuple[int, ...]]:
    """Row-major, its two minor dimensions exchanged, and each other dimension made the minor one."""
    plain = row_major(rank)
    moved = [(dimension, *(other for other in plain if other != dimension)) for dimension in plain]
    return list(dict.fromkeys([plain, (plain[1], plain[0], *plain[2:]), *moved]))


def _dimensions(text: str, name: str) -> tuple[int, ...]:
    match = re.search(name + r"=\{([\d,]*)\}", text)
    return tuple(int(part) for part in match[1].split(",")) if match and match[1] else ()


def _dot_pairs(node: ConfigurableNode) -> list[tuple[int, int] | None]:
    """For output, left and right of a dot: its last two dimensions that are no batch, None where there are not two."""
    _, left, right = node.tensors
    rest = node.instruction.rest
    batch = len(_dimensions(rest, "lhs_batch_dims"))
    pairs: list[tuple[int, int] | None] = [None]
    kept = []
    for tensor, side in ((left, "lhs"), (right, "rhs")):
        contracted = _dimensions(rest, f"{side}_contracting_dims")
        own = [d for d in range(len(tensor.dims)) if d not in (*_dimensions(rest, f"{side}_batch_dims"), *contracted)]
        kept.append(len(own))
        pairs.append((max(own), max(contracted)) if own and contracted else None)
    if all(kept):
        pairs[0] = (batch + kept[0] + kept[1] - 1, batch + kept[0] - 1)
    return pairs


def _convolution_pairs(node: ConfigurableNode) -> list[tuple[int, int]]:
    given, kernel, output = _LABELS.search(node.instruction.rest).groups()
    return [
        (output.index("f"), output.index("b")),
        (given.index("f"), given.index("b")),
        (kernel.index("o"), kernel.index("i")),
    ]


def _options(node: ConfigurableNode, slot: int, tensor: Instruction) -> tuple[list[tuple[int, ...]], int]:
    """Layouts of one tensor before any is left out, and how many dimensions are written of each."""
    rank = len(tensor.dims)
    if node.instruction.opcode == "reshape":
        return _reshaped(rank), rank
    pairs = _convolution_pairs(node) if node.instruction.opcode == "convolution" else _dot_pairs(node)
    return (_minor(rank, pairs[slot]), 2) if pairs[slot] else ([], 2)


def slots_of(nodes: list[ConfigurableNode], assigned: str) -> list[Slot]:
    """The slots of all nodes that have a choice of at least two layouts.

    Odds fall with the memory that a layout pads a tensor by: a batch of two made minor is 64 times the tensor.

    Args:
        assigned: The module's text after layout assignment: the compiler's own layouts.
    """
    own = layouts_of(assigned, nodes)
    slots = []
    for position, node in enumerate(nodes):
        for slot, tensor in enumerate(node.tensors):
            if tensor is None or len(tensor.dims) < 2:
                continue
            layouts, written = _options(node, slot, tensor)
            sizes = [padding(tensor.dims, layout) for layout in layouts]
            usable = [(layout, size) for layout, size in zip(layouts, sizes, strict=True) if size <= MOST_PADDING]
            if len(usable) < 2:
                continue
            odds = np.array([1 / size for _, size in usable])
            chosen = tuple(layout for layout, _ in usable)
            chosen_by_compiler = tuple(own[position, slot, : len(tensor.dims)].tolist())
            index = chosen.index(chosen_by_compiler) if chosen_by_compiler in chosen else FREE
            slots.append(Slot(position, slot, chosen, written, tuple(odds / odds.sum()), index))
    return slots


def configuration(slots: list[Slot], choice: np.ndarray, node_count: int) -> np.ndarray:
    """(nc, 3, 6) int8 as in the npz files.

    Args:
        choice: (slots,) index into each slot's layouts, or FREE.
    """
    rows = np.full((node_count, 3, MAX_RANK), -1, np.int8)
    for slot, index in zip(slots, choice, strict=True):
        if index != FREE:
            rows[slot.node, slot.slot, : slot.written] = slot.layouts[index][: slot.written]
    return rows


def forced(
    nodes: list[ConfigurableNode], slots: list[Slot], choice: np.ndarray
) -> dict[str, dict[int, tuple[int, ...]]]:
    """The chosen layouts as `tpu.constraints.constrained` takes them: by node and slot, whole, minor to major."""
    layouts: dict[str, dict[int, tuple[int, ...]]] = {}
    for slot, index in zip(slots, choice, strict=True):
        if index != FREE:
            name = nodes[slot.node].instruction.name.lstrip("%")
            layouts.setdefault(name, {})[slot.slot] = slot.layouts[index]
    return layouts
