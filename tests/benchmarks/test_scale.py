"""The benchmark of the whole pipeline: what it copies, what it measures of a process tree, what it makes of that."""

import json
import sys
from pathlib import Path

import pytest
import yaml

from benchmarks import measure, scale, synthesize
from stages.engine.errors import InputError
from stages.graphs.collection import COLLECTIONS, SPLITS, is_tile
from stages.scoring import submission

PROJECT = Path(__file__).parents[2]
ROOT = Path("/of/the/stand-in/npz_all")
#: two test graphs, of a kernel and of a program, and what is to be trained on
SIZES = [
    synthesize.Size(collection, split, f"{split}_0000", 120, 2 if is_tile(collection) else 12, count, number)
    for number, collection in enumerate(COLLECTIONS)
    for split, count in zip(SPLITS, (60, 40, 3), strict=True)
]
#: speaks as `dvc repro` does, holds a hundred megabytes in a child during the second stage, and writes a submission
DVC = """
import subprocess, sys, time
from pathlib import Path
hold = "held = bytearray(b'x') * 100_000_000; import time; time.sleep(1.5)"
for name in {names}:
    print(f"Running stage '{{name}}':\\n> python -m stages.run", flush=True)
    if name == "gnn@layout-xla-random":
        subprocess.run([sys.executable, "-c", hold], check=True)
    time.sleep(0.5)
    print("Updating lock file 'dvc.lock'", flush=True)
for name, content in {files}.items():
    Path(name).parent.mkdir(parents=True, exist_ok=True)
    Path(name).write_text(content)
sys.exit({status})
"""


def dvc(names, files=(), status=0):
    return [sys.executable, "-c", DVC.format(names=list(names), files=dict(files), status=status)]


def submitted(rows):
    lines = [f"{name},{';'.join(map(str, range(count)))}" for name, count in rows.items()]
    return {"data/leaderboard/submission.csv": "\n".join(["ID,TopConfigs", *lines]), "reports/a.html": "<html>"}


@pytest.fixture
def small(monkeypatch):
    """A stand-in of which nothing is published: fifteen small files, twice and a half as many at full scale."""
    more = [
        synthesize.Size(
            size.collection, size.split, f"{size.split}_{place:04d}", *[120, 12, 2 * size.configurations, 0]
        )
        for size in SIZES
        for place in (1, 2)
    ]
    monkeypatch.setattr(synthesize, "sizes", lambda share=1.0, seed=0: SIZES + (more if share == 1 else []))


def test_the_copy_is_the_project_with_another_root_and_the_parameters_named(tmp_path):
    digest = scale.copy(PROJECT, tmp_path, ROOT, scale.PARAMETERS)
    found, given = (yaml.safe_load((folder / "params.yaml").read_text()) for folder in (tmp_path, PROJECT))
    assert found["data"].pop("root") == str(ROOT) and given["data"].pop("root")
    for stage, changes in scale.PARAMETERS.items():
        assert changes.keys() <= given[stage].keys(), "a parameter that no stage has"
        given[stage] |= changes
    assert found == given
    for name in ("dvc.yaml", "stages/prune/stage.py", "notebooks/gnn.ipynb", "data/sample/solution.csv"):
        assert (tmp_path / name).read_bytes() == (PROJECT / name).read_bytes()
    for name in ("dvc.lock", "data/sample-cpu", "data/sample/npz_all", "reports", "tests"):
        assert not (tmp_path / name).exists()
    assert scale.copy(PROJECT, tmp_path, ROOT, scale.PARAMETERS) == digest
    assert scale.copy(PROJECT, tmp_path, ROOT, {}) != digest


@pytest.mark.skipif(not measure.resident_bytes(), reason="this system does not tell a process's memory")
def test_a_row_for_each_stage_with_its_time_and_the_memory_of_all_its_processes(tmp_path):
    rows = list(scale.watched(dvc(["prune@tile-xla", "gnn@layout-xla-random", "blend"]), tmp_path))
    assert [(row["stage"], row["collection"]) for row in rows] == [
        ("prune", "tile-xla"),
        ("gnn", "layout-xla-random"),
        ("blend", ""),
    ]
    first, large, last = (row["anonymous_bytes"] for row in rows)
    assert large > max(first, last) + 80_000_000, "the child's memory, of its stage alone"
    assert all(row["peak_bytes"] >= row["anonymous_bytes"] > 0 for row in rows)
    assert 0.4 < rows[0]["seconds"] < rows[1]["seconds"]


def test_a_pipeline_that_fails_says_so_after_the_rows_that_are_done(tmp_path):
    rows = scale.watched(dvc(["pad@tile-xla"], status=3), tmp_path)
    assert next(rows)["stage"] == "pad"
    with pytest.raises(RuntimeError, match="status 3"):
        next(rows)


def test_the_full_size_is_the_share_times_what_a_stage_grows_with(small):
    rows = [{"stage": name, "collection": "layout-xla-random", "seconds": 2.0} for name in ("prune", "gnn", "gbdt")]
    found = scale.extrapolated([*rows, {"stage": "blend", "collection": "", "seconds": 3.0}], 0.1)
    # Of the collection 103 configurations, and at full size 4 x 103 more; of valid and test 43 in each.
    times = {row["stage"]: row["times"] for row in found}
    assert times == {"prune": 5, "gnn": 3, "gbdt": 5, "blend": 5}
    assert [row["seconds"] for row in found] == [10, 6, 10, 15]


def test_every_stage_of_the_pipeline_has_what_it_grows_with():
    stages = yaml.safe_load((PROJECT / "dvc.yaml").read_text())["stages"]
    assert scale.GROWS.keys() == {"synthesize", *stages}


def test_the_run_goes_on_where_it_was_and_ends_with_a_checked_submission(small, tmp_path, capsys):
    out, folder = tmp_path / "results.json", tmp_path / "kept"
    expected = {f"{size.collection}:{size.id}": 3 for size in SIZES if size.split == "test"}
    with pytest.raises(RuntimeError):
        scale.measured(folder, 0.1, out, dvc(["prune@tile-xla"], status=1))
    assert len(list((folder / "npz_all").rglob("*.npz"))) == 15
    kept = measure.read("scale", out)
    assert [row["stage"] for row in kept["rows"]] == ["synthesize", "prune"] and "full" not in kept
    results = scale.measured(folder, 0.1, out, dvc(["pad@tile-xla", "blend"], submitted(expected)))
    assert [row["stage"] for row in results["rows"]] == ["synthesize", "prune", "pad", "blend"]
    assert results["rows"][:2] == kept["rows"] and results["seconds"] > kept["seconds"] > 0.4
    assert results["submission_rows"] == 5 and results["parameters"] == scale.PARAMETERS
    assert results["full_seconds"] == pytest.approx(sum(row["seconds"] for row in results["full"][1:]))
    assert results["disk_bytes"]["npz_all"] > 10_000 and results["largest_page_bytes"] == 6
    assert json.loads(out.read_text())["scale"] == {"machine": measure.machine()} | json.loads(json.dumps(results))
    assert scale.table(results).height == 4


def test_a_submission_of_other_configurations_is_refused(small, tmp_path):
    expected = {f"{size.collection}:{size.id}": 3 for size in SIZES if size.split == "test"}
    for fault in ({"layout:nlp:random:test_0000": 2}, {"tile:xla:more": 3}):
        with pytest.raises(InputError):
            scale.measured(tmp_path, 0.1, tmp_path / "results.json", dvc(["blend"], submitted(expected | fault)))


def test_other_parameters_begin_anew(small, tmp_path, monkeypatch):
    expected = {f"{size.collection}:{size.id}": 3 for size in SIZES if size.split == "test"}
    out = tmp_path / "results.json"
    scale.measured(tmp_path, 0.1, out, dvc(["prune@tile-xla", "blend"], submitted(expected)))
    (tmp_path / "project" / "data" / "prune").mkdir(parents=True)
    monkeypatch.setattr(scale, "PARAMETERS", {"gnn": {"epochs": 1}})
    results = scale.measured(tmp_path, 0.1, out, dvc(["blend"], submitted(expected)))
    assert [row["stage"] for row in results["rows"]] == ["synthesize", "blend"]
    assert not (tmp_path / "project" / "data" / "prune").exists()
    assert submission.read(tmp_path / "project" / "data" / "leaderboard" / "submission.csv")
