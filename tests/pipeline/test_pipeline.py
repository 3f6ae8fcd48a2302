"""The pipeline by `dvc repro` on a tiny made-up data set: outputs, no-op, what a change runs anew."""

import html
import json
import re
import shutil
import subprocess
import sys

import nbformat
import polars as pl
import pytest
import yaml

from stages.graphs.collection import slug
from stages.runner import notebook
from tests.support import samples
from tests.support.pipeline import CHOSEN, PROJECT, again, change, check_page, chosen, dvc


def outputs():
    """Return every output of dvc.yaml, the collections filled in."""
    found = []
    for content in yaml.safe_load((PROJECT / "dvc.yaml").read_text())["stages"].values():
        entry = content.get("do", content)
        listed = [*entry["outs"], *entry.get("metrics", [])]
        paths = [item if isinstance(item, str) else next(iter(item)) for item in listed]
        for name in map(slug, CHOSEN) if "foreach" in content else [""]:
            found += [re.sub(r"\$\{\w+\}", name, path) for path in paths]
    return found


def test_every_output_is_there(reproduced):
    folder, _ = reproduced
    missing = [path for path in outputs() if not (folder / path).exists()]
    assert missing == [] and len(outputs()) == 3 + (4 * 2 + 1) * len(CHOSEN) + 2 + 3
    assert not list(folder.rglob("*.failed.ipynb")) and not list(folder.rglob("*.partial"))


def test_submission_and_metrics_cover_all(reproduced):
    folder, _ = reproduced
    submission = pl.read_csv(folder / "data" / "leaderboard" / "submission.csv")
    truth = pl.read_csv(folder / "data" / "sample" / "solution.csv")
    assert submission.columns == ["ID", "TopConfigs"]
    assert sorted(submission["ID"]) == sorted(name for name in truth["ID"] if name.startswith(CHOSEN))
    metrics = json.loads((folder / "reports" / "metrics.json").read_text())
    assert set(metrics) == {"valid", "test"}
    for split in metrics.values():
        assert set(split) == {*CHOSEN, "mean"}
        assert {"blend", "gnn", "gbdt"} <= set(split["mean"])


def test_the_console_shows_no_framework(reproduced):
    _, shown = reproduced
    for noise in ("Warning", "warning", "Input Notebook", "TCP", "Executing", "Traceback"):
        assert noise not in shown


def test_progress_is_on_the_console_and_not_in_the_page(reproduced):
    """When a line comes is the clock's choice, and the page has the same bytes every time."""
    folder, shown = reproduced
    for collection in CHOSEN:
        lines = {f"{collection} seed {seed} epoch {epoch}/2 " for seed in (0, 1) for epoch in (1, 2)}
        assert [line for line in lines if line not in shown] == []
        page = (folder / "reports" / f"gnn-{slug(collection)}.html").read_text()
        assert "epoch 1/2" not in page and "epoch 2/2" not in page


def test_reports_load_nothing_and_hold_no_addresses(reproduced):
    folder, _ = reproduced
    for page in (folder / "reports").glob("*.html"):
        check_page(page, folder)


@pytest.fixture(scope="module")
def project(reproduced, tmp_path_factory):
    """A copy of the run, with DVC's cache, to work in."""
    return again(reproduced, tmp_path_factory.mktemp("pipeline") / "project")


def test_second_run_is_a_no_op(project):
    folder = project
    before = (folder / "dvc.lock").read_bytes()
    shown = dvc(folder, "repro")
    assert "Running stage" not in shown and "Data and pipelines are up to date." in shown
    assert (folder / "dvc.lock").read_bytes() == before


def test_a_changed_knob_reruns_nothing_before_its_stage(project):
    folder = project
    file = folder / "params.yaml"
    text = file.read_text()
    try:
        file.write_text(text.replace("rule: borda", "rule: rank"))
        shown = dvc(folder, "repro", "--dry")
    finally:
        file.write_text(text)
    assert re.findall(r"Running stage '(\S+)'", shown) == ["blend"]


def test_bad_input_stops_in_one_line_with_nothing_half_written(tmp_path):
    """A truncated file ends the first stage; the line names it."""
    shutil.copytree(PROJECT / "stages", tmp_path / "stages", ignore=shutil.ignore_patterns("collect"))
    (tmp_path / "notebooks").mkdir()
    shutil.copy(PROJECT / "notebooks" / "prune.ipynb", tmp_path / "notebooks")
    root = samples.write_root(tmp_path / "data" / "sample")
    broken = root / "npz" / "tile" / "xla" / "train" / "train_0.npz"
    broken.write_bytes(broken.read_bytes()[:500])
    (tmp_path / "params.yaml").write_text("data:\n  root: data/sample/npz_all\n")
    command = [sys.executable, "-m", "stages.run", "prune", "collection=tile:xla"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 1
    last = done.stderr.splitlines()[-1]
    assert last.startswith("notebooks/prune.ipynb, cell [") and "train_0.npz" in last
    assert not (tmp_path / "data" / "prune" / "tile-xla" / "manifest.json").exists()
    assert nbformat.read(tmp_path / "reports" / "prune-tile-xla.failed.ipynb", as_version=4)
    assert "prune" in notebook.names(tmp_path)


def test_a_root_of_one_collection_runs_to_the_submission(reproduced, tmp_path):
    """What there is is shown; what the submission lacks is one line, on the console and on the page.

    Its networks and trees are those of the run of two collections: they come from DVC's cache.
    """
    folder = again(reproduced, tmp_path / "project")
    change(folder, "data", collections=chosen(["tile:xla"]))
    shutil.rmtree(folder / "data" / "sample" / "npz_all" / "npz" / "layout")
    console = dvc(folder, "repro")
    (line,) = [line for line in console.splitlines() if line.startswith("The submission lacks")]
    left_out = "layout:xla:random, layout:xla:default, layout:nlp:random, layout:nlp:default"
    assert line == f"The submission lacks {left_out}; the competition's has all five collections."
    assert line in html.unescape((folder / "reports" / "leaderboard.html").read_text())
    ids = pl.read_csv(folder / "data" / "leaderboard" / "submission.csv")["ID"].to_list()
    assert ids == ["tile:xla:test_0", "tile:xla:test_1"]
    scored = json.loads((folder / "reports" / "metrics.json").read_text())["test"]
    assert set(scored) == {"tile:xla", "mean"} and scored["mean"]["blend"] == scored["tile:xla"]["blend"]
    second = dvc(folder, "repro")
    assert "Running stage" not in second and "Data and pipelines are up to date." in second


def test_dvc_plots_has_the_curves_of_every_seed(project, tmp_path):
    """The template is the project's own, and the files that dvc.yaml names are what gnn writes."""
    shutil.copytree(PROJECT / ".dvc" / "plots", project / ".dvc" / "plots")
    dvc(project, "plots", "show", "--out", str(tmp_path / "plots"))
    page = (tmp_path / "plots" / "index.html").read_text()
    for collection in CHOSEN:
        assert f"{slug(collection)}/curves.csv" in page  # DVC leaves out what the names have in common
    assert re.search(r'"seed": "?1"?', page) and "DVC_METRIC" not in page
