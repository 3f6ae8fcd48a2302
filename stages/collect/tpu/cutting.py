"""Cuts an optimised program into its kernels, each a module of its own.

Every instruction of the entry computation that runs on the TPU is a kernel: a fusion, a copy, a convolution. So are
those of loop bodies, which run as often as the loop turns. Kernels that do the same have the same text, so that each
is compiled once, whatever program it stands in.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass

from stages.collect.tpu.hlo import Computation, Instruction, Module, parse

#: instructions that name, hold or rename values and cost nothing by themselves
FREE = {
    "add-dependency",
    "after-all",
    "bitcast",
    "constant",
    "copy-done",
    "copy-start",
    "get-tuple-element",
    "opt-barrier",
    "parameter",
    "tuple",
}
#: custom calls that stand for no work: the one that ends a compilation before code generation, and reserved memory
_FREE_TARGETS = ('custom_call_target="stop_here"', 'custom_call_target="AllocateBuffer"')
#: attributes that say where an instruction comes from or when it runs, not what it does
_PROVENANCE = re.compile(
    r", (?:metadata|frontend_attributes|sharding|control-predecessors|origin)=\{(?:[^{}]|\{(?:[^{}]|\{[^{}]*\})*\})*\}"
)
_BACKEND_CONFIG = re.compile(r", backend_config=(\{.*\})$")
#: what the memory planner may do with a kernel's buffers; it decides anew in the kernel's own module
_PLANNING = {"aliasing_operands"}
_NAME = re.compile(r"%[\w.\-]+")


class Uncuttable(ValueError):
    """A program that is no plain list of kernels; the message says why."""


@dataclass(frozen=True)
class Kernel:
    """A kernel of a program: its instruction's name and opcode there, its own module's text, and how often it runs."""

    name: str
    opcode: str
    text: str
    trips: int


def kernels(text: str) -> list[Kernel]:
    """The kernels of an optimised program, in the order in which they run.

    Args:
        text: HLO text of the program after all HLO passes, scheduled.

    Raises:
        Uncuttable: A conditional, or a loop whose number of trips is not known.
    """
    module = parse(text)
    return list(_kernels_of(module, module.entry, 1))


def _kernels_of(module: Module, computation: Computation, trips: int):
    for instruction in computation.instructions:
        if instruction.opcode == "while":
            body = module.computations[_attribute(instruction, "body")]
            yield from _kernels_of(module, body, trips * trip_count(module, computation, instruction))
        elif instruction.opcode == "call":
            yield from _kernels_of(module, module.computations[_attribute(instruction, "to_apply")], trips)
        elif instruction.opcode == "conditional":
            raise Uncuttable(f"{instruction.name} is a conditional: which branch runs is not known")
        elif not _is_free(computation, instruction):
            yield Kernel(
                instruction.name.lstrip("%"), instruction.opcode, _module_of(module, computation, instruction), trips
            )


def _attribute(instruction: Instruction, key: str) -> str:
    return re.search(rf"{key}=(%[\w.\-]+)", instruction.attributes)[1]


def _is_free(computation: Computation, instruction: Instruction) -> bool:
    if instruction.opcode in FREE or any(target in instruction.attributes for target in _FREE_TARGETS):
        return True
    # Loop counters and the like stay in the scalar unit; no kernel is started for them.
    types = [instruction.type, *(computation.by_name[operand].type for operand in instruction.operands)]
    return all(re.match(r"[a-z]\w*\[\]", each) for each in types)


def trip_count(module: Module, computation: Computation, loop: Instruction) -> int:
    """How often a loop's body runs: as the compiler notes it, else from a counter that is compared with a constant.

    Raises:
        Uncuttable: Neither says it.
    """
    noted = re.search(r'"known_trip_count":\{"n":"(\d+)"', loop.attributes)
    if noted:
        return int(noted[1])
    unknown = Uncuttable(f"the number of trips of {loop.name} is not known")
    condition = module.computations[_attribute(loop, "condition")]
    body = module.computations[_attribute(loop, "body")]
    test = condition.root
    direction = re.search(r"direction=(\w+)", test.attributes)
    if test.opcode != "compare" or not direction or direction[1] not in ("LT", "LE", "NE"):
        raise unknown
    counter, limit = (condition.by_name[operand] for operand in test.operands)
    position = re.search(r"index=(\d+)", counter.attributes)
    if counter.opcode != "get-tuple-element" or not position:
        raise unknown
    start = _element(computation, computation.by_name[loop.operands[0]], int(position[1]))
    end = _integer(condition, limit)
    if end is None and limit.opcode == "get-tuple-element":  # the limit goes round with the loop, unchanged
        place = int(re.search(r"index=(\d+)", limit.attributes)[1])
        end = _integer(computation, _element(computation, computation.by_name[loop.operands[0]], place))
    begin = _integer(computation, start)
    step = _step(body, int(position[1]))
    if begin is None or end is None or not step:
        raise unknown
    span = end - begin + (direction[1] == "LE")
    return max(0, -(-span // step))


def _element(computation: Computation, value: Instruction | None, position: int) -> Instruction | None:
    if value is None or value.opcode != "tuple":
        return None
    return computation.by_name[value.operands[position]]


def _integer(computation: Computation, value: Instruction | None) -> int | None:
    """The value of an integer constant, looked for behind copies and bitcasts."""
    value = value and _behind(computation, value)
    if value is None or value.opcode != "constant" or not re.fullmatch(r"-?\d+", value.arguments):
        return None
    return int(value.arguments)


def _behind(computation: Computation, value: Instruction) -> Instruction:
    """The value that copies and bitcasts repeat."""
    while value.opcode in ("copy", "bitcast"):
        value = computation.by_name[value.operands[0]]
    return value


def _step(body: Computation, position: int) -> int | None:
    """What a loop's body adds to the element of its state at ``position``."""
    following = _element(body, body.root, position)
    following = following and _behind(body, following)
    if following is None or following.opcode != "add":
        return None
    terms = [_behind(body, body.by_name[operand]) for operand in following.operands]
    counters = [term for term in terms if re.search(rf"index={position}\b", term.attributes)]
    steps = [_integer(body, term) for term in terms]
    return next((step for step in steps if step is not None), None) if counters else None


def _module_of(module: Module, computation: Computation, instruction: Instruction) -> str:
    """The instruction as a module of its own, its distinct operands as parameters, in canonical names."""
    operands = list(dict.fromkeys(instruction.operands))
    lines = []
    for name in module.closure(instruction.called):
        lines += [f"{name} {{", *(_cleaned(each.line) for each in module.computations[name].instructions), "}", ""]
    lines.append("ENTRY %entry {")
    for number, operand in enumerate(operands):
        lines.append(f"  %parameter{number} = {computation.by_name[operand].type} parameter({number})")
    arguments = ", ".join(f"%parameter{operands.index(operand)}" for operand in instruction.operands)
    root = f"  ROOT %result = {instruction.type} {instruction.opcode}({arguments}){instruction.attributes}"
    lines += [_cleaned(root), "}", ""]
    return "HloModule kernel, is_scheduled=true\n\n" + _with_canonical_names("\n".join(lines))


def _cleaned(line: str) -> str:
    """A line without provenance, and without a backend configuration that configures nothing."""
    line = _PROVENANCE.sub("", line)
    found = _BACKEND_CONFIG.search(line)
    if found:
        config = {key: value for key, value in json.loads(found[1]).items() if value and key not in _PLANNING}
        line = line[: found.start()] + (
            f", backend_config={json.dumps(config, separators=(',', ':'))}" if config else ""
        )
    return line


def _with_canonical_names(text: str) -> str:
    """Names numbered in the order in which they appear."""
    numbers: dict[str, str] = {}
    return _NAME.sub(lambda name: numbers.setdefault(name[0], f"%v{len(numbers)}"), text)
