"""Takes resources of this machine away: the right to write, room on a disk, memory. It needs root."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

from benchmarks.namespaces import Missing

CGROUP = Path("/sys/fs/cgroup/memory")


def needs_root() -> None:
    """Raises Missing if this process cannot mount."""
    if os.geteuid() != 0 or not shutil.which("mount"):
        raise Missing("needs root, to mount")
    done = subprocess.run(["unshare", "--mount", "true"], capture_output=True)
    if done.returncode:
        raise Missing("needs the right to mount")


@contextlib.contextmanager
def mounted(folder: Path, *options: str) -> Iterator[Path]:
    """A context in which a file system is mounted on a folder."""
    needs_root()
    folder.mkdir(parents=True, exist_ok=True)
    subprocess.run(["mount", *options, str(folder)], check=True)
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


@contextlib.contextmanager
def read_only(folder: Path) -> Iterator[None]:
    """A context in which a folder is read-only."""
    with mounted(folder, "--bind", str(folder)):
        subprocess.run(["mount", "-o", "remount,ro,bind", str(folder)], check=True)
        yield


def used_bytes(folder: Path) -> int:
    """Bytes in use on the file system of a folder."""
    system = os.statvfs(folder)
    return (system.f_blocks - system.f_bfree) * system.f_frsize


class Cgroup:
    """A limit for the memory of a group of processes. A context."""

    def __init__(self) -> None:
        self.path = CGROUP / f"faults-{os.getpid()}"
        self._mounted = False

    def __enter__(self) -> Cgroup:
        needs_root()
        try:
            if not (CGROUP / "cgroup.procs").exists():
                subprocess.run(["mount", "-t", "cgroup", "-o", "memory", "none", str(CGROUP)], check=True)
                self._mounted = True
            self.path.mkdir()
            self.limit(1 << 60)
        except (OSError, subprocess.CalledProcessError):
            raise Missing("needs the memory controller of cgroups, version 1") from None
        return self

    def __exit__(self, *_: object) -> None:
        for _ in range(50):
            with contextlib.suppress(OSError):
                self.path.rmdir()
                break
            time.sleep(0.1)
        if self._mounted:
            subprocess.run(["umount", str(CGROUP)], check=True)

    def limit(self, size: int) -> None:
        """Sets the limit, in bytes, and resets the peak."""
        (self.path / "memory.limit_in_bytes").write_text(str(size))
        (self.path / "memory.max_usage_in_bytes").write_text("0")

    def peak(self) -> int:
        """Largest memory, in bytes, since the limit was set."""
        return int((self.path / "memory.max_usage_in_bytes").read_text())

    def enter(self) -> None:
        """Adds the calling process to the group; a child calls it before its command."""
        (self.path / "cgroup.procs").write_text(str(os.getpid()))
