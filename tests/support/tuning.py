"""A program that needs no compiler: its time is a sum over its slots, as a program's is over its kernels."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from stages.collect.programs.before_layout import configurable_nodes
from stages.collect.tpu import choices
from stages.collect.tpu.choices import FREE
from stages.collect.tpu.cutting import Kernel
from stages.collect.tpu.simulate import KernelCost, Simulation
from stages.tuning.problem import Problem

TEXT = """HloModule m

ENTRY %main (x: f32[32,28,28,256], k: f32[3,3,256,512], q: f32[16,12,128,64], r: f32[16,12,128,64]) -> f32[192,128,128] {
  %x = f32[32,28,28,256]{3,2,1,0} parameter(0)
  %k = f32[3,3,256,512]{3,2,1,0} parameter(1)
  %q = f32[16,12,128,64]{3,2,1,0} parameter(2)
  %r = f32[16,12,128,64]{3,2,1,0} parameter(3)
  %conv = f32[32,28,28,512]{3,2,1,0} convolution(%x, %k), window={size=3x3 pad=1_1x1_1}, dim_labels=b01f_01io->b01f
  %dot = f32[16,12,128,128]{3,2,1,0} dot(%q, %r), lhs_batch_dims={0,1}, lhs_contracting_dims={3}, rhs_batch_dims={0,1}, rhs_contracting_dims={3}
  ROOT %out = f32[192,128,128]{2,1,0} reshape(%dot)
}
"""  # noqa: E501
NODES = configurable_nodes(TEXT)
SLOTS = choices.slots_of(NODES, TEXT)
OWN_NS = 100_000.0
#: a kernel's module; its opcode stands for what it does
KERNEL = "HloModule kernel\n\nENTRY %entry {{\n  ROOT %result = f32[8]{{0}} {}()\n}}\n"


@dataclass(frozen=True, eq=False)
class Toy(Problem):
    """A problem whose time a function of the choice tells. cost: nanoseconds, or None where it does not compile."""

    cost: Callable[[np.ndarray], float | None] = None

    def simulation(self, simulator: object, choice: np.ndarray) -> Simulation:
        time_ns = self.cost(choice)
        fault = None if time_ns is not None else "crashed"
        kernel = Kernel("fusion.1", "fusion", KERNEL.format(f"of-{time_ns}"), 1)
        return Simulation((KernelCost(kernel, time_ns, None, fault),))


class Rows:
    """Layouts of a toy: nothing spreads."""

    def __init__(self, problem: Problem) -> None:
        self.weight = np.ones(len(problem.slots))

    def rows(self, choices: list[np.ndarray]) -> np.ndarray:
        return np.stack(choices).astype(np.int16)

    def forget(self, kept: list[np.ndarray]) -> None:
        pass


def additive(seed: int, size: int) -> Callable[[np.ndarray], float]:
    """Times that add up over slots; half of the layouts are faster than the compiler's own."""
    weights = np.random.default_rng(seed).normal(size=(size, 6)).round(3)

    def cost(choice: np.ndarray) -> float:
        chosen = np.flatnonzero(choice != FREE)
        return OWN_NS + 1000.0 * float(weights[chosen, choice[chosen]].sum())

    return cost


def toy(cost: Callable | None = None) -> Toy:
    """A toy with twelve times the slots of `TEXT`; its own choice takes OWN_NS."""
    slots = [replace(slot, node=slot.node + len(NODES) * copy) for copy in range(12) for slot in SLOTS]
    return Toy("toy", "v3", TEXT, b"", NODES * 12, slots, OWN_NS, cost or additive(3, len(slots)))


def small(cost: Callable | None = None) -> Toy:
    """A toy with the slots of `TEXT` alone, so that its layouts can be forced in the text."""
    return Toy("small", "v3", TEXT, b"", NODES, list(SLOTS), OWN_NS, cost or additive(1, len(SLOTS)))
