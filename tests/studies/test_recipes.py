"""Recipes: all parse and fit the stages; one runs end to end beside a workspace that stays as it was."""

import csv
import io
import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from stages.engine import elapsed_times, params
from stages.engine.errors import InputError
from stages.gbdt.settings import Settings as TreeSettings
from stages.gnn.settings import Settings
from stages.graphs.collection import COLLECTIONS, slug
from stages.runner import notebook, parameters
from stages.scoring.metrics import kendall
from stages.scoring.score import read_solution
from stages.studies import recipe_table, recipes
from tests.support import pipeline

PROJECT = Path(__file__).parents[2]
ALL = (
    "eleventh-place, fifth-place, first-place, fourteenth-place, gst-paper, middle-fusion, node-pairs, "
    "official-baseline, ours, second-place, shortest-paths, sixth-place, third-place"
)
COLLECTION = pipeline.CHOSEN[1]
SLUG = slug(COLLECTION)


def test_these_are_there():
    assert ", ".join(recipes.names(PROJECT)) == ALL


@pytest.mark.parametrize("name", ALL.split(", "))
def test_a_recipe_fits_the_stages(name, tmp_path):
    """Every line takes the place of one in params.yaml, and every stage takes what is there then."""
    file = tmp_path / "params.yaml"
    file.write_text(recipes.parameters(name, PROJECT))
    given, default = params.read(PROJECT / "recipes" / f"{name}.yaml"), params.read(PROJECT / "params.yaml")
    assert params.read(file) == {stage: values | given.get(stage, {}) for stage, values in default.items()}
    assert (params.read(file) == default) == (name == "ours")
    for collection in COLLECTIONS:
        network, trees = (
            params.settings(kind, stage, collection, {}, file)
            for stage, kind in (("gnn", Settings), ("gbdt", TreeSettings))
        )
        assert network.seeds == trees.seeds == 3
    for folder in ("notebooks", "stages"):
        (tmp_path / folder).symlink_to(PROJECT / folder)
    for stage in ("prune", "pad", "gnn", "gbdt"):
        for collection in COLLECTIONS:
            parameters.of(notebook.read(PROJECT, stage), stage, {"collection": collection}, tmp_path)


@pytest.mark.parametrize("name", ALL.split(", "))
def test_every_line_says_whose_it_is(name):
    text = (PROJECT / "recipes" / f"{name}.yaml").read_text()
    assert [line for line in text.splitlines() if line.startswith(" ") and " # " not in line] == []
    assert text.startswith("# ")
    assert name == "ours" or "# Left out: " in text


#: a file of the original with its line, one of its scripts, or a part of a write-up
SOURCE = re.compile(r"\.(py|yaml|md|ipynb):\d+|\.sh\b|(train|configuration):\d+|discussion \d+|arXiv \d|\"[A-Z].*\"")


@pytest.mark.parametrize("name", ALL.split(", "))
def test_what_is_theirs_says_where(name):
    lines = (PROJECT / "recipes" / f"{name}.yaml").read_text().splitlines()
    claims = [line for line in lines if line.startswith(" ") and "theirs" in line]
    assert [line for line in claims if not SOURCE.search(line.split(" # ", 1)[1])] == []


def test_an_unknown_name_lists_them_all(capsys):
    assert recipes.main(["forth-place"], PROJECT) == 1
    assert capsys.readouterr().err == f"no recipe 'forth-place'; the recipes are {ALL}\n"


@pytest.mark.parametrize("arguments", [[], ["--help"]])
def test_no_name_lists_them_all(arguments, capsys):
    assert recipes.main(arguments, PROJECT) == (0 if arguments else 1)
    assert ALL in capsys.readouterr().out


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("gn:\n  width: 3\n", "x.yaml: no section 'gn'; params.yaml has gnn, blend"),
        ("gnn:\n  widht: 3\n", "x.yaml, gnn: unknown parameter 'widht'; params.yaml has width, epochs"),
        ("gnn: {width: 3}\n", "x.yaml: gnn.width does not begin a line; write a parameter a line"),
        ("gnn:\n  width: [\n", "x.yaml"),
    ],
)
def test_a_recipe_that_does_not_fit_is_refused_in_one_line(tmp_path, text, fault):
    (tmp_path / "params.yaml").write_text("gnn:\n  width: 1  # why\n  epochs: {a: 1}\nblend:\n")
    (tmp_path / "recipes").mkdir()
    (tmp_path / "recipes" / "x.yaml").write_text(text)
    with pytest.raises(InputError) as caught:
        recipes.parameters("x", tmp_path)
    assert fault in str(caught.value) and "\n" not in str(caught.value)


def test_lines_of_a_recipe_take_the_place_of_the_defaults(tmp_path):
    (tmp_path / "params.yaml").write_text(
        "# top\ngnn:\n  a: 1  # why\n  b:\n    x: 1\n    y: 2\n  c:\n  - 1\n\npad:\n  a: 2\n"
    )
    (tmp_path / "recipes").mkdir()
    (tmp_path / "recipes" / "x.yaml").write_text("gnn:\n  c: [5]  # theirs\n  b: 3\n")
    found = recipes.parameters("x", tmp_path)
    assert found == "# top\ngnn:\n  a: 1  # why\n  b: 3\n  c: [5]  # theirs\n\npad:\n  a: 2\n"


def test_a_folder_without_git_is_refused(tmp_path, capsys):
    shutil.copytree(PROJECT / "recipes", tmp_path / "recipes")
    shutil.copy(PROJECT / "params.yaml", tmp_path)
    assert recipes.main(["ours"], tmp_path) == 1
    assert (
        capsys.readouterr()
        .err.strip()
        .endswith("is no git clone with DVC, which keeps the experiments; clone the project")
    )


def test_files_that_git_does_not_know_stay_where_they_are(tmp_path):
    project, copy = tmp_path / "project", tmp_path / "copy"
    (copy / "known").mkdir(parents=True)
    project.mkdir()
    text = (
        "data:\n  root: own/npz_all  # why\nblend:\n  eval_indices: known  # why\nleaderboard:\n"
        "  solution: auto  # why\n  programs: own/programs.csv  # why\n  sample_submission: null  # why\n"
    )
    (project / "params.yaml").write_text(text)
    wanted = text.replace("own/npz_all  # why", f'"{project}/own/npz_all"')
    assert recipes._rooted(text, copy, project) == wanted.replace(
        "own/programs.csv  # why", f'"{project}/own/programs.csv"'
    )


def git(folder, *arguments):
    identity = ["-c", "user.name=a", "-c", "user.email=a@example.org"]
    return subprocess.run(["git", *identity, *arguments], cwd=folder, check=True, capture_output=True, text=True).stdout


def everything(folder):
    """Every file of the workspace, with its bytes; git's and DVC's own left out."""
    files = (path for path in folder.rglob("*") if path.is_file())
    names = {path.relative_to(folder): path for path in files}
    return {name: path.read_bytes() for name, path in names.items() if name.parts[0] not in (".git", ".dvc")}


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """The tiny pipeline of one collection, as a git clone with two recipes: what none of them changes is left out."""
    folder = pipeline.copy(tmp_path_factory.mktemp("project"), [COLLECTION])
    pipeline.leave_out_stage(folder, "configuration")
    pipeline.leave_out_pictures(folder, "prune", "pad", "gnn", "gbdt", "blend", "leaderboard")
    shutil.rmtree(folder / ".dvc")
    shutil.copy(PROJECT / ".gitignore", folder)
    (folder / "recipes").mkdir()
    (folder / "recipes" / "ours.yaml").write_text("gnn:\n  seeds: 2  # as in params.yaml\n")
    (folder / "recipes" / "trees.yaml").write_text("gbdt:\n  trees: 3  # fewer\nblend:\n  members: [gbdt]  # alone\n")
    git(folder, "init", "--quiet")
    pipeline.dvc(folder, "init", "--quiet")
    git(folder, "add", "--all")
    git(folder, "commit", "--quiet", "--message", "tiny")
    return folder


@pytest.fixture(scope="module")
def before(project):
    return everything(project)


@pytest.fixture(scope="module")
def ran(project, before):
    assert recipes.main(["trees", "ours"], project) == 0
    return project


def test_the_workspace_stays_as_it_was(ran, before):
    after = everything(ran)
    assert {name: content for name, content in after.items() if name in before} == before
    new = {name.as_posix() for name in after.keys() - before.keys()}
    assert {name for name in new if not name.startswith("data/seconds/")} == {"reports/recipes.csv"}
    assert git(ran, "status", "--porcelain").split() == ["??", "reports/"]
    assert not (ran / ".dvc" / "tmp" / "recipes" / "trees").exists()


def test_experiments_compare_the_recipes(ran):
    shown = list(csv.DictReader(io.StringIO(pipeline.dvc(ran, "exp", "show", "--csv").split("\n\n")[0])))
    by_name = {row["Experiment"]: row for row in shown if row["Experiment"]}
    assert set(by_name) == {"trees", "ours"}
    assert by_name["trees"]["gbdt.trees"] == "3" and by_name["ours"]["gbdt.trees"] == "4"
    score = f"test.{COLLECTION}.blend"
    assert float(by_name["trees"][score]) != 0 and score in by_name["ours"]


def test_the_table_has_every_seed(ran):
    table = recipe_table.read(ran)
    assert table["recipe"].unique(maintain_order=True).to_list() == ["ours", "trees"]
    rows = table.filter(pl.col("collection") == COLLECTION)
    assert rows["split"].to_list() == ["valid", "test"] * 2 and rows["seeds"].to_list() == [2] * 4
    assert table.filter(pl.col("collection") == "mean").drop("collection").equals(rows.drop("collection"))


def test_seconds_are_of_training_not_of_the_cache(ran):
    """The network of `ours` was trained by the run of `trees`, and came from the cache in its own."""
    table = recipe_table.read(ran).filter(pl.col("collection") == COLLECTION, pl.col("split") == "valid")
    spent = dict(table.select("recipe", "train_seconds").iter_rows())
    assert 0 < spent["trees"] < spent["ours"]


def test_the_default_comes_from_the_cache_afterwards(ran):
    """After a recipe `dvc repro` is the default again, and needs no training that the recipe's run had done."""
    shown = pipeline.dvc(ran, "repro", f"gnn@{SLUG}")
    assert f"Stage 'gnn@{SLUG}' is cached - skipping run" in shown
    assert elapsed_times.read(ran / "data", "gnn", COLLECTION) > 0


def test_scores_are_of_single_seeds(ran):
    """From the experiment's files, one seed at a time."""
    copy = ran.parent / "again"
    shutil.copytree(ran, copy, symlinks=True)
    pipeline.dvc(copy, "exp", "apply", "ours")
    pipeline.dvc(copy, "checkout")
    found = recipe_table.measured("ours", copy).filter(pl.col("collection") == COLLECTION, pl.col("split") == "test")
    blended = pl.read_parquet(copy / "data" / "blend" / "seeds.parquet").filter(pl.col("split") == "test")
    truth = read_solution(copy / "data" / "sample" / "solution.csv")
    by_seed = []
    for seed in (0, 1):
        graphs = blended.filter(pl.col("seed") == seed).sort("configuration").group_by("graph", maintain_order=True)
        by_seed.append(
            np.mean([kendall(part["score"].to_numpy(), truth[f"{COLLECTION}:{name}"]) for (name,), part in graphs])
        )
    assert found["mean"].item() == pytest.approx(np.mean(by_seed))
    assert found["sd"].item() == pytest.approx(np.std(by_seed, ddof=1))
