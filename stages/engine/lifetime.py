"""Ends processes together with the processes that started them, and locks a folder for one run at a time.

A stage is a chain of processes: make, DVC, the runner, the notebook's kernel, the kernel's workers. Each may be killed
by a signal that it cannot handle. The processes that it started must then end too, before they overwrite the outputs of
the next run. On Linux the system ends a child with its parent (PR_SET_PDEATHSIG); everywhere a thread checks the
processes above several times a second.
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

INTERVAL = 0.2  # seconds between two checks of the processes above
PATIENCE = 5.0  # seconds within which the processes of a killed run end
_MAKE = ("make", "gmake")
_PR_SET_PDEATHSIG = 1


def end_with_parent() -> None:
    """Makes this process end when its parent ends, however that ends."""
    parent = os.getppid()
    _signal_on_death(signal.SIGKILL)
    _watch(lambda: os.getppid() != parent, lambda: os.kill(os.getpid(), signal.SIGKILL))


def end_with_starters(number: int, action: Callable[[], None]) -> None:
    """Makes this process end when one of its `starters` ends.

    Without starters it watches nothing, because a process that a user starts in the background may outlive its shell.

    Args:
        number: the signal that the system sends this process when the nearest starter ends, on Linux only.
        action: ends this process; a thread calls it within `INTERVAL` of the end of any starter.
    """
    above = starters()
    if not above:
        return
    _signal_on_death(number)
    if os.getppid() != above[0].process.pid:  # the nearest starter ended before the system knew of the signal
        action()
    _watch(lambda: any(map(_ended, above)), action)


def starters() -> list[Starter]:
    """The processes above this one, the nearest first, up to the topmost DVC or make; empty if there is neither."""
    above = psutil.Process().parents()
    tops = [position for position, process in enumerate(above) if _starts_stages(process)]
    return [Starter(process) for process in above[: tops[-1] + 1]] if tops else []


class Starter:
    """A process above this one.

    GNU make, when it receives SIGINT, removes its handler and waits for its command, which it does not signal. So the
    loss of the handler tells that make was interrupted.

    Attributes:
        process: the process.
        interruptible: whether it is make and had a handler of SIGINT when this object was made.
    """

    def __init__(self, process: psutil.Process) -> None:
        self.process = process
        self.interruptible = _name(process) in _MAKE and _catches_interrupt(process.pid)


def end_all_below() -> None:
    """Kills all processes below this one, at any depth."""
    for process in psutil.Process().children(recursive=True):
        with contextlib.suppress(psutil.Error):
            process.kill()


def lock(path: Path, busy: Callable[[str], str], patience: float = 0.0, shared: bool = False) -> int:
    """Holds a lock file until this process ends, or until the descriptor that is returned is closed.

    Args:
        path: the lock file, made if it is missing; it contains the number of the process that holds it.
        busy: makes the message of the error from the number of the process that holds the lock.
        patience: seconds to wait for the other process to end.
        shared: whether other processes may `join` the lock after this one has held it alone for a moment. A notebook's
            kernel joins the lock of its runner, which then counts as held until both have ended.

    Returns:
        The descriptor of the lock file.

    Raises:
        InputError: another process holds the lock.
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
    with contextlib.suppress(OSError):  # on a full disk; the number only informs other processes
        os.ftruncate(descriptor, 0)
        os.write(descriptor, f"{os.getpid()}\n".encode())
    if shared:
        fcntl.flock(descriptor, fcntl.LOCK_SH)
    return descriptor


def join(path: Path) -> int:
    """Holds a lock that the process above shares, until this process ends; returns the descriptor."""
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
    """Whether a process has a handler of SIGINT; False if the system has no /proc."""
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
