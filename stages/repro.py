"""`dvc repro`, once at a time in a folder: `python -m stages.repro [arguments of dvc repro]`; `make repro` runs it.

DVC lets two runs begin and refuses either as soon as both come to one stage, in words of its own files; here the second
is refused before it begins. And DVC writes two of its files in place, so that a run killed at that moment, or a full
disk, leaves half of one, of which every later run complains: they are put in order before DVC reads them.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import yaml

from stages import causes, inputs
from stages.errors import InputError

ABANDONED = 3600  # seconds after which a file that nobody wrote to is nobody's


def main(arguments: Sequence[str] | None = None, project: str | Path = ".") -> int:
    """Becomes `dvc repro`; returns 1 after one line on stderr where it may not."""
    project = Path(project)
    given = sys.argv[1:] if arguments is None else arguments
    try:
        lock(project)
        for line in mended(project):
            print(line, file=sys.stderr)
        if "--allow-missing" not in given:
            inputs.write(project)
    except InputError as error:
        print(error, file=sys.stderr)
        return 1
    except OSError as error:
        if not (line := causes.of_system(error)):
            raise
        print(line, file=sys.stderr)
        return 1
    os.execv(sys.executable, [sys.executable, "-m", "dvc", "repro", *given])


def lock(project: Path) -> int:
    """A descriptor that keeps other runs out as long as this process lives, also as another program.

    Raises InputError where there is such a run.
    """
    path = project / ".dvc" / "tmp" / "repro.lock"
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        holder = os.read(descriptor, 20).decode(errors="replace").strip() or "unknown"
        os.close(descriptor)
        raise InputError(f"the pipeline is at work in this folder already, in process {holder}; wait for it") from None
    with contextlib.suppress(OSError):  # of a full disk: the number is but for the others to read
        os.ftruncate(descriptor, 0)
        os.write(descriptor, f"{os.getpid()}\n".encode())
    os.set_inheritable(descriptor, True)
    return descriptor


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
    return any("dvc" in Path(word).parts[-2:] for word in words)


if __name__ == "__main__":
    sys.exit(main())
