"""Does the jobs of a collection, in one or two processes; one that dies takes its program with it and nothing else."""

from __future__ import annotations

import multiprocessing
import os
import time
from collections.abc import Callable, Iterator, Sequence
from multiprocessing.connection import Connection, wait
from pathlib import Path

from stages.collect.programs.registry import PROGRAMS
from stages.collect.tpu import cutting, libtpu
from stages.collect.tpu.search import SEARCHES
from stages.collect.tpu.simulate import Simulator
from stages.collect.tpu_data import layouts, tiles, tracing
from stages.collect.tpu_data.compiled import Compiled, Interrupted, compiled
from stages.collect.tpu_data.plan import Job
from stages.collect.tpu_data.store import Store
from stages.engine.errors import InputError

#: what ends a job: how, and why
Outcome = tuple[str, str | None]


def collections_of(identifier: str) -> dict[str, str]:
    """The layout collection of each search of a program."""
    return {search: f"layout:{PROGRAMS[identifier].kind}:{search}" for search in SEARCHES}


def perform(job: Job, progress: Callable[[int], None]) -> None:
    """Makes the records of a program that are missing, in this process.

    Args:
        progress: Called with how many steps of `Job.size` are done.
    """
    libtpu.set_environment()
    store = Store(Path(job.records))
    with Simulator(Path(job.cache)) as simulator:
        path = store.program(job.identifier)
        if not path.exists():
            begin = time.monotonic()
            compiled(tracing.module_text(job.identifier), simulator).write(path, job.identifier)
            store.time("program", job.identifier, 0, 1, 1, time.monotonic() - begin)
        program = Compiled.read(path)
        if job.configurations:
            collections = collections_of(job.identifier)
            order = list(collections)

            def tick(search: str, count: int) -> None:
                progress(order.index(search) * job.configurations + min(count, job.configurations))

            layouts.measure(job.identifier, collections, program, simulator, store, job.configurations, tick)
        for number, kernel in enumerate(tiles.tiled(program.kernels, job.kernels), start=1):
            tiles.measure(kernel, simulator, store, job.windows)
            progress(2 * job.configurations + number)
    store.finish(job.identifier, job.configurations)


def ended(job: Job, task: Callable, progress: Callable[[int], None]) -> Outcome:
    """Runs ``task(job, progress)`` and tells how it ended.

    Returns:
        "done"; "failed", the program's own fault, which is noted so that it is not tried again; "later", an accident;
        or "stop", what the user must mend first; and the reason.
    """
    try:
        task(job, progress)
    except (libtpu.CompileError, cutting.Uncuttable) as fault:
        reason = str(fault).splitlines()[0][:300] if str(fault) else type(fault).__name__
        Store(Path(job.records)).fail(job.identifier, reason)
        return "failed", reason
    except BrokenPipeError:
        raise  # who waits for the answer is gone
    except InputError as fault:
        return "stop", str(fault)
    except OSError as fault:
        return "stop", f"{fault.filename or job.records}: {fault.strerror or fault}; mend that and start again"
    except Interrupted as fault:
        return "later", str(fault)
    except Exception as fault:  # an error of ours must not end a collection that runs for a night
        return "later", " ".join(f"{type(fault).__name__}: {fault}".split())[:300]
    return "done", None


def _serve(pipe: Connection, task: Callable) -> None:
    """Does jobs until the pipe closes, as it does when the parent ends."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)  # libraries that are loaded write there; faults go through the pipe
    while True:
        try:
            job = pipe.recv()
        except EOFError:
            return
        pipe.send(ended(job, task, lambda steps: pipe.send(("tick", steps))))


class _Worker:
    def __init__(self, task: Callable) -> None:
        context = multiprocessing.get_context("spawn")
        self.pipe, other = context.Pipe()
        self.process = context.Process(target=_serve, args=(other, task))  # no daemon: it starts processes itself
        self.process.start()
        other.close()
        self.job: Job | None = None

    def begin(self, job: Job | None) -> None:
        self.job = job
        if job is not None:
            self.pipe.send(job)


def run(jobs: Sequence[Job], workers: int, task: Callable = perform) -> Iterator[tuple[Job, str, object]]:
    """Does jobs in their order, ``workers`` at a time.

    Args:
        task: Called with a job and its progress, in another process; another one only for tests.

    Yields:
        The job with ("tick", steps done), or with how it ended as `ended` tells it, at most once a job.

    Raises:
        InputError: A fault that the user must mend; what is recorded stays.
    """
    # Names that libraries keep in sets would come in another order in each process.
    os.environ["PYTHONHASHSEED"] = "0"
    waiting = list(jobs)[::-1]
    at_work = [_Worker(task) for _ in range(min(workers, len(jobs)))]
    try:
        for each in at_work:
            each.begin(waiting.pop())
        while any(each.job for each in at_work):
            ready = wait([each.pipe for each in at_work if each.job])
            for place, each in enumerate(at_work):
                if each.pipe not in ready:
                    continue
                job = each.job
                try:
                    kind, what = each.pipe.recv()
                except (EOFError, ConnectionResetError):
                    kind, what = "later", "its process died"
                    each = at_work[place] = _Worker(task)
                if kind == "stop":
                    raise InputError(what)
                yield job, kind, what
                if kind != "tick":
                    each.begin(waiting.pop() if waiting else None)
    finally:
        for each in at_work:
            each.process.terminate()
            each.process.join()
