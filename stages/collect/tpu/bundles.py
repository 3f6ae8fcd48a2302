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
_EXIT_TEST = re.compile(
    r"(?P<predicate>%p\w+) = scmp\.\S+ (?:\(!?%p\w+\), )?(?P<counter>%s\w+), (?P<end>\d+) /\* loop exit test"
)
_EXIT_LIMIT = re.compile(r"(?P<predicate>%p\w+) = scmp\.\S+ (?:\(!?%p\w+\), )?%s\w+, (?P<limit>%s\w+)")
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
#: bundles before its branch in which a loop's exit test stands, and definitions followed to its limit
_TEST_WITHIN = 40


@dataclass(frozen=True)
class Loop:
    """Bundles from ``first`` to ``last`` that a backward branch repeats.

    Attributes:
        trips: How often they run, where the loop's exit test compares with a constant.
        at_most: How often at most, where it compares with a value that is a constant but at the edge of a tensor.
    """

    first: int
    last: int
    trips: int | None
    at_most: int | None = None

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
        by_data: Whether the address depends on data, as a gather's does.
    """

    operand: int
    inward: bool
    loops: frozenset[int] | None
    by_data: bool


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
            test["predicate"]: -(-int(test["end"]) // self._step(test["counter"]))
            for text in self.texts
            if "loop exit test" in text
            for test in _EXIT_TEST.finditer(text)
        }
        loops = []
        for branch, target, predicate in self._branches:
            if target <= branch:
                tested = (predicate or "").lstrip("!")
                trips = exits.get(tested)
                at_most = None if trips is not None else self._limit_of_test(tested, branch)
                loops.append(Loop(target, branch + DELAY_SLOTS, trips, at_most))
        return loops

    def _step(self, counter: str) -> int:
        """What is added to a loop's counter each time: 1, but for loops that fill memory in larger pieces."""
        _, opcode, rest = self._definitions.get(counter, (0, "", ""))
        step = re.match(r"(\d+), %s\w+", _PREDICATE.sub("", rest).strip())
        return max(1, int(step[1])) if opcode == "sadd.s32" and step else 1

    def _limit_of_test(self, predicate: str, branch: int) -> int | None:
        """The constant that a loop's exit test compares with, looked for in the bundles before its branch."""
        for number in range(branch, max(-1, branch - _TEST_WITHIN), -1):
            for test in _EXIT_LIMIT.finditer(self.texts[number]):
                if test["predicate"] == predicate:
                    return self._constant(test["limit"], _TEST_WITHIN)
        return None

    def _constant(self, register: str, depth: int) -> int | None:
        """The constant in a register, sums worked out; of a constant and another value to choose from, the constant."""
        definition = self._definitions.get(register)
        if definition is None or depth == 0:
            return None
        _, opcode, rest = definition
        parts = [part.strip() for part in _PREDICATE.sub("", _COMMENT.sub("", rest)).split(",")]
        values = [int(part) if part.isdigit() else None for part in parts]
        if opcode == "smov":
            constants = [value for value in values if value is not None]
            return constants[0] if constants else self._constant(parts[0], depth - 1)
        if opcode == "sadd.s32":
            terms = [
                self._constant(part, depth - 1) if value is None else value
                for part, value in zip(parts, values, strict=True)
            ]
            return None if None in terms else sum(terms)
        return None

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
        operand, loops, everything, by_data = None, set(), False, False
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
                sources = list(self._sources(number, opcode, rest))
                by_data |= opcode == "sld" and not sources
                waiting += sources
        if operand is None:
            return None
        return Origin(int(operand[1]), operand[2] == "input", None if everything else frozenset(loops), by_data)

    def _sources(self, number: int, opcode: str, rest: str) -> Iterator[str]:
        plain = _PREDICATE.sub("", _COMMENT.sub("", rest))
        if opcode != "sld":
            yield from _REGISTER.findall(plain)
            return
        word = _LOAD.search(plain)
        register = self.stored(word[1], word[2] or "0", number) if word else None
        if register:
            yield register
