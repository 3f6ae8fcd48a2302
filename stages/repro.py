"""`dvc repro`, once at a time in a folder: `python -m stages.repro [arguments of dvc repro]`; `make repro` runs it.

DVC lets two runs begin and refuses either as soon as both come to one stage, in words of its own files; here the second
is refused before it begins. And DVC writes two of its files in place, so that a run killed at that moment, or a full
disk, leaves half of one, of which every later run complains: they are put in order before DVC reads them.

DVC works in a thread here, so that the main thread hears of signals: DVC itself ignores SIGINT while a stage runs. Who
ends this process, by whatever signal, ends the stage that is at work too.
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

ABANDONED = 3600  # seconds after which a file that nobody wrote to is nobody's


def main(arguments: Sequence[str] | None = None, project: str | Path = ".") -> int:
    """Runs `dvc repro` and returns its exit status; 1 after one line on stderr where it may not run.

    On SIGINT, SIGTERM and SIGHUP the process ends with all that it started, with status 128 + the signal's number. So
    it does where `make` started it and ends or is interrupted.
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
    while worker.is_alive():  # with a limit: a signal's handler runs between two waits
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
    from dvc.cli import main  # half a second, after the lock

    return main(list(arguments))


def _end(number: int, frame: object) -> None:
    """Ends this process and all that it started, at once: whatever is half-written, the next run puts in order."""
    lifetime.end_all_below()
    os.write(2, b"interrupted\n")
    os._exit(128 + number)


def lock(project: Path) -> int:
    """A descriptor that keeps other runs out until this process ends.

    Raises InputError where there is such a run.
    """
    return lifetime.lock(
        project / ".dvc" / "tmp" / "repro.lock",
        lambda holder: f"the pipeline is at work in this folder already, in process {holder}; wait for it",
    )


def mended(project: Path) -> list[str]:
    """Removes what DVC or a stage left half-written; returns a line for each that somebody may miss.

    Without dvc.lock DVC finds what was computed in its cache of runs, by the hashes of what it was computed of.
    """
    told = []
    if not _whole(project / "dvc.lock"):
        (project / "dvc.lock").unlink()
        told.append("dvc.lock: was half-written, and is made anew from DVC's cache")
    if not _held(project / ".dvc" / "tmp" / "rwlock"):
        (project / ".dvc" / "tmp" / "rwlock").unlink(missing_ok=True)
    for folder in ("data", "reports"):
        for path in (project / folder).rglob(".*.part"):
            if time.time() - path.stat().st_mtime > ABANDONED:
                path.unlink()
    return told


def _whole(path: Path) -> bool:
    """Whether DVC can read its lock file, or there is none."""
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return True
    except (ValueError, yaml.YAMLError):
        return False
    from dvc.schema import COMPILED_LOCKFILE_SCHEMA  # half a second, so only now
    from voluptuous import Invalid

    try:
        COMPILED_LOCKFILE_SCHEMA(content)
    except Invalid:
        return False
    return True


def _held(path: Path) -> bool:
    """Whether a DVC that is running holds one of the locks that are written there. The number of a process that was
    killed may be another's by now."""
    try:
        content = json.loads(path.read_text())
        holders = [*content.get("write", {}).values(), *sum(content.get("read", {}).values(), [])]
        return any(_is_dvc(int(holder["pid"])) for holder in holders)
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return False


def _is_dvc(pid: int) -> bool:
    """Whether a process is DVC; taken for granted where the system has no /proc to tell."""
    try:
        words = Path(f"/proc/{pid}/cmdline").read_text(errors="replace").split("\0")
    except OSError:
        return not Path("/proc/self").exists()
    return "stages.repro" in words or any("dvc" in Path(word).parts[-2:] for word in words)


if __name__ == "__main__":
    sys.exit(main())
