"""What breaks, on the tiny pipeline: what is quick of benchmarks/faults."""

import json
import os
import shutil
import signal
import time

import pytest

from benchmarks.faults import changes, disturbances, runs, table
from benchmarks.faults.__main__ import missing
from benchmarks.faults.judging import good, judged
from benchmarks.faults.plan import FUNCTIONS, planned
from benchmarks.namespaces import Cluster, Missing
from tests.support import pipeline

GBDT = "gbdt@layout-xla-random"
PAD = "pad@layout-xla-random"  # the quickest, for what all stages share


@pytest.fixture(scope="module")
def project(reproduced, tmp_path_factory):
    """A copy of the finished pipeline, its last page without pictures, and what the run made."""
    folder = shutil.copytree(reproduced[0], tmp_path_factory.mktemp("faults") / "source")
    pipeline.leave_out_pictures(folder, "leaderboard")
    pipeline.dvc(folder, "repro")
    return folder, runs.state(folder)


@pytest.fixture
def folder(tmp_path):
    """Where a test works; no process is left there."""
    yield tmp_path / "copy"
    assert runs.left(tmp_path) == []


def where_possible(function, *arguments, **options):
    """Calls a fault's function; skips the test where the machine lacks what it takes."""
    try:
        return function(*arguments, **options)
    except Missing as reason:
        pytest.skip(str(reason))


def test_a_killed_kernel(project, folder):
    source, reference = project
    row = disturbances.at_work(folder, source, GBDT, reference, kill=True)
    assert good(row)
    assert row["message"] == (
        "notebooks/gbdt.ipynb: the kernel died, most often for want of memory; lower gbdt.configurations, now 4, or "
        "gbdt.pairs, now 150"
    )


def test_an_interrupt(project, folder):
    source, reference = project
    row = disturbances.at_work(folder, source, PAD, reference, kill=False)
    assert good(row) and row["message"] == "interrupted"


def test_a_killed_run(project, folder):
    source, reference = project
    runs.copy(source, folder, "prune@layout-xla-random")
    process, console = runs.start(folder)
    assert runs.kernel(folder, process)
    time.sleep(1)
    os.killpg(process.pid, signal.SIGKILL)
    row = judged(folder, runs.finish(process, console), reference)
    assert row["same"] and not row["orphans"] and not row["half_written"]


def test_a_folder_mounted_read_only(project, folder):
    source, reference = project
    row = where_possible(disturbances.unwritable, folder, source, PAD, "reports", reference)
    assert good(row)
    assert row["message"] == (
        "reports: cannot be written to (Read-only file system); give the right to, or make room, and run again"
    )


def test_a_full_disk(project, folder):
    source, reference = project
    row = where_possible(disturbances.full, folder, source, PAD, reference, room=0.4)
    assert good(row) and ("disk is full" in row["message"] or "No space left" in row["message"])


def test_half_a_lock_file(project, folder):
    """DVC's cache of runs brings everything back but what is not in its cache."""
    source, reference = project
    row = disturbances.torn(folder, source, "dvc.lock", "1", reference)
    assert row["same"]


@pytest.mark.parametrize(
    ("fault", "line"),
    [
        (changes.ROOTS[0], "data.root: data/sample holds no npz/, but data/sample/npz_all does"),
        (changes.ROOTS[2], "data.root: C:\\data\\npz_all"),
    ],
)
def test_a_wrong_root(project, folder, fault, line):
    source, reference = project
    row = changes.root(folder, source, fault, reference)
    assert good(row) and row["message"].startswith(line)


def test_a_changed_content(project, folder):
    source, reference = project
    row = changes.content(folder, source, "solution", reference)
    assert good(row) and not (folder / "solution.csv").exists()


def test_two_at_once(project, folder):
    source, reference = project
    runs.copy(source, folder)
    first, second = runs.start(folder), runs.start(folder)
    ended = sorted((runs.finish(*first), runs.finish(*second)), key=lambda end: end.status)
    assert [end.status for end in ended] == [0, 1]
    assert ended[1].message.startswith("the pipeline is at work in this folder already, in process ")
    assert runs.state(folder) == reference


def test_without_root_there_are_no_nodes(monkeypatch):
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    with pytest.raises(Missing, match="needs root, iproute2 and util-linux"):
        Cluster().__enter__()


def test_what_is_no_message():
    text = "Stage 'prune@a' didn't change, skipping\nRunning stage 'gnn@a':\n> python -m stages.run gnn\n"
    text += "prune a:   0%|   | 0/1 [00:00<?]\rprune a: 100%|###| 1/1 [00:01<00:00, 1s/it]\n"
    text += "layout:a seed 1 epoch 1/2 loss 1\nit is so\n"
    text += "ERROR: failed to reproduce 'gnn@a': failed to run: python -m stages.run gnn, exited with 1\n"
    assert runs.Ended(255, text).message == "it is so" and runs.Ended(255, text).clear
    ray = text.replace(
        "1/1 [00:01<00:00, 1s/it]\n",
        "0/1 [00:01<?]\x1b[33m(raylet)\x1b[0m The node with node id: 1f and address: a is lost.\n",
    )
    assert runs.Ended(0, ray).message == "(raylet) The node with node id: 1f and address: a is lost. / it is so"
    dead = text.replace("1s/it]\n", "1s/it]notebooks/prune.ipynb: the kernel died, 9% in\n")
    assert runs.Ended(1, dead).message == "notebooks/prune.ipynb: the kernel died, 9% in / it is so"
    assert not runs.Ended(0, text).clear and not runs.Ended(255, text + "Traceback (most\n").clear
    alone = runs.Ended(255, "ERROR: failed to reproduce 'a': failed to run: python, exited with -9\n")
    assert alone.message.startswith("ERROR: failed to reproduce")


def test_what_takes_too_long_is_ended_and_not_good(tmp_path):
    ended = runs.run(tmp_path, command=("sh", "-c", "echo begun; sleep 60"), limit=0.5)
    assert ended == runs.Ended(runs.HUNG, "begun\n") and not ended.clear


def test_a_copy_without_a_stage(project, folder):
    source, reference = project
    runs.copy(source, folder, GBDT)
    assert not (folder / "data" / "gbdt" / "layout-xla-random").exists()
    assert set(reference["stages"]) - set(runs.locked(folder)) == {GBDT}
    cache = folder / ".dvc" / "cache"
    digest = reference["stages"][GBDT]["outs"][0]["md5"]
    assert not (cache / "runs").exists() and not (cache / "files" / "md5" / digest[:2] / digest[2:]).exists()


def test_the_table_says_what_was_not_good():
    row = {"fault": "disk", "where": "gnn", "room": 0.7, "message": "full", "clear": True, "same": True, "status": 1}
    row |= {"orphans": [], "half_written": []}
    bad = row | {"same": False, "orphans": ["python"]}
    results = {"kills": [{"where": "gnn@a", "same": True}] * 2, "rows": {"01": row, "02": bad, "03": {**row}}}
    results["rows"]["03"] = {"fault": "memory", "where": "gnn", "left_out": "needs root"}
    results["rows"]["04"] = {**row, "fault": "ray", "status": 0, "message": ""}
    results["rows"]["05"] = {**row, "fault": "ray", "status": 0, "message": "lost | " * 50}
    shown = r"lost \| " * 39 + "lost …"
    assert table.table(json.loads(json.dumps(results))).splitlines()[2:] == [
        "| kill -9 of `make repro` | 2 random moments, in gnn | – | 2 of 2 |",
        "| disk | gnn, room for 70% | full | yes |",
        "| disk | gnn, room for 70% | full | NO; orphans |",
        "| memory | gnn | left out: needs root | – |",
        "| ray | gnn, room for 70% | goes on to its end | yes |",
        f"| ray | gnn, room for 70% | goes on to its end; {shown} | yes |",
    ]
    assert good(row) and not good(bad)


def test_a_row_of_earlier_code_stays_marked_and_is_made_anew():
    first, second, *others = planned(0)
    row = {"fault": "interrupted", "where": "prune", "message": "interrupted", "clear": True, "same": True, "status": 1}
    row |= {"orphans": [], "half_written": []}
    rows = {first.name: row | {"identity": "now"}, second.name: row | {"identity": "before"}, "gone": row}
    kills = [{"where": "gnn@a", "same": True, "identity": name} for name in ("before", "before", "now")]
    results = json.loads(json.dumps({"identity": "now", "kills": kills, "rows": rows}))
    assert table.table(results, [first.name, second.name]).splitlines()[2:] == [
        "| kill -9 of `make repro` | 1 random moments, in gnn | – | 1 of 1 |",
        "| kill -9 of `make repro` | 2 random moments, in gnn | – | 2 of 2; made with earlier code |",
        "| interrupted | prune | interrupted | yes |",
        "| interrupted | prune | interrupted | yes; made with earlier code |",
        "| interrupted | prune | interrupted | yes; made with earlier code |",
    ]
    assert missing(planned(0), results) == [second, *others]
    assert missing(planned(0), results, [second.kind, "disk"])[0] == second
    assert {fault.kind for fault in missing(planned(0), results, ["disk", "ray"])} == {"disk", "ray"}


def test_every_fault_has_a_name_of_its_own_whatever_the_seed_of_others():
    names = [fault.name for fault in planned(0)]
    assert len(set(names)) == len(names) and {fault.kind for fault in planned(0)} == set(FUNCTIONS)
    assert [name for name in names if not name.startswith("torn")] == [
        fault.name for fault in planned(1) if fault.kind != "torn"
    ]
