"""`python -m stages.tune` without a compiler: faults are one line, an interrupt keeps the best, files are whole."""

import json

import pytest

from stages import tune
from stages.collect.tpu import libtpu
from stages.engine.errors import InputError
from stages.tuning import command, problem, report, source
from tests.support.tuning import OWN_NS, Rows, additive, small


class Compiler:
    """Stands in for `Simulator`: a toy needs none."""

    def __init__(self, cache, topology):
        pass

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass


@pytest.fixture
def run(tmp_path, monkeypatch, capsys):
    """Runs the command on a toy; its status, standard output and standard error."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(command, "Simulator", Compiler)
    monkeypatch.setattr(command, "Layouts", Rows)
    monkeypatch.setattr(libtpu, "require", lambda: None)
    monkeypatch.setattr(libtpu, "set_environment", lambda *_, **__: None)

    def made(*arguments, cost=None, **reads):
        stand_ins = {"source": lambda *_: source.Source("small", ""), "problem": lambda *_: small(cost)} | reads
        monkeypatch.setattr(source, "read", stand_ins["source"])
        monkeypatch.setattr(problem, "read", stand_ins["problem"])
        status = tune.main([*arguments])
        shown = capsys.readouterr()
        return status, shown.out, shown.err

    return made


def files(folder):
    return {path.name for path in folder.rglob("*") if path.is_file()}


EVOLUTION = ("net:f", "--judge", "evolution", "--compile")


def test_a_search_leaves_a_page_and_what_it_tells(run, tmp_path):
    status, out, err = run(*EVOLUTION, "15")
    folder = tmp_path / "data" / "tune" / "small"
    assert status == 0
    assert files(folder) == {report.PAGE, report.OUTCOME, report.LAYOUTS, report.HLO, "tried.jsonl"}
    told = json.loads((folder / report.OUTCOME).read_text())
    assert len(told["times_ns"]) == 15 and told["found_ns"] < OWN_NS
    assert f"{told['gain']:.3f} times as fast" in out and "not measured" in out
    assert "15/15" in err  # the progress bar


def test_an_interrupt_keeps_the_best_and_says_so(run, tmp_path):
    left, cost = [6], additive(1, len(small().slots))

    def interrupted(choice):
        if not left[0]:
            left[0] = -1  # once: what follows compiles
            raise KeyboardInterrupt
        left[0] -= 1
        return cost(choice)

    status, out, _ = run(*EVOLUTION, "15", cost=interrupted)
    folder = tmp_path / "data" / "tune" / "small"
    assert status == 130 and "interrupted after 6 of 15" in out
    told = json.loads((folder / report.OUTCOME).read_text())
    assert told["interrupted"] and len(told["times_ns"]) == 6 and told["found_ns"] == min(told["times_ns"])
    assert "interrupted after 6 of 15" in (folder / report.PAGE).read_text()
    status, again, _ = run(*EVOLUTION, "15")
    whole = json.loads((folder / report.OUTCOME).read_text())
    assert status == 0 and whole["times_ns"][:6] == told["times_ns"] and len(whole["times_ns"]) == 15


def test_no_gain_is_an_answer(run, tmp_path):
    status, out, _ = run(*EVOLUTION, "5", cost=lambda choice: OWN_NS + 1)
    assert status == 0 and out.startswith("No gain: in 5 compilations nothing was faster")


@pytest.mark.parametrize(
    ("arguments", "fault"),
    [
        ((*EVOLUTION, "0"), "--compile 0: is no number of compilations; give 1 or more"),
        (("net:f", "--judge", "oracle"), "--judge oracle: is none of models, random, evolution; give one of these"),
        (("net:f", "--target", "v9"), "--target v9: is no TPU that libtpu compiles for; give v3 or v2"),
        (("net:f", "--target", "v5e"), "--target v5e: cannot be simulated kernel by kernel"),
        (("net:f",), "data: holds no trained models; run make repro, or give --models FILE"),
        (("net:f", "--models", "absent.zip"), "absent.zip"),
    ],
)
def test_what_the_command_line_gets_wrong_is_one_line(run, tmp_path, arguments, fault):
    status, out, err = run(*arguments)
    assert (status, out) == (1, "") and fault in err and err.count("\n") == 1
    assert not files(tmp_path)


@pytest.mark.parametrize("module", [source, problem])
def test_a_program_with_a_fault_is_one_line_and_nothing_is_written(run, tmp_path, module):
    def refuse(*_):
        raise InputError("small: has no configurable nodes")

    status, out, err = run(*EVOLUTION, "5", **{module.__name__.rpartition(".")[-1]: refuse})
    assert (status, out) == (1, "") and err.splitlines()[-1] == "small: has no configurable nodes"
    assert not files(tmp_path)


def test_without_libtpu_the_command_says_what_to_install(run, monkeypatch):
    monkeypatch.undo()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(libtpu.metadata, "version", lambda name: "0.0.1")
        with pytest.raises(InputError, match="install requirements-collect.txt"):
            command.tune(command.Options("net:f", judge="random"))
