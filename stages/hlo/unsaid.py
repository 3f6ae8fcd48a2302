"""What the 140 columns cannot say of an instruction: element types and opcodes that came after the data set, ranks
beyond six."""

from collections import Counter
from collections.abc import Iterable

from stages.engine.errors import InputError
from stages.graphs.opcodes import UNKNOWN, opcode_number
from stages.graphs.tensors import MAX_RANK
from stages.hlo.features import ELEMENT_TYPES
from stages.hlo.hlo_pb2 import HloInstructionProto, HloModuleProto

#: XLA's names of the element types (`PrimitiveType` in its xla_data.proto) that the data set has no column for
NEWER_TYPES = {
    19: "f8e5m2",
    20: "f8e4m3fn",
    21: "s4",
    22: "u4",
    23: "f8e4m3b11fnuz",
    24: "f8e5m2fnuz",
    25: "f8e4m3fnuz",
    26: "s2",
    27: "u2",
    28: "f8e4m3",
    29: "f8e3m4",
    30: "s1",
    31: "u1",
    32: "f4e2m1fn",
    33: "f8e8m0fnu",
}


def check_ranks(module: HloModuleProto) -> None:
    """Refuses a tensor of more dimensions than the columns hold, whose shape and layout would be cut.

    Args:
        module: A program or a kernel.

    Raises:
        InputError: Names the first such instruction.
    """
    for instruction in instructions(module):
        rank = len(instruction.shape.dimensions)
        if rank > MAX_RANK:
            raise InputError(
                f"instruction {instruction.name!r} ({instruction.opcode}) has rank {rank}, and node_feat holds "
                f"{MAX_RANK} dimensions; leave the program out, or reshape that tensor"
            )


def unsaid(modules: Iterable[HloModuleProto]) -> str | None:
    """Counts instructions whose element type has no column, or whose opcode has no number.

    Args:
        modules: Programs or kernels.

    Returns:
        One line with the counts by element type and opcode; None where there is no such instruction.
    """
    types, opcodes, total, without = Counter(), Counter(), 0, 0
    for module in modules:
        for instruction in instructions(module):
            element, opcode = instruction.shape.element_type, instruction.opcode
            new_type, new_opcode = element not in ELEMENT_TYPES, opcode_number(opcode) == UNKNOWN
            types[NEWER_TYPES.get(element, f"number {element}")] += new_type
            opcodes[opcode or "none"] += new_opcode
            total, without = total + 1, without + (new_type or new_opcode)
    parts = [
        f"{kind} {', '.join(f'{name} ({count})' for name, count in counts.most_common() if count)}"
        for kind, counts in (("element types", types), ("opcodes", opcodes))
        if counts.total()
    ]
    if not parts:
        return None
    return (
        f"{without} of {total} instructions have a type or opcode that TpuGraphs' columns cannot say, zero in the npz: "
        f"{'; '.join(parts)}"
    )


def instructions(module: HloModuleProto) -> Iterable[HloInstructionProto]:
    """The instructions of all computations in file order."""
    return (instruction for computation in module.computations for instruction in computation.instructions)
