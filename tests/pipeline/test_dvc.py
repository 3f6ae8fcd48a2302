"""dvc.yaml against the code: a module that a stage imports and dvc.yaml forgets would leave stale results standing."""

import ast
from dataclasses import MISSING, fields
from pathlib import Path

import nbformat
import pytest
import yaml

from stages import inputs
from stages.engine import params
from stages.engine.code import imported
from stages.graphs.collection import COLLECTIONS, from_slug
from stages.runner import parameters
from stages.runner.parameters import read_defaults
from tests.support import networks, trees

PROJECT = Path(__file__).parents[2]
STAGES = yaml.safe_load((PROJECT / "dvc.yaml").read_text())["stages"]
INPUTS = STAGES.pop("inputs")  # no notebook
ROOT = "\n" + (PROJECT / "stages" / "__init__.py").read_text()
PARAMETERS = params.read(PROJECT / "params.yaml")


def needed(source):
    """Return the files below stages/ that a source text needs, as paths relative to the project.

    All of them, also what a package's __init__ imports for its users, and what the __init__ of stages itself imports:
    that file alone is left out, as it does nothing else.
    """
    reached, waiting = set(), set(imported(source + ROOT))
    while waiting:
        file = waiting.pop()
        reached.add(file)
        waiting |= set(imported(file.read_text())) - reached
    return {file.relative_to(PROJECT).as_posix() for file in reached - {PROJECT / "stages" / "__init__.py"}}


def test_stages_own_init_only_imports():
    """So that no stage need depend on that file: what it imports lies in a folder that every stage depends on."""
    documentation, *rest = ast.parse(ROOT).body
    assert ast.get_docstring(ast.parse(ROOT)) and isinstance(documentation, ast.Expr)
    assert all(isinstance(each, ast.ImportFrom) and each.module == "stages.engine" for each in rest)


def uncovered(dependencies, files):
    """Return the files that are no dependency and lie in none, and the dependencies that hold no file."""
    holds = {file: [name for name in dependencies if file == name or file.startswith(f"{name}/")] for file in files}
    used = {name for names in holds.values() for name in names}
    return {file for file, names in holds.items() if not names}, set(dependencies) - used


def read(stage):
    return nbformat.read(PROJECT / "notebooks" / f"{stage}.ipynb", as_version=4)


def code(stage):
    return "\n".join(cell.source.replace("%", "#") for cell in read(stage).cells if cell.cell_type == "code")


def entry(stage):
    return STAGES[stage].get("do", STAGES[stage])


@pytest.mark.parametrize("stage", STAGES)
def test_dependencies_are_what_is_imported(stage):
    listed = [dependency for dependency in entry(stage)["deps"] if dependency.startswith("stages/")]
    assert uncovered(listed, needed(code(stage))) == (set(), set())
    assert f"notebooks/{stage}.ipynb" in entry(stage)["deps"]


@pytest.mark.parametrize("stage", STAGES)
def test_no_stage_imports_another(stage):
    others = set(STAGES) - {stage}
    imported = {Path(file).with_suffix("").parts[1] for file in needed(code(stage))}
    assert not imported & others


@pytest.mark.parametrize("stage", STAGES)
def test_the_command_and_the_section_are_the_stages_own(stage):
    assert entry(stage)["cmd"].split()[:4] == ["sh", "stages/start.sh", "run", stage]
    assert stage in entry(stage)["params"]
    taken = read_defaults(read(stage), stage)
    # Another root is another path; a collection that goes or comes changes folders.
    assert any(name.startswith("${data.root}/") for name in entry(stage)["deps"]) == ("root" in taken)
    assert {"data/gnn", "data/gbdt", "data/prune"} <= set(entry(stage)["deps"]) or "collections" not in taken


@pytest.mark.parametrize("stage", STAGES)
def test_params_hold_every_knob_and_fit_the_notebook(stage):
    notebook = read(stage)
    for collection in COLLECTIONS if "foreach" in STAGES[stage] else [None]:
        given = {"collection": collection} if collection else {}
        values = parameters.of(notebook, stage, given, PROJECT)
        knobs = values.pop("knobs", {})
        values |= knobs
        section = params.section(PROJECT / "params.yaml", stage, collection)
        # What the pipeline's shape decides is no knob.
        assert set(values) - set(section) <= {"collection", "collections", "root", "skip_bad", "data", "reports"}


@pytest.mark.parametrize(("stage", "settings"), [("gnn", networks.settings), ("gbdt", trees.settings)])
def test_a_knob_is_declared_once(stage, settings):
    """Its value and its reason in params.yaml, its type in `Settings`, and nothing else of it in either."""
    declared = fields(settings())
    assert [field.name for field in declared] == list(PARAMETERS[stage])
    assert {field.default for field in declared} == {field.default_factory for field in declared} == {MISSING}
    assert parameters.read_knobs(PROJECT, stage) == {field.name: field.type for field in declared}
    assert list(read_defaults(read(stage), stage)) == ["collection", "knobs", "data"]
    assert read_defaults(read(stage), stage)["knobs"].value == {}


def test_every_collection_goes_through_every_stage():
    """The list is the parameter's alone, and blend and leaderboard depend on the folders that hold what is of it."""
    assert list(map(from_slug, PARAMETERS["data"]["collections"])) == list(COLLECTIONS)
    assert inputs.collections(PARAMETERS) == list(COLLECTIONS)
    each = {stage for stage, content in STAGES.items() if "foreach" in content}
    assert each == {*inputs.PER_COLLECTION, "configuration"}
    for stage in each:
        assert STAGES[stage]["foreach"] == "${data.collections}"
    for stage in STAGES.keys() - each:
        assert {"data/gnn", "data/gbdt", "data/prune"} <= set(STAGES[stage]["deps"])


def test_every_path_that_a_parameter_names_is_a_dependency():
    """By the notebooks' types: text or null."""
    for stage in STAGES:
        kinds = {name: default.kind for name, default in read_defaults(read(stage), stage).items()}
        named = {name for name, kind in kinds.items() if kind == "str | None"} - {"program"}  # an id
        assert named == set(inputs.NAMED.get(stage, ()))
        assert (f"data/inputs/{stage}" in entry(stage)["deps"]) == bool(named)
        assert {f"{stage}.{name}" for name in named} <= set(INPUTS["params"])
    assert {name for output in INPUTS["outs"] for name in output} == {
        "data/inputs/checked",
        *(f"data/inputs/{stage}" for stage in inputs.NAMED),
    }


def test_the_first_stage_depends_on_its_own_code():
    files = {"stages/inputs.py"} | needed((PROJECT / "stages/inputs.py").read_text())
    assert uncovered(INPUTS["deps"], files) == (set(), set())
    assert "data/inputs/checked" in entry("prune")["deps"]


def test_every_knob_has_its_reason():
    for line in (PROJECT / "params.yaml").read_text().splitlines():
        if line.startswith(" "):
            assert " # " in line, line
