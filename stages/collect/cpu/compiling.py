"""Compiles a JAX function to XLA:CPU with chosen layouts. Goes through jaxlib's private modules: pin jaxlib exactly."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np

#: one thread per program, so that two workers on two cores do not disturb each other. Level 1 of the code generator:
#: a third less compile time at the same run time (a two-layer BERT: 0.32 s against 0.49 s, 0.32 ms against 0.34 ms)
FLAGS = "--xla_cpu_multi_thread_eigen=false --xla_backend_optimization_level=1"


#: keep freed memory: else glibc gives each run's large buffers back and takes them anew, a page fault for every page
ALLOCATOR = {
    "MALLOC_MMAP_THRESHOLD_": str(2**32),
    "MALLOC_TRIM_THRESHOLD_": str(2**33),
    "MALLOC_TOP_PAD_": str(2**28),
}


def set_allocator() -> None:
    """Environment for the processes started from here on: glibc reads it as a process begins."""
    os.environ.update(ALLOCATOR)


def settings() -> dict[str, str]:
    """What a record's times depend on beside its program: versions, flags, processor."""
    import jax
    import jaxlib

    processor = next(line.split(":")[1].strip() for line in open("/proc/cpuinfo") if line.startswith("model name"))
    return {"jax": jax.__version__, "jaxlib": jaxlib.__version__, "flags": FLAGS, "processor": processor}


def set_environment() -> None:
    """Environment that must stand before jax is imported for the first time in a process."""
    os.environ["XLA_FLAGS"] = FLAGS
    os.environ["PJRT_NPROC"] = "1"
    os.environ["JAX_PLATFORMS"] = "cpu"
    os.environ["KERAS_BACKEND"] = "jax"
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    os.environ["JAX_CPU_ENABLE_ASYNC_DISPATCH"] = "false"
    os.environ["JAX_ENABLE_COMPILATION_CACHE"] = "false"


def dumped(function: Callable, arguments: tuple) -> tuple[bytes, str, str]:
    """Module just before layout assignment and the layouts the compiler chooses.

    Returns:
        The serialized HloProto before layout assignment, its text with every constant's values, and the text after
        layout assignment.
    """
    import jax
    from jaxlib import _hlo

    with tempfile.TemporaryDirectory() as folder:
        options = {
            "xla_dump_to": folder,
            "xla_dump_hlo_pass_re": ".*layout-assignment.*|.*flatten-call-graph.*",
            "xla_dump_hlo_as_proto": True,
            "xla_dump_hlo_as_text": False,
        }
        jax.jit(function, keep_unused=True).lower(*arguments).compile(compiler_options=options)
        before = _only(folder, "*before_layout-assignment.hlo.pb")
        after = _only(folder, "*after_layout-assignment*.hlo.pb")
    printing = _hlo.HloPrintOptions()
    printing.print_large_constants = True
    printing.print_metadata = False

    def text(proto: bytes) -> str:
        return _hlo.XlaComputation(_hlo_module_bytes(proto)).get_hlo_module().to_string(printing)

    return before, text(before), text(after)


def _only(folder: str, pattern: str) -> bytes:
    """The dump of the largest module: a function may compile small helpers beside itself."""
    return max(Path(folder).glob(pattern), key=lambda path: path.stat().st_size).read_bytes()


def _hlo_module_bytes(hlo_proto: bytes) -> bytes:
    from stages.hlo import hlo_pb2

    return hlo_pb2.HloProto.FromString(hlo_proto).hlo_module.SerializeToString()


def executable(text: str):
    """Compiles the text of an HLO module to a loaded XLA:CPU executable."""
    import jax
    from jax._src import compiler
    from jaxlib import _hlo, _jax

    module = _hlo.hlo_module_from_text(text)
    computation = _hlo.XlaComputation(module.as_serialized_hlo_module_proto())
    device = jax.devices("cpu")[0]
    options = compiler.get_compile_options(num_replicas=1, num_partitions=1)
    stablehlo = _jax.mlir.hlo_to_stablehlo(computation.as_serialized_hlo_module_proto())
    return device.client.compile_and_load(stablehlo, _jax.DeviceList((device,)), options)


def example_arguments(leaves: list, rng: np.random.Generator, integers_below: int = 2) -> list:
    """Arguments of a program, on the device.

    Args:
        leaves: Arrays, which are taken as they are, or ShapeDtypeStructs, which become small positive numbers (no
            denormals, no square root of a negative variance) or integers.
        integers_below: Bound of the integers.
    """
    import jax

    arrays = []
    for leaf in leaves:
        if isinstance(leaf, np.ndarray):
            arrays.append(leaf)
        elif np.issubdtype(leaf.dtype, np.floating):
            arrays.append(rng.uniform(0.01, 0.11, leaf.shape).astype(leaf.dtype))
        else:
            arrays.append(rng.integers(0, integers_below, leaf.shape).astype(leaf.dtype))
    return [jax.device_put(array) for array in arrays]
