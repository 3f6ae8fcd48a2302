"""The layouts found as JAX takes them: forced on the equations of the function, in a file that needs JAX alone."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from google.protobuf.unknown_fields import UnknownFieldSet

from stages.collect.tpu import cutting, libtpu
from stages.collect.tpu.simulate import Simulator
from stages.collect.tpu_data.compiled import simulated
from stages.engine.errors import InputError
from stages.graphs.tensors import SLOTS
from stages.hlo import hlo_pb2
from stages.tuning import source
from stages.tuning.outcome import TIMES, Forced
from stages.tuning.problem import Problem

#: what JAX calls the configurable instructions
PRIMITIVES = {
    "convolution": ("conv_general_dilated",),
    "dot": ("dot_general",),
    "reshape": ("reshape", "squeeze", "expand_dims"),
}
#: number of an instruction's field that says where it comes from; `hlo.proto` leaves it out
_METADATA = 7
_SCOPE = re.compile(rb"equation(\d+)\.([\w-]+)((?:\.(?:\d+|a))*)/")
#: of what is no equation's result: arguments and constants
ARGUMENT = "a"

#: as `equations.tuned` takes them
Layouts = dict[int, dict[int, tuple[tuple[int, ...], tuple[int, ...]]]]


@dataclass(frozen=True)
class Snippet:
    """A tuned function in JAX.

    Attributes:
        text: Of the file.
        forced: Layouts that it forces, of how many.
        of: How many were found.
        time_ns: Simulated time of the function as the file makes it; None where that does not compile.
    """

    text: str
    forced: int
    of: int
    time_ns: float | None


@dataclass(frozen=True)
class Place:
    """The equation that an instruction of a traced function comes from.

    Attributes:
        number: Of the equation; primitive: its name.
        origins: Of the equation's first two operands, the numbers of the equations that they come from, or `ARGUMENT`.
        operands: The same of the instruction's own, None where it cannot be told.
    """

    number: int
    primitive: str
    origins: tuple[str, ...]
    operands: tuple[str | None, ...]

    def slot(self, slot: int, alike: bool) -> int | None:
        """The equation's slot that an instruction's slot is: the compiler exchanges operands.

        Args:
            slot: 0 the result, 1 and 2 the operands.
            alike: Whether the two operands are of one shape, so that it does not tell them apart.

        Returns:
            None where it cannot be told.
        """
        if slot == 0:
            return 0
        origin = self.operands[slot - 1] if slot <= len(self.operands) else None
        same = [place for place, each in enumerate(self.origins, start=1) if each == origin]
        if len(same) == 1:
            return same[0]
        return slot if not alike or len(same) > 1 else None


def places_of(proto: bytes) -> dict[str, Place]:
    """The equations that instructions of a traced function come from, by the instructions' names."""
    found = {}
    for computation in hlo_pb2.HloProto.FromString(proto).hlo_module.computations:
        scopes, origins = {}, {}
        for instruction in computation.instructions:
            fields = UnknownFieldSet(instruction)
            told = _SCOPE.search(b"".join(each.data for each in fields if each.field_number == _METADATA))
            if told:
                scopes[instruction.id] = told
            plain = instruction.opcode in ("parameter", "constant")
            origins[instruction.id] = ARGUMENT if plain else told[1].decode() if told else None
        for instruction in computation.instructions:
            if told := scopes.get(instruction.id):
                number, primitive, rest = (each.decode() for each in told.groups())
                operands = tuple(origins.get(each) for each in instruction.operand_ids)
                found[instruction.name] = Place(int(number), primitive, tuple(rest.split(".")[1:]), operands)
    return found


def expressible(layouts: Sequence[Forced], places: Mapping[str, Place], alike: Callable[[str], bool]) -> Layouts:
    """The layouts that can be forced on equations.

    An instruction must be of its equation's own kind, and the only one of it that has layouts: what the compiler made
    of an equation otherwise is no tensor of the function.

    Args:
        layouts: That were found.
        places: Of `places_of`.
        alike: Whether the two operands of an instruction, by its name, are of one shape.
    """
    owner: dict[int, str] = {}
    shared, result = set(), {}
    for each in layouts:
        place = places.get(each.node)
        if place is None or place.primitive not in PRIMITIVES[each.opcode]:
            continue
        if owner.setdefault(place.number, each.node) != each.node:
            shared.add(place.number)
        if (slot := place.slot(SLOTS.index(each.slot), alike(each.node))) is None:
            continue
        dims = tuple(int(size) for size in each.shape[each.shape.index("[") + 1 : -1].split(","))
        result.setdefault(place.number, {})[slot] = dims, each.major_to_minor
    return {number: slots for number, slots in result.items() if number not in shared}


def without(layouts: Layouts, left: Sequence[tuple[int, int]]) -> Layouts:
    """The layouts without those of some equations and slots."""
    kept = {
        number: {slot: layout for slot, layout in slots.items() if (number, slot) not in left}
        for number, slots in layouts.items()
    }
    return {number: slots for number, slots in kept.items() if slots}


def make(given: source.Source, problem: Problem, layouts: Sequence[Forced], simulator: Simulator) -> Snippet | None:
    """The function in JAX with the layouts found, compiled so once.

    Args:
        given: What was tuned.
        problem: The same before layout assignment.
        layouts: That were found.
        simulator: Compiles.

    Returns:
        None where it is a program of the data set, or no layout can be forced in JAX.
    """
    if not given.function:
        return None
    operands = {node.instruction.name.lstrip("%"): node.tensors[1:] for node in problem.nodes}

    def alike(name: str) -> bool:
        one, other = operands[name]
        return other is not None and one.dims == other.dims

    wanted = expressible(layouts, places_of(problem.proto), alike)
    if not wanted:
        return None
    try:
        text, left = source.constrained(given, wanted)
        if not (wanted := without(wanted, left)):
            return None
        time_ns = simulated(simulator, simulator.stages(text).before).time_ns
    except (InputError, libtpu.CompileError, cutting.Uncuttable):
        time_ns = None
    count = sum(map(len, wanted.values()))
    return Snippet(_file(given.name, wanted), count, len(layouts), None if time_ns is None else float(round(time_ns)))


def _file(name: str, layouts: Layouts) -> str:
    """The file: `equations`, and the layouts."""
    body = Path(__file__).with_name("equations.py").read_text().partition('"""\n\n')[2]
    lines = [f"    {number}: {slots!r}," for number, slots in sorted(layouts.items())]
    return "\n".join(
        [
            f'"""{name} with the layouts that a search found; the gain is {TIMES}.',
            "",
            "    from tuned import LAYOUTS, tuned",
            "    faster = jax.jit(tuned(function, arguments, LAYOUTS))",
            "",
            "The layouts belong to this function with arguments of the shapes it was tuned for.",
            '"""',
            "",
            body,
            "",
            "#: equation -> slot (0 the result, 1 and 2 the operands) -> shape, and its dimensions, major to minor",
            "LAYOUTS = {",
            *lines,
            "}",
            "",
        ]
    )
