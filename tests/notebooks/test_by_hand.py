"""Each notebook as a reader runs it: in JupyterLab, from top to bottom, with its defaults, in its own folder.

Each begins with a cell that goes to the project's folder. It cannot be a helper's: before it, nothing of the project
can be imported in JupyterLab, VS Code or on Kaggle.
"""

import json
import os
import shutil
from pathlib import Path

import nbclient
import nbformat
import pytest

from stages.engine import params
from stages.graphs.collection import SPLITS, folder, slug
from stages.runner.notebook import names
from stages.runner.parameters import read_defaults
from tests.support import pipeline
from tests.support.pipeline import CHOSEN, PROJECT, TABLES, TINY

NAMES = names(PROJECT)
#: need what is not on every machine: real files; Optuna, and a search of minutes
ELSEWHERE = {"tpu", "tune_gbdt"}


@pytest.fixture(scope="module")
def project(reproduced, tmp_path_factory):
    """A copy of a project whose pipeline has run, as after `make repro`."""
    made, _ = reproduced
    copied = tmp_path_factory.mktemp("by-hand") / "project"
    shutil.copytree(made, copied, ignore=shutil.ignore_patterns(".dvc", "__pycache__", "notebooks"))
    shutil.copytree(PROJECT / "notebooks", copied / "notebooks", ignore=shutil.ignore_patterns(".*"))
    pipeline.add_page_collect(copied)
    for name in TABLES:
        shutil.copy(PROJECT / "reports" / name, copied / "reports")
    (copied / "data" / "sample" / "dropped.csv").write_text("collection,id,reason\ntile:xla,lost,noisy: 0.3\n")
    return copied


def by_hand(project, name, **given):
    """Run a notebook's cells in a kernel that starts where JupyterLab starts one; return what it displays."""
    notebook = nbformat.read(project / "notebooks" / f"{name}.ipynb", as_version=4)
    (cell,) = (cell for cell in notebook.cells if "parameters" in cell.metadata.get("tags", []))
    known = read_defaults(notebook, name)
    given = {"collections": list(CHOSEN)} | ({} if "knobs" in known else TINY) | given  # params.yaml has TINY's knobs
    small = {key: value for key, value in given.items() if key in known}
    cell.source += "".join(f"\n{key} = {value!r}" for key, value in small.items())
    nbclient.NotebookClient(
        notebook, timeout=600, kernel_name="python3", resources={"metadata": {"path": str(project / "notebooks")}}
    ).execute()
    return [output for cell in notebook.cells if cell.cell_type == "code" for output in cell.outputs]


@pytest.fixture(autouse=True)
def reader(monkeypatch):
    """No help from the environment: the notebook itself has to find the project."""
    monkeypatch.delenv("PYTHONPATH", raising=False)


@pytest.mark.parametrize("name", [name for name in NAMES if name not in ELSEWHERE])
def test_it_runs_from_top_to_bottom_in_its_own_folder(project, name):
    before = set(project.iterdir()) | set((project / "notebooks").iterdir())
    shown = by_hand(project, name)
    assert any("text/html" in output.get("data", {}) for output in shown)
    assert set(project.iterdir()) | set((project / "notebooks").iterdir()) == before  # nothing beside data/, reports/


def test_the_data_may_lie_elsewhere_and_be_read_only_as_on_kaggle(project, tmp_path):
    collection = CHOSEN[1]
    root = tmp_path / "input" / "npz_all"
    for split in SPLITS:
        source = folder(project / "data" / "sample" / "npz_all", collection, split)
        shutil.copytree(source, folder(root, collection, split))
    for path in [root, *root.rglob("*")]:
        path.chmod(0o555 if path.is_dir() else 0o444)
    try:
        for name in ("prune", "configuration"):
            assert by_hand(project, name, collection=collection, root=str(root))
    finally:
        for path in [root, *root.rglob("*")]:
            path.chmod(0o755)


@pytest.mark.parametrize("name", ["gbdt", "gnn"])
def test_knobs_that_are_given_win_over_params_yaml(project, name):
    """As papermill's `-y '{knobs: {seeds: 1}}'` gives them; the others are those of params.yaml."""
    by_hand(project, name, knobs={"seeds": 1})
    written = json.loads((project / "data" / name / slug(CHOSEN[1]) / "parameters.json").read_text())
    section = params.section(project / "params.yaml", name, CHOSEN[1], {"seeds": 1})
    assert written == section | {"collection": CHOSEN[1]}


@pytest.mark.parametrize("name", NAMES)
def test_its_first_cell_of_code_goes_to_the_projects_folder(name):
    notebook = nbformat.read(PROJECT / "notebooks" / f"{name}.ipynb", as_version=4)
    first = [cell for cell in notebook.cells if cell.cell_type == "code"][1].source
    start = Path.cwd()
    try:
        for place in (PROJECT / "notebooks", PROJECT):
            os.chdir(place)
            exec(first, {})
            assert Path.cwd() == PROJECT.resolve()
    finally:
        os.chdir(start)
