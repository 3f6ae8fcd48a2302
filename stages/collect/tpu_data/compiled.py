"""A program compiled with the compiler's own layouts: its graph, and the kernels that it is made of."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

from stages.collect import record
from stages.collect.tpu import cutting, libtpu, schedule, time_model, windows
from stages.collect.tpu.simulate import Simulation, Simulator
from stages.collect.tpu_data.kinds import key_of, kind_of
from stages.collect.tpu_data.store import as_bytes


class Interrupted(RuntimeError):
    """A compiling process was ended from outside: the program is to be tried again, and nobody is to blame."""


@dataclass(frozen=True)
class TiledKernel:
    """A kernel that has a window, as the compiler chose it.

    Attributes:
        key: Its name, of its text.
        kind: Of `kinds.KINDS`.
        name: Of the first instruction that it is in the program.
        runs: How often the program runs it, loops counted.
        time_ns: Simulated time of one run.
        text: Its own module.
        kernel_bounds, output_bounds, input_bounds: The compiler's own window.
    """

    key: str
    kind: str
    name: str
    runs: int
    time_ns: float
    text: str
    kernel_bounds: tuple[int, ...]
    output_bounds: tuple[int, ...]
    input_bounds: tuple[int, ...]

    @property
    def window(self) -> windows.Window:
        return windows.Window(tuple(self.kernel_bounds), tuple(self.output_bounds), tuple(self.input_bounds))


@dataclass(frozen=True)
class Compiled:
    """A program at its stages.

    Attributes:
        before: Text just before layout assignment: the graph.
        assigned: Text after it.
        proto: The graph as a serialized HloProto.
        time_ns: Simulated time with the compiler's own layouts.
        kernels: Its distinct kernels that have windows.
    """

    before: str
    assigned: str
    proto: bytes
    time_ns: float
    kernels: tuple[TiledKernel, ...]

    def write(self, path: Path, identifier: str) -> None:
        """Writes the record."""
        meta = {"id": identifier, "libtpu": libtpu.VERSION, "time_ns": self.time_ns}
        kernels = json.dumps([asdict(kernel) for kernel in self.kernels])
        texts = {"before": self.before, "assigned": self.assigned, "proto": self.proto, "kernels": kernels}
        record.write(path, meta, **{name: as_bytes(text) for name, text in texts.items()})

    @classmethod
    def read(cls, path: Path) -> Compiled:
        """Reads a record."""
        meta, stored = record.read(path)
        before, assigned, kernels = (stored[name].tobytes().decode() for name in ("before", "assigned", "kernels"))
        return cls(before, assigned, stored["proto"].tobytes(), meta["time_ns"], _kernels(kernels))


def _kernels(text: str) -> tuple[TiledKernel, ...]:
    return tuple(TiledKernel(**fields) for fields in json.loads(text))


def compiled(text: str, simulator: Simulator) -> Compiled:
    """Compiles a program.

    Args:
        text: HLO text, as `tracing.module_text` makes it.

    Raises:
        libtpu.CompileError: The compiler refuses the program, dies of it, or cannot compile one of its kernels.
        cutting.Uncuttable: The program is no plain list of kernels.
        Interrupted: A compiling process was ended from outside.
    """
    stages = simulator.stages(text)
    simulation = simulated(simulator, stages.before)
    if simulation.faults:
        fault = simulation.faults[0]
        raise libtpu.CompileError(f"{fault.kernel.opcode} {fault.kernel.name} cannot be compiled: {fault.fault}")
    return Compiled(stages.before, stages.assigned, stages.before_proto, simulation.time_ns, tuple(_tiled(simulation)))


def simulated(simulator: Simulator, text: str) -> Simulation:
    """`Simulator.program`, but a compiling process that was ended from outside is no fault of the program.

    Raises:
        Interrupted: Such a process.
    """
    try:
        simulation = simulator.program(text)
    except libtpu.CompileError as fault:
        check_killed(str(fault))
        raise
    for cost in simulation.faults:
        check_killed(cost.fault)
    return simulation


def identity(text: str) -> str:
    """What the simulated times of a program, by its text, depend on."""
    versions = libtpu.VERSION, schedule.READER_VERSION, time_model.CLOCK, time_model.CONSTANTS
    return hashlib.sha256(f"{text}{versions}".encode()).hexdigest()


def time_ns(simulate: Callable[[], Simulation]) -> float | None:
    """Simulated time of a configuration in whole nanoseconds; None for an error run.

    Whole, because the last bit of a power differs between processors, and the search goes by which of two is faster.

    Args:
        simulate: Compiles the program with the configuration's layouts, as `simulated` does.
    """
    try:
        simulated_ns = simulate().time_ns
    except (libtpu.CompileError, cutting.Uncuttable):
        return None
    return None if simulated_ns is None else float(round(simulated_ns))


def check_killed(fault: str) -> None:
    """Raises Interrupted where the fault is that somebody ended the compiling process (`workers.Pool.run`)."""
    if fault.startswith("killed: "):
        raise Interrupted(f"a compiling process was {fault}; start again")


def _tiled(simulation: Simulation) -> list[TiledKernel]:
    kernels: dict[str, TiledKernel] = {}
    runs: dict[str, int] = {}
    for cost in simulation.kernels:
        window = windows.own_window({"window": cost.window})
        if window is None:
            continue
        key = key_of(cost.kernel.text)
        runs[key] = runs.get(key, 0) + cost.kernel.trips
        if key not in kernels:
            kind, name, text = kind_of(cost.kernel.text), cost.kernel.name, cost.kernel.text
            bounds = window.kernel, window.output, window.input
            kernels[key] = TiledKernel(key, kind, name, 0, cost.time_ns, text, *bounds)
    return [TiledKernel(**{**asdict(kernel), "runs": runs[kernel.key]}) for kernel in kernels.values()]
