"""Time of a kernel on a TPU v3 from its static schedule."""

from __future__ import annotations

from stages.collect.tpu.schedule import Schedule

#: clock of a TPU v3's core
CLOCK_GHZ = 0.94
#: half of a TPU v3 chip's 900 GB/s: one of its two cores' share
BANDWIDTH_BYTES_PER_NS = 450.0
RUN_NS = 4.0
ITERATION_NS = 50.0
LAUNCH_NS = 550.0


def _moves(window) -> tuple[float, float]:
    """Bytes and contiguous runs that a window's copies move over the whole kernel."""
    import numpy as np

    w, b, it = window.bounds, window.base, window.iterations
    tiles = [-(-y // x) for x, y in zip(w, b, strict=True)]
    total = int(np.prod(it))
    inner = [x for x in it if x > 1][-1:]
    n = total if (inner and inner[0] in tiles) or not window.inward else min(total, int(np.prod(tiles)))
    if w == b:
        n = 1
    run = 1
    for x, y in zip(w[::-1], b[::-1], strict=True):
        run *= x
        if x != y:
            break
    return n * float(np.prod(w)) * window.tile_bytes, n * float(np.prod(w)) / run


def kernel_ns(record: dict) -> float:
    total = LAUNCH_NS
    for each in record["schedules"]:
        schedule = Schedule.of_record(each)
        moved = [_moves(window) for window in schedule.windows]
        memory = sum(size for size, _ in moved) / BANDWIDTH_BYTES_PER_NS + RUN_NS * sum(runs for _, runs in moved)
        iterations = 1
        for window in schedule.windows:
            count = 1
            for trips in window.iterations:
                count *= trips
            iterations = max(iterations, count)
        total += max(schedule.cycles / CLOCK_GHZ, memory) + ITERATION_NS * iterations
    return total
