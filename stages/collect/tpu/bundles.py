"""The final VLIW bundles of a kernel as the compiler dumps them: cycles, branches, loops, origins of addresses."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

_BUNDLE = re.compile(r"(?m)^(?=[ \t]*(?:0x[0-9a-f]+|0)[ \t]+(?:[A-Z]{2})?[ \t]*:)")
_DELAY = re.compile(r"\bvdelay (\d+)")
_REGION_START = re.compile(r"Start(?:/End empty)? region (\d+)")
_BRANCH = re.compile(r"sbr\.rel (?:\((?P<predicate>!?%p\w+)\) )?target = \$region(?P<region>\d+)")
_EXIT_TEST = re.compile(r"(?P<predicate>%p\w+) = scmp\.\S+ %\w+, (?P<trips>\d+) /\* loop exit test")
_SCALAR = re.compile(r"(%s\w+) = ([a-z][\w.]*)\s*(.*?)(?=  ;;|\s*\}|$)", re.S)
_COMMENT = re.compile(r"/\*(.*?)\*/", re.S)
_PREDICATE = re.compile(r"\(!?%p\w+\),?")
_REGISTER = re.compile(r"%s\w+")
_STORE = re.compile(r"sst \[smem:\[#(\w+)(?: \+ \$0x([0-9a-f]+))?\]\] (%s\w+)")
_LOAD = re.compile(r"\[smem:\[#(\w+)(?: \+ \$0x([0-9a-f]+))?\]\]")
_OPERAND = re.compile(r"index: (\d+), kind: (input|output)")
_LOOP_INDEX = re.compile(r"iteration index, stage = \d+ iter bound = (\d+)")
_ANY_INDEX = re.compile(r"iteration index, stage = \d+")
#: the bundle behind a branch runs whether or not it is taken
DELAY_SLOTS = 1


@dataclass(frozen=True)
class Loop:
    """Bundles from ``first`` to ``last`` that run ``trips`` times; None where no constant says how often."""

    first: int
    last: int
    trips: int | None

    def holds(self, bundle: int) -> bool:
        return self.first <= bundle <= self.last


@dataclass(frozen=True)
class Skipped:
    """Bundles from ``first`` to ``last`` that a forward branch passes over when its predicate says so."""

    first: int
    last: int

    def holds(self, bundle: int) -> bool:
        return self.first <= bundle <= self.last


@dataclass(frozen=True)
class Origin:
    """Where an address in the chip's memory comes from.

    Attributes:
        operand: Number of the kernel's operand, its outputs counted after its inputs.
        inward: Whether the operand is an input.
        loops: Which of the kernel's iteration bounds the address moves with; None for all of them.
    """

    operand: int
    inward: bool
    loops: frozenset[int] | None


class Bundles:
    """A kernel's bundles in the order of their addresses.

    Args:
        text: One file of final bundles.
    """

    def __init__(self, text: str) -> None:
        self.texts = _BUNDLE.split(text)[1:]

    def __len__(self) -> int:
        return len(self.texts)

    @cached_property
    def cycles(self) -> list[int]:
        """Cycles of each bundle run once: its own and its delays."""
        return [1 + sum(map(int, _DELAY.findall(text))) if "vdelay" in text else 1 for text in self.texts]

    @cached_property
    def _branches(self) -> list[tuple[int, int, str | None]]:
        """Of each branch, its bundle, its target's bundle and its predicate."""
        starts: dict[str, int] = {}
        for number, text in enumerate(self.texts):
            if "tart" in text:
                for region in _REGION_START.findall(text):
                    starts.setdefault(region, number)
        return [
            (number, starts[branch["region"]], branch["predicate"])
            for number, text in enumerate(self.texts)
            if "sbr.rel" in text
            for branch in _BRANCH.finditer(text)
            if branch["region"] in starts
        ]

    @cached_property
    def loops(self) -> list[Loop]:
        """Backward branches with the bundles that they repeat."""
        exits = {
            test["predicate"]: int(test["trips"])
            for text in self.texts
            if "loop exit test" in text
            for test in _EXIT_TEST.finditer(text)
        }
        return [
            Loop(target, branch + DELAY_SLOTS, exits.get((predicate or "").lstrip("!")))
            for branch, target, predicate in self._branches
            if target <= branch
        ]

    @cached_property
    def skipped(self) -> list[Skipped]:
        """Forward branches with the bundles that they pass over."""
        return [
            Skipped(branch + DELAY_SLOTS + 1, target - 1)
            for branch, target, predicate in self._branches
            if target > branch + DELAY_SLOTS + 1 and predicate
        ]

    @cached_property
    def _definitions(self) -> dict[str, tuple[int, str, str]]:
        """Of each scalar register's value, the bundle, the opcode and the rest of its definition."""
        definitions: dict[str, tuple[int, str, str]] = {}
        for number, text in enumerate(self.texts):
            if "%s" in text:
                for name, opcode, rest in _SCALAR.findall(text):
                    definitions.setdefault(name, (number, opcode, rest))
        return definitions

    @cached_property
    def _stores(self) -> dict[tuple[str, str], list[tuple[int, str]]]:
        """Of each word of scalar memory, the bundles that write it and the registers that they write."""
        stores: dict[tuple[str, str], list[tuple[int, str]]] = {}
        for number, text in enumerate(self.texts):
            if "sst " in text:
                for allocation, word, register in _STORE.findall(text):
                    stores.setdefault((allocation, word or "0"), []).append((number, register))
        return stores

    def stored(self, allocation: str, word: str, before: int) -> str | None:
        """The register that was written last, in the order of the text, to a word of scalar memory."""
        stores = self._stores.get((allocation, word), [])
        earlier = [register for number, register in stores if number < before]
        if earlier:
            return earlier[-1]
        return stores[-1][1] if stores else None

    def origin(self, register: str) -> Origin | None:
        """Follows an address back to the operand that it points into; None where it points into no operand.

        Values that go round a loop are followed only if there is no way without them: they mix in addresses of other
        steps.
        """
        return self._origin(register, False) or self._origin(register, True)

    def _origin(self, register: str, through_phis: bool) -> Origin | None:
        operand, loops, everything = None, set(), False
        waiting, seen = [register], set()
        while waiting:
            name = waiting.pop()
            if name in seen or name not in self._definitions:
                continue
            seen.add(name)
            number, opcode, rest = self._definitions[name]
            if opcode.startswith("inlined_call_operand"):
                operand = operand or _OPERAND.search(rest)
                continue
            comment = " ".join(_COMMENT.findall(rest))
            indices = _LOOP_INDEX.findall(comment)
            if indices:
                loops.add(int(indices[0]))
                continue
            if opcode == "sphi" and _ANY_INDEX.search(comment):
                everything = True
                continue
            if opcode != "sphi" or through_phis:
                waiting += self._sources(number, opcode, rest)
        if operand is None:
            return None
        return Origin(int(operand[1]), operand[2] == "input", None if everything else frozenset(loops))

    def _sources(self, number: int, opcode: str, rest: str) -> Iterator[str]:
        plain = _PREDICATE.sub("", _COMMENT.sub("", rest))
        if opcode != "sld":
            yield from _REGISTER.findall(plain)
            return
        word = _LOAD.search(plain)
        register = self.stored(word[1], word[2] or "0", number) if word else None
        if register:
            yield register
