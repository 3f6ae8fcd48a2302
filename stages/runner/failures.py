"""Turns failures that the machine caused into one line: memory or a disk that ran out, a folder without rights."""

from __future__ import annotations

import errno
import os
import re
import sys
import tempfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from stages.engine.errors import InputError

#: stage -> what to do with the parameters on which its memory depends most; first those that affect the result least
MEMORY = {
    "prune": ("lower", ("prune.hops",)),
    "configuration": ("name a smaller graph by", ("configuration.program",)),
    "pad": ("lower", ("prune.hops",)),
    "gnn": ("lower", ("gnn.configurations", "gnn.segment_nodes")),
    "gbdt": ("lower", ("gbdt.configurations", "gbdt.pairs")),
    "blend": ("lower", ("gnn.seeds", "gbdt.seeds")),
    "leaderboard": ("lower", ("gnn.seeds", "gbdt.seeds")),
}
#: messages of Python, NumPy, torch on CPU and GPU, LightGBM, Rust's libraries and the system when memory runs out
_MEMORY = re.compile(
    r"MemoryError|bad_alloc|bad allocation|OutOfMemory|out of memory|not enough memory|Cannot allocate memory"
    r"|can't allocate memory",
    re.IGNORECASE,
)
_DISK = re.compile(r"No space left on device|Disk quota exceeded|\d+ requested and \d+ written")
_REFUSED = re.compile(r"Read-only file system|\[Errno \d+\] Permission denied|Operation not permitted")
#: Linux's score, from -1000 to 1000, by which it chooses a process to end when memory runs out; others have 0
FIRST = 500
#: variable of the environment of what `stages.repro` runs; it holds the number of that process
REPRO = "STAGES_REPRO"
_OURS = {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM, errno.ENOMEM}


def explained(text: str, stage: str, value: Callable[[str], object]) -> str:
    """The line that tells an error of a stage.

    Args:
        text: the class of the error and its message.
        stage: the stage's name.
        value: returns a parameter's value by its name, as 'gnn.seeds', and raises KeyError for an unknown value.

    Returns:
        What ran out and what to do about it; for other errors `text` itself.
    """
    if _MEMORY.search(text):
        return f"memory ran out ({text}); {remedy(stage, value)}"
    if _DISK.search(text):
        return f"the disk is full ({text}); make room and run again"
    if _REFUSED.search(text):
        return f"a file cannot be written or read ({text}); give the right to, and run again"
    return text


def remedy(stage: str, value: Callable[[str], object]) -> str:
    """Advice against a lack of memory: parameters to change and their values now; arguments as in `explained`."""
    verb, names = MEMORY.get(stage, ("", ()))
    lower = []
    for name in names:
        try:
            now = value(name)
        except KeyError:
            lower.append(name)
            continue
        if now != 1:
            lower.append(f"{name}, now {'null' if now is None else now}")
    if lower:
        return f"{verb} {', or '.join(lower)}"
    least = " and ".join(f"{name} is 1" for name in names)
    return f"give the machine more{f', {least} already' if least else ''}"


def of_system(error: OSError) -> str | None:
    """The line that tells an error of the system that the user can mend; None for another error."""
    if error.errno not in _OURS:
        return None
    path = error.filename or "a file"
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return f"{path}: the disk is full ({error.strerror}); make room and run again"
    if error.errno == errno.ENOMEM:
        return f"{path}: memory ran out ({error.strerror}); give the machine more"
    return f"{path}: cannot be written or read ({error.strerror}); give the right to, and run again"


def exit_status(command: Callable[[], int | None], interrupted: str = "interrupted") -> int:
    """Runs a command line and turns an error that the user can mend into one line on stderr.

    Args:
        command: does the work; it returns an exit status, or None for 0.
        interrupted: the line after an interrupt. Below `stages.repro` no line is printed, because that process prints
            its own.

    Returns:
        The command's status; 1 after an InputError, an OSError of `of_system`, or where nobody reads the output any
        more; 130 after an interrupt.

    Raises:
        OSError: an error that the user cannot mend.
    """
    try:
        status = command() or 0
        sys.stdout.flush()
        return status
    except InputError as error:
        print(error, file=sys.stderr)
        return 1
    except BrokenPipeError:  # who read the output has seen enough, as `head` has
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # else the interpreter complains at its end
        return 1
    except OSError as error:
        if not (line := of_system(error)):
            raise
        print(line, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        if REPRO not in os.environ:
            print(interrupted, file=sys.stderr)
        return 130


def goes_first() -> None:
    """Makes the system end this process, or one below it, when memory runs out, and not the runner, which tells why."""
    score = Path("/proc/self/oom_score_adj")
    with suppress(OSError):  # only Linux has the file
        score.write_text(str(max(FIRST, int(score.read_text()))))


def check_writable(folder: Path) -> None:
    """Makes a folder and raises InputError if no file can be written there, before hours of work are lost."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise InputError(
            f"{folder}: cannot be written to ({error.strerror}); give the right to, or make room, and run again"
        ) from None
