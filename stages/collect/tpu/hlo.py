"""Reads the text of HLO modules: computations, their instructions, and which computations they call."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property

_HEADER = re.compile(r"^(ENTRY )?(%[\w.\-]+) (?:\(.*)?\{\s*$")
_START = re.compile(r"^\s+(?P<root>ROOT )?(?P<name>%[\w.\-]+) = ")
_CALLED = re.compile(r"(?:calls|to_apply|body|condition|comparator|select|scatter|called_computations)=\{?(%[\w.\-]+)")
_INDEX_COMMENT = re.compile(r"/\*index=\d+\*/")
_BRACKET = re.compile(r"[()\[\]{}]")
_NAME = re.compile(r"%[\w.\-]+")


@dataclass(frozen=True)
class Instruction:
    """One line of a computation: ``ROOT %name = type opcode(operands)attributes``."""

    name: str
    root: bool
    type: str
    opcode: str
    arguments: str
    attributes: str

    @property
    def operands(self) -> tuple[str, ...]:
        """Names of the operands, in order, repetitions kept."""
        return tuple(_NAME.findall(self.arguments))

    @property
    def called(self) -> tuple[str, ...]:
        """Names of the computations that the instruction calls."""
        return tuple(_CALLED.findall(self.attributes))

    @property
    def line(self) -> str:
        prefix = "  ROOT " if self.root else "  "
        return f"{prefix}{self.name} = {self.type} {self.opcode}({self.arguments}){self.attributes}"


@dataclass(frozen=True)
class Computation:
    """A computation's instructions in the order of the text, which is the schedule in an optimised program."""

    name: str
    entry: bool
    instructions: tuple[Instruction, ...]

    @cached_property
    def by_name(self) -> dict[str, Instruction]:
        return {instruction.name: instruction for instruction in self.instructions}

    @property
    def root(self) -> Instruction:
        return next(instruction for instruction in self.instructions if instruction.root)


@dataclass(frozen=True)
class Module:
    """A module's computations by name."""

    computations: dict[str, Computation]

    @property
    def entry(self) -> Computation:
        return next(computation for computation in self.computations.values() if computation.entry)

    def closure(self, names: tuple[str, ...]) -> list[str]:
        """The named computations and all that they call, callees first, each once."""
        ordered: dict[str, None] = {}

        def visit(name: str) -> None:
            if name in ordered:
                return
            for instruction in self.computations[name].instructions:
                for callee in instruction.called:
                    visit(callee)
            ordered[name] = None

        for name in names:
            visit(name)
        return list(ordered)


def _closing(text: str, start: int) -> int:
    """Position behind the bracket that closes the one at ``start``."""
    depth = 0
    for bracket in _BRACKET.finditer(text, start):
        depth += 1 if bracket[0] in "([{" else -1
        if depth == 0:
            return bracket.end()
    raise ValueError(f"a bracket is not closed: {text[:80]}")


def _instruction(line: str) -> Instruction | None:
    start = _START.match(line)
    if not start:
        return None
    rest = line[start.end() :]
    # A tuple's type is bracketed and holds spaces; an array's type has none.
    type_end = _closing(rest, 0) if rest.startswith("(") else rest.index(" ")
    opcode, bracket, _ = rest[type_end + 1 :].partition("(")
    opening = type_end + 1 + len(opcode)
    if not bracket:
        return None
    end = _closing(rest, opening)
    return Instruction(
        start["name"], bool(start["root"]), rest[:type_end], opcode, rest[opening + 1 : end - 1], rest[end:]
    )


def parse(text: str) -> Module:
    """Reads a module's text as XLA prints it, one instruction a line and every name with its per cent sign.

    Raises:
        ValueError: The text has no entry computation.
    """
    computations: dict[str, Computation] = {}
    name, entry, lines = None, False, []
    for line in _INDEX_COMMENT.sub("", text).splitlines():
        if name is None:
            header = _HEADER.match(line)
            if header:
                name, entry, lines = header[2], bool(header[1]), []
        elif line.startswith("}"):
            computations[name] = Computation(name, entry, tuple(lines))
            name = None
        else:
            instruction = _instruction(line)
            if instruction:
                lines.append(instruction)
    if not any(computation.entry for computation in computations.values()):
        raise ValueError("the text holds no entry computation")
    return Module(computations)
