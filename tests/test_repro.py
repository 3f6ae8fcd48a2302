import json
import os
import subprocess
import sys
import time

import pytest

from stages import repro

LOCK = """\
schema: '2.0'
stages:
  blend:
    cmd: python -m stages.run blend
    deps:
    - path: data/gnn
      hash: md5
      md5: 0ee522ba82c63eb46a22821355e11ee6
      size: 9
    params:
      params.yaml:
        blend:
          eval_indices:
    outs:
    - path: data/blend
      hash: md5
      md5: 0ee522ba82c63eb46a22821355e11ee6.dir
      size: 9
      nfiles: 1
"""


def test_a_second_run_is_refused_until_the_first_has_ended(tmp_path, capsys):
    held = repro.lock(tmp_path)
    assert repro.main([], tmp_path) == 1
    line = f"the pipeline is at work in this folder already, in process {os.getpid()}; wait for it\n"
    assert capsys.readouterr().err == line
    os.close(held)
    os.close(repro.lock(tmp_path))


def test_half_a_lock_file_goes_and_a_whole_one_stays(tmp_path):
    path = tmp_path / "dvc.lock"
    path.write_text(LOCK)
    assert repro.mended(tmp_path) == [] and path.read_text() == LOCK
    path.unlink()
    assert repro.mended(tmp_path) == []
    # within a line, after a key, in a name, after a stage's name, and none of it
    for end in ("      hash", "data/blend\n      hash:", "sche", "  blend:\n"):
        path.write_text(LOCK[: LOCK.index(end) + len(end)])
        assert len(repro.mended(tmp_path)) == 1 and not path.exists(), end
    path.write_text("")
    repro.mended(tmp_path)  # an empty one is none


@pytest.mark.parametrize(
    "text",
    [
        '{"write": {"data/bl',
        "[]",
        json.dumps({"write": {}, "read": {}}),
        json.dumps({"write": {"data/blend": {"pid": os.getpid(), "cmd": "dvc repro"}}, "read": {}}),  # not DVC: pytest
    ],
)
def test_locks_that_nobody_holds_go(tmp_path, text):
    path = tmp_path / ".dvc" / "tmp" / "rwlock"
    path.parent.mkdir(parents=True)
    path.write_text(text)
    assert repro.mended(tmp_path) == [] and not path.exists()


def test_locks_of_a_running_dvc_stay(tmp_path):
    path = tmp_path / ".dvc" / "tmp" / "rwlock"
    path.parent.mkdir(parents=True)
    running = subprocess.Popen(
        [sys.executable, "-c", "print(flush=True); input()", "dvc", "repro"], stdin=-1, stdout=-1
    )
    try:
        running.stdout.readline()
        path.write_text(json.dumps({"read": {"data/blend": [{"pid": running.pid, "cmd": "dvc repro"}]}, "write": {}}))
        repro.mended(tmp_path)
        assert path.exists()
    finally:
        running.communicate(b"\n")


def test_files_that_a_killed_run_left_go_when_they_are_old(tmp_path):
    old, new = tmp_path / "reports" / ".a.html.7.part", tmp_path / "data" / "states" / ".b.8.part"
    for path in (old, new):
        path.parent.mkdir(parents=True)
        path.touch()
    os.utime(old, (time.time() - 2 * repro.ABANDONED,) * 2)
    repro.mended(tmp_path)
    assert not old.exists() and new.exists()
