"""Starts runs of the pipeline in a folder, waits for them, and reads their outputs and what they leave behind."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import yaml

PROJECT = Path(__file__).parents[2]
REPRO = (sys.executable, "-m", "stages.repro")
DVC = (sys.executable, "-m", "dvc", "repro")
MAKE = ("make", "repro", "RUN=")  # it does not check the installed packages
PATIENCE = 5.0  # seconds within which the processes of a killed run should end
LIMIT = 600.0  # seconds after which a run counts as hanging
HUNG = 124  # the status of a run that hangs, as for `timeout`
#: lines on the console that are no message: DVC's progress, the stages' own
_PROGRESS = (
    "Stage '",
    "Running stage",
    "> ",
    "Updating lock",
    "Use `dvc push`",
    "To track",
    "To enable",
    "git add",
    "dvc config",
)
_COLOUR = re.compile(r"\x1b\[[0-9;]*m")
_RAY = re.compile(r"\(raylet\)(?= The node with node id: \w+)")  # Ray prints it after a progress bar, on its line
_BAR = re.compile(r"[^\r\n]*\d%\|[^\r\n]*?\[[^\]\r\n]*\]")  # a progress bar; a message may follow on its line
_EACH = "ERROR: failed to transfer"  # DVC's, one for every file; another line follows
_SECOND = "ERROR: failed to reproduce"  # DVC's own line after that of a stage


@dataclass(frozen=True)
class Ended:
    """A run that has ended.

    Attributes:
        status: its exit status; negative for a signal.
        text: its output on the console.
    """

    status: int
    text: str

    @property
    def message(self) -> str:
        """Its output without progress; " / " separates the lines."""
        text = _BAR.sub("", _RAY.sub("\n(raylet)", _COLOUR.sub("", self.text)))
        lines = [line.rpartition("\r")[2].strip() for line in text.split("\n")]
        words = [line for line in lines if line and not line.startswith(_PROGRESS) and " epoch " not in line]
        words = [line for line in words if not line.startswith(_EACH)] or words
        own = [line for line in words if not (line.startswith(_SECOND) and "failed to run" in line)]
        return " / ".join(own or words)

    @property
    def clear(self) -> bool:
        """Whether it failed with a message and no traceback."""
        return self.status not in (0, HUNG) and bool(self.message) and "Traceback" not in self.text


def start(folder: Path, command: Sequence[str] = REPRO, **options) -> tuple[subprocess.Popen, Path]:
    """Starts a command in a process group of its own.

    Args:
        folder: where it works.
        command: words of the command line.
        options: of `subprocess.Popen`.

    Returns:
        The process, and the file of its output.
    """
    environment = os.environ | {
        "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]),
        "DVC_NO_ANALYTICS": "1",
    }
    for name in ("PYTHONPATH", "PYTEST_CURRENT_TEST"):
        environment.pop(name, None)
    with tempfile.NamedTemporaryFile(prefix="faults-", suffix=".txt", delete=False) as console:
        process = subprocess.Popen(
            command,
            cwd=folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=console,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            **options,
        )
    return process, Path(console.name)


def finish(process: subprocess.Popen, console: Path, limit: float = LIMIT) -> Ended:
    """Waits for the end of a run that `start` began; after `limit` seconds it is killed, with the status `HUNG`."""
    try:
        status = process.wait(limit)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        status = HUNG
    text = console.read_text(errors="replace")
    console.unlink()
    return Ended(status, text)


def run(folder: Path, *targets: str, command: Sequence[str] = REPRO, limit: float = LIMIT, **options) -> Ended:
    """Runs a command with DVC's targets and waits for its end; see `start` and `finish`."""
    return finish(*start(folder, (*command, *targets), **options), limit)


def locked(folder: Path) -> dict[str, dict]:
    """The stages in dvc.lock."""
    return yaml.safe_load((folder / "dvc.lock").read_text())["stages"]


def state(folder: Path) -> dict:
    """The results of a run: the stages in dvc.lock, and the digest of every output file."""
    stages = locked(folder)
    digests = {}
    for stage in stages.values():
        for out in stage["outs"]:
            path = folder / out["path"]
            for file in sorted(path.rglob("*")) if path.is_dir() else [path]:
                if file.is_file():
                    digests[str(file.relative_to(folder))] = hashlib.sha256(file.read_bytes()).hexdigest()
    return {"stages": stages, "files": digests}


def copy(source: Path, folder: Path, *undone: str) -> Path:
    """Copies a finished project and undoes some of its stages.

    The copy lacks their outputs, in the folder, in dvc.lock and in DVC's cache. It also lacks the kept results of all
    stages and DVC's cache of runs, from which the outputs would come back.

    Args:
        source: the finished project.
        folder: of the copy; its earlier content is removed.
        undone: names of stages, as in dvc.lock.

    Returns:
        The folder.
    """
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(source, folder, symlinks=True)
    content = yaml.safe_load((folder / "dvc.lock").read_text())
    for name in undone:
        for out in content["stages"].pop(name)["outs"]:
            path = folder / out["path"]
            shutil.rmtree(path) if path.is_dir() else path.unlink()
            _forget(folder / ".dvc" / "cache" / "files" / "md5", out["md5"])
    (folder / "dvc.lock").write_text(yaml.safe_dump(content, sort_keys=False))
    if undone:
        for name in (".dvc/cache/runs", "data/states", "data/checkpoints", "data/trained"):
            shutil.rmtree(folder / name, ignore_errors=True)
    return folder


def _forget(cache: Path, digest: str) -> None:
    path = cache / digest[:2] / digest[2:]
    if digest.endswith(".dir") and path.exists():
        for entry in json.loads(path.read_text()):
            _forget(cache, entry["md5"])
    path.unlink(missing_ok=True)


def set_parameters(folder: Path, **sections: Mapping) -> None:
    """Changes values of params.yaml."""
    values = yaml.safe_load((folder / "params.yaml").read_text())
    for stage, changes in sections.items():
        values[stage] |= changes
    (folder / "params.yaml").write_text(yaml.safe_dump(values, sort_keys=False))


def processes(folder: Path) -> dict[int, str]:
    """Processes that work in a folder: number and command line."""
    commands = {}
    for path in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if Path(os.readlink(path / "cwd")).is_relative_to(folder):
                words = (path / "cmdline").read_text(errors="replace").split("\0")
                if words != [""]:  # a process that has ended has none
                    commands[int(path.name)] = " ".join(words)
    return commands


def left(folder: Path) -> list[str]:
    """Waits for the processes in a folder to end, kills the rest, and returns their command lines."""
    end = time.monotonic() + PATIENCE
    while (remaining := processes(folder)) and time.monotonic() < end:
        time.sleep(0.2)
    for number in remaining:
        with contextlib.suppress(ProcessLookupError):
            os.kill(number, signal.SIGKILL)
    return sorted(remaining.values())


def parts(folder: Path) -> list[str]:
    """Half-written files in folders of outputs."""
    paths = (path.relative_to(folder) for name in ("data", "reports") for path in (folder / name).rglob("*.part"))
    return sorted(str(path) for path in paths if path.parts[1] not in ("checkpoints", "states", "trained"))


def kernel(folder: Path, process: subprocess.Popen) -> int | None:
    """Waits for the process of the notebook and returns its number; None if the run ends before."""
    while process.poll() is None:
        for number, words in processes(folder).items():
            if "ipykernel_launcher" in words:
                return number
        time.sleep(0.05)
    return None
