"""A program as HLO text just before TPU layout assignment, by libtpu's passes without code generation (no TPU)."""

from __future__ import annotations

import os
import re
import tempfile
from pathlib import Path

from stages.collect.hlo_text import MAX_RANK, MIN_ELEMENTS, ConfigurableNode, instructions
from stages.collect.programs.program import Program

TOPOLOGY = "v3:2x2x1"
STOP = "stop_here"
CONFIGURABLE = ("convolution", "dot", "reshape")
_NODE = re.compile(r"^\s+(?:ROOT )?%[\w.\-]+ = ", re.M)
_NOISE = re.compile(
    r"/\*index=\d+\*/|, metadata=\{[^}]*\}|, frontend_attributes=\{(?:[^{}]|\{[^{}]*\})*\}"
)


def set_environment() -> None:
    """What must stand before jax is imported: no TPU is looked for, and several processes may load the compiler."""
    os.environ["JAX_PLATFORMS"] = "cpu"
    os.environ["TPU_SKIP_MDS_QUERY"] = "1"
    os.environ["ALLOW_MULTIPLE_LIBTPU_LOAD"] = "1"
    os.environ["TPU_ACCELERATOR_TYPE"] = "v3-8"
    os.environ["TPU_WORKER_HOSTNAMES"] = "localhost"


def lowered(program: Program):
    """The program as a StableHLO module for TPU."""
    import jax

    function, arguments = program.build()

    def stopped(*parts):
        # An unknown custom call: every pass runs and is dumped, then the code generator refuses.
        nothing = jax.ShapeDtypeStruct((), "float32")
        jax.ffi.ffi_call(STOP, nothing, has_side_effect=True)(jax.numpy.float32(0))
        return function(*parts)

    return jax.jit(stopped, keep_unused=True).trace(*arguments).lower(lowering_platforms=("tpu",))


def module_text(lowering) -> str:
    """Text of the module just before layout assignment, without metadata."""
    import jax
    from jax._src import compiler
    from jax.experimental import topologies
    from jaxlib import _jax

    device = topologies.get_topology_desc(platform="tpu", topology_name=TOPOLOGY).devices[0]
    with tempfile.TemporaryDirectory() as folder:
        options = compiler.get_compile_options(
            num_replicas=1,
            num_partitions=1,
            env_options_overrides={
                "xla_dump_to": folder,
                "xla_dump_hlo_as_text": "True",
                "xla_dump_hlo_pass_re": "layout-assignment",
            },
        )
        module = lowering.compiler_ir("stablehlo")
        try:
            device.client.compile(module, executable_devices=_jax.DeviceList((device,)), compile_options=options)
        except jax.errors.JaxRuntimeError as error:
            if STOP not in str(error):
                raise
        dumps = list(Path(folder).glob("*before_layout-assignment*"))
        text = max(dumps, key=lambda path: path.stat().st_size).read_text()
    text = _NOISE.sub("", text)
    return "\n".join(line for line in text.splitlines() if STOP not in line)


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
        if not 2 <= len(instruction.dims) <= MAX_RANK or _size(instruction.dims) < MIN_ELEMENTS:
            continue
        operands = [by_name.get(name) for name in instruction.operands[: 1 if instruction.opcode == "reshape" else 2]]
        if instruction.name in beside or any(name in beside for name in instruction.operands):
            continue
        if any(operand is None or len(operand.dims) > MAX_RANK for operand in operands):
            continue
        nodes.append(ConfigurableNode(instruction, tuple([instruction, *operands, None][:3])))
    return nodes


def _size(dims: tuple[int, ...]) -> int:
    size = 1
    for extent in dims:
        size *= extent
    return size
