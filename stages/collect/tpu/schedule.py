"""Reads what a kernel does, cycle by cycle, from the final VLIW bundles that the compiler dumps.

A TPU core has no caches and no branch prediction that would make a bundle's time uncertain: every bundle takes one
cycle, a ``vdelay n`` in it n more, and a loop's bundles run as often as its exit test says. What is uncertain is the
memory: the copies between the chip's memory (HBM) and the core's (VMEM), which run beside the bundles.
"""

from __future__ import annotations

import re
from dataclasses import asdict, dataclass

#: to be raised with every change of what `read` returns: records of another version are made anew
READER_VERSION = 1

_BUNDLE = re.compile(r"(?m)^(?=\s*(?:0x[0-9a-f]+|0)\s+(?:[A-Z]{2})?\s*:)")
_LOOP_BODY = re.compile(r"^\s*(?:0x)?[0-9a-f]+\s+LB")
_LOOP_EXIT = re.compile(r"(\d+) /\* loop exit test")
_DELAY = re.compile(r"\bvdelay (\d+)")
_COPY = re.compile(r"= dma\.(hbm_to_vmem|vmem_to_hbm)\b")
_FIELD = {
    name: re.compile(rf"(?m)^{name}: \(([^)]*)\)")
    for name in ("base_bounds", "window_bounds", "iteration_bounds", "strides")
}
_ELEMENT = re.compile(r"element_size_in_bytes: (\d+)")


@dataclass(frozen=True)
class Window:
    """A tensor's window that is copied into or out of the core's memory, in tiles, the physically major dimension first.

    Attributes:
        inward: From the chip's memory into the core's; else out of it.
        bounds: Of the window.
        base: Of the whole tensor.
        strides: By which the window moves, one a dimension.
        iterations: Trips of the loops that the windows move in, the outermost first.
        tile_bytes: Bytes of a tile.
    """

    inward: bool
    bounds: tuple[int, ...]
    base: tuple[int, ...]
    strides: tuple[int, ...]
    iterations: tuple[int, ...]
    tile_bytes: int


@dataclass(frozen=True)
class Schedule:
    """What a kernel's bundles say: cycles with loops multiplied out, bundles of its code, and the windows it copies."""

    cycles: int
    bundles: int
    windows: tuple[Window, ...]

    def record(self) -> dict:
        """The schedule as a tree of plain values, for JSON."""
        return asdict(self)

    @classmethod
    def of_record(cls, record: dict) -> Schedule:
        windows = tuple(
            Window(**{key: tuple(value) if isinstance(value, list) else value for key, value in window.items()})
            for window in record["windows"]
        )
        return cls(record["cycles"], record["bundles"], windows)


def read(text: str) -> Schedule:
    """Reads one file of final bundles."""
    bundles = _BUNDLE.split(text)[1:]
    cycles = [1 + sum(map(int, _DELAY.findall(bundle))) for bundle in bundles]
    trips = [1] * len(bundles)
    open_loops: list[int] = []
    for number, bundle in enumerate(bundles):
        if _LOOP_BODY.match(bundle):
            open_loops.append(number)
        exit_test = _LOOP_EXIT.search(bundle)
        if exit_test and open_loops:
            for inside in range(open_loops.pop(), number + 1):
                trips[inside] *= int(exit_test[1])
    total = sum(cycle * trip for cycle, trip in zip(cycles, trips, strict=True))
    windows = dict.fromkeys(window for bundle in bundles for window in _windows(bundle))
    return Schedule(total, len(bundles), tuple(windows))


def _windows(bundle: str):
    """The window that a bundle copies. Waits for it and its checks repeat it; they are the same window."""
    direction = _COPY.search(bundle)
    if direction and "\nwindow_bounds" in bundle:
        fields = {
            name: tuple(int(part) for part in pattern.search(bundle)[1].split(",") if part.strip())
            for name, pattern in _FIELD.items()
        }
        yield Window(
            direction[1] == "hbm_to_vmem",
            fields["window_bounds"],
            fields["base_bounds"],
            fields["strides"],
            fields["iteration_bounds"],
            int(_ELEMENT.search(bundle)[1]),
        )
