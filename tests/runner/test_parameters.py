"""Parameters of the command line, of params.yaml and of the notebook, and what is refused."""

import nbformat
import pytest
import yaml

from stages import run
from stages.runner import parameters
from tests.support import networks
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


@pytest.fixture
def network(project):
    """The toy project with a notebook of the name gnn, whose knobs are those of the stage; a function writes them."""
    cell = 'collection = "layout:xla:random"\nknobs: dict = {}  # some\ndata = "data"'
    write_notebook(project / "notebooks" / "gnn.ipynb", [("parameters", cell), ("code", "print([collection, knobs])")])

    def write(**section):
        (project / "params.yaml").write_text(PARAMS + yaml.safe_dump({"gnn": section}, sort_keys=False))
        return project

    write(**networks.DEFAULTS)
    return write


TAKES = "notebooks/gnn.ipynb takes collection (str), seeds (int), width (int), layers (int), graph (str), direction"


def test_a_notebook_with_knobs_is_given_the_whole_section(network, capfd):
    project = network(**networks.DEFAULTS | {"width": {"tile:*": 4, "*": 6}, "margin": 2, "seeds": 1})
    assert run.main(["gnn"], project) == 0
    expected = networks.DEFAULTS | {"width": 6, "margin": 2.0, "seeds": 1}
    assert capfd.readouterr().out == f"{['layout:xla:random', expected]}\n"
    assert run.main(["gnn", "epochs=2", "collection=tile-xla"], project) == 0
    assert capfd.readouterr().out == f"{['tile:xla', expected | {'width': 4, 'epochs': 2}]}\n"
    notebook = nbformat.read(project / "notebooks" / "gnn.ipynb", as_version=4)
    values = parameters.of(notebook, "gnn", {"width": 8}, project)
    assert list(values) == ["collection", "knobs", "data"] and list(values["knobs"]) == list(networks.DEFAULTS)
    assert values["knobs"] == expected | {"width": 8} and type(values["knobs"]["margin"]) is float


@pytest.mark.parametrize(
    ("argument", "line"),
    [
        ("widht=8", f"command line: unknown parameter 'widht'; {TAKES}"),
        ('knobs={"width": 8}', f"command line: unknown parameter 'knobs'; {TAKES}"),
        ("width=wide", f"gnn.width: 'wide' is str, expected int; {TAKES}"),
        ("width=8.0", f"gnn.width: 8.0 is float, expected int; {TAKES}"),
        ("facts=1", f"gnn.facts: 1 is int, expected bool; {TAKES}"),
        ("margin=Infinity", "gnn.margin: inf is no number to compute with; give a finite one"),
        (f"width={2**53 + 1}", "gnn.width: 9007199254740993 is too large; give at most 2^53"),
    ],
)
def test_a_knob_is_refused_before_the_kernel_starts(network, capfd, monkeypatch, argument, line):
    monkeypatch.setattr(run.notebook, "execute", None)
    assert refused(network(**networks.DEFAULTS), capfd, "gnn", argument).startswith(line)


def test_knobs_that_params_yaml_lacks_or_has_too_many_or_of_another_type(network, capfd):
    line = refused(network(**networks.DEFAULTS, widht=8), capfd, "gnn")
    assert line.startswith(f"params.yaml, gnn: unknown parameter 'widht'; {TAKES}")
    line = refused(network(**networks.DEFAULTS | {"width": "wide"}), capfd, "gnn")
    assert line.startswith(f"gnn.width: 'wide' is str, expected int; {TAKES}")
    rest = {name: value for name, value in networks.DEFAULTS.items() if name != "width"}
    line = refused(network(**rest), capfd, "gnn")
    assert line == "params.yaml, gnn: lacks 'width'; write a line for it, or bring the file back from git"
    assert run.main(["gnn", "width=8"], network(**rest)) == 0
