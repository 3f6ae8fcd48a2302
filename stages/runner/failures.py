"""What the machine did to a stage that failed: memory or a disk that ran out, a folder not to be written to."""

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

#: of each stage: what to do with the parameters its memory depends on most, those first that cost the result least
MEMORY = {
    "prune": ("lower", ("prune.hops",)),
    "configuration": ("name a smaller graph by", ("configuration.program",)),
    "pad": ("lower", ("prune.hops",)),
    "gnn": ("lower", ("gnn.configurations", "gnn.segment_nodes")),
    "gbdt": ("lower", ("gbdt.configurations", "gbdt.pairs")),
    "blend": ("lower", ("gnn.seeds", "gbdt.seeds")),
    "leaderboard": ("lower", ("gnn.seeds", "gbdt.seeds")),
}
#: what Python, NumPy, torch on CPU and GPU, LightGBM, Rust's libraries and the system say when there is none left
_MEMORY = re.compile(
    r"MemoryError|bad_alloc|bad allocation|OutOfMemory|out of memory|not enough memory|Cannot allocate memory"
    r"|can't allocate memory",
    re.IGNORECASE,
)
_DISK = re.compile(r"No space left on device|Disk quota exceeded|\d+ requested and \d+ written")
_REFUSED = re.compile(r"Read-only file system|\[Errno \d+\] Permission denied|Operation not permitted")
#: of processes whose memory may end, on Linux's scale of who goes first, from -1000 to 1000; others have 0
FIRST = 500
#: variable of the environment of what `stages.repro` runs; it holds the number of that process
REPRO = "STAGES_REPRO"
_OURS = {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM, errno.ENOMEM}


def told(text: str, stage: str, value: Callable[[str], object]) -> str:
    """The line of an error: `text` itself, or what ran out and what to do about it.

    text: the class of the error and its message. value: gives a parameter's value by its name, 'gnn.seeds'; KeyError
    where that is not known.
    """
    if _MEMORY.search(text):
        return f"memory ran out ({text}); {remedy(stage, value)}"
    if _DISK.search(text):
        return f"the disk is full ({text}); make room and run again"
    if _REFUSED.search(text):
        return f"a file cannot be written or read ({text}); give the right to, and run again"
    return text


def remedy(stage: str, value: Callable[[str], object]) -> str:
    """Which parameters make the stage need less memory, and what they are now; `value` as in `told`."""
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
    """The line of an error of the system's that the user can mend; None for others."""
    if error.errno not in _OURS:
        return None
    place = error.filename or "a file"
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return f"{place}: the disk is full ({error.strerror}); make room and run again"
    if error.errno == errno.ENOMEM:
        return f"{place}: memory ran out ({error.strerror}); give the machine more"
    return f"{place}: cannot be written or read ({error.strerror}); give the right to, and run again"


def exit_status(command: Callable[[], int | None], interrupted: str = "interrupted") -> int:
    """Runs a command line and turns an error that the user can mend into one line on stderr.

    Args:
        command: does the work; it returns an exit status, or None for 0.
        interrupted: the line after an interrupt. Below `stages.repro` no line is printed, because that process prints
            its own.

    Returns:
        The command's status; 1 after an InputError or an OSError of `of_system`; 130 after an interrupt.

    Raises:
        OSError: an error that the user cannot mend.
    """
    try:
        return command() or 0
    except InputError as error:
        print(error, file=sys.stderr)
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
    """Has the system, where its memory ends, end this process, or one it starts, and not the one that says why."""
    score = Path("/proc/self/oom_score_adj")
    with suppress(OSError):  # only Linux has it
        score.write_text(str(max(FIRST, int(score.read_text()))))


def check_writable(folder: Path) -> None:
    """InputError where no file can be made in the folder, which need not exist: hours of work would be lost."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise InputError(
            f"{folder}: cannot be written to ({error.strerror}); give the right to, or make room, and run again"
        ) from None
