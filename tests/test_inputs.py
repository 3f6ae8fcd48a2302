"""What parameters name counts by its content: by DVC on the first stage as it is, and on what depends on it."""

import json
import os
import re
import shutil
import subprocess
import sys

import nbformat
import pytest
import yaml

from stages import inputs, repro
from stages.engine.errors import InputError
from stages.graphs.collection import COLLECTIONS
from stages.runner import parameters
from tests.support import pipeline, samples

STAGES = yaml.safe_load((pipeline.PROJECT / "dvc.yaml").read_text())["stages"]
LAYOUT = "layout:xla:random"


def shown(stage):
    """A stage that depends on the same parameters and the same links, and only shows what these lead to."""
    links = f"data/inputs/{stage}"
    assert links in STAGES[stage]["deps"]
    listed = f"mkdir -p data/{stage} && cat {links}/* > data/{stage}/shown"
    return {"cmd": listed, "params": STAGES[stage]["params"], "deps": [links], "outs": [f"data/{stage}"]}


@pytest.fixture(scope="module")
def template(tmp_path_factory):
    """A project of one collection, whose stages after the first do nothing."""
    folder = tmp_path_factory.mktemp("template")
    for stage in ("stages", "notebooks"):
        (folder / stage).symlink_to(pipeline.PROJECT / stage)
    samples.write_root(folder / "data" / "sample", {"train": 1, "valid": 1, "test": 1})
    stages = {"inputs": STAGES["inputs"], **{stage: shown(stage) for stage in inputs.NAMED}}
    stages["inputs"] = {key: value for key, value in stages["inputs"].items() if key != "deps"}
    (folder / "dvc.yaml").write_text(yaml.safe_dump({"stages": stages}, sort_keys=False))
    (folder / "params.yaml").write_text((pipeline.PROJECT / "params.yaml").read_text())
    pipeline.change(folder, "data", collections=pipeline.chosen([LAYOUT]))
    pipeline.dvc(folder, "init", "--no-scm", "--quiet")
    return folder


@pytest.fixture
def project(template, tmp_path):
    """A copy of the template."""
    return shutil.copytree(template, tmp_path, symlinks=True, dirs_exist_ok=True)


def ran(folder):
    """The stages that `dvc repro` runs; a second time it must have none to run."""
    console = pipeline.dvc(folder, "repro")
    again = pipeline.dvc(folder, "repro")
    assert "Running stage" not in again and "Data and pipelines are up to date." in again
    return re.findall(r"Running stage '(\S+)'", console)


def test_a_file_that_a_parameter_names_counts_by_its_content(project, tmp_path_factory):
    outside = tmp_path_factory.mktemp("outside") / "solution.csv"
    outside.write_text("ID,Runtimes\na,1;2\n")
    assert ran(project) == ["inputs", "blend", "leaderboard"]
    assert "layout:xla:random:test_0" in (project / "data/leaderboard/shown").read_text()
    pipeline.change(project, "leaderboard", solution=str(outside))
    assert ran(project) == ["inputs", "leaderboard"]
    assert "a,1;2" in (project / "data/leaderboard/shown").read_text()
    outside.write_text("ID,Runtimes\na,2;1\n")  # as many bytes
    assert ran(project) == ["inputs", "leaderboard"]
    assert "a,2;1" in (project / "data/leaderboard/shown").read_text()
    pipeline.change(project, "leaderboard", solution=None)
    assert ran(project) == ["inputs", "leaderboard"]
    assert "a,2;1" not in (project / "data/leaderboard/shown").read_text()
    assert outside.read_text() == "ID,Runtimes\na,2;1\n"  # a link goes, its file stays


def test_a_folder_that_a_parameter_names_counts_by_the_content_of_its_files(project):
    folder = project / "official"
    folder.mkdir()
    for name in ("xla_random", "nlp_random"):
        (folder / f"{name}.json").write_text('{"valid_0": [0, 1]}')
    pipeline.change(project, "blend", eval_indices="official")
    assert ran(project) == ["inputs", "blend", "leaderboard"]
    (folder / "nlp_random.json").write_text("{}")  # of a collection that is left out
    assert ran(project) == []
    (folder / "xla_random.json").write_text('{"valid_0": [0, 2]}')
    assert ran(project) == ["inputs", "blend"]
    assert "[0, 2]" in (project / "data/blend/shown").read_text()


def test_a_table_that_comes_to_lie_beside_the_root_is_seen(project):
    """DVC by itself cannot know of a file that was not there; what `make repro` calls first does."""
    (project / "data/sample/programs.csv").rename(project / "programs.csv")
    ran(project)
    shutil.copy(project / "programs.csv", project / "data/sample")
    inputs.write(project)
    assert ran(project) == ["inputs", "leaderboard"]
    assert "repeatability" in (project / "data/leaderboard/shown").read_text()
    (project / "data/sample/programs.csv").unlink()
    inputs.write(project)
    assert ran(project) == ["inputs"]  # the result without it is in DVC's cache
    assert "repeatability" not in (project / "data/leaderboard/shown").read_text()


def test_tables_follow_the_root_unless_they_are_named(project):
    samples.write_root(project / "data" / "second", {"train": 1, "valid": 1, "test": 1})
    pipeline.change(project, "data", root=str(project / "data/second/npz_all"))
    pipeline.change(project, "leaderboard", programs="data/sample/programs.csv")
    inputs.write(project)
    place = project / "data/inputs/leaderboard"
    assert (place / "solution.csv").resolve() == (project / "data/second/solution.csv").resolve()
    assert (place / "programs.csv").readlink().as_posix() == "../../sample/programs.csv"
    notebook = nbformat.read(project / "notebooks" / "leaderboard.ipynb", as_version=4)
    values = parameters.of(notebook, "leaderboard", {}, project)
    assert values["solution"] == str(project / "data/second/solution.csv")
    assert values["programs"] == "data/sample/programs.csv" and values["collections"] == [LAYOUT]
    assert parameters.of(notebook, "leaderboard", {"solution": None}, project)["solution"] is None


def test_the_default_of_the_tables_is_the_sample_s():
    notebook = nbformat.read(pipeline.PROJECT / "notebooks" / "leaderboard.ipynb", as_version=4)
    values = parameters.of(notebook, "leaderboard", {}, pipeline.PROJECT)
    by_hand = {name: default.value for name, default in parameters.read_defaults(notebook, "leaderboard").items()}
    assert values == by_hand and values["collections"] == list(COLLECTIONS)


def test_what_is_so_already_is_not_touched(project):
    inputs.write(project)
    before = {path: path.lstat().st_mtime_ns for path in (project / "data/inputs").rglob("*")}
    assert len(before) == 7
    inputs.write(project)
    assert {path: path.lstat().st_mtime_ns for path in (project / "data/inputs").rglob("*")} == before


def test_a_project_that_is_moved_keeps_its_links(project, tmp_path_factory):
    inputs.write(project)
    assert json.loads((project / "data/inputs/blend/named.json").read_text()) == {"eval_indices": None}
    moved = tmp_path_factory.mktemp("moved") / "project"
    shutil.move(project / "data", moved / "data")
    assert (moved / "data/inputs/leaderboard/solution.csv").read_text().startswith("ID,Runtimes")


@pytest.mark.parametrize(
    ("section", "values", "line"),
    [
        ("leaderboard", {"solution": "lost.csv"}, "params.yaml, leaderboard.solution: lost.csv is no file here"),
        ("leaderboard", {"programs": "data"}, "params.yaml, leaderboard.programs: data is no file here"),
        ("leaderboard", {"sample_submission": 3}, "params.yaml, leaderboard.sample_submission: is 3; name a file"),
        ("blend", {"eval_indices": "lost"}, "params.yaml, blend.eval_indices: lost/xla_random.json is no file here"),
        ("data", {"root": "data/sample"}, "data.root: data/sample holds no npz/, but data/sample/npz_all does"),
        ("data", {"root": None}, "params.yaml, data.root: is None; name the folder that holds npz/"),
        ("data", {"collections": ["tile-xla"]}, "params.yaml, data.collections: ['tile-xla'] is not some of the lines"),
        ("data", {"collections": {}}, "params.yaml, data.collections: {} is not some of the lines tile-xla: tile/xla,"),
        ("data", {"collections": {"tile-xla": "layout/xla/random"}}, "params.yaml, data.collections: {'tile-xla':"),
    ],
)
def test_faults_are_one_line_before_anything_is_written(project, capsys, section, values, line):
    pipeline.change(project, section, **values)
    assert inputs.main(project) == 1
    shown = capsys.readouterr().err
    assert shown.startswith(line) and shown.count("\n") == 1
    assert not (project / "data" / "inputs").exists()
    assert repro.main([], project) == 1
    assert capsys.readouterr().err == shown


def test_a_parameter_that_is_not_there_is_asked_for(project):
    values = yaml.safe_load((project / "params.yaml").read_text())
    del values["leaderboard"]["sample_submission"]
    (project / "params.yaml").write_text(yaml.safe_dump(values))
    with pytest.raises(InputError, match="leaderboard.sample_submission: is not there; write sample_submission: null"):
        inputs.write(project)


def test_outputs_of_collections_that_are_left_out_go(project):
    for stage in inputs.PER_COLLECTION:
        for name in ("tile-xla", "layout-xla-random", "other"):
            (project / "data" / stage / name).mkdir(parents=True)
    assert inputs.main(project) == 0
    for stage in inputs.PER_COLLECTION:
        assert sorted(os.listdir(project / "data" / stage)) == ["layout-xla-random", "other"]


@pytest.mark.parametrize(
    "command", [["stages.repro"], ["stages.run", "prune", "collection=tile-xla"], ["dvc", "repro"]]
)
def test_a_root_that_lacks_collections_is_told_before_anything_runs(tmp_path, command):
    """With the pipeline as it is, whatever starts it."""
    project = pipeline.copy(tmp_path, COLLECTIONS)
    shutil.rmtree(project / "data/sample/npz_all/npz/tile")
    path = os.pathsep.join([os.path.dirname(sys.executable), os.environ["PATH"]])
    done = subprocess.run(
        [sys.executable, "-m", *command],
        cwd=project,
        env={**os.environ, "PATH": path, "DVC_NO_ANALYTICS": "1"},
        capture_output=True,
        text=True,
    )
    assert done.returncode != 0
    ours = [line for line in done.stderr.splitlines() if not line.startswith("ERROR: failed to reproduce 'inputs'")]
    (line,) = [line for line in ours if line.strip()]
    assert line.startswith("data.root: data/sample/npz_all has no tile-xla; it has layout-xla-random, ")
    assert re.findall(r"Running stage '(\S+)'", done.stdout) in ([], ["inputs"])
    assert not (project / "data" / "prune").exists() and not (project / "reports").exists()
