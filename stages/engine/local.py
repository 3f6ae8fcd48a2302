"""Runs tasks on the cores of this machine, in processes or threads."""

from __future__ import annotations

import multiprocessing
import os
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor, ProcessPoolExecutor, ThreadPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool

from stages.engine import lifetime
from stages.engine.errors import InputError

KILLED = "was killed, most often for want of memory"
GOES_ON = "run again, it goes on where it was"


def spread(
    function: Callable, tasks: Sequence, *, memory_knob: str, parallel: int | None = None, threads: bool = False
) -> Iterator[tuple[int, object]]:
    """Calls a function with each task, several at a time, and yields the results as they come.

    Args:
        function: importable by name, or a `partial` of such a function.
        tasks: its arguments, one for each call.
        memory_knob: the parameter that makes a task need less memory, for the message.
        parallel: how many tasks run at the same time, by default one for each core; 1 runs all in this process.
        threads: whether threads of this process run the tasks; for a function that works outside of Python.

    Yields:
        (position of the task, result).

    Raises:
        InputError: a process was killed.
        Exception: as the function raises it.
    """
    workers = min(len(tasks), os.cpu_count() or 1, parallel or len(tasks))
    try:
        if workers <= 1:
            yield from ((position, function(task)) for position, task in enumerate(tasks))
            return
        with ThreadPoolExecutor(workers) if threads else _processes(function, workers) as pool:
            try:
                yield from _results(pool, function, tasks)
            finally:
                pool.shutdown(cancel_futures=True)
    except (BrokenProcessPool, SystemExit):  # a notebook takes SystemExit for the normal end of a cell
        raise InputError(f"a process {KILLED}; lower {memory_knob}, or {GOES_ON}") from None


def _processes(function: Callable, workers: int) -> ProcessPoolExecutor:
    """A pool of processes that have imported the function's module, and what its `PRELOAD` names.

    They are not forks of this process, because a notebook's kernel has threads, which a fork would lose.
    """
    module = getattr(function, "func", function).__module__
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([module, *getattr(sys.modules[module], "PRELOAD", ())])
    return ProcessPoolExecutor(workers, mp_context=context, initializer=_end_with_parent)


def _end_with_parent() -> None:
    """Makes this worker end when the process that gives it work is killed; otherwise it would wait for work forever.

    The worker's parent is the server that forked it, which ends with that process too.
    """
    lifetime.end_with_parent()

    def wait() -> None:
        multiprocessing.parent_process().join()
        os._exit(1)

    threading.Thread(target=wait, daemon=True).start()


def _results(pool: Executor, function: Callable, tasks: Sequence) -> Iterator[tuple[int, object]]:
    futures = {pool.submit(function, task): position for position, task in enumerate(tasks)}
    yield from ((futures[future], future.result()) for future in as_completed(futures))
