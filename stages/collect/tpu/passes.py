"""Runs the compiler's HLO passes on a whole program, and stops before code generation, where its time goes.

A side-effecting custom call that no code generator knows stands at the top of the entry computation: every HLO pass
runs and is dumped, then the compiler ends with a clean error.
"""

from __future__ import annotations

import re
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from stages.collect.tpu import libtpu

#: without an operand: a constant would be merged with the program's own, and could not be taken out again
_STOP = '  %stop_here = f32[] custom-call(), custom_call_target="stop_here", custom_call_has_side_effect=true\n'
_STOPPED = "Custom emitter for stop_here not found"
_OPTIMISED = "*.after_optimizations.txt"
_INSTRUCTION_OF_STOP = re.compile(r"(?m)^.*%stop_here = .*\n")


@dataclass(frozen=True)
class Stages:
    """A program at three points of its compilation.

    Attributes:
        before: Text just before layout assignment, with the values of all constants: the graph of TpuGraphs' layout
            collections. It can be given to `run` again.
        before_proto: The same as a serialized HloProto, without the stop.
        assigned: Text after layout assignment: the layouts that the compiler chose.
        optimised: Text after all HLO passes: the kernels.
    """

    before: str
    before_proto: bytes
    assigned: str
    optimised: str


def module_of(function: Callable, arguments: tuple) -> str:
    """HLO text of a jax function.

    Args:
        function: What ``jax.jit`` takes.
        arguments: Its positional arguments: trees of ``jax.ShapeDtypeStruct`` or arrays; nothing is computed.
    """
    import jax
    from jaxlib import _hlo

    lowered = jax.jit(function, keep_unused=True).lower(*arguments)
    proto = lowered.compiler_ir("hlo").as_serialized_hlo_module_proto()
    return printed(_hlo.HloModule.from_serialized_hlo_module_proto(proto))


def printed(module, metadata: bool = False) -> str:
    """Text of jaxlib's HloModule with every constant's values, and without metadata unless it is asked for."""
    from jaxlib import _hlo

    options = _hlo.HloPrintOptions()
    options.print_large_constants = True
    options.print_metadata = metadata
    return module.to_string(options)


def with_stop(text: str) -> str:
    """The module with the custom call that ends its compilation before code generation."""
    entry = re.search(r"(?m)^ENTRY .*\n", text)
    if not entry:
        raise libtpu.CompileError("the text holds no entry computation")
    return text[: entry.end()] + _STOP + text[entry.end() :]


def run(text: str, topology: str = libtpu.TOPOLOGY) -> Stages:
    """Runs the HLO passes on a module's text, in this process.

    Args:
        topology: Of `libtpu.TARGETS`; one a process.

    Raises:
        libtpu.CompileError: A pass refuses the module (an invalid layout, more memory than the TPU has).
    """
    from jaxlib import _hlo

    with tempfile.TemporaryDirectory(prefix="passes-") as folder:
        _stopped(text, folder, "layout-assignment", topology)
        proto = _dump(folder, "*before_layout-assignment.hlo.pb").read_bytes()
        before = _hlo.HloModule.from_serialized_hlo_module_proto(_module_proto(proto))
        return Stages(
            _INSTRUCTION_OF_STOP.sub("", printed(before)),
            _without_stop(proto),
            _INSTRUCTION_OF_STOP.sub("", _dump(folder, "*after_layout-assignment*.txt").read_text()),
            _dump(folder, _OPTIMISED).read_text(),
        )


def optimised(text: str, topology: str = libtpu.TOPOLOGY) -> str:
    """`Stages.optimised` alone, as `run` has it, and its faults: the other stages take a quarter of the time."""
    with tempfile.TemporaryDirectory(prefix="passes-") as folder:
        _stopped(text, folder, "", topology)
        return _dump(folder, _OPTIMISED).read_text()


def _stopped(text: str, folder: str, pass_filter: str, topology: str) -> None:
    """Runs the passes, which leave their dumps in a folder."""
    try:
        libtpu.compile_module(with_stop(text), Path(folder), pass_filter, topology)
    except libtpu.CompileError as end:
        if _STOPPED not in str(end):
            raise
    else:
        raise libtpu.CompileError("the compilation did not stop before code generation")


def _dump(folder: str, pattern: str) -> Path:
    """The dump of the largest module: the compiler makes small ones of its own beside it."""
    paths = list(Path(folder).glob(pattern))
    if not paths:
        raise libtpu.CompileError(f"the compiler wrote no {pattern.strip('*.')}")
    return max(paths, key=lambda path: path.stat().st_size)


def _module_proto(proto: bytes) -> bytes:
    from stages.hlo import hlo_pb2

    return hlo_pb2.HloProto.FromString(proto).hlo_module.SerializeToString()


def _without_stop(proto: bytes) -> bytes:
    from stages.hlo import hlo_pb2

    module = hlo_pb2.HloProto.FromString(proto)
    for computation in module.hlo_module.computations:
        kept = [each for each in computation.instructions if each.name != "stop_here"]
        if len(kept) < len(computation.instructions):
            del computation.instructions[:]
            computation.instructions.extend(kept)
    return module.SerializeToString()
