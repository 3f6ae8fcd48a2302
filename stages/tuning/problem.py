"""A program whose layouts are to be chosen: its graph before layout assignment, its slots, and what a choice costs."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from types import SimpleNamespace

import numpy as np

from stages.collect import official
from stages.collect.hlo_text import ConfigurableNode
from stages.collect.programs.before_layout import configurable_nodes, node_count
from stages.collect.tpu import cutting, libtpu
from stages.collect.tpu.choices import FREE, Slot, configuration, forced, slots_of
from stages.collect.tpu.constraints import constrained
from stages.collect.tpu.simulate import Simulation, Simulator
from stages.collect.tpu_data.compiled import Compiled, compiled, identity, simulated, time_ns
from stages.engine.errors import InputError
from stages.graphs.whole_program import whole_program
from stages.hlo import hlo_pb2
from stages.hlo.features import GraphArrays, graph_arrays
from stages.statistics import assignment_program
from stages.statistics.assignment_tables import numbers

#: of a hash that name a program's records
_DIGITS = 16


@dataclass(frozen=True, eq=False)
class Problem:
    """A program before layout assignment.

    Attributes:
        name: Of the program, fit for a file.
        target: The TPU's generation, of `libtpu.TARGETS`.
        text: HLO text.
        proto: The same as a serialized HloProto.
        nodes: Its nc configurable nodes.
        slots: Tensors of theirs that have a choice of layouts.
        own_ns: Simulated nanoseconds with the compiler's own layouts.
    """

    name: str
    target: str
    text: str
    proto: bytes
    nodes: list[ConfigurableNode]
    slots: list[Slot]
    own_ns: float

    @property
    def free(self) -> np.ndarray:
        """(slots,) the choice that leaves all to the compiler."""
        return np.full(len(self.slots), FREE, np.int8)

    @property
    def node_count(self) -> int:
        return node_count(self.text)

    @property
    def has_convolutions(self) -> bool:
        return any(node.instruction.opcode == "convolution" for node in self.nodes)

    @cached_property
    def identity(self) -> str:
        """What the times of choices depend on."""
        return identity(f"{self.text}{self.target}")

    @cached_property
    def graph(self) -> GraphArrays:
        return graph_arrays(hlo_pb2.HloProto.FromString(self.proto).hlo_module)

    def constrained(self, choice: np.ndarray) -> str:
        """HLO text with the layouts of a choice (slots,) forced."""
        return constrained(self.text, forced(self.nodes, self.slots, choice))

    def arrays(self, choices: Sequence[np.ndarray]) -> dict[str, np.ndarray]:
        """The arrays of an official npz file of these configurations, run times unknown."""
        rows = np.stack([configuration(self.slots, choice, len(self.nodes)) for choice in choices])
        names = [node.instruction.name.lstrip("%") for node in self.nodes]
        order = np.arange(len(choices))
        return official.layout_arrays(self.graph, names, rows, order, np.zeros(len(choices), np.int64))

    @cached_property
    def replay(self) -> Replay:
        return Replay(self)

    def simulation(self, simulator: Simulator, choice: np.ndarray) -> Simulation:
        """Compiles the program with a choice's layouts; raises as `compiled.simulated`."""
        return simulated(simulator, self.constrained(choice))

    def time_ns(self, simulator: Simulator, choice: np.ndarray) -> float | None:
        """Simulated whole nanoseconds of a choice (slots,), None where it does not compile."""
        return time_ns(lambda: self.simulation(simulator, choice))


class Replay:
    """A program as layout assignment sees it, for choices of its slots."""

    def __init__(self, problem: Problem) -> None:
        arrays = problem.arrays([problem.free])
        self.program = assignment_program.program(SimpleNamespace(**whole_program(SimpleNamespace(**arrays))))
        index = {name: position for position, name in enumerate(problem.graph.names)}
        ids = [index[node.instruction.name.lstrip("%")] for node in problem.nodes]
        rows = np.argsort(np.argsort(ids))  # a file has its configurable nodes in the order of their numbers
        self._slots = []
        for position, slot in enumerate(problem.slots):
            tensor = int(self.program.slots[rows[slot.node], slot.slot])
            if tensor >= 0:
                known = numbers(len(slot.layouts[0]))
                self._slots.append((position, tensor, np.array([*(known[each] for each in slot.layouts), -1])))

    def forced(self, choices: np.ndarray) -> np.ndarray:
        """(c, N) number of the layout that each choice (c, slots) forces on each tensor, else -1."""
        result = np.full((len(choices), len(self.program.rank)), -1, np.int64)
        for position, tensor, table in self._slots:
            result[:, tensor] = table[choices[:, position]]  # FREE, -1, is the table's last
        return result


def read(name: str, target: str, text: str, simulator: Simulator, folder: Path) -> Problem:
    """Compiles a program with the compiler's own layouts, or reads what was kept of that.

    Args:
        name: Of the program.
        target: As of `Problem`.
        text: HLO text, as JAX makes it.
        folder: Keeps what was compiled.

    Raises:
        InputError: It does not compile, or nothing in it can be chosen.
        Interrupted: A compiling process was ended from outside.
    """
    key = hashlib.sha256(f"{text}{libtpu.VERSION}{libtpu.TARGETS[target]}".encode()).hexdigest()[:_DIGITS]
    path = folder / f"program-{key}.npz"
    if path.exists():
        program = Compiled.read(path)
    else:
        try:
            program = compiled(text, simulator)
        except (libtpu.CompileError, cutting.Uncuttable) as fault:
            raise InputError(
                f"{name}: does not compile for a TPU {target} ({_short(fault)}); mend the program, or make it smaller"
            ) from None
    nodes = configurable_nodes(program.before)
    slots = slots_of(nodes, program.assigned)
    if not slots:
        raise InputError(
            f"{name}: has no configurable nodes (convolutions, dots or reshapes of floating-point numbers that are not "
            "tiny), so there is nothing to choose; give a program that has some"
        )
    if not path.exists():
        program.write(path, name)
    return Problem(name, target, program.before, program.proto, nodes, slots, float(round(program.time_ns)))


def _short(fault: Exception) -> str:
    return str(fault).splitlines()[0][:300] if str(fault) else type(fault).__name__
