"""Times compiled programs side by side on one core, so that whatever disturbs one disturbs all alike."""

from __future__ import annotations

import contextlib
import gc
import os
import time

import numpy as np
from scipy.stats import kendalltau

#: rounds of a pass; the two passes alternate round by round
ROUNDS = 16
#: runs of an executable in its turn of a round, the fastest counts: the first finds its code and data in no cache.
#: Slow programs get fewer: what a cold cache costs is little beside what they take.
MOST_REPEATS = 5
TURN_NS = 5_000_000
#: a graph whose passes agree less than GOOD but not hopelessly is timed again, up to EXTRA times
GOOD_TAU = 0.92
HOPELESS_TAU = 0.65
EXTRA = 5


@contextlib.contextmanager
def undisturbed():
    """Real-time priority for this process's threads, where the system allows it, and no garbage collection."""
    threads = [int(name) for name in os.listdir("/proc/self/task")]
    gc.collect()
    gc.disable()
    try:
        _schedule(threads, os.SCHED_FIFO, 10)
        yield
    finally:
        _schedule(threads, os.SCHED_OTHER, 0)
        gc.enable()


def _schedule(threads: list[int], policy: int, priority: int) -> None:
    for thread in threads:
        with contextlib.suppress(PermissionError, ProcessLookupError):
            os.sched_setscheduler(thread, policy, os.sched_param(priority))


def rounds(executables: list, arguments: list, count: int, rng: np.random.Generator, repeats: int = 1) -> np.ndarray:
    """Times in rounds: within a round every executable has one turn, in an order drawn anew.

    Args:
        arguments: Of all executables alike.
        count: Rounds.
        repeats: Runs in a row in one turn, of which the fastest counts.

    Returns:
        (count, executables) int64 nanoseconds.
    """
    times = np.full((count, len(executables)), np.iinfo(np.int64).max)
    with undisturbed():
        for row in times:
            for index in rng.permutation(len(executables)):
                for _ in range(repeats):
                    begin = time.perf_counter_ns()
                    for output in executables[index].execute(arguments):
                        output.block_until_ready()
                    row[index] = min(row[index], time.perf_counter_ns() - begin)
    return times


def two_passes(executables: list, arguments: list, rng: np.random.Generator) -> tuple[np.ndarray, float]:
    """Times in two passes, interleaved round by round.

    Returns:
        Minima of each pass, (2, executables) int64 nanoseconds, and Kendall tau-b between the two.
    """
    warm = rounds(executables, arguments, 2, rng)  # first runs fault memory in
    repeats = int(np.clip(TURN_NS // np.median(warm[1]), 1, MOST_REPEATS))
    passes = np.full((2, len(executables)), np.iinfo(np.int64).max)
    for _ in range(1 + EXTRA):
        times = rounds(executables, arguments, 2 * ROUNDS, rng, repeats)
        passes = np.minimum(passes, [times[0::2].min(axis=0), times[1::2].min(axis=0)])
        agreement = float(kendalltau(passes[0], passes[1]).statistic)
        if not HOPELESS_TAU < agreement < GOOD_TAU:
            break
    return passes, agreement
