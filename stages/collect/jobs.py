"""What a worker of the collector is asked to do: one program or kernel, by name."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from stages.collect import compiling, record

SEARCHES = ("random", "default", "tile")


@dataclass(frozen=True)
class Job:
    """One program or kernel, by name: the registries are read again in the worker."""

    identifier: str
    searches: tuple[str, ...]
    configurations: int
    out: str
    compile_limit_s: float

    @property
    def tile(self) -> bool:
        return self.searches == ("tile",)


#: A training step takes about three times as long to compile as a forward program. Two of three come last, so that a
#: collection cut short has measured many programs and not few.
STEPS_FIRST = 3


def programs() -> dict:
    """All layout programs by id, in the order of measuring: xla and nlp take turns, most training steps come last."""
    from stages.collect.programs_nlp import NLP_PROGRAMS
    from stages.collect.programs_xla import XLA_PROGRAMS

    turns = []
    for source in (XLA_PROGRAMS, NLP_PROGRAMS):
        steps = 0
        for index, program in enumerate(source):
            is_step = program.id.endswith(("_train", "_tune"))
            turns.append((is_step and steps % STEPS_FIRST != 0, index / len(source), program))
            steps += is_step
    return {program.id: program for *_, program in sorted(turns, key=lambda turn: turn[:2])}


def kernels() -> dict:
    """All tile kernels by id."""
    from stages.collect.kernels import KERNELS

    return {kernel.id: kernel for kernel in KERNELS}


def perform(job: Job, tick) -> None:
    """Measures one job in this process."""
    compiling.set_environment()
    from stages.collect import layout, tile

    if job.tile:
        tile.measure(kernels()[job.identifier], job.configurations, Path(job.out), tick)
    else:
        layout.measure(
            programs()[job.identifier], job.searches, job.configurations, Path(job.out), job.compile_limit_s, tick
        )


def records_of(job: Job) -> list[Path]:
    """The record files that a job writes."""
    out = Path(job.out)
    if job.tile:
        return [record.path(out, "tile:xla", job.identifier)]
    source = programs()[job.identifier].source
    return [record.path(out, f"layout:{source}:{search}", job.identifier) for search in job.searches]
