"""What a protobuf file is: TpuGraphs tuning data, or an HLO dump of a compiler.

A protobuf does not say what it is, and the bytes of one message can be read as another. Each kind is recognised by
what only it has.
"""

from pathlib import Path

from google.protobuf.message import DecodeError, Message

from stages.engine.errors import InputError
from stages.hlo.hlo_pb2 import ConfigProfile, HloModuleProto, HloProto, ModuleTuningData, TuningData

Source = ModuleTuningData | TuningData | HloModuleProto


def read(file: Path) -> Source:
    """Reads a file and finds out what it is.

    Args:
        file: Tuning data or an HLO dump.

    Returns:
        ModuleTuningData for a layout program, TuningData for tile kernels, HloModuleProto for what XLA's
        `--xla_dump_to` writes with `--xla_dump_hlo_as_proto`: an HloProto, or the module alone.

    Raises:
        InputError: the file cannot be read, is empty, or is none of these.
    """
    try:
        data = file.read_bytes()
    except OSError as error:
        reason = f"cannot be read ({error.strerror})"
        raise InputError(f"{file}: {reason}; name a TpuGraphs .pb file or an HLO dump") from error
    if not data:
        raise InputError(f"{file}: is empty; fetch it again")
    if data.startswith(b"HloModule "):
        raise InputError(f"{file}: is HLO as text; dump it with --xla_dump_hlo_as_proto too, and give the .hlo.pb")
    for parse in (_layout, _tile, _dump, _module):
        if (source := parse(data)) is not None:
            return source
    raise InputError(
        f"{file}: is neither TpuGraphs tuning data nor an HLO dump, or is cut short; fetch it or dump it again"
    )


def _layout(data: bytes) -> ModuleTuningData | None:
    """Of tuning data only that of a layout program has runs at its top level.

    In that place the HloProto of a compiled module has its buffer assignment, which makes a run without configuration
    and time.
    """
    tuning = _parsed(ModuleTuningData, data)
    if tuning is None or not tuning.runs or not tuning.module.computations:
        return None
    identified = tuning.fingerprint or tuning.config_index_to_node
    return tuning if identified or any(map(_measured, tuning.runs)) else None


def _measured(run: ConfigProfile) -> bool:
    configured = run.module_config.HasField("layout_config") or run.op_config.HasField("tile_size_config")
    return configured or run.profile.compute_time_ns > 0


def _tile(data: bytes) -> TuningData | None:
    tuning = _parsed(TuningData, data)
    whole = tuning is not None and tuning.modules and all(kernel.module.computations for kernel in tuning.modules)
    return tuning if whole else None


def _dump(data: bytes) -> HloModuleProto | None:
    """The module of an HloProto.

    Tuning data that is cut off behind its module has a fingerprint, and an HloProto nothing in that place.
    """
    dump, tuning = _parsed(HloProto, data), _parsed(ModuleTuningData, data)
    cut = tuning is not None and (tuning.fingerprint or tuning.config_index_to_node)
    return dump.hlo_module if dump is not None and not cut and _is_program(dump.hlo_module) else None


def _module(data: bytes) -> HloModuleProto | None:
    """A module alone: a list of computations, which lacks the last, the entry, where it is cut off between two."""
    module = _parsed(HloModuleProto, data)
    if module is None or not _is_program(module):
        return None
    entry, names = module.entry_computation_name, {computation.name for computation in module.computations}
    return module if not entry or entry in names else None


def _is_program(module: HloModuleProto) -> bool:
    """Whether it has instructions, and each of them an opcode, as no other message read as a module has."""
    opcodes = [instruction.opcode for computation in module.computations for instruction in computation.instructions]
    return bool(opcodes) and all(opcodes)


def _parsed(kind: type[Message], data: bytes) -> Message | None:
    try:
        return kind.FromString(data)
    except DecodeError:
        return None
