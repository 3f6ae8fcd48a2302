"""What every benchmark needs: medians of seconds, a description of the machine, one file of results."""

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
#: seconds after which something is not repeated any more
PATIENCE = 60.0


def median_seconds(function: Callable[[], object], repeat: int, patience: float = PATIENCE) -> tuple[float, int]:
    """Median seconds of a call, after one to warm up, and the number of calls it is the median of.

    At most `repeat` calls, fewer where they took more than `patience` seconds together, but one at least.
    """
    function()
    seconds: list[float] = []
    while not seconds or (len(seconds) < repeat and sum(seconds) < patience):
        start = time.perf_counter()
        function()
        seconds.append(time.perf_counter() - start)
    return statistics.median(seconds), len(seconds)


def machine() -> dict[str, str | int]:
    """What figures depend on beside the code: processor, cores, torch and its threads."""
    return {
        "cpu": processor(),
        "cores": len(os.sched_getaffinity(0)),
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "python": platform.python_version(),
    }


def reset_peak() -> None:
    """Lets the peak begin anew at the memory of now, where the system can."""
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")


def peak_bytes() -> int:
    """Largest resident memory of this process so far, or since `reset_peak`.

    VmHWM where there is one: ru_maxrss of a new process starts at what its parent held, and so hides a small child
    behind a large parent.
    """
    return status("VmHWM") or resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def anonymous_bytes() -> int:
    """Memory of this process now that is not a mapped file's; 0 where the system does not tell."""
    return status("RssAnon")


def resident_bytes() -> int:
    """Resident memory of this process now; 0 where the system does not tell."""
    return status("VmRSS")


def identity(*parts, modules: Iterable[str] = ("stages.gnn.training",), files: Iterable[Path] = BENCHMARKS) -> str:
    """Digest of what figures depend on.

    Args:
        parts: whatever else, put into JSON.
        modules: of stages, with all that they import; by default the network's.
        files: of other code; by default the benchmarks.
    """
    digest = hashlib.sha256(json.dumps(parts, sort_keys=True).encode() + code.digest(*modules).encode())
    for path in files:
        digest.update(path.read_bytes())
    return digest.hexdigest()[:16]


def read(key: str, path: str | Path = RESULTS) -> dict:
    """What `write` left under `key`; empty where there is nothing."""
    path = Path(path)
    return json.loads(path.read_text()).get(key, {}) if path.exists() else {}


def write(key: str, content: dict, path: str | Path = RESULTS) -> None:
    """Puts `content` under `key` into the file of results and leaves what other benchmarks wrote there."""
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
    """A number in a process's status, by default memory, which is told in KiB; 0 where there is none, or no process."""
    try:
        lines = Path(path).read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) * unit for line in lines if line.startswith(f"{name}:")), 0)
