"""Reads what a kernel does, cycle by cycle, from its final VLIW bundles.

A TPU core has neither caches nor branch prediction, so its bundles take the time that stands there. A kernel is a
pipeline: a loop over the windows of its output, in which copies between the chip's memory (HBM) and the core's (VMEM)
for later steps run beside the computation of this one. What runs how often follows from the loop's bounds:

- the loop runs once a step, and a few times more to fill and drain the pipeline, without computing;
- a copy runs when its window moves, which its address tells (`bundles.Origin`);
- what is skipped in some steps, and neither copies nor waits, finishes or begins an output window;
- a window that is no row of equally spaced pieces is copied by several commands, issued in loops of their own. These
  loops are not counted in cycles but in commands: today's compiler writes a longer descriptor for each than the one
  whose kernels were measured.
"""

from __future__ import annotations

import math
import re
from dataclasses import asdict, dataclass

from stages.collect.tpu.bundles import Bundles, Loop, Skipped

#: to be raised with every change of what `read` returns: records of another version are made anew
READER_VERSION = 5

#: unit of the sizes of copies
GRANULE_BYTES = 1024
_COPY = re.compile(r"(?<!for )%\w+ = dma(?:\.(?P<kind>hbm_to_vmem|vmem_to_hbm))? (?P<rest>[^\n]*)")
_HBM = re.compile(r"/\*hbm=\*/(%s\w+)")
_GRANULES = re.compile(r"/\*size_in_granules=\*/(\d+)")
_DESCRIPTOR = re.compile(r"\[#(\w+)")
#: words of a copy's descriptor
_DESTINATION, _SOURCE = "0", "3"
_WAIT = "pipeline-emitter-dma-wait"
_BOUNDS = {
    name: re.compile(rf"(?m)^{name}: \(([^)]*)\)")
    for name in ("base_bounds", "window_bounds", "iteration_bounds", "strides", "pad_low", "pad_high")
}
#: positions of a window over which a mean is taken; more have bounds that depend on data
_MOST_POSITIONS = 100_000
_ELEMENT = re.compile(r"element_size_in_bytes: (\d+)")


@dataclass(frozen=True)
class Copy:
    """A copy between the chip's memory and the core's, over the whole kernel.

    Attributes:
        inward: Into the core's memory; else out of it.
        operand: Number of the kernel's operand.
        count: How often it runs.
        bytes: Of one run, in the mean over the kernel: windows at the edge are smaller.
        pieces: Of one run that lie together in the chip's memory, in the mean.
        commands: Issued in loops for one run, in the mean; 0 where it is a single one in the code's way.
        pipelined: Whether it is one of the pipeline's windows; else it runs before or after it.
    """

    inward: bool
    operand: int
    count: int
    bytes: float
    pieces: float
    commands: float
    pipelined: bool


@dataclass(frozen=True)
class Schedule:
    """What a kernel's bundles say.

    Attributes:
        cycles: Of all bundles, each as often as it runs, those that issue a window's copies in loops left out.
        steps: Of the pipeline.
        bundles: Length of the code.
        copies: All copies.
        uncounted: Loops, outside copies, of which no constant says how often they run; they count once.
    """

    cycles: float
    steps: int
    bundles: int
    copies: tuple[Copy, ...]
    uncounted: int

    def record(self) -> dict:
        """The schedule as a tree of plain values, for JSON."""
        return asdict(self)

    @classmethod
    def of_record(cls, record: dict) -> Schedule:
        return cls(**{**record, "copies": tuple(Copy(**copy) for copy in record["copies"])})


@dataclass(frozen=True)
class _Window:
    """A pipeline's window: bounds in tiles, the physically major dimension first."""

    bounds: tuple[int, ...]
    base: tuple[int, ...]
    iterations: tuple[int, ...]
    strides: tuple[int, ...]
    low: tuple[int, ...]
    high: tuple[int, ...]
    tile_bytes: int

    @property
    def mean_sizes(self) -> list[float]:
        """Sizes in the mean over all positions: what lies outside the tensor is not copied."""
        dimensions = zip(self.bounds, self.base, self.strides, self.low, self.high, strict=True)
        return [_mean_overlap(*dimension) for dimension in dimensions]

    @property
    def levels(self) -> list[float]:
        """Numbers of pieces, the innermost level first: tiles that lie together, then equally spaced ones a level.

        A dimension whose inner neighbour is copied whole goes on with the neighbour's spacing.
        """
        levels, joined = [1.0], True
        for size, bound, whole in zip(self.mean_sizes[::-1], self.bounds[::-1], self.base[::-1], strict=True):
            if joined:
                levels[-1] *= size
            elif size > 1:
                levels.append(size)
            joined = bound >= whole
        return levels


@dataclass(frozen=True)
class _Found:
    """A copy as it stands in the code."""

    bundle: int
    inward: bool
    operand: int
    moves_with: frozenset[int] | None
    window: _Window | None
    granules: int
    by_data: bool

    def count(self) -> int:
        """How often the window moves, the first position included, as its loops turn like an odometer.

        Where its address depends on data it moves in each step.
        """
        if self.window is None:
            return 1
        if self.by_data:
            return math.prod(self.window.iterations)
        iterations = self.window.iterations
        moving = [
            loop
            for loop, trips in enumerate(iterations)
            if trips > 1 and (self.moves_with is None or loop in self.moves_with)
        ]
        return math.prod(iterations[: max(moving) + 1]) if moving else 1


def read(text: str) -> Schedule:
    """Reads one file of final bundles.

    Args:
        text: What the compiler dumps for the pass ``final_bundles`` of one kernel.
    """
    bundles = Bundles(text)
    found = _copies(bundles)
    windows = [copy for copy in found if copy.window is not None]
    steps = max((math.prod(copy.window.iterations) for copy in windows), default=1)
    pipeline = _pipeline(bundles.loops, windows, steps)
    waits = [number for number, text in enumerate(bundles.texts) if _WAIT in text]
    issuing = [loop for loop in bundles.loops if loop is not pipeline and _issues(loop, windows, waits)]
    counts, uncounted = _counts(bundles, found, pipeline, issuing, waits, steps)
    cycles = sum(count * cycle for count, cycle in zip(counts, bundles.cycles, strict=True))
    copies = tuple(_over_kernel(copy, counts, issuing) for copy in found)
    return Schedule(cycles, steps, len(bundles), copies, uncounted)


def _issues(loop: Loop, windows: list[_Found], waits: list[int]) -> bool:
    """Whether a loop does nothing but copy a window piece by piece: it waits for none, and data has no say in it."""
    inside = [copy for copy in windows if loop.holds(copy.bundle)]
    return bool(inside) and not any(copy.by_data for copy in inside) and not any(map(loop.holds, waits))


def _over_kernel(copy: _Found, counts: list[float], issuing: list[Loop]) -> Copy:
    if copy.window is None:
        count, size = max(1, round(counts[copy.bundle])), float(copy.granules * GRANULE_BYTES)
        return Copy(copy.inward, copy.operand, count, size, 1.0, 0.0, False)
    levels = copy.window.levels
    size = math.prod(copy.window.mean_sizes) * copy.window.tile_bytes
    # One command copies pieces that lie together and one level of equally spaced ones.
    looped = any(loop.holds(copy.bundle) for loop in issuing)
    commands = max(1.0, math.prod(levels[2:])) if looped else 0.0
    count = round(counts[copy.bundle]) if copy.by_data else copy.count()
    return Copy(copy.inward, copy.operand, count, size, max(1.0, math.prod(levels[1:])), commands, True)


def _copies(bundles: Bundles) -> list[_Found]:
    """The copies in the code, in its order."""
    found = []
    for number, text in enumerate(bundles.texts):
        copy = _COPY.search(text) if " = dma" in text else None
        if copy is None:
            continue
        if copy["kind"]:
            address = _HBM.search(copy["rest"])
            registers = [address[1]] if address else []
        else:
            allocation = _DESCRIPTOR.search(copy["rest"])[1]
            words = (bundles.stored(allocation, word, number) for word in (_SOURCE, _DESTINATION))
            registers = [register for register in words if register]
        origin = next((origin for origin in map(bundles.origin, registers) if origin), None)
        granules = _GRANULES.search(copy["rest"])
        inward = origin.inward if origin else copy["kind"] != "vmem_to_hbm"
        found.append(
            _Found(
                number,
                inward,
                origin.operand if origin else -1,
                origin.loops if origin else None,
                _window(text),
                int(granules[1]) if granules else 1,
                origin is not None and origin.by_data,
            )
        )
    return found


def _mean_overlap(size: int, whole: int, stride: int, low: int, high: int) -> float:
    """What of a window lies inside the tensor, in the mean over its positions, which begin ``low`` before it."""
    starts = range(-low, max(-low, whole + high - size) + 1, max(1, stride))
    if len(starts) > _MOST_POSITIONS:
        return float(min(size, whole))
    inside = [max(0, min(start + size, whole) - max(start, 0)) for start in starts]
    return max(1.0, sum(inside) / len(inside))


def _window(text: str) -> _Window | None:
    bounds = {name: pattern.search(text) for name, pattern in _BOUNDS.items()}
    if not all(bounds.values()):
        return None
    values = {name: tuple(int(part) for part in bound[1].split(",") if part.strip()) for name, bound in bounds.items()}
    return _Window(
        values["window_bounds"],
        values["base_bounds"],
        values["iteration_bounds"],
        values["strides"],
        values["pad_low"],
        values["pad_high"],
        int(_ELEMENT.search(text)[1]),
    )


def _pipeline(loops: list[Loop], windows: list[_Found], steps: int) -> Loop | None:
    """The loop over a pipeline's steps: it holds all windows and runs at least once a step."""
    if not windows:
        return None
    holding = [
        loop
        for loop in loops
        if loop.trips is not None and loop.trips >= steps and all(loop.holds(copy.bundle) for copy in windows)
    ]
    return min(holding, key=lambda loop: loop.last - loop.first, default=None)


def _counts(
    bundles: Bundles,
    found: list[_Found],
    pipeline: Loop | None,
    issuing: list[Loop],
    waits: list[int],
    steps: int,
) -> tuple[list[float], int]:
    """How often each bundle runs, none in the issuing loops, and the number of loops that nothing says it of."""
    counts = [1.0] * len(bundles)
    if pipeline is not None:
        for number in range(pipeline.first, min(pipeline.last + 1, len(counts))):
            counts[number] = pipeline.trips
        outputs = [copy.count() for copy in found if not copy.inward and copy.window is not None]
        finished = max(outputs, default=1)
        for part in bundles.skipped:
            if pipeline.holds(part.first) and pipeline.holds(part.last):
                often = _runs_of(part, found, waits, steps, finished)
                for number in range(part.first, part.last + 1):
                    counts[number] = min(counts[number], often)
    uncounted = 0
    for loop in bundles.loops:
        if loop is pipeline:
            continue
        trips = 0 if loop in issuing else loop.at_most if loop.trips is None else loop.trips
        uncounted += trips is None
        for number in range(loop.first, min(loop.last + 1, len(counts))):
            counts[number] *= 1 if trips is None else trips
    return counts, uncounted


def _runs_of(part: Skipped, found: list[_Found], waits: list[int], steps: int, finished: int) -> int:
    """How often a skipped part of the pipeline runs."""
    inside = [copy for copy in found if part.holds(copy.bundle) and copy.window is not None]
    inward = [copy.count() for copy in inside if copy.inward]
    if inward:
        return max(inward)
    if any(part.holds(wait) for wait in waits):
        return steps
    return max((copy.count() for copy in inside), default=finished)
