"""`dvc repro`, one run at a time in a folder: `python -m stages.repro [arguments of dvc repro]`; `make repro` runs it.

DVC lets two runs begin. When both come to the same stage it stops one of them, with a message about its own files. This
module refuses the second run before it begins.

DVC writes two of its files in place. A run that is killed at that moment, or that meets a full disk, leaves half of
one, and every later run fails on it. This module repairs these files before DVC reads them.

DVC works in a thread here, and the main thread receives the signals, because DVC ignores SIGINT while a stage runs. A
signal that ends this process also ends the stage that is at work.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path

import yaml

from stages import inputs
from stages.engine import lifetime
from stages.runner import failures

ABANDONED = 3600  # seconds without a write after which a temporary file belongs to no process


def main(arguments: Sequence[str] | None = None, project: str | Path = ".") -> int:
    """Runs `dvc repro`.

    On SIGINT, SIGTERM and SIGHUP this process ends, with all processes that it started and with status 128 + the
    signal's number. If `make` started it, it also ends when `make` ends or is interrupted.

    Args:
        arguments: of `dvc repro`; by default those of the command line.
        project: the project's folder.

    Returns:
        The exit status of `dvc repro`; 1 after one line on stderr where it may not run.
    """
    project = Path(project)
    arguments = sys.argv[1:] if arguments is None else arguments
    if status := failures.exit_status(lambda: _begin(project, arguments)):
        return status
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _end)
    lifetime.end_with_starters(signal.SIGTERM, lambda: os.kill(os.getpid(), signal.SIGTERM))
    os.environ[failures.REPRO] = str(os.getpid())
    statuses: list[int] = []
    worker = threading.Thread(target=lambda: statuses.append(_dvc(["repro", *arguments])), name="dvc", daemon=True)
    worker.start()
    while worker.is_alive():  # the wait has a limit, because a signal's handler runs between two waits
        worker.join(lifetime.INTERVAL)
    return statuses[0] if statuses else 1


def _begin(project: Path, arguments: Sequence[str]) -> None:
    """Takes the lock, repairs what an earlier run left half-written, and checks the inputs.

    Raises:
        InputError: another run is at work, or params.yaml names something that is missing.
    """
    lock(project)
    for line in mended(project):
        print(line, file=sys.stderr)
    if "--allow-missing" not in arguments:
        inputs.write(project)


def _dvc(arguments: Sequence[str]) -> int:
    from dvc.cli import main  # takes half a second, so a second run is refused before it

    return main(list(arguments))


def _end(number: int, frame: object) -> None:
    """Ends this process and all that it started, at once; the next run repairs what is half-written."""
    lifetime.end_all_below()
    os.write(2, b"interrupted\n")
    os._exit(128 + number)


def lock(project: Path) -> int:
    """Takes the lock that keeps other runs out until this process ends.

    Returns:
        The descriptor of the lock file.

    Raises:
        InputError: another run holds the lock.
    """
    return lifetime.lock(
        project / ".dvc" / "tmp" / "repro.lock",
        lambda holder: f"the pipeline is at work in this folder already, in process {holder}; wait for it",
    )


def mended(project: Path) -> list[str]:
    """Removes what DVC or a stage left half-written.

    Without dvc.lock DVC still finds earlier results in its cache of runs, by the hashes of their dependencies.

    Returns:
        A line for each removed file that the user may look for.
    """
    lines = []
    if not _whole(project / "dvc.lock"):
        (project / "dvc.lock").unlink()
        lines.append("dvc.lock: was half-written, and is made anew from DVC's cache")
    if not _held(project / ".dvc" / "tmp" / "rwlock"):
        (project / ".dvc" / "tmp" / "rwlock").unlink(missing_ok=True)
    for folder in ("data", "reports"):
        for path in (project / folder).rglob(".*.part"):
            if time.time() - path.stat().st_mtime > ABANDONED:
                path.unlink()
    return lines


def _whole(path: Path) -> bool:
    """Whether DVC can read its lock file; True if there is none."""
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return True
    except (ValueError, yaml.YAMLError):
        return False
    from dvc.schema import COMPILED_LOCKFILE_SCHEMA  # takes half a second, so only where there is a file
    from voluptuous import Invalid

    try:
        COMPILED_LOCKFILE_SCHEMA(content)
    except Invalid:
        return False
    return True


def _held(path: Path) -> bool:
    """Whether a running DVC holds one of the locks that the file lists.

    A number in the file is not enough: after a process was killed, another process may have its number.
    """
    try:
        content = json.loads(path.read_text())
        holders = [*content.get("write", {}).values(), *sum(content.get("read", {}).values(), [])]
        return any(_is_dvc(int(holder["pid"])) for holder in holders)
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return False


def _is_dvc(pid: int) -> bool:
    """Whether a process is DVC; assumed where the system has no /proc."""
    try:
        words = Path(f"/proc/{pid}/cmdline").read_text(errors="replace").split("\0")
    except OSError:
        return not Path("/proc/self").exists()
    return "stages.repro" in words or any("dvc" in Path(word).parts[-2:] for word in words)


if __name__ == "__main__":
    sys.exit(main())
