"""Tasks for the engine's tests, which other processes import by name."""

import os
import signal
import time
from pathlib import Path

from stages.engine.errors import InputError


def square(task):
    return task * task, os.getpid()


def marked(task, folder):
    """Leave a file, so that what ran twice is seen; the first to come ends its own process, as a lost machine would."""
    first = not list(Path(folder).iterdir())
    Path(folder, f"{task}-{os.getpid()}").touch()
    if first:
        os.kill(os.getpid(), signal.SIGKILL)
    return task


def killed(task):
    os.kill(os.getpid(), signal.SIGKILL)


def refused(task):
    raise InputError(f"file {task}: is empty; leave it out")


def slow(task):
    time.sleep(task)
    return task


def broken(task):
    raise ZeroDivisionError(f"task {task}")


def inside(task):
    return os.getcwd()


def measured(task, tick):
    tick()
    if task < 0:
        os.kill(os.getpid(), signal.SIGKILL)
    if task == 2:
        raise ValueError("two\nand more")


class Large:
    """A function that leaves a file each time it is made from what was sent."""

    def __init__(self, folder):
        self.folder = str(folder)

    def __setstate__(self, state):
        self.__dict__ |= state
        Path(self.folder, f"{os.getpid()}-{time.monotonic_ns()}").touch()

    def called(self, task):
        return task, os.getpid()
