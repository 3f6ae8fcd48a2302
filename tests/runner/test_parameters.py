"""Parameters of the command line, of params.yaml and of the notebook, and what is refused."""

import pytest

from stages.runner import parameters
from tests.support.toy import LISTING, PARAMS, refused, write_notebook


@pytest.mark.parametrize(
    ("text", "line"),
    [
        (PARAMS + "  stepps: 1\n", f"params.yaml, toy: unknown parameter 'stepps'; {LISTING}"),
        (PARAMS.replace("root:", "rooot:"), f"params.yaml, data: unknown parameter 'rooot'; {LISTING}"),
        (PARAMS + "toyy:\n  steps: 1\n", "params.yaml: no stage 'toyy'; the stages are plain, toy"),
        (PARAMS.replace("rate: 2", "rate: fast"), f"toy.rate: 'fast' is str, expected float; {LISTING}"),
        (PARAMS.replace("rate: 2", "rate: .nan"), "toy.rate: nan is no number to compute with; give a finite one"),
    ],
)
def test_faults_in_params(project, capfd, text, line):
    (project / "params.yaml").write_text(text)
    assert refused(project, capfd, "toy") == line


def test_scalars_are_read_as_yaml_1_2_reads_them(project):
    pairs = ["a=1e-05", "b=false", "c=-3", "d=all", "e=[tile:xla, 2, true]", "f=x=y", 'g="7"', "h="]
    assert dict(map(parameters.parse, pairs)) == {
        "a": 1e-05,
        "b": False,
        "c": -3,
        "d": "all",
        "e": ["tile:xla", 2, True],
        "f": "x=y",
        "g": "7",
        "h": "",
    }


@pytest.mark.parametrize("source", ["rate = compute()", "import os", "a, b = 1, 2", "rate ="])
def test_parameters_that_are_not_literals(project, capfd, source):
    write_notebook(project / "notebooks" / "toy.ipynb", [("parameters", source)])
    assert "the parameters cell holds more than name = literal" in refused(project, capfd, "toy")
