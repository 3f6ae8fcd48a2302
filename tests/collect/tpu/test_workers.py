"""The pool with a stand-in for the compiler, that dies, hangs or refuses as its job says."""

import json
import os
import signal
import time
from pathlib import Path

import pytest

from stages.collect.tpu import worker, workers
from stages.engine.errors import InputError


def serve(pipe, folder):
    done = 0
    while True:
        try:
            _, text = json.loads(pipe.recv_bytes())
        except EOFError:
            return
        done += 1
        if text == "crash" or (text == "crash after another" and done > 1):
            (Path(folder) / worker.MESSAGES).write_text(
                "starting\nF0101 12:00:00.0 123 a.cc:1] Check failed: x == y (1 vs. 2)\n*** trace\n"
            )
            os.abort()
        if text == "broken":
            raise SystemExit(3)
        if text == "killed":
            os.kill(os.getpid(), signal.SIGKILL)
        while text == "hang":
            pass
        if text == "sleep":
            time.sleep(600)
        answers = {"refuse": {"refused": "INVALID_ARGUMENT"}, "full": {"full": folder}}
        pipe.send_bytes(json.dumps(answers.get(text, {"record": [text, os.getpid()]})).encode())


def run(pool, *texts):
    return dict(pool.run([("kernel", text) for text in texts]))


@pytest.fixture
def pool(tmp_path, monkeypatch):
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", None)
    with workers.Pool(1, timeout_s=20, serve=serve) as opened:
        yield opened
    assert list(tmp_path.iterdir()) == []  # a process that died leaves no dumps behind


def test_a_crash_costs_its_own_kernel_only(pool):
    answers = run(pool, "a", "crash", "b", "refuse", "c")
    assert [answers[number]["record"][0] for number in (0, 2, 4)] == ["a", "b", "c"]
    assert answers[1] == {"crashed": "Check failed: x == y (1 vs. 2)"}
    assert answers[3] == {"refused": "INVALID_ARGUMENT"}


def test_a_kernel_that_only_a_used_process_dies_of_is_not_to_blame(pool):
    assert run(pool, "a", "crash after another")[1]["record"][0] == "crash after another"


def test_a_process_serves_many_jobs(pool):
    assert len({answer["record"][1] for answer in run(pool, *"abcd").values()}) == 1


def test_a_process_that_something_killed_blames_nobody(pool):
    assert run(pool, "killed", "a")[0] == {"killed": "ended by SIGKILL"}


def test_a_hung_process_is_ended_and_the_rest_goes_on(tmp_path):
    with workers.Pool(2, timeout_s=2, serve=serve) as pool:
        answers = run(pool, "hang", "a", "b")
    assert answers[0] == {"hung": 2} and {answers[number]["record"][0] for number in (1, 2)} == {"a", "b"}


def test_a_process_that_waits_is_no_kernels_fault(tmp_path, monkeypatch):
    monkeypatch.setattr(workers, "_PATIENCE", 6)
    with workers.Pool(1, timeout_s=0.5, serve=serve) as pool:
        assert run(pool, "sleep")[0] == {"killed": "given up after 3 s of waiting"}


def test_a_full_disk_is_one_line(pool):
    with pytest.raises(InputError, match="almost full; make room") as full:
        run(pool, "a", "full", "b")
    assert "\n" not in str(full.value)
    assert run(pool, "c")[0]["record"][0] == "c"


def test_whoever_stops_listening_gets_no_old_answers(pool):
    for _ in pool.run([("kernel", "a"), ("kernel", "b")]):
        break
    assert run(pool, "c")[0]["record"][0] == "c"


def test_an_error_of_our_own_is_no_kernels_fault(pool):
    with pytest.raises(RuntimeError, match="status 3"):
        run(pool, "a", "broken")
