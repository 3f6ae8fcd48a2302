"""Tasks on the cores of this machine, in processes or threads of this one's own."""

from __future__ import annotations

import multiprocessing
import os
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
        function: importable by name, or a `partial` of such a one.
        tasks: its arguments, one a call.
        memory_knob: the parameter with which a task takes less memory, for the message.
        parallel: how many tasks at a time pay, by default one a core; with 1 all are done in this process.
        threads: whether threads of this process do: the function works outside of Python.

    Yields:
        (position of the task, result).

    Raises:
        InputError: a process was killed. Else what the function raises.
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
    except (BrokenProcessPool, SystemExit):  # a notebook would take the second for a cell that is done
        raise InputError(f"a process {KILLED}; lower {memory_knob}, or {GOES_ON}") from None


def _processes(function: Callable, workers: int) -> ProcessPoolExecutor:
    """Fresh processes that know the function's module: a notebook's kernel has threads, and is not to be forked."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([getattr(function, "func", function).__module__])
    return ProcessPoolExecutor(workers, mp_context=context, initializer=_end_with_parent)


def _end_with_parent() -> None:
    """Ends this worker when the process that gives it work is killed; it would wait for more work for ever.

    Between the two is the server that forked it, which ends with that process too.
    """
    lifetime.end_with_parent()

    def wait() -> None:
        multiprocessing.parent_process().join()
        os._exit(1)

    threading.Thread(target=wait, daemon=True).start()


def _results(pool: Executor, function: Callable, tasks: Sequence) -> Iterator[tuple[int, object]]:
    futures = {pool.submit(function, task): position for position, task in enumerate(tasks)}
    yield from ((futures[future], future.result()) for future in as_completed(futures))
