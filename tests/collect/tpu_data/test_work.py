"""Jobs in processes of their own, with tasks that are played."""

import os
from pathlib import Path

import pytest

from stages.collect.tpu import libtpu
from stages.collect.tpu_data import work
from stages.collect.tpu_data.plan import Job
from stages.collect.tpu_data.store import Store
from stages.engine.errors import InputError


def played(job, progress):
    """What a job's id says, in a worker."""
    progress(1)
    if job.identifier == "refused":
        raise libtpu.CompileError("Invalid layout\nand more of it")
    if job.identifier == "dies":
        os._exit(7)
    if job.identifier == "ours":
        raise KeyError("a slip")
    if job.identifier == "full":
        raise OSError(28, "No space left on device", "/records")
    Path(job.records, job.identifier).touch()


def jobs(folder, *names):
    return [Job(name, 2, 0, 0, str(folder), str(folder / "cache")) for name in names]


def outcomes(folder, *names, workers=1):
    return {
        job.identifier: (kind, what)
        for job, kind, what in work.run(jobs(folder, *names), workers, played)
        if kind != "tick"
    }


def test_one_programs_fault_ends_nothing_else(tmp_path):
    told = outcomes(tmp_path, "refused", "dies", "ours", "good", workers=2)
    assert told == {
        "refused": ("failed", "Invalid layout"),
        "dies": ("later", "its process died"),
        "ours": ("later", "KeyError: 'a slip'"),
        "good": ("done", None),
    }
    assert (tmp_path / "good").exists()


def test_only_a_programs_own_fault_is_kept(tmp_path):
    outcomes(tmp_path, "refused", "dies", "ours")
    assert Store(tmp_path).failures() == {"refused": "Invalid layout"}


def test_a_full_disk_ends_the_collection_with_a_line(tmp_path):
    with pytest.raises(InputError, match="/records: No space left on device; mend that and start again"):
        outcomes(tmp_path, "full", "good")


def test_progress_comes_before_the_end(tmp_path):
    told = [(kind, what) for _, kind, what in work.run(jobs(tmp_path, "good"), 1, played)]
    assert told == [("tick", 1), ("done", None)]


def test_no_job_needs_no_process(tmp_path):
    assert list(work.run([], 2, played)) == []
