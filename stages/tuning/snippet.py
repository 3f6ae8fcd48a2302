"""The layouts found as JAX takes them: forced on the equations of the function, in a file that needs JAX alone."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from google.protobuf.unknown_fields import UnknownFieldSet

from stages.collect.tpu import cutting, libtpu
from stages.collect.tpu.simulate import Simulator
from stages.collect.tpu_data.compiled import simulated
from stages.engine.errors import InputError
from stages.graphs.tensors import SLOTS
from stages.hlo import hlo_pb2
from stages.tuning import equations, source
from stages.tuning.outcome import TIMES, Forced

#: what JAX calls the configurable instructions
PRIMITIVES = {"convolution": "conv_general_dilated", "dot": "dot_general", "reshape": "reshape"}
#: number of an instruction's field that says where it comes from; `hlo.proto` leaves it out
_METADATA = 7
_SCOPE = re.compile(rb"equation(\d+)\.([\w-]+)/")

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


def equations_of(proto: bytes) -> dict[str, tuple[int, str]]:
    """The number and the primitive of the equation that each instruction of a traced function comes from, by name."""
    found = {}
    for computation in hlo_pb2.HloProto.FromString(proto).hlo_module.computations:
        for instruction in computation.instructions:
            fields = UnknownFieldSet(instruction)
            told = b"".join(each.data for each in fields if each.field_number == _METADATA)
            scopes = _SCOPE.findall(told)
            if scopes:
                found[instruction.name] = int(scopes[0][0]), scopes[0][1].decode()
    return found


def expressible(layouts: Sequence[Forced], places: Mapping[str, tuple[int, str]]) -> Layouts:
    """The layouts that can be forced on equations.

    An instruction must be of its equation's own kind, and the only one of it that has layouts: what the compiler made
    of an equation otherwise is no tensor of the function.

    Args:
        layouts: That were found.
        places: Of `equations_of`.
    """
    owner: dict[int, str] = {}
    shared, result = set(), {}
    for each in layouts:
        number, primitive = places.get(each.node, (-1, ""))
        if primitive != PRIMITIVES[each.opcode]:
            continue
        if owner.setdefault(number, each.node) != each.node:
            shared.add(number)
        dims = tuple(int(size) for size in each.shape[each.shape.index("[") + 1 : -1].split(","))
        result.setdefault(number, {})[SLOTS.index(each.slot)] = dims, each.major_to_minor
    return {number: slots for number, slots in result.items() if number not in shared}


def without(layouts: Layouts, left: Sequence[tuple[int, int]]) -> Layouts:
    """The layouts without those of some equations and slots."""
    kept = {
        number: {slot: layout for slot, layout in slots.items() if (number, slot) not in left}
        for number, slots in layouts.items()
    }
    return {number: slots for number, slots in kept.items() if slots}


def make(given: source.Source, proto: bytes, layouts: Sequence[Forced], simulator: Simulator) -> Snippet | None:
    """The function in JAX with the layouts found, compiled so once.

    Args:
        given: What was tuned.
        proto: Its graph before layout assignment.
        layouts: That were found.
        simulator: Compiles.

    Returns:
        None where it is a program of the data set, or no layout can be forced in JAX.
    """
    wanted = expressible(layouts, equations_of(proto)) if given.function else {}
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
    body = Path(equations.__file__).read_text().partition('"""\n\n')[2]
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
