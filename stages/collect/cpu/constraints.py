"""Forces the layouts of a configuration on the text of an HLO module for XLA:CPU.

A layout is forced by a ``LayoutConstraint`` custom call around one operand or result. Its
``operand_layout_constraints`` must be there: without them the conversion to StableHLO drops the constraint
in silence, and every configuration would run alike.
"""

from __future__ import annotations

import numpy as np

from stages.collect.hlo_text import MAX_RANK, MIN_ELEMENTS, ConfigurableNode, Instruction, instructions, row_major

#: opcodes whose layouts a configuration chooses. TpuGraphs configures convolution, dot and reshape; on XLA:CPU
#: transposes and reductions are where a relayout costs, so they are configurable here too.
CONFIGURABLE = ("convolution", "dot", "reshape", "transpose", "reduce")


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
        slots = 2 if instruction.opcode in ("convolution", "dot") else 1
        operands = [by_name.get(name) for name in instruction.operands[:slots]]
        if any(operand is not None and len(operand.dims) > MAX_RANK for operand in operands):
            continue
        nodes.append(ConfigurableNode(instruction, tuple([instruction, *operands, None, None][:3])))
    return nodes


def _constraint(name: str, tensor: Instruction, source: str, layout: tuple[int, ...], root: bool) -> str:
    """The line that gives the layout to the tensor ``source``, under the name ``name``."""
    shape = _shape(tensor)
    forced = "{" + ",".join(map(str, layout)) + "}"
    default = "{" + ",".join(map(str, row_major(len(tensor.dims)))) + "}"
    prefix = "  ROOT " if root else "  "
    return (
        f'{prefix}{name} = {shape}{forced} custom-call({source}), custom_call_target="LayoutConstraint",'
        f" operand_layout_constraints={{{shape}{default}}}"
    )


def constrained(text: str, nodes: list[ConfigurableNode], configuration: np.ndarray) -> str:
    """Text of the module with the configuration's layouts forced.

    Slots of rank below 2 have only one layout and get no constraint.

    Args:
        configuration: (nc, 3, 6) int8, minor-to-major, padded with -1; rows in the order of ``nodes``.

    Raises:
        ValueError: there is not one row for each node.
    """
    lines = text.splitlines()
    for node, row in zip(nodes, configuration, strict=True):
        lines[node.instruction.line] = "\n".join(_constrained_node(node, row))
    return "\n".join(lines)


def _constrained_node(node: ConfigurableNode, row: np.ndarray) -> list[str]:
    """The lines of one node: its operands' constraints, itself without a layout, its own constraint; row: (3, 6)."""
    instruction = node.instruction
    lines, operands = [], list(instruction.operands)
    for slot, tensor in enumerate(node.tensors[1:], start=1):
        if tensor is None or len(tensor.dims) < 2:
            continue
        name = f"{instruction.name}.constrained{slot}"
        lines.append(_constraint(name, tensor, operands[slot - 1], tuple(row[slot][: len(tensor.dims)]), False))
        operands[slot - 1] = name
    free = f"{instruction.name}.free"
    lines.append(f"  {free} = {_shape(instruction)} {instruction.opcode}({', '.join(operands)}){instruction.rest}")
    layout = tuple(row[0][: len(instruction.dims)])
    lines.append(_constraint(instruction.name, instruction, free, layout, instruction.root))
    return lines


def _shape(tensor: Instruction) -> str:
    return f"{tensor.element_type}[{','.join(map(str, tensor.dims))}]"
