"""A task for the collector's workers that does nothing, fails or dies, as its job is named."""

import sys

import pytest

TASKS = """\
import os
from pathlib import Path


def task(job, tick):
    name = getattr(job, "identifier", job)
    Path(os.environ["TASK_LOG"], name).write_text(str(os.getpid()))
    tick()
    if name.startswith("raise"):
        raise ValueError("the first line\\nthe second")
    if name.startswith("mute"):
        raise AssertionError
    if name.startswith("die"):
        os._exit(3)
    tick()
"""


@pytest.fixture
def task(tmp_path, monkeypatch):
    """A task in a module of its own, importable in a fresh process; it leaves each job's process id in tmp_path/log."""
    (tmp_path / "collect_tasks.py").write_text(TASKS)
    (tmp_path / "log").mkdir()
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("TASK_LOG", str(tmp_path / "log"))
    import collect_tasks

    yield collect_tasks.task
    del sys.modules["collect_tasks"]
