"""One worker process per core; a worker that dies takes its graph with it and nothing else."""

from __future__ import annotations

import multiprocessing
import os
import traceback
from collections.abc import Callable, Iterator
from multiprocessing.connection import Connection, wait

#: XLA keeps some memory of every program it compiled: a worker is replaced after this many graphs
GRAPHS_A_WORKER = 12


class Unmeasurable(Exception):
    """A program that cannot become a graph of the data set; the message is the reason that stands in dropped.csv."""


class Later(Exception):
    """A program that costs more to compile than this run may spend on one."""


def _serve(core: int, pipe: Connection, task: Callable) -> None:
    os.sched_setaffinity(0, {core})
    for _ in range(GRAPHS_A_WORKER):
        job = pipe.recv()
        if job is None:
            return
        pipe.send(ended(job, task, lambda: pipe.send(("tick", None))))
    pipe.send(("retired", None))


def ended(job: object, task: Callable, tick: Callable = lambda: None) -> tuple[str, str | None]:
    """Runs ``task(job, tick)`` and returns how it ended: "done", "failed" or "later", and the reason."""
    try:
        task(job, tick)
    except Later as reason:
        return "later", str(reason)
    except Unmeasurable as fault:
        return "failed", str(fault)
    except Exception as fault:  # one graph's fault, whatever it is, must not end the collection
        if os.environ.get("COLLECT_TRACE"):
            traceback.print_exc()
        return "failed", f"{type(fault).__name__}: {str(fault).splitlines()[0] if str(fault) else ''}"
    return "done", None


class _Worker:
    def __init__(self, core: int, task: Callable):
        context = multiprocessing.get_context("spawn")
        self.core = core
        self.pipe, other = context.Pipe()
        self.process = context.Process(target=_serve, args=(core, other, task), daemon=True)
        self.process.start()
        other.close()
        self.job = None


def run(jobs: list, task: Callable, cores: list[int]) -> Iterator[tuple[str, object, str | None]]:
    """Runs ``task(job, tick)`` for every job, one at a time on each core.

    Args:
        task: Must be importable by name: it is sent to fresh processes.
        cores: One worker each.

    Yields:
        ('tick', job, None), ('done', job, None), ('failed', job, reason) and ('later', job, reason) as they happen.
    """
    waiting = list(reversed(jobs))
    workers = [_Worker(core, task) for core in cores]
    try:
        for worker in workers:
            _next(worker, waiting)
        while any(worker.job is not None for worker in workers):
            ready = wait([worker.pipe for worker in workers if worker.job is not None])
            for index, worker in enumerate(workers):
                if worker.pipe not in ready:
                    continue
                job = worker.job
                try:
                    kind, reason = worker.pipe.recv()
                except (EOFError, ConnectionResetError):
                    kind, reason = "later", "the worker process died"
                    worker = workers[index] = _Worker(worker.core, task)
                if kind == "retired":
                    worker = workers[index] = _Worker(worker.core, task)
                    _send(worker, job)
                    continue
                yield kind, job, reason
                if kind != "tick":
                    _next(worker, waiting)
    finally:
        for worker in workers:
            worker.process.terminate()


def _next(worker: _Worker, waiting: list) -> None:
    _send(worker, waiting.pop() if waiting else None)


def _send(worker: _Worker, job) -> None:
    worker.job = job
    try:
        worker.pipe.send(job)
    except BrokenPipeError:
        pass  # the worker is gone; the next recv says so
