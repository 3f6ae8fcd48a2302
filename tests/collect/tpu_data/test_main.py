"""The command line of the collector."""

from pathlib import Path

import pytest

from stages.collect.tpu_data import __main__ as main
from stages.collect.tpu_data import export, work
from stages.collect.tpu_data.plan import LONG
from stages.collect.tpu_data.store import Store
from tests.support import tpu_records as made


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch):
    """The default folders of records and of the data set are none of the project's."""
    monkeypatch.chdir(tmp_path)


def listed(capsys, *arguments):
    assert main.main(["--dry-run", *arguments]) == 0
    return [line.split() for line in capsys.readouterr().out.splitlines()]


def test_a_dry_run_lists_programs_with_their_steps(capsys):
    lines = listed(capsys, LONG[0], "vgg16_b32_train", "--configs", "50", "--many", "70", "--kernels", "3")
    assert {line[3]: int(line[4]) for line in lines} == {LONG[0]: 2 * 70 + 3, "vgg16_b32_train": 2 * 50 + 3}


def test_the_first_programs_are_those_of_the_order(capsys):
    everything = listed(capsys)
    assert listed(capsys, "--first", "12") == everything[:12]
    assert {line[0] for line in everything[:12]} == {"xla", "nlp"}


def test_a_program_that_is_not_there_is_a_line(capsys):
    assert main.main(["no_such_program"]) == 1
    assert "no_such_program: no such program" in capsys.readouterr().err


@pytest.mark.parametrize("text", ["-1", "x", "1.5"])
def test_a_number_that_is_none_is_refused(text):
    with pytest.raises(SystemExit):
        main.main([f"--configs={text}"])


def test_what_failed_is_not_tried_again_and_what_is_unfinished_is_told(tmp_path, monkeypatch, capsys):
    store = Store(tmp_path)
    store.fail("vgg16_b32_train", "no")
    seen, exported = [], []

    def played(jobs, workers):
        seen.extend(job.identifier for job in jobs)
        yield jobs[0], "tick", 3
        yield jobs[0], "later", "its process died"

    monkeypatch.setattr(work, "run", played)
    monkeypatch.setattr(export, "export", lambda records, sample: exported.append(sample) or export.DataSet(sample))
    assert main.main(["vgg16_b32_train", "capsnet_mnist_b128_train", "--records", str(tmp_path)]) == 1
    assert seen == ["capsnet_mnist_b128_train"]
    assert exported == [Path("data/sample")]  # what is finished
    assert "1 programs are not finished; start again for them: capsnet_mnist_b128_train" in capsys.readouterr().err


def test_a_fault_to_mend_is_a_line(tmp_path, monkeypatch, capsys):
    def full(jobs, workers):
        raise main.InputError("the disk is full")
        yield

    monkeypatch.setattr(work, "run", full)
    assert main.main(["capsnet_mnist_b128_train", "--records", str(tmp_path)]) == 1
    assert capsys.readouterr().err.splitlines()[-1] == "the disk is full"


def test_what_the_data_set_holds_is_not_collected_again(tmp_path, monkeypatch, capsys):
    store = Store(tmp_path / "records")
    made.write_program(store, made.TRAIN, asked=40)
    made.write_layouts(store, made.TRAIN, made.spread(40))
    export.export(store, tmp_path / "data" / "sample")
    arguments = [made.TRAIN, "vgg16_b32_train", "--configs"]
    assert [line[3] for line in listed(capsys, *arguments, "40")] == ["vgg16_b32_train"]
    assert len(listed(capsys, *arguments, "41")) == len(listed(capsys, *arguments, "40", "--again")) == 2
    monkeypatch.setattr(work, "run", lambda jobs, workers: pytest.fail("nothing is left to do"))
    assert main.main([made.TRAIN, "--configs", "40"]) == 0
    assert "data/sample holds all of them" in capsys.readouterr().out


def test_a_data_set_of_the_other_target_is_left_alone(tmp_path, capsys):
    (tmp_path / "data" / "sample-cpu").mkdir(parents=True)
    (tmp_path / "data" / "sample-cpu" / "programs.csv").write_text("collection\n")
    assert main.main(["vgg16_b32_train", "--sample", "data/sample-cpu"]) == 1
    assert "data/sample-cpu: is a data set of another collector, it has no collected.csv" in capsys.readouterr().err
