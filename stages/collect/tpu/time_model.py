"""Time of a kernel on a TPU v3, from its static schedule.

Two things go on side by side: the core works through its bundles, and copies move windows between the chip's memory
and the core's. Of a kernel:

    computing = (cycles + commands × COMMAND_CYCLES) / CLOCK
    copying   = Σ over copies: count × (bytes / BANDWIDTH + pieces × PIECE)
    filling   = what has nothing beside it: the first windows' copies or the last window's computing
    time      = (computing^q + copying^q)^(1/q) + filling + steps × STEP + LAUNCH

Were all steps alike and the two quite independent, the longer one would hide the other (q = ∞). They are not: steps at
the edge differ, and both use the core's memory; q says by how much.

Constants with a physical meaning are near what the hardware is known to do; they are fitted to the real runs of
TpuGraphs' ``op_tuning_data.pb`` by `real_runs`, which prints how well, each kernel judged by the others.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from stages.collect.tpu.schedule import Schedule


@dataclass(frozen=True)
class Constants:
    """What the time model knows of the hardware.

    Attributes:
        bandwidth: Bytes a nanosecond between one core and the chip's memory. A TPU v3 chip has 900 GB/s for two cores.
        piece_ns: Nanoseconds that each piece lying apart in the chip's memory costs besides.
        step_ns: Nanoseconds that each step of the pipeline costs besides: the wait for a copy's end.
        launch_ns: Nanoseconds before the first copy and after the last: the latency of the chip's memory, there and
            back.
        command_cycles: Cycles to issue one of the commands that copy a window of many levels.
        overlap: The exponent q: how far computing and copying hide each other.
    """

    bandwidth: float
    piece_ns: float
    step_ns: float
    launch_ns: float
    command_cycles: float
    overlap: float


#: clock of a TPU v3's core in cycles a nanosecond (Jouppi et al., "A Domain-Specific Supercomputer for Training Deep
#: Neural Networks", 2020)
CLOCK = 0.94
#: fitted to the 752 timed runs of the 15 kernels by `python -m stages.collect.tpu.real_runs FOLDER --fit`
CONSTANTS = Constants(bandwidth=437.0, piece_ns=1.8, step_ns=50.0, launch_ns=409.0, command_cycles=8.7, overlap=2.71)


@dataclass(frozen=True)
class Terms:
    """What the model sums, of n pieces of code. Arrays (n,), except for the copies', of which there are m.

    Attributes:
        cycles, steps: Of the schedules.
        owner: (m,) The schedule that a copy belongs to.
        count, bytes, pieces, commands: (m,) Of the copies.
        inward, pipelined: (m,) booleans.
    """

    cycles: np.ndarray
    steps: np.ndarray
    owner: np.ndarray
    count: np.ndarray
    bytes: np.ndarray
    pieces: np.ndarray
    commands: np.ndarray
    inward: np.ndarray
    pipelined: np.ndarray

    @classmethod
    def of(cls, schedules: Sequence[Schedule]) -> Terms:
        copies = [(number, copy) for number, schedule in enumerate(schedules) for copy in schedule.copies]

        def column(name: str, dtype: type) -> np.ndarray:
            return np.array([getattr(copy, name) for _, copy in copies], dtype)

        return cls(
            np.array([schedule.cycles for schedule in schedules], float),
            np.array([schedule.steps for schedule in schedules], float),
            np.array([number for number, _ in copies], np.int64),
            column("count", float),
            column("bytes", float),
            column("pieces", float),
            column("commands", float),
            column("inward", bool),
            column("pipelined", bool),
        )


def times_ns(terms: Terms, constants: Constants = CONSTANTS) -> np.ndarray:
    """Nanoseconds of each piece of code, (n,)."""

    def summed(of_copies: np.ndarray) -> np.ndarray:
        return np.bincount(terms.owner, of_copies, len(terms.cycles))

    one = terms.bytes / constants.bandwidth + terms.pieces * constants.piece_ns
    commands = summed(terms.count * terms.commands)
    computing = (terms.cycles + commands * constants.command_cycles) / CLOCK
    copying = summed(terms.count * one * terms.pipelined)
    alone = summed(terms.count * one * ~terms.pipelined)
    first = summed(one * terms.pipelined)
    filling = np.where(copying > computing, computing / terms.steps, first)
    power = constants.overlap
    longer = np.maximum(np.maximum(computing, copying), 1e-9)
    hidden = longer * ((computing / longer) ** power + (copying / longer) ** power) ** (1 / power)
    copies = summed(np.ones(len(terms.owner))) > 0
    return hidden + filling + alone + copies * (terms.steps * constants.step_ns + constants.launch_ns)


def kernel_ns(record: dict) -> float:
    """Nanoseconds of a kernel from its record: the sum over its pieces of code.

    Args:
        record: Of `worker.kernel_record`.
    """
    schedules = [Schedule.of_record(each) for each in record["schedules"]]
    return float(times_ns(Terms.of(schedules)).sum())
