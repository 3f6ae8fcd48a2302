"""What a worker of the collector is asked to do: one program or kernel, by name."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from stages.collect import record
from stages.collect.cpu import compiling
from stages.collect.cpu.kernels.registry import kernels
from stages.collect.cpu.programs.registry import programs
from stages.collect.record import Planned

SEARCHES = ("random", "default", "tile")


@dataclass(frozen=True)
class Job:
    """One program or kernel, by name: the registries are read again in the worker."""

    identifier: str
    searches: tuple[str, ...]
    configurations: int  # of each search
    out: str  # folder of the records
    compile_limit_s: float  # processor seconds

    @property
    def tile(self) -> bool:
        """Whether the job is a kernel's."""
        return self.searches == ("tile",)


def perform(job: Job, tick) -> None:
    """Measures one job in this process."""
    compiling.set_environment()
    from stages.collect.cpu import layout, tile

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


def planned(identifier: str) -> Planned | None:
    """What the program or kernel of that id was to become; None if none has it."""
    if kernel := kernels().get(identifier):
        return Planned("tile:xla", kernel.split, kernel.kind)
    if program := programs().get(identifier):
        return Planned(f"layout:{program.source}", program.split, program.family)
    return None
