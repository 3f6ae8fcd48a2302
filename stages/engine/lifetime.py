"""Processes that do not outlive who started them, and the lock that tells who is at work.

A stage is a chain of processes: make, DVC, the runner, the notebook's kernel, the kernel's workers. Each of them may be
killed by a signal that no program can answer. What it started must end with it, before it writes over the outputs of
the next run. On Linux the kernel of the system sees to that (PR_SET_PDEATHSIG); everywhere a thread looks several times
a second.
"""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import psutil

from stages.engine.errors import InputError

INTERVAL = 0.2  # seconds between two looks at those above
PATIENCE = 5.0  # seconds in which what a killed run started has ended
_MAKE = ("make", "gmake")
_PR_SET_PDEATHSIG = 1


def end_with_parent() -> None:
    """Ends this process when its parent ends, by SIGKILL or whatever else."""
    parent = os.getppid()
    _signal_on_death(signal.SIGKILL)
    _watch(lambda: os.getppid() != parent, lambda: os.kill(os.getpid(), signal.SIGKILL))


def end_with_starters(number: int, action: Callable[[], None]) -> None:
    """Ends this process when one of those who started it ends.

    They are the processes above this one, up to the topmost DVC or make. Where there is neither, nobody is watched:
    what is started by hand, in the background, may outlive its shell.

    Args:
        number: the signal that the system sends this process when the nearest of them ends. Only Linux does so.
        action: ends this process; called by a thread within `INTERVAL` of the end of any of them.
    """
    above = starters()
    if not above:
        return
    _signal_on_death(number)
    if os.getppid() != above[0].process.pid:  # it ended before it could be asked for
        action()
    _watch(lambda: any(map(_ended, above)), action)


def starters() -> list[Starter]:
    """The processes above this one, the nearest first, up to the topmost DVC or make; empty where there is neither."""
    above = psutil.Process().parents()
    tops = [position for position, process in enumerate(above) if _starts_stages(process)]
    return [Starter(process) for process in above[: tops[-1] + 1]] if tops else []


class Starter:
    """A process above this one, and whether it answered SIGINT when it was met.

    GNU make, sent SIGINT, takes its handler away and waits for what it runs, without telling it.
    """

    def __init__(self, process: psutil.Process) -> None:
        self.process = process
        self.interruptible = _name(process) in _MAKE and _catches_interrupt(process.pid)


def end_all_below() -> None:
    """Kills every process that this one started, and those that they started."""
    for process in psutil.Process().children(recursive=True):
        with contextlib.suppress(psutil.Error):
            process.kill()


def lock(path: Path, busy: Callable[[str], str], patience: float = 0.0, shared: bool = False) -> int:
    """Holds a lock file until this process ends, or until the descriptor that is returned is closed.

    Args:
        path: the lock file, made where it is missing; it holds the number of the process that works.
        busy: the line to say where another process holds the lock, from that process's number.
        patience: seconds to wait for the other process to end.
        shared: whether others may hold it too, after this one has been alone for a moment: the kernel of a notebook
            holds the lock of its runner, so that it counts as held until both have ended.

    Raises:
        InputError: another process holds it.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
    end = time.monotonic() + patience
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            break
        except BlockingIOError:
            if time.monotonic() < end:
                time.sleep(INTERVAL)
                continue
            holder = os.read(descriptor, 20).decode(errors="replace").strip() or "unknown"
            os.close(descriptor)
            raise InputError(busy(holder)) from None
    with contextlib.suppress(OSError):  # of a full disk: the number is only for others to read
        os.ftruncate(descriptor, 0)
        os.write(descriptor, f"{os.getpid()}\n".encode())
    if shared:
        fcntl.flock(descriptor, fcntl.LOCK_SH)
    return descriptor


def join(path: Path) -> int:
    """Holds a lock that the process above holds as shared; it is let go when this process ends."""
    descriptor = os.open(path, os.O_RDONLY)
    fcntl.flock(descriptor, fcntl.LOCK_SH)
    return descriptor


def _signal_on_death(number: int) -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, int(number))


def _watch(ended: Callable[[], bool], action: Callable[[], None]) -> None:
    def look() -> None:
        while not ended():
            time.sleep(INTERVAL)
        action()

    threading.Thread(target=look, name="lifetime", daemon=True).start()


def _ended(starter: Starter) -> bool:
    process = starter.process
    if not process.is_running() or _status(process) == psutil.STATUS_ZOMBIE:
        return True
    return starter.interruptible and not _catches_interrupt(process.pid)


def _starts_stages(process: psutil.Process) -> bool:
    words = _words(process)
    return _name(process) in _MAKE or any(Path(word).name == "dvc" for word in words[:3]) or "stages.repro" in words


def _catches_interrupt(pid: int) -> bool:
    """Whether a process has a handler of SIGINT; False where the system has no /proc to tell."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return False
    (caught,) = (int(line.split()[1], 16) for line in lines if line.startswith("SigCgt:"))
    return bool(caught & 1 << (signal.SIGINT - 1))


def _name(process: psutil.Process) -> str:
    try:
        return process.name()
    except psutil.Error:
        return ""


def _words(process: psutil.Process) -> Sequence[str]:
    try:
        return process.cmdline()
    except psutil.Error:
        return ()


def _status(process: psutil.Process) -> str:
    try:
        return process.status()
    except psutil.Error:
        return psutil.STATUS_ZOMBIE
