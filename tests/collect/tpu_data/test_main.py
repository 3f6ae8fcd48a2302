"""The command line of the collector."""

import sys

import pytest

from stages.collect.tpu_data import __main__ as main
from stages.collect.tpu_data import work
from stages.collect.tpu_data.plan import LONG
from stages.collect.tpu_data.store import Store


def run(monkeypatch, *arguments):
    monkeypatch.setattr(sys, "argv", ["tpu_data", *arguments])
    return main.main()


def listed(monkeypatch, capsys, *arguments):
    assert run(monkeypatch, "--dry-run", *arguments) == 0
    return [line.split() for line in capsys.readouterr().out.splitlines()]


def test_a_dry_run_lists_programs_with_their_steps(monkeypatch, capsys):
    lines = listed(monkeypatch, capsys, LONG[0], "vgg16_b32_train", "--configs", "50", "--many", "70", "--kernels", "3")
    assert {line[3]: int(line[4]) for line in lines} == {LONG[0]: 2 * 70 + 3, "vgg16_b32_train": 2 * 50 + 3}


def test_the_first_programs_are_those_of_the_order(monkeypatch, capsys):
    everything = listed(monkeypatch, capsys)
    assert listed(monkeypatch, capsys, "--first", "12") == everything[:12]
    assert {line[0] for line in everything[:12]} == {"xla", "nlp"}


def test_a_program_that_is_not_there_is_a_line(monkeypatch, capsys):
    assert run(monkeypatch, "no_such_program") == 1
    assert "no_such_program: no such program" in capsys.readouterr().err


@pytest.mark.parametrize("text", ["-1", "x", "1.5"])
def test_a_number_that_is_none_is_refused(monkeypatch, capsys, text):
    with pytest.raises(SystemExit):
        run(monkeypatch, f"--configs={text}")


def test_what_failed_is_not_tried_again_and_what_is_unfinished_is_told(tmp_path, monkeypatch, capsys):
    store = Store(tmp_path)
    store.fail("vgg16_b32_train", "no")
    seen = []

    def played(jobs, workers):
        seen.extend(job.identifier for job in jobs)
        yield jobs[0], "tick", 3
        yield jobs[0], "later", "its process died"

    monkeypatch.setattr(work, "run", played)
    assert run(monkeypatch, "vgg16_b32_train", "capsnet_mnist_b128_train", "--records", str(tmp_path)) == 1
    assert seen == ["capsnet_mnist_b128_train"]
    assert "1 programs are not finished; start again for them: capsnet_mnist_b128_train" in capsys.readouterr().err


def test_a_fault_to_mend_is_a_line(tmp_path, monkeypatch, capsys):
    def full(jobs, workers):
        raise main.InputError("the disk is full")
        yield

    monkeypatch.setattr(work, "run", full)
    assert run(monkeypatch, "capsnet_mnist_b128_train", "--records", str(tmp_path)) == 1
    assert capsys.readouterr().err.splitlines()[-1] == "the disk is full"
