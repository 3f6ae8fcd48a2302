"""What a search found: the compiler's own choice beside the fastest, the kernels that differ, and the layouts set."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from stages.collect.tpu.choices import FREE
from stages.collect.tpu.simulate import Simulation
from stages.collect.tpu_data.kinds import kind_of
from stages.graphs.tensors import SLOTS
from stages.tuning.attempts import Attempts
from stages.tuning.problem import Problem
from stages.tuning.surrogate import Layouts

#: a smaller one is none to speak of
LEAST_GAIN = 1.001
#: what every output says of its times
TIMES = "simulated from the TPU compiler's schedule, not measured"
#: and where the program was not compiled for what the models learnt
OTHER_TARGET = "the models learnt TPU v3, and the time model's constants are v3's"


@dataclass(frozen=True)
class Kernel:
    """Kernels of one name that differ between the two programs: simulated nanoseconds, None where there is none."""

    name: str
    kind: str
    before_ns: float | None
    after_ns: float | None

    @property
    def saved_ns(self) -> float:
        return (self.before_ns or 0.0) - (self.after_ns or 0.0)


@dataclass(frozen=True)
class Forced:
    """A layout that was set.

    Attributes:
        node: Name of the instruction in the HLO before layout assignment; slot: of `SLOTS`, a tensor of it.
        opcode, shape: Of the node, and of the tensor as HLO writes it, without a layout.
        minor_to_major: The layout as XLA writes it.
        own: The compiler's own there, None where it cannot be told.
    """

    node: str
    slot: str
    opcode: str
    shape: str
    minor_to_major: tuple[int, ...]
    own: tuple[int, ...] | None

    @property
    def major_to_minor(self) -> tuple[int, ...]:
        """As ``jax.experimental.layout.Layout`` takes it."""
        return self.minor_to_major[::-1]


@dataclass(frozen=True, eq=False)
class Outcome:
    """A search's end.

    Attributes:
        program, target: What was tuned.
        judge: "models", "random" or "evolution"; collection: whose models, None for no model.
        nodes, configurable, slots: Of the program's graph.
        own_ns, found_ns: Simulated nanoseconds.
        times_ns: Of each compilation in its order, None where one failed.
        budget: Compilations that were asked for.
        judged: Candidates that the models judged.
        interrupted: Whether the user ended it.
        kernels: That differ, those that gained most first.
        layouts: That were set.
    """

    program: str
    target: str
    judge: str
    collection: str | None
    nodes: int
    configurable: int
    slots: int
    own_ns: float
    found_ns: float
    times_ns: tuple[float | None, ...]
    budget: int
    judged: int
    interrupted: bool
    kernels: tuple[Kernel, ...]
    layouts: tuple[Forced, ...]

    @property
    def gain(self) -> float:
        """The compiler's own time over the one found; 1 where nothing is faster."""
        return self.own_ns / self.found_ns

    def best_so_far(self) -> np.ndarray:
        """(n + 1,) the fastest time after 0, 1, ... n compilations, in nanoseconds."""
        times = [self.own_ns, *(np.inf if time is None else time for time in self.times_ns)]
        return np.minimum.accumulate(times)

    def finding(self) -> str:
        """The one finding, in a sentence or two."""
        count = len(self.times_ns)
        tried = f"{count} compilation{'' if count == 1 else 's'}"
        if 1 < self.gain < LEAST_GAIN:
            text = (
                f"No gain to speak of: in {tried} the fastest configuration takes {_us(self.found_ns)} instead of the "
                f"{_us(self.own_ns)} of the compiler's own choice."
            )
        elif self.found_ns < self.own_ns:
            text = (
                f"A configuration {self.gain:.3f} times as fast as the compiler's own choice was found in {tried}: "
                f"{_us(self.found_ns)} instead of {_us(self.own_ns)}."
            )
        else:
            text = f"No gain: in {tried} nothing was faster than the compiler's own choice, {_us(self.own_ns)}."
        if self.interrupted:
            text += f" The search was interrupted after {count} of {self.budget}."
        elif count < self.budget:
            text += f" Of {self.budget} asked for no more were made: the program has no more candidates that differ."
        return text


def _us(nanoseconds: float) -> str:
    return f"{nanoseconds / 1000:,.1f} µs"


def simplified(layouts: Layouts, choice: np.ndarray) -> np.ndarray:
    """A choice without the layouts that change nothing: replayed layout assignment gives the same without them."""
    result = choice.copy()
    wanted = layouts.rows([choice])[0]
    for position in np.flatnonzero(choice != FREE):
        without = result.copy()
        without[position] = FREE
        if np.array_equal(layouts.rows([without])[0], wanted):
            result = without
    return result


def differing(before: Simulation, after: Simulation) -> tuple[Kernel, ...]:
    """The kernels that two programs do not share, by name: what each name's took before and takes now.

    Kernels of the same text are the same, whatever their name; of a name that stands in both programs the times are
    set side by side.
    """
    one, other = (Counter((cost.kernel.text, cost.kernel.trips) for cost in each.kernels) for each in (before, after))
    times: dict[tuple[str, str], list[float | None]] = {}
    for side, simulation, common in ((0, before, one & other), (1, after, one & other)):
        left = Counter(common)
        for cost in simulation.kernels:
            key = cost.kernel.text, cost.kernel.trips
            if left[key]:
                left[key] -= 1
                continue
            entry = times.setdefault((cost.kernel.name, kind_of(cost.kernel.text)), [None, None])
            entry[side] = (entry[side] or 0.0) + cost.time_ns * cost.kernel.trips
    kernels = [Kernel(name, kind, *both) for (name, kind), both in times.items()]
    return tuple(sorted(kernels, key=lambda kernel: (-kernel.saved_ns, kernel.name)))


def by_kind(kernels: Iterable[Kernel]) -> dict[str, float]:
    """Nanoseconds saved by the kernels of each kind, most first."""
    saved: dict[str, float] = {}
    for kernel in kernels:
        saved[kernel.kind] = saved.get(kernel.kind, 0.0) + kernel.saved_ns
    return dict(sorted(saved.items(), key=lambda each: -each[1]))


def forced(problem: Problem, choice: np.ndarray) -> tuple[Forced, ...]:
    """The layouts that a choice (slots,) sets."""
    result = []
    for slot, index in zip(problem.slots, choice, strict=True):
        if index == FREE:
            continue
        node = problem.nodes[slot.node]
        tensor = node.tensors[slot.slot]
        shape = f"{tensor.element_type}[{','.join(map(str, tensor.dims))}]"
        own = None if slot.own == FREE else slot.layouts[slot.own]
        name = node.instruction.name.lstrip("%")
        result.append(Forced(name, SLOTS[slot.slot], node.instruction.opcode, shape, slot.layouts[index], own))
    return tuple(result)


def of(
    problem: Problem,
    attempts: Attempts,
    found: np.ndarray,
    found_ns: float,
    simulations: tuple[Simulation, Simulation] | None,
    **about: object,
) -> Outcome:
    """The outcome of a search.

    Args:
        found, found_ns: The fastest choice, simplified.
        simulations: With the compiler's own layouts and with those found; None where nothing is faster.
        about: judge, collection, judged and interrupted of `Outcome`.
    """
    return Outcome(
        program=problem.name,
        target=problem.target,
        nodes=problem.node_count,
        configurable=len(problem.nodes),
        slots=len(problem.slots),
        own_ns=problem.own_ns,
        found_ns=found_ns,
        times_ns=tuple(attempts.times_ns),
        budget=attempts.budget,
        kernels=differing(*simulations) if simulations else (),
        layouts=forced(problem, found),
        **about,
    )
