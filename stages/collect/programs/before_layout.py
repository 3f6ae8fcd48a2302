"""A program's module just before TPU layout assignment: its text, its nodes, and those that are configurable."""

from __future__ import annotations

import math
import re
from collections.abc import Callable

from stages.collect.hlo_text import MAX_RANK, MIN_ELEMENTS, ConfigurableNode, instructions
from stages.collect.programs.program import Program

CONFIGURABLE = ("convolution", "dot", "reshape")
FLOATS = ("f32", "bf16")
_NODE = re.compile(r"^\s+(?:ROOT )?%[\w.\-]+ = ", re.M)


def module_text(program: Program) -> str:
    """HLO text of a program as JAX makes it for a TPU (not for this machine: random bits, say, become other nodes)."""
    return text_of(*program.build())


def text_of(function: Callable, arguments: tuple, metadata: bool = False) -> str:
    """HLO text of a JAX function, as `module_text`.

    Args:
        function: What ``jax.jit`` takes.
        arguments: Its positional arguments: trees of ``jax.ShapeDtypeStruct``; nothing is computed.
        metadata: Whether instructions say where they come from.
    """
    import jax
    from jaxlib import _hlo

    from stages.collect.tpu import passes

    lowered = jax.jit(function, keep_unused=True).trace(*arguments).lower(lowering_platforms=("tpu",))
    proto = lowered.compiler_ir("hlo").as_serialized_hlo_module_proto()
    return passes.printed(_hlo.HloModule.from_serialized_hlo_module_proto(proto), metadata)


def node_count(text: str) -> int:
    """Instructions of all computations of a module's text."""
    return len(_NODE.findall(text))


def configurable_nodes(text: str) -> list[ConfigurableNode]:
    """Convolutions, dots and reshapes whose layouts may be chosen, in the order of the text.

    They have floating-point numbers, rank 2 to 6 and at least `MIN_ELEMENTS` elements, and none stands next to a gather
    or a scatter: a constraint there makes a check of the code generator fail.
    """
    by_name = instructions(text)
    beside = set()
    for instruction in by_name.values():
        if instruction.opcode in ("gather", "scatter"):
            beside.update((instruction.name, *instruction.operands))
    nodes = []
    for instruction in by_name.values():
        if instruction.opcode not in CONFIGURABLE or instruction.element_type not in ("f32", "bf16"):
            continue
        if not 2 <= len(instruction.dims) <= MAX_RANK or math.prod(instruction.dims) < MIN_ELEMENTS:
            continue
        operands = [by_name.get(name) for name in instruction.operands[: 1 if instruction.opcode == "reshape" else 2]]
        if instruction.name in beside or any(name in beside for name in instruction.operands):
            continue
        if any(operand is None or len(operand.dims) > MAX_RANK for operand in operands):
            continue
        nodes.append(ConfigurableNode(instruction, tuple([instruction, *operands, None][:3])))
    return nodes
