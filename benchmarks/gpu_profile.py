"""Profiles a call on a GPU: its operations, how long the GPU idles, and where the CPU waits for it."""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import torch
from torch.autograd import DeviceType
from torch.profiler import ProfilerActivity, profile

PROJECT = Path(__file__).parents[1]
TOP = 10  # operations in a profile
MICRO = 1e-6  # the profiler counts microseconds
#: attribute of the profiler's averages, by what did the work
SELF_TIME = {"cpu": "self_cpu_time_total", "device": "self_device_time_total"}


def busy(intervals: Iterable[tuple[float, float]]) -> float:
    """Length of the union of intervals (start, end)."""
    total, reached = 0.0, float("-inf")
    for start, end in sorted(intervals):
        total += max(0.0, end - max(start, reached))
        reached = max(reached, end)
    return total


def profiled(call: Callable[[], object], device: torch.device, seconds: float, calls: int = 5) -> Iterator[dict]:
    """Yields the rows of a profile of a call.

    The first row says how long the GPU works in a call and how much of the call's time it idles. The time is the one
    measured without the profiler, because the profiler slows the CPU down. Then come the operations with the most time
    of their own, and the lines that wait.

    Args:
        call: the call; it ran before, so that first-time work is over.
        device: where it runs. On the CPU there are rows of its operations alone.
        seconds: of a call, as measured without the profiler.
        calls: that the profile is the mean of.

    Yields:
        what "idle": seconds, busy (seconds of a call in which the GPU works), idle (share of `seconds`), kernels.
        what "operation": on ("cpu" or "device"), operation, seconds and calls, each of one call.
        what "wait": line and waits, how often one call waits there.
    """
    cuda = device.type == "cuda"
    with profile(activities=[ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if cuda else [])]) as record:
        for _ in range(calls):
            call()
        if cuda:
            torch.cuda.synchronize(device)
    if cuda:
        # The optimizer's marks on the GPU's time line are no work.
        marks = ("Optimizer.", "ProfilerStep")
        kernels = [
            (event.time_range.start, event.time_range.end)
            for event in record.events()
            if event.device_type == DeviceType.CUDA and not event.name.startswith(marks)
        ]
        worked = busy(kernels) * MICRO / calls
        row = {"seconds": seconds, "busy": worked, "idle": max(0.0, 1 - worked / seconds)}
        yield {"what": "idle", **row, "kernels": len(kernels) / calls}
    averages = [event for event in record.key_averages() if event.device_type == DeviceType.CPU]
    for on, name in SELF_TIME.items():
        for event in sorted(averages, key=lambda event: -getattr(event, name))[:TOP]:
            if (spent := getattr(event, name)) > 0:
                row = {"operation": event.key, "seconds": spent * MICRO / calls, "calls": event.count / calls}
                yield {"what": "operation", "on": on, **row}
    for line, count in waits(call).most_common() if cuda else ():
        yield {"what": "wait", "line": line, "waits": count}


def waits(call: Callable[[], object]) -> Counter[str]:
    """How often a call waits for a CUDA device, by file and line of Python; torch warns of each wait."""
    torch.cuda.set_sync_debug_mode("warn")
    try:
        with warnings.catch_warnings(record=True) as seen:
            warnings.simplefilter("always")
            call()
    finally:
        torch.cuda.set_sync_debug_mode("default")
    waiting = [warning for warning in seen if "synchronizing" in str(warning.message)]
    return Counter(f"{_short(warning.filename)}:{warning.lineno}" for warning in waiting)


def _short(file: str) -> str:
    """The path of a file below the project, or the last three parts of a library's."""
    path = Path(file).absolute()
    return str(path.relative_to(PROJECT) if path.is_relative_to(PROJECT) else Path(*path.parts[-3:]))
