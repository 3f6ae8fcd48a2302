"""Reads the text of an HLO module: its instructions, and the layouts of the nodes that a configuration chooses."""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np

from stages.graphs.tensors import MAX_RANK

#: below this a relayout costs less than the clock can tell
MIN_ELEMENTS = 1024

_INSTRUCTION = re.compile(
    r"^\s+(?P<root>ROOT )?(?P<name>%[\w.\-]+) = (?P<type>[a-z]\w*)\[(?P<dims>[\d,]*)\](?:\{(?P<layout>[\d,]*)[^}]*\})?"
    r" (?P<opcode>[\w\-]+)\((?P<operands>.*?)\)(?P<rest>.*)$"
)


@dataclass(frozen=True)
class Instruction:
    """One array-shaped instruction of a module's text."""

    name: str  # with its per cent sign
    line: int  # of the text, from 0
    root: bool
    element_type: str
    dims: tuple[int, ...]
    layout: tuple[int, ...]  # minor-to-major
    opcode: str
    operands: tuple[str, ...]  # names
    rest: str  # of the line: the attributes


def row_major(rank: int) -> tuple[int, ...]:
    """Minor-to-major order of a row-major tensor: the last dimension varies fastest."""
    return tuple(range(rank - 1, -1, -1))


def _integers(text: str | None) -> tuple[int, ...]:
    return tuple(int(part) for part in text.split(",")) if text else ()


def instructions(text: str) -> dict[str, Instruction]:
    """Array-shaped instructions of all computations by name (names are unique in a module); tuples are left out."""
    by_name = {}
    for number, line in enumerate(text.splitlines()):
        match = _INSTRUCTION.match(line)
        if not match:
            continue
        dims = _integers(match["dims"])
        layout = _integers(match["layout"]) or row_major(len(dims))
        operands = tuple(re.findall(r"%[\w.\-]+", match["operands"]))
        name, root, element_type, opcode, rest = match.group("name", "root", "type", "opcode", "rest")
        by_name[name] = Instruction(name, number, bool(root), element_type, dims, layout, opcode, operands, rest)
    return by_name


@dataclass(frozen=True)
class ConfigurableNode:
    """An instruction whose layouts may be chosen.

    A slot is a part of a configuration's row, in the order of the official 18 columns: output, input, kernel.
    """

    instruction: Instruction
    tensors: tuple[Instruction | None, Instruction | None, Instruction | None]  # of each slot; None: no such slot

    @property
    def ranks(self) -> tuple[int, int, int]:
        """Of each slot's tensor; 0 where the slot does not exist."""
        return tuple(len(tensor.dims) if tensor else 0 for tensor in self.tensors)


def layouts_of(text: str, nodes: list[ConfigurableNode]) -> np.ndarray:
    """Layouts that the nodes have in a text, looked up by name.

    Args:
        text: Of a module; the nodes may be another module's, such as the same one before a pass of the compiler.

    Returns:
        (nc, 3, 6) int8, minor-to-major, padded with -1; row-major where a node's name, opcode or shape is gone.
    """
    by_name = instructions(text)
    configuration = np.full((len(nodes), 3, MAX_RANK), -1, np.int8)
    for position, node in enumerate(nodes):
        for slot, tensor in enumerate(node.tensors):
            if tensor is None:
                continue
            layout = _layout_in(by_name, node.instruction, slot, tensor)
            configuration[position, slot, : len(layout)] = layout
    return configuration


def _layout_in(by_name: dict[str, Instruction], node: Instruction, slot: int, tensor: Instruction) -> tuple[int, ...]:
    """Layout of a node's slot in another text's instructions; row-major where they have no such tensor."""
    namesake = by_name.get(node.name)
    if namesake is not None and namesake.opcode == node.opcode:
        counterpart = namesake if slot == 0 else by_name.get(namesake.operands[slot - 1])
        if counterpart is not None and counterpart.dims == tensor.dims:
            return counterpart.layout
    return row_major(len(tensor.dims))
