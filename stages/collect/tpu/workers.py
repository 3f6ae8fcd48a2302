"""Compiling processes that may die: a failed check in the compiler takes its process with it, and only one kernel.

A job that ends its process is tried once more, in a process that has done nothing before; if that dies too the job is
to blame, and the reason is what the compiler said last.
"""

from __future__ import annotations

import json
import multiprocessing
import re
import shutil
import signal
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from multiprocessing.connection import wait
from pathlib import Path

import psutil

from stages.collect.tpu import worker
from stages.engine.errors import InputError

#: processor seconds after which a compilation hangs: the slowest kernels seen take some 20. No clock's seconds: what is
#: kept as a fault must not depend on what else the machine does
TIMEOUT_S = 300
#: a job that takes this many times as many seconds of the clock waits for something; that is an accident, not a fault
_PATIENCE = 20
#: seconds between two looks at the processor time of jobs that have not answered
_LOOK_S = 2
#: libtpu keeps memory of what it compiled: a process is replaced after this many jobs
JOBS_A_PROCESS = 500
#: what a failed check says, and how a line of a fatal error begins
_REASONS = (re.compile(r"(?:Check failed|RET_CHECK).*"), re.compile(r"(?m)^F\d{4} .*"))


class _Worker:
    """A compiling process with its pipe, its dump folder and its log."""

    def __init__(self, serve: Callable) -> None:
        context = multiprocessing.get_context("spawn")
        self.folder = Path(tempfile.mkdtemp(prefix="libtpu-"))
        self.pipe, other = context.Pipe()
        self.process = context.Process(target=serve, args=(other, str(self.folder)), daemon=True)
        self.process.start()
        other.close()
        self.jobs = 0
        self.job: int | None = None
        self._begun = self._begun_cpu = 0.0

    def send(self, number: int, job: tuple[str, str]) -> None:
        self.job, self._begun, self._begun_cpu = number, time.monotonic(), self._cpu_s()
        self.jobs += 1
        try:
            self.pipe.send_bytes(json.dumps(job).encode())
        except BrokenPipeError:
            pass  # the process is gone: reading its answer says so

    def _cpu_s(self) -> float:
        """Processor seconds of the process so far."""
        try:
            times = psutil.Process(self.process.pid).cpu_times()
        except psutil.NoSuchProcess:  # reading its answer says so
            return 0.0
        return times.user + times.system

    def overdue(self, timeout_s: float) -> dict | None:
        """What to answer for a job that has had its time, None for one that may go on."""
        if self._cpu_s() - self._begun_cpu > timeout_s:
            return {"hung": timeout_s}
        if time.monotonic() - self._begun > _PATIENCE * timeout_s:
            return {"killed": f"given up after {_PATIENCE * timeout_s:g} s of waiting"}
        return None

    def last_words(self) -> str:
        """Why the process died: the compiler's own line, else the signal.

        Raises:
            RuntimeError: No signal ended it but an error of ours, which is no kernel's fault.
        """
        self.process.join(5)
        log = self.folder / worker.MESSAGES
        text = log.read_text(errors="replace") if log.exists() else ""
        code = self.process.exitcode
        if code is None or code >= 0:
            last = (text.strip().splitlines() or ["it said nothing"])[-1]
            raise RuntimeError(f"a compiling process ended by itself with status {code}: {last}")
        reasons = [found[0] for found in (pattern.search(text) for pattern in _REASONS) if found]
        return reasons[0][:300] if reasons else f"ended by {signal.Signals(-code).name}"

    @property
    def was_killed(self) -> bool:
        """Whether something outside ended the process: the kernel's killer when memory runs out, or a person."""
        self.process.join(5)
        return self.process.exitcode in (-signal.SIGKILL, -signal.SIGTERM)

    def end(self) -> None:
        self.process.kill()
        self.process.join()
        self.pipe.close()
        shutil.rmtree(self.folder, ignore_errors=True)


class Pool:
    """Compiling processes, started when they are needed; to be used as a context manager.

    Args:
        processes: How many at a time.
        timeout_s: Processor seconds after which a job counts as hung and its process is ended.
        serve: What a process runs; another one only for tests.
    """

    def __init__(self, processes: int = 1, timeout_s: float = TIMEOUT_S, serve: Callable = worker.serve) -> None:
        self._processes = processes
        self._timeout_s = timeout_s
        self._serve = serve
        self._idle: list[_Worker] = []
        self._busy: list[_Worker] = []

    def __enter__(self) -> Pool:
        return self

    def __exit__(self, *_: object) -> None:
        for each in [*self._idle, *self._busy]:
            each.end()
        self._idle, self._busy = [], []

    def run(self, jobs: Sequence[tuple[str, str]]) -> Iterator[tuple[int, dict]]:
        """Does jobs, and yields the number and the answer of each as it is done.

        Args:
            jobs: Kind ("kernel", "passes" or "optimised") and HLO text of each.

        Yields:
            Its number, and ``{"record": …}``; ``{"refused": reason}``, the compiler's clean refusal;
            ``{"crashed": reason}``, twice, the second time in a fresh process; ``{"hung": seconds}``; or
            ``{"killed": reason}``, which is nobody's fault and not to be remembered.

        Raises:
            InputError: The disk is full.
            RuntimeError: A compiling process cannot start, or ends by an error of its own.
        """
        waiting = list(range(len(jobs)))[::-1]
        retried: set[int] = set()
        try:
            while waiting or self._busy:
                while waiting and len(self._busy) < self._processes:
                    number = waiting.pop()
                    self._start(number, jobs[number], fresh=number in retried)
                for each, overdue in self._ready():
                    number, answer = each.job, self._answer(each, overdue)
                    if ("crashed" in answer or "killed" in answer) and number not in retried:
                        retried.add(number)
                        waiting.append(number)
                    else:
                        yield number, answer
        finally:
            # Whoever stops listening leaves no answer behind that a later call would take for its own.
            for each in self._busy:
                each.end()
            self._busy = []

    def _start(self, number: int, job: tuple[str, str], fresh: bool) -> None:
        while fresh and self._idle:
            self._idle.pop().end()
        each = self._idle.pop() if self._idle else _Worker(self._serve)
        self._busy.append(each)
        each.send(number, job)

    def _ready(self) -> list[tuple[_Worker, dict | None]]:
        """Busy processes that have answered or died, with None, or run out of time; waits for the first of them."""
        while True:
            answered = wait([each.pipe for each in self._busy], _LOOK_S)
            if answered:
                return [(each, None) for each in self._busy if each.pipe in answered]
            overdue = [(each, each.overdue(self._timeout_s)) for each in self._busy]
            if late := [(each, answer) for each, answer in overdue if answer]:
                return late

    def _answer(self, each: _Worker, overdue: dict | None) -> dict:
        self._busy.remove(each)
        if overdue:
            each.end()
            return overdue
        try:
            answer = json.loads(each.pipe.recv_bytes())
        except (EOFError, ConnectionResetError):
            try:
                return {"killed" if each.was_killed else "crashed": each.last_words()}
            finally:
                each.end()
        if "full" in answer:
            each.end()
            raise InputError(
                f"{answer['full']}: the disk is almost full; make room there, or set TMPDIR, and start again"
            )
        if each.jobs < JOBS_A_PROCESS:
            self._idle.append(each)
        else:
            each.end()
        return answer
