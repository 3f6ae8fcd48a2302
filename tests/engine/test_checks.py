"""A value of a wrong type is refused in one line wherever a stage is entered, and a right one is what it was."""

import json
import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import nbformat
import papermill
import pytest
from hypothesis import given
from hypothesis import strategies as st
from papermill.exceptions import PapermillExecutionError

from stages.engine import checks
from stages.engine.errors import InputError
from stages.graphs.collection import slug
from stages.runner.notebook import names
from stages.runner.parameters import read_defaults, read_knobs
from tests.support import networks, trees
from tests.support.pipeline import PROJECT
from tests.support.samples import write_root

#: skip_bad of the data's section is prune's, which configuration shares
ELSEWHERE = {("configuration", "skip_bad")}


def read(stage):
    return nbformat.read(PROJECT / "notebooks" / f"{stage}.ipynb", as_version=4)


PARAMETERS = [(stage, name) for stage in names(PROJECT) for name in read_defaults(read(stage), stage)]
KNOBS = [(stage, name) for stage in ("gnn", "gbdt") for name in read_knobs(PROJECT, stage)]


@pytest.mark.parametrize(
    ("wanted", "value", "fault"),
    [
        (bool, "false", "'false' is str, expected bool; give True or False"),
        (bool, 0, "0 is int, expected bool"),
        (bool, None, "None is NoneType, expected bool"),
        (int, True, "True is bool, expected int"),
        (int, 1.0, "1.0 is float, expected int"),
        (int, "1", "'1' is str, expected int"),
        (float, True, "True is bool, expected float"),
        (float, "0.5", "'0.5' is str, expected float"),
        (str, 3, "3 is int, expected str"),
        (str, None, "None is NoneType, expected str"),
        (int | str, 1.5, r"1.5 is float, expected int \| str"),
        (int | str, False, r"False is bool, expected int \| str"),
        (str | None, 3, r"3 is int, expected str \| None"),
        (str | Path, b"x", r"b'x' is bytes, expected str \| Path"),
        (list[str], "gnn", "'gnn' is str, expected list of str"),
        (list[str], None, "None is NoneType, expected list of str"),
        (Sequence[str], "gnn", "'gnn' is str, expected list of str"),
        (list[str], ["a\nb", 3], r"\[1\]: 3 is int, expected str"),
        (Sequence[str], ("gnn", None), r"\[1\]: None is NoneType, expected str"),
    ],
)
def test_a_wrong_type_is_one_line(wanted, value, fault):
    with pytest.raises(InputError, match=rf"^stage\.knob.*{fault}") as caught:
        checks.fitting("stage.knob", value, wanted)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("wanted", "value"),
    [
        (bool, False),
        (int, 3),
        (float, 0.5),
        (str, "false"),
        (int | str, 1),
        (int | str, "all"),
        (str | None, None),
        (str | Path, "a"),
        (str | Path, Path("a")),
        (list[str], []),
        (Sequence[str], ("a", "b")),
    ],
)
def test_a_right_type_is_kept(wanted, value):
    kept = checks.fitting("stage.knob", value, wanted)
    assert kept == value and type(kept) is type(value)


@given(st.integers(-(2**53), 2**53))
def test_a_whole_number_is_good_for_a_float_and_becomes_one(value):
    kept = checks.fitting("stage.knob", value, float)
    assert type(kept) is float and kept == value


def test_the_function_sees_its_defaults_and_whatever_has_no_annotation():
    @checks.entry("stage")
    def entered(first: int, second="x", *, third: float = 2, **knobs):
        """Its words."""
        return first, second, third, knobs

    assert entered.__doc__ == "Its words." and entered.__name__ == "entered"
    assert entered(1, 3, other="y") == (1, 3, 2, {"other": "y"})
    assert type(entered(1, third=1)[2]) is float
    with pytest.raises(InputError, match="^stage.first: '1' is str, expected int; give one$"):
        entered("1")
    with pytest.raises(TypeError, match="first"):
        entered(third=1.0)


def test_the_fields_of_a_frozen_dataclass_are_checked():
    @dataclass(frozen=True)
    class Knobs:
        rate: float = 1
        names: Sequence[str] = ("a",)

        def __post_init__(self):
            checks.settings(self, "stage")

    assert type(Knobs().rate) is float and Knobs(names=["b"]).names == ["b"]
    with pytest.raises(InputError, match="^params.yaml, stage.rate: 'fast' is str, expected float; give one$"):
        Knobs(rate="fast")


def test_a_knob_must_be_known_and_params_yaml_must_have_the_rest(tmp_path, monkeypatch):
    @dataclass(frozen=True)
    class Knobs:
        rate: float
        steps: int

        def __post_init__(self):
            checks.settings(self, "stage")

    @checks.entry("stage")
    def entered(*, collection: str, knobs: Knobs) -> Knobs:
        return knobs

    monkeypatch.chdir(tmp_path)
    assert entered(collection="tile:xla", knobs={"rate": 1, "steps": 2}) == Knobs(1.0, 2)  # no file is read
    with pytest.raises(InputError, match="^stage.run: unknown parameter 'step'; its knobs are rate, steps$"):
        entered(collection="tile:xla", knobs={"step": 2})
    with pytest.raises(InputError, match="^stage.knobs: 'rate' is str, expected dict; give a mapping of those that "):
        entered(collection="tile:xla", knobs="rate")
    with pytest.raises(InputError, match="^params.yaml: cannot be read "):
        entered(collection="tile:xla", knobs={})
    Path("params.yaml").write_text('stage: {rate: {"tile:*": 0.5, "*": 2}, steps: 3}')
    assert entered(collection="tile:xla", knobs={}) == Knobs(0.5, 3)
    assert entered(collection="layout:xla:random", knobs={"steps": 4}) == Knobs(2.0, 4)
    with pytest.raises(InputError, match="^params.yaml, stage.steps: '4' is str, expected int; give one$"):
        entered(collection="tile:xla", knobs={"steps": "4"})  # as papermill's -p would have it
    Path("params.yaml").write_text("stage: {rate: 2}")
    with pytest.raises(InputError, match="^params.yaml, stage: lacks 'steps'; write a line for it"):
        entered(collection="tile:xla", knobs={})
    Path("params.yaml").write_text("stage: {rate: 2, steps: 3, step: 4}")
    with pytest.raises(InputError, match="^params.yaml, stage: unknown parameter 'step'; its knobs are rate, steps$"):
        entered(collection="tile:xla", knobs={})


@pytest.mark.parametrize("settings", [trees.settings, networks.settings])
def test_every_knob_of_a_model_is_checked(settings):
    for name in vars(settings()):
        with pytest.raises(InputError, match=rf"^params.yaml, (gnn|gbdt)\.{name}: .* is bytes, expected ") as caught:
            settings(**{name: b"wrong"})
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("stage", "name"), [pair for pair in PARAMETERS + KNOBS if pair not in ELSEWHERE])
def test_every_parameter_of_every_notebook_is_checked_before_anything_is_done(stage, name, tmp_path, monkeypatch):
    """The cells as a kernel runs them, in a folder where nothing else is: whatever goes first must be the check."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "stages").mkdir()  # so that the notebook takes it for the project's folder
    if (stage, name) in KNOBS:
        shutil.copy(PROJECT / "params.yaml", tmp_path)
    names = {}
    with pytest.raises(InputError, match=rf"^(params\.yaml, )?{stage}\.{name}: b'wrong' is bytes, expected ") as caught:
        for cell in (cell for cell in read(stage).cells if cell.cell_type == "code"):
            exec(cell.source, names)
            if "parameters" in cell.metadata.get("tags", []):
                names |= {"knobs": {name: b"wrong"}} if (stage, name) in KNOBS else {name: b"wrong"}
    assert "\n" not in str(caught.value)
    assert {path.name for path in tmp_path.rglob("*")} <= {"stages", "params.yaml"}


def test_papermills_text_is_no_number():
    """As `-p` hands over what stands within a mapping; `-y '{knobs: {width: 8}}'` hands over the number."""
    with pytest.raises(PapermillExecutionError) as caught:
        papermill.execute_notebook(
            PROJECT / "notebooks" / "gnn.ipynb", None, {"knobs": {"width": "8"}}, cwd=PROJECT, kernel_name="python3",
            progress_bar=False,
        )  # fmt: skip
    assert caught.value.ename == "InputError"
    assert caught.value.evalue == "params.yaml, gnn.width: '8' is str, expected int; give one"


def test_papermills_false_does_not_skip_a_faulty_file(tmp_path):
    root = write_root(tmp_path / "sample")
    next((root / "npz" / "layout" / "xla" / "random" / "train").glob("*.npz")).write_bytes(b"cut off")
    parameters = {"root": str(root), "data": str(tmp_path / "data"), "skip_bad": "false"}  # as -p hands it over
    with pytest.raises(PapermillExecutionError) as caught:
        papermill.execute_notebook(
            PROJECT / "notebooks" / "prune.ipynb", None, parameters, cwd=PROJECT, kernel_name="python3",
            progress_bar=False,
        )  # fmt: skip
    assert caught.value.ename == "InputError"
    assert caught.value.evalue.startswith("prune.skip_bad: 'false' is str, expected bool; give True or False")
    assert not os.path.exists(tmp_path / "data")


@dataclass(frozen=True)
class Knobs:
    trees: int
    objectives: Sequence[str]


@checks.entry("toy", writes=True)
def toy(*, collection: str, knobs: Knobs, rate: float = 0.5, data: str | Path = "data"):
    Path(data, "toy", slug(collection)).mkdir(parents=True, exist_ok=True)


def test_outputs_carry_the_parameters_that_made_them(tmp_path):
    knobs = {"trees": 4, "objectives": ["ridge"]}
    toy(collection="tile:xla", rate=2, data=tmp_path, knobs=knobs)
    written = (tmp_path / "toy" / "tile-xla" / "parameters.json").read_text()
    assert json.loads(written) == {"collection": "tile:xla", "rate": 2.0} | knobs
    values = {"collection": "tile:xla", "rate": 2.0, "knobs": knobs, "data": str(tmp_path)}
    checks.made_by("toy", values)
    with pytest.raises(InputError, match=r"toy/tile-xla: another run wrote there, with toy\.trees 4 instead of 300;"):
        checks.made_by("toy", values | {"knobs": knobs | {"trees": 300}})
    checks.made_by("toy", values | {"collection": "layout:xla:random"})  # which has no outputs to judge
