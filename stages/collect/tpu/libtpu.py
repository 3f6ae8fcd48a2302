"""Calls libtpu, Google's TPU compiler, through the PJRT C API.

The C API is taken rather than JAX because it accepts an HLO module as it is (``format="hlo"``): a kernel cut out of an
optimised program holds fusions, which have no form in StableHLO. The order of the function table and the fields of the
structures are those of ``xla/pjrt/c/pjrt_c_api.h`` of openxla/xla.

libtpu, jax and jaxlib are imported where they are used: only collecting needs them.
"""

from __future__ import annotations

import ctypes
import functools
import os
from importlib import metadata
from pathlib import Path

from stages.engine.errors import InputError

#: the libtpu that the data set is defined by: another one chooses other windows and writes other schedules
VERSION = "0.0.42.1"
#: what TpuGraphs was measured on. One topology a process: text of one generation crashes another's code generator
TOPOLOGY = "v3:2x2x1"
#: the smallest topology of each generation that this libtpu compiles for
TARGETS = {
    "v2": "v2:2x2x1",
    "v3": TOPOLOGY,
    "v4": "v4:2x2x1",
    "v5e": "v5e:2x2x1",
    "v5p": "v5p:2x2x1",
    "v6e": "v6e:2x2x1",
}
#: what keeps libtpu from asking a metadata server and from locking out other processes that load it, and JAX from
#: looking for a device
ENVIRONMENT = {
    "JAX_PLATFORMS": "cpu",
    "TPU_SKIP_MDS_QUERY": "1",
    "ALLOW_MULTIPLE_LIBTPU_LOAD": "1",
    "TPU_ACCELERATOR_TYPE": "v3-8",
    "TPU_WORKER_HOSTNAMES": "localhost",
    "TF_CPP_MIN_LOG_LEVEL": "3",
    # Its own logs fill a disk: a failed check writes megabytes, and Ray reads them out on every console.
    "TPU_LOG_DIR": "disabled",
}
#: dumps of final bundles, and no checks of addresses in them: the kernels that TpuGraphs measured had none
_FLAGS = "--xla_jf_bounds_check=false --xla_jf_dump_llo_text=true --xla_jf_dump_llo_pass_label_regex=final_bundles"
#: the functions called here, by their place in the table
_FUNCTIONS = {
    "PJRT_Error_Destroy": 0,
    "PJRT_Error_Message": 1,
    "PJRT_Plugin_Initialize": 3,
    "PJRT_Executable_Destroy": 40,
    "PJRT_Executable_OptimizedProgram": 48,
    "PJRT_TopologyDescription_Create": 82,
    "PJRT_Compile": 89,
}
#: the table begins after the API's own size and extensions (16 bytes) and its version structure (24 bytes)
_TABLE_OFFSET = 40


class CompileError(RuntimeError):
    """The compiler refused a module, and says why; the process lives on."""


def _structure(name: str, *fields: tuple[str, type]) -> type[ctypes.Structure]:
    """A structure of the C API: its size and its extensions come first in each."""
    head = [("struct_size", ctypes.c_size_t), ("extension_start", ctypes.c_void_p)]
    return type(name, (ctypes.Structure,), {"_fields_": [*head, *fields]})


_ErrorDestroy = _structure("ErrorDestroy", ("error", ctypes.c_void_p))
_ErrorMessage = _structure(
    "ErrorMessage", ("error", ctypes.c_void_p), ("message", ctypes.c_void_p), ("message_size", ctypes.c_size_t)
)
_Initialize = _structure("Initialize")
_TopologyCreate = _structure(
    "TopologyCreate",
    ("topology_name", ctypes.c_char_p),
    ("topology_name_size", ctypes.c_size_t),
    ("create_options", ctypes.c_void_p),
    ("num_options", ctypes.c_size_t),
    ("topology", ctypes.c_void_p),
)
_Program = _structure(
    "Program",
    ("code", ctypes.c_char_p),
    ("code_size", ctypes.c_size_t),
    ("format", ctypes.c_char_p),
    ("format_size", ctypes.c_size_t),
)
_Compile = _structure(
    "Compile",
    ("topology", ctypes.c_void_p),
    ("program", ctypes.c_void_p),
    ("compile_options", ctypes.c_char_p),
    ("compile_options_size", ctypes.c_size_t),
    ("client", ctypes.c_void_p),
    ("executable", ctypes.c_void_p),
)
_OptimizedProgram = _structure("OptimizedProgram", ("executable", ctypes.c_void_p), ("program", ctypes.c_void_p))
_ExecutableDestroy = _structure("ExecutableDestroy", ("executable", ctypes.c_void_p))


def set_environment(schedules: Path | None = None, topology: str = TOPOLOGY) -> None:
    """Sets what must stand before libtpu and jax are loaded in this process.

    Args:
        schedules: Folder into which the compiler writes the final bundles of every kernel it generates code for; none
            are written where it is None.
        topology: The one that this process compiles for.
    """
    os.environ.update(ENVIRONMENT)
    os.environ["TPU_ACCELERATOR_TYPE"] = f"{topology.partition(':')[0]}-8"
    os.environ["LIBTPU_INIT_ARGS"] = "" if schedules is None else f"{_FLAGS} --xla_jf_dump_to={schedules}"


def require() -> None:
    """Raises InputError unless the pinned libtpu is installed."""
    try:
        installed = metadata.version("libtpu")
    except metadata.PackageNotFoundError:
        raise InputError(
            f"libtpu {VERSION} is not installed here; install requirements-collect.txt, as `make collect` does"
        ) from None
    if installed != VERSION:
        raise InputError(
            f"libtpu {installed} is installed, and the data set is defined by {VERSION}; "
            "install requirements-collect.txt, as `make collect` does"
        )


class _Api:
    """libtpu's function table, with its plugin initialized and the topology made."""

    def __init__(self, library: str, topology: str) -> None:
        shared = ctypes.CDLL(library)
        shared.GetPjrtApi.restype = ctypes.c_void_p
        self._table = shared.GetPjrtApi() + _TABLE_OFFSET
        self.call("PJRT_Plugin_Initialize", _Initialize())
        name = topology.encode()
        made = self.call(
            "PJRT_TopologyDescription_Create", _TopologyCreate(topology_name=name, topology_name_size=len(name))
        )
        self.topology = made.topology

    def call(self, name: str, arguments: ctypes.Structure) -> ctypes.Structure:
        """Calls a function of the table; raises CompileError with its message where it returns an error."""
        error = self._function(name)(self._address(arguments))
        if error:
            text = _ErrorMessage(error=error)
            self._function("PJRT_Error_Message")(self._address(text))
            message = ctypes.string_at(text.message, text.message_size).decode(errors="replace")
            self._function("PJRT_Error_Destroy")(self._address(_ErrorDestroy(error=error)))
            raise CompileError(message)
        return arguments

    def _function(self, name: str):
        address = ctypes.c_void_p.from_address(self._table + ctypes.sizeof(ctypes.c_void_p) * _FUNCTIONS[name])
        return ctypes.CFUNCTYPE(ctypes.c_void_p, ctypes.c_void_p)(address.value)

    @staticmethod
    def _address(arguments: ctypes.Structure) -> int:
        arguments.struct_size = ctypes.sizeof(arguments)
        return ctypes.addressof(arguments)


@functools.cache
def _api(topology: str) -> _Api:
    require()
    import libtpu

    return _Api(libtpu.get_library_path(), topology)


def compile_module(text: str, dumps: Path | None = None, pass_filter: str = "", topology: str = TOPOLOGY) -> bytes:
    """Compiles a module for a TPU in this process, which dies where a check in the compiler fails.

    Args:
        text: HLO text of the module; the layouts of its parameters and its result are kept as they stand there.
        dumps: Folder for the module's own dumps, as text after all passes, and as text and proto around
            those whose names match ``pass_filter``.
        pass_filter: Regular expression over the names of HLO passes.
        topology: Of `TARGETS`; one a process.

    Returns:
        Serialized optimised program.

    Raises:
        CompileError: The text has a fault, or the compiler refuses the module.
    """
    api = _api(topology)
    from jax._src import compiler
    from jaxlib import _hlo

    overrides = {}
    if dumps is not None:
        overrides = {"xla_dump_to": str(dumps), "xla_dump_hlo_as_text": "True"}
        if pass_filter:
            overrides |= {"xla_dump_hlo_as_proto": "True", "xla_dump_hlo_pass_re": pass_filter}
    try:
        proto = _hlo.hlo_module_from_text(text).as_serialized_hlo_module_proto()
    except Exception as fault:  # jaxlib has no class of its own for a fault in the text
        raise CompileError(str(fault)) from None
    options = compiler.get_compile_options(num_replicas=1, num_partitions=1, env_options_overrides=overrides)
    # Without them the compiler lays parameters and results out anew, and refuses tiled layouts.
    program_shape = _hlo.XlaComputation(proto).program_shape()
    options.argument_layouts = list(program_shape.parameter_shapes())
    options.executable_build_options.result_layout = program_shape.result_shape()
    return _compile(api, proto, options.SerializeAsString())


def _compile(api: _Api, proto: bytes, options: bytes) -> bytes:
    kind = b"hlo"
    program = _Program(code=proto, code_size=len(proto), format=kind, format_size=len(kind))
    program.struct_size = ctypes.sizeof(program)
    executable = api.call(
        "PJRT_Compile",
        _Compile(
            topology=api.topology,
            program=ctypes.addressof(program),
            compile_options=options,
            compile_options_size=len(options),
        ),
    ).executable
    try:
        # Asked twice, as the API has it: without a buffer it says the size, with one it fills it.
        optimised = _Program()
        optimised.struct_size = ctypes.sizeof(optimised)
        request = _OptimizedProgram(executable=executable, program=ctypes.addressof(optimised))
        api.call("PJRT_Executable_OptimizedProgram", request)
        buffer = ctypes.create_string_buffer(optimised.code_size)
        optimised.code = ctypes.cast(buffer, ctypes.c_char_p)
        api.call("PJRT_Executable_OptimizedProgram", request)
        return buffer.raw[: optimised.code_size]
    finally:
        api.call("PJRT_Executable_Destroy", _ExecutableDestroy(executable=executable))
