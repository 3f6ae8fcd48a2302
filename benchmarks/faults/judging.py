"""How a run that was disturbed ended, and what the next one makes of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from benchmarks.faults import runs
from benchmarks.faults.runs import PROJECT, REPRO, Ended


def judged(folder: Path, ended: Ended, reference: Mapping, command: Sequence[str] = REPRO, **about: object) -> dict:
    """A row of the results: how the disturbed run ended, and how the next one does.

    Args:
        folder: the project.
        ended: the run that was disturbed.
        reference: `runs.state` of an undisturbed run.
        command: of the next run, which is made here.
        about: more of the row, as where the fault was.

    Returns:
        `about`, and: the run's status and message; clear, whether it failed in words; orphans, command lines of
        processes that it left; half_written, files that it left; same, whether the next run ends with the bytes of the
        reference; after, what that one said if not.
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
    """Whether the fault did what it may: one clear line, nothing left behind, the same bytes after."""
    return bool(row["same"] and row["clear"] and not row["orphans"] and not row["half_written"])
