"""Helpers of all benchmarks: medians of seconds, memory, a description of the machine, the file of results."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import platform
import resource
import statistics
import time
from collections.abc import Callable, Iterable
from pathlib import Path

import torch

from stages.engine import code
from stages.engine import files as whole_files

RESULTS = Path("reports/benchmarks.json")
BENCHMARKS = sorted(Path(__file__).parent.glob("*.py"))
#: seconds after which a measurement is not repeated any more
PATIENCE = 60.0


def median_seconds(function: Callable[[], object], repeat: int, patience: float = PATIENCE) -> tuple[float, int]:
    """Measures the seconds of a call, after one call to warm up.

    Args:
        function: the call.
        repeat: number of measurements at most.
        patience: seconds of all measurements together, after which no other begins.

    Returns:
        (median seconds, number of measurements).
    """
    function()
    seconds: list[float] = []
    while not seconds or (len(seconds) < repeat and sum(seconds) < patience):
        start = time.perf_counter()
        function()
        seconds.append(time.perf_counter() - start)
    return statistics.median(seconds), len(seconds)


def machine() -> dict[str, str | int]:
    """The properties of the machine on which results depend: processor, cores, torch and its threads."""
    return {
        "cpu": processor(),
        "cores": len(os.sched_getaffinity(0)),
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "python": platform.python_version(),
    }


def reset_peak() -> None:
    """Resets the peak of this process's memory to its present memory, if the system can."""
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")


def peak_bytes() -> int:
    """Largest resident memory of this process so far, or since `reset_peak`.

    It is VmHWM if the system has it. ru_maxrss of a new process starts at the peak of its parent, which would hide the
    peak of a small child.
    """
    return status("VmHWM") or resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def anonymous_bytes() -> int:
    """Present memory of this process without mapped files; 0 if the system does not tell it."""
    return status("RssAnon")


def resident_bytes() -> int:
    """Present resident memory of this process; 0 if the system does not tell it."""
    return status("VmRSS")


def identity(*parts, modules: Iterable[str] = ("stages.gnn.training",), files: Iterable[Path] = BENCHMARKS) -> str:
    """Digest of the code and the parameters on which results depend.

    Args:
        parts: parameters, which must fit in JSON.
        modules: modules below stages, which count with all that they import; by default the network's.
        files: other code; by default the benchmarks.
    """
    digest = hashlib.sha256(json.dumps(parts, sort_keys=True).encode() + code.digest(*modules).encode())
    for path in files:
        digest.update(path.read_bytes())
    return digest.hexdigest()[:16]


def read(key: str, path: str | Path = RESULTS) -> dict:
    """Reads the results under `key`; empty if there are none."""
    path = Path(path)
    return json.loads(path.read_text()).get(key, {}) if path.exists() else {}


def write(key: str, content: dict, path: str | Path = RESULTS) -> None:
    """Writes results under `key` into the file of results, and keeps those of other benchmarks."""
    path = Path(path)
    results = json.loads(path.read_text()) if path.exists() else {}
    results[key] = {"machine": machine()} | content
    whole_files.replace(path, (json.dumps(results, indent=1, sort_keys=True) + "\n").encode())


def processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "unknown")


def status(name: str, path: str | Path = "/proc/self/status", unit: int = 1024) -> int:
    """Reads a number from a process's status.

    Args:
        name: of the line.
        path: the status file.
        unit: factor; by default that of memory, which the file has in KiB.

    Returns:
        The number; 0 if the process or the line does not exist.
    """
    try:
        lines = Path(path).read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) * unit for line in lines if line.startswith(f"{name}:")), 0)
