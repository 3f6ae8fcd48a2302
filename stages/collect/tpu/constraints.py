"""Forces layouts on a program's tensors: ``LayoutConstraint`` custom calls in its text before layout assignment.

The compiler takes a constraint into the operation where the hardware can run it so, and adds a copy where it cannot.
Tensors without a constraint are laid out as the compiler chooses, along with the constrained ones around them.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping

from stages.collect.tpu.hlo import Instruction, Module, parse

#: layouts of the slots of an instruction, minor to major: 0 is its output, 1 its input, 2 its kernel
Slots = Mapping[int, tuple[int, ...]]
_SHAPE = re.compile(r"^([a-z]\w*\[([\d,]*)\])")


def constrained(text: str, layouts: Mapping[str, Slots]) -> str:
    """The module with layouts forced on some slots of some instructions.

    Args:
        text: HLO text before layout assignment, as `passes.Stages.before`.
        layouts: By an instruction's name without its per cent sign, the whole layout of each constrained slot.

    Raises:
        KeyError: No instruction has that name, or it has no such slot.
        ValueError: A layout is no order of the tensor's dimensions.
    """
    module = _parsed(text)
    wanted = {f"%{name}": slots for name, slots in layouts.items() if slots}
    lines: dict[str, str] = {}
    for computation in module.computations.values():
        for name in wanted.keys() & computation.by_name.keys():
            instruction = computation.by_name[name]
            lines[name] = _with_constraints(instruction, wanted[name], computation.by_name)
    if missing := wanted.keys() - lines.keys():
        raise KeyError(f"no instruction is named {min(missing).lstrip('%')}")
    result = []
    for line in text.splitlines():
        name = re.match(r"^\s+(?:ROOT )?(%[\w.\-]+) = ", line)
        result.append(lines.get(name[1], line) if name else line)
    return "\n".join(result) + "\n"


@functools.lru_cache(maxsize=1)
def _parsed(text: str) -> Module:
    """A search constrains one text a thousand times."""
    return parse(text)


def _with_constraints(instruction: Instruction, slots: Slots, by_name: Mapping[str, Instruction]) -> str:
    operands, before = list(instruction.operands), []
    for slot, layout in sorted(slots.items()):
        if slot > len(operands):
            raise KeyError(f"{instruction.name.lstrip('%')} has no slot {slot}")
        if slot > 0:
            name = f"{instruction.name}.slot{slot}"
            before.append("  " + _constraint(name, by_name[operands[slot - 1]].type, operands[slot - 1], layout))
            operands[slot - 1] = name
    name = instruction.name if 0 not in slots else f"{instruction.name}.free"
    call = f"{name} = {instruction.type} {instruction.opcode}({', '.join(operands)}){instruction.attributes}"
    lines = [*before, f"  {call}"]
    if 0 in slots:
        lines.append("  " + _constraint(instruction.name, instruction.type, name, slots[0]))
    if instruction.root:
        lines[-1] = f"  ROOT {lines[-1].strip()}"
    return "\n".join(lines)


def _constraint(name: str, type_text: str, operand: str, layout: tuple[int, ...]) -> str:
    shape = _SHAPE.match(type_text)
    rank = len(shape[2].split(",")) if shape and shape[2] else 0
    if sorted(layout) != list(range(rank)) or not rank:
        raise ValueError(f"{name.lstrip('%')}: {list(layout)} is no layout of {type_text}")
    order, row_major = (",".join(map(str, each)) for each in (layout, range(rank - 1, -1, -1)))
    # Without the operand's layout the compiler drops the constraint in silence.
    return (
        f'{name} = {shape[1]}{{{order}}} custom-call({operand}), custom_call_target="LayoutConstraint",'
        f" operand_layout_constraints={{{shape[1]}{{{row_major}}}}}"
    )
