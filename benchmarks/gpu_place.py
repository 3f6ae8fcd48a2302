"""What the benchmarks of a GPU share: sizes, how a call is measured on the device, and how rows are told."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from benchmarks import measure
from stages.scoring.metrics import kendall

RESULTS = Path("reports/gpu.json")


@dataclass(frozen=True)
class Sizes:
    """How large everything is.

    width: of the networks that are timed; pruned: nodes before pruning, configurable nodes and configurations; counts:
    configurations of a step; whole: nodes and configurations of the unpruned graph; segment_nodes: of its segments;
    dense: configurations of a step of the first place on it; small: nodes, configurable nodes and configurations of the
    graph of `agreement`, kernel: nodes and tiles of its kernel; steps: of a training; repeat: calls that a median is
    taken of at most, patience: seconds that they take at most.
    """

    width: int = 256
    pruned: tuple[int, int, int] = (6000, 848, 1000)
    counts: tuple[int, ...] = (16, 64, 1000)
    whole: tuple[int, int] = (43_615, 128)
    segment_nodes: int = 1000
    dense: int = 16
    small: tuple[int, int, int] = (600, 40, 128)
    kernel: tuple[int, int] = (40, 500)
    steps: int = 10
    repeat: int = 20
    patience: float = 3.0


FULL = Sizes()
CPU = Sizes(64, (1500, 120, 200), (16, 64, 200), (4000, 64), 500, 4, (300, 20, 64), (20, 100), 5, 5, 2.0)
QUICK = Sizes(16, (120, 8, 12), (4, 12), (200, 8), 50, 2, (60, 12, 24), (9, 8), 3, 1, 0.1)


@dataclass(frozen=True)
class Place:
    """The sizes, the device and the folder that every part works with."""

    sizes: Sizes
    device: torch.device
    data: Path

    @property
    def cuda(self) -> bool:
        return self.device.type == "cuda"

    def seconds(self, call: Callable[[], object]) -> dict:
        """Measures a call: median seconds, repeats, and peak bytes of the device, or of the process on a CPU."""
        finished = (lambda: (call(), torch.cuda.synchronize(self.device))) if self.cuda else call
        if self.cuda:
            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats(self.device)
        else:
            measure.reset_peak()
        seconds, repeats = measure.median_seconds(finished, self.sizes.repeat, self.sizes.patience)
        peak = torch.cuda.max_memory_allocated(self.device) if self.cuda else measure.peak_bytes()
        return {"fits": True, "seconds": seconds, "repeats": repeats, "peak_bytes": peak}

    def attempt(self, call: Callable[[], object]) -> dict:
        """As `seconds`; {"fits": False} if memory runs out."""
        try:
            return self.seconds(call)
        except RuntimeError as error:
            if not any(word in str(error) for word in ("out of memory", "allocate", "ALLOC_FAILED")):
                raise
            return {"fits": False}


def difference(first: np.ndarray, second: np.ndarray) -> dict:
    """The difference of two arrays of scores (c,); `spread` is the standard deviation of the first."""
    largest = float(np.abs(first - second).max())
    return {"largest_difference": largest, "spread": float(first.std()), "tau": kendall(second, first)}


def report(
    benchmark: str, rows: Iterable[dict], found: list[dict], device: torch.device, out: str | Path | None
) -> None:
    """Adds each row to `found` as soon as it is measured, shows it, and writes all so far.

    Args:
        benchmark: Module of the benchmark; without its prefix `gpu_` the key in `out`.
        rows: As they are measured.
        found: An empty list; `rows` may look at it.
        device: That is measured.
        out: File of results; None for none.

    Raises:
        SystemExit: A row has an `error`; all others are there.
    """
    for row in rows:
        found.append(row)
        print(line_of(row), flush=True)
        if out:
            measure.write(benchmark.removeprefix("gpu_"), {"device": machine(device), "rows": found}, out)
    if any("error" in row for row in found):
        sys.exit(f"{benchmark}: not all could be measured; see the rows with `error`")


def line_of(row: dict) -> str:
    """A row as a line."""
    texts = {name: f"{value:.4g}" if isinstance(value, float) else str(value) for name, value in row.items()}
    return "  ".join(f"{name} {value}" if name != "part" else value for name, value in texts.items())


def machine(device: torch.device) -> dict:
    """The properties of the device on which results depend, beside measure.machine()."""
    if device.type != "cuda":
        return {"name": "cpu"}
    properties = torch.cuda.get_device_properties(device)
    return {"name": properties.name, "memory_bytes": properties.total_memory, "cuda": torch.version.cuda}
