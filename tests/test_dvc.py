"""dvc.yaml against the code: a module that a stage imports and dvc.yaml forgets would leave stale results standing."""

import ast
from pathlib import Path

import nbformat
import pytest
import yaml

from stages import params, run
from stages.collection import COLLECTIONS, from_slug, is_tile, slug

PROJECT = Path(__file__).parent.parent
STAGES = yaml.safe_load((PROJECT / "dvc.yaml").read_text())["stages"]


def modules(source):
    """Yield the files below stages/ that a source text imports, each package's __init__ with its modules."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            dotted = [name.name for name in node.names]
        elif isinstance(node, ast.ImportFrom):
            dotted = [node.module, *(f"{node.module}.{name.name}" for name in node.names)]
        else:
            continue
        for name in dotted:
            parts = name.split(".")
            for length in range(2, len(parts) + 1) if parts[0] == "stages" else ():
                path = PROJECT.joinpath(*parts[:length])
                yield from (file for file in (path.with_suffix(".py"), path / "__init__.py") if file.is_file())


def closure(source):
    """Return the files below stages/ that a source text needs, as paths relative to the project."""
    found, waiting = set(), set(modules(source))
    while waiting:
        file = waiting.pop()
        found.add(file)
        waiting |= set(modules(file.read_text())) - found
    return {file.relative_to(PROJECT).as_posix() for file in found}


def read(stage):
    return nbformat.read(PROJECT / "notebooks" / f"{stage}.ipynb", as_version=4)


def code(stage):
    return "\n".join(cell.source.replace("%", "#") for cell in read(stage).cells if cell.cell_type == "code")


def entry(stage):
    return STAGES[stage].get("do", STAGES[stage])


@pytest.mark.parametrize("stage", STAGES)
def test_dependencies_are_what_is_imported(stage):
    listed = [dependency for dependency in entry(stage)["deps"] if dependency.startswith("stages/")]
    assert sorted(listed) == sorted(closure(code(stage)))
    assert f"notebooks/{stage}.ipynb" in entry(stage)["deps"]


@pytest.mark.parametrize("stage", STAGES)
def test_no_stage_imports_another(stage):
    others = set(STAGES) - {stage}
    imported = {Path(file).with_suffix("").parts[1] for file in closure(code(stage))}
    assert not imported & others


@pytest.mark.parametrize("stage", STAGES)
def test_the_command_and_the_section_are_the_stages_own(stage):
    assert entry(stage)["cmd"].split()[:3] == ["sh", "stages/start.sh", stage]
    assert stage in entry(stage)["params"]
    root = {"data"} & set(entry(stage)["params"])
    assert bool(root) == ("root" in run._defaults(read(stage), stage))


@pytest.mark.parametrize("stage", STAGES)
def test_params_hold_every_knob_and_fit_the_notebook(stage):
    notebook = read(stage)
    for collection in map(from_slug, STAGES[stage]["foreach"]) if "foreach" in STAGES[stage] else [None]:
        given = {"collection": collection} if collection else {}
        values = run.parameters(notebook, stage, given, PROJECT)
        section = params.section(PROJECT / "params.yaml", stage, collection)
        # What the pipeline's shape decides is no knob.
        assert set(values) - set(section) <= {"collection", "collections", "root", "skip_bad", "data", "reports"}


def test_every_collection_goes_through_every_stage():
    for stage, content in STAGES.items():
        if "foreach" in content:
            expected = [name for name in COLLECTIONS if stage != "configuration" or not is_tile(name)]
            assert sorted(content["foreach"]) == sorted(map(slug, expected))
        else:
            members = {dependency for dependency in content["deps"] if dependency.startswith("data/gnn/")}
            assert members == {f"data/gnn/{slug(collection)}" for collection in COLLECTIONS}


def test_every_knob_has_its_reason():
    for line in (PROJECT / "params.yaml").read_text().splitlines():
        if line.startswith(" "):
            assert " # " in line, line
