"""Reads the text of an HLO module and forces tensor layouts on it.

A layout is forced by a ``LayoutConstraint`` custom call around one operand or result. Its
``operand_layout_constraints`` must be there: without them the conversion to StableHLO drops the constraint
in silence, and every configuration would run alike.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np

from stages.graphs.tensors import MAX_RANK

#: opcodes whose layouts a configuration chooses. TpuGraphs configures convolution, dot and reshape; on XLA:CPU
#: transposes and reductions are where a relayout costs, so they are configurable here too.
CONFIGURABLE = ("convolution", "dot", "reshape", "transpose", "reduce")
#: below this a relayout costs less than the clock can tell
MIN_ELEMENTS = 1024

_INSTRUCTION = re.compile(
    r"^\s+(?P<root>ROOT )?(?P<name>%[\w.\-]+) = (?P<type>[a-z]\w*)\[(?P<dims>[\d,]*)\](?:\{(?P<layout>[\d,]*)[^}]*\})?"
    r" (?P<opcode>[\w\-]+)\((?P<operands>.*?)\)(?P<rest>.*)$"
)


@dataclass(frozen=True)
class Instruction:
    """One array-shaped instruction of a module's text; ``layout`` is minor-to-major."""

    name: str
    line: int
    root: bool
    element_type: str
    dims: tuple[int, ...]
    layout: tuple[int, ...]
    opcode: str
    operands: tuple[str, ...]
    rest: str


def row_major(rank: int) -> tuple[int, ...]:
    """Minor-to-major order of a row-major tensor: the last dimension varies fastest."""
    return tuple(range(rank - 1, -1, -1))


def _integers(text: str | None) -> tuple[int, ...]:
    return tuple(int(part) for part in text.split(",")) if text else ()


def instructions(text: str) -> dict[str, Instruction]:
    """Array-shaped instructions of all computations by name (names are unique in a module); tuples are left out."""
    found = {}
    for number, line in enumerate(text.splitlines()):
        match = _INSTRUCTION.match(line)
        if not match:
            continue
        dims = _integers(match["dims"])
        layout = _integers(match["layout"]) or row_major(len(dims))
        operands = tuple(re.findall(r"%[\w.\-]+", match["operands"]))
        name, root, element_type, opcode, rest = match.group("name", "root", "type", "opcode", "rest")
        found[name] = Instruction(name, number, bool(root), element_type, dims, layout, opcode, operands, rest)
    return found


@dataclass(frozen=True)
class ConfigurableNode:
    """An instruction whose layouts may be chosen: the tensor of each slot, ``None`` where the slot does not exist."""

    instruction: Instruction
    tensors: tuple[Instruction | None, Instruction | None, Instruction | None]

    @property
    def ranks(self) -> tuple[int, int, int]:
        return tuple(len(tensor.dims) if tensor else 0 for tensor in self.tensors)


def configurable_nodes(text: str) -> list[ConfigurableNode]:
    """Configurable instructions of a module, in the order of its text.

    Configurable: an opcode of ``CONFIGURABLE``, rank 2 to 6, at least ``MIN_ELEMENTS`` elements.
    """
    by_name = instructions(text)
    nodes = []
    for instruction in by_name.values():
        if instruction.opcode not in CONFIGURABLE or not 2 <= len(instruction.dims) <= MAX_RANK:
            continue
        if np.prod(instruction.dims, dtype=np.int64) < MIN_ELEMENTS:
            continue
        wanted = 2 if instruction.opcode in ("convolution", "dot") else 1
        operands = [by_name.get(name) for name in instruction.operands[:wanted]]
        if any(operand is not None and len(operand.dims) > MAX_RANK for operand in operands):
            continue
        nodes.append(ConfigurableNode(instruction, tuple([instruction, *operands, None, None][:3])))
    return nodes


def _constraint(name: str, tensor: Instruction, source: str, layout: tuple[int, ...], root: bool) -> str:
    shape = f"{tensor.element_type}[{','.join(map(str, tensor.dims))}]"
    wanted = "{" + ",".join(map(str, layout)) + "}"
    given = "{" + ",".join(map(str, row_major(len(tensor.dims)))) + "}"
    prefix = "  ROOT " if root else "  "
    return (
        f'{prefix}{name} = {shape}{wanted} custom-call({source}), custom_call_target="LayoutConstraint",'
        f" operand_layout_constraints={{{shape}{given}}}"
    )


def constrained(text: str, nodes: list[ConfigurableNode], configuration: np.ndarray) -> str:
    """Text of the module with the configuration's layouts forced.

    configuration: (nc, 3, 6) int8, minor-to-major, padded with -1; rows in the order of ``nodes``.
    Slots of rank below 2 have only one layout and get no constraint.
    """
    lines = text.splitlines()
    for node, row in zip(nodes, configuration, strict=True):
        instruction = node.instruction
        before, operands = [], list(instruction.operands)
        for slot, tensor in enumerate(node.tensors[1:], start=1):
            if tensor is None or len(tensor.dims) < 2:
                continue
            name = f"{instruction.name}.constrained{slot}"
            before.append(_constraint(name, tensor, operands[slot - 1], tuple(row[slot][: len(tensor.dims)]), False))
            operands[slot - 1] = name
        shape = f"{instruction.element_type}[{','.join(map(str, instruction.dims))}]"
        free = f"{instruction.name}.free"
        before.append(f"  {free} = {shape} {instruction.opcode}({', '.join(operands)}){instruction.rest}")
        layout = tuple(row[0][: len(instruction.dims)])
        before.append(_constraint(instruction.name, instruction, free, layout, instruction.root))
        lines[instruction.line] = "\n".join(before)
    return "\n".join(lines)


def layouts_of(text: str, nodes: list[ConfigurableNode]) -> np.ndarray:
    """(nc, 3, 6) int8: the layouts that the nodes, found by name, have in ``text``; row-major where a name is gone."""
    by_name = instructions(text)
    configuration = np.full((len(nodes), 3, MAX_RANK), -1, np.int8)
    for position, node in enumerate(nodes):
        there = by_name.get(node.instruction.name)
        for slot, tensor in enumerate(node.tensors):
            if tensor is None:
                continue
            layout = row_major(len(tensor.dims))
            if there is not None and there.opcode == node.instruction.opcode:
                now = there if slot == 0 else by_name.get(there.operands[slot - 1])
                if now is not None and now.dims == tensor.dims:
                    layout = now.layout
            configuration[position, slot, : len(layout)] = layout
    return configuration
