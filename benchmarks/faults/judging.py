"""Judges how a disturbed run ended, and how the next run ends."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from benchmarks.faults import runs
from benchmarks.faults.runs import PROJECT, REPRO, Ended


def judged(folder: Path, ended: Ended, reference: Mapping, command: Sequence[str] = REPRO, **about: object) -> dict:
    """Runs the pipeline again after a disturbed run, and makes the row of the results.

    Args:
        folder: the project.
        ended: the run that was disturbed.
        reference: `runs.state` of an undisturbed run.
        command: of the next run.
        about: further entries of the row, such as where the fault was.

    Returns:
        `about`; status and message of the disturbed run; clear, whether it failed with a message and no traceback;
        orphans, command lines of processes that it left; half_written, files that it left; same, whether the next run
        ends with the bytes of the reference; after, the next run's message if it does not.
    """
    orphans = runs.left(folder)
    half_written = runs.parts(folder)
    after = runs.run(folder, command=command)
    same = after.status == 0 and runs.state(folder) == reference
    row = about | {
        "status": ended.status,
        "message": ended.message.replace(f"{folder}/", "").replace(f"{PROJECT}/", ""),
        "clear": ended.clear,
        "orphans": orphans,
        "half_written": half_written,
        "same": same,
    }
    return row if same else row | {"after": after.message[-2000:]}


def good(row: Mapping) -> bool:
    """Whether a fault was handled: a clear message, nothing left behind, and the same bytes after the next run."""
    return bool(row["same"] and row["clear"] and not row["orphans"] and not row["half_written"])
