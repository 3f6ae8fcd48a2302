"""The command line: what it takes, what it prints, and that an interrupt is one line."""

import os
import subprocess
import sys

import pytest

from stages import run
from tests.support import toy
from tests.support.toy import LISTING, refused


@pytest.fixture
def project(tmp_path):
    return toy.toy(tmp_path)


def test_usage_lists_the_stages(project, capfd):
    assert run.main([], project) == 1
    assert capfd.readouterr().out == "usage: python -m stages.run STAGE [key=value ...]; stages: plain, toy\n"
    assert run.main(["--help"], project) == 0


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["tyo"], "no stage 'tyo'; the stages are plain, toy"),
        (["toy", "rate"], "rate: is not a parameter; write key=value"),
        (["toy", "=3"], "=3: is not a parameter; write key=value"),
        (["toy", "stepps=3"], f"command line: unknown parameter 'stepps'; {LISTING}"),
        (["toy", "steps=1.5"], f"toy.steps: 1.5 is float, expected int; {LISTING}"),
        (["toy", "steps=true"], f"toy.steps: True is bool, expected int; {LISTING}"),
        (["toy", "rate=true"], f"toy.rate: True is bool, expected float; {LISTING}"),
        (["toy", "deep=1"], f"toy.deep: 1 is int, expected bool; {LISTING}"),
        (["toy", "deep=yes"], f"toy.deep: 'yes' is str, expected bool; {LISTING}"),
        (["toy", "root=3"], f"toy.root: 3 is int, expected str; {LISTING}"),
        (["toy", "hops=1.5"], f"toy.hops: 1.5 is float, expected int | str; {LISTING}"),
        (["toy", "rate=NaN"], "toy.rate: nan is no number to compute with; give a finite one"),
        (["toy", "rate=-1e400"], "toy.rate: -inf is no number to compute with; give a finite one"),
        (["toy", f"steps={2**53 + 1}"], f"toy.steps: {2**53 + 1} is too large; give at most 2^53"),
        (["toy", "rate=-1" + "0" * 400], f"toy.rate: -1{'0' * 18} is too large; give at most 2^53"),
        (["toy", "steps=" + "[" * 9999], f"toy.steps: '{'[' * 9999}' is str, expected int; {LISTING}"),
        (["toy", "steps=[1, 2]"], f"toy.steps: [1, 2] is list, expected int; {LISTING}"),
    ],
)
def test_refused_before_anything_runs(project, capfd, arguments, line):
    assert refused(project, capfd, *arguments) == line
    assert not (project / "reports").exists()


def test_unknown_collection_lists_the_five(project, capfd):
    line = refused(project, capfd, "toy", "collection=layout:xla")
    for name in ("tile:xla", "layout:xla:random", "layout:xla:default", "layout:nlp:random", "layout:nlp:default"):
        assert name in line


def test_an_interrupt_while_it_begins_is_one_line(tmp_path):
    """Imports take a second; one that interrupts stands for whatever comes then."""
    (tmp_path / "nbformat.py").write_text("import os, signal\nos.kill(os.getpid(), signal.SIGINT)\nos.kill(0, 0)\n")
    command = [sys.executable, "-m", "stages.run", "--help"]
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "interrupted\n")
