"""A Ray cluster of two nodes that the tests start, with the same results as this machine; and where there is none."""

import importlib.util
import os
import socket
import subprocess
import sys
import time
from functools import partial

import pytest
import yaml

from stages.collect import pool
from stages.engine import engine, ray_cluster
from stages.engine.engine import Engine
from stages.engine.errors import InputError
from tests.support import cluster, pipeline
from tests.support.cluster import RAY
from tests.support.tasks import Large, broken, inside, killed, marked, measured, refused, slow, square

LOWER = "gnn.configurations"


def stage_run(folder, **section):
    """`python -m stages.run pad` with an engine; its status, its standard error and how long it took."""
    for name in ("stages", "notebooks"):
        (folder / name).symlink_to(pipeline.PROJECT / name)
    given = yaml.safe_load((pipeline.PROJECT / "params.yaml").read_text())
    (folder / "params.yaml").write_text(yaml.safe_dump(given | {"engine": section}))
    begin = time.monotonic()
    command = [sys.executable, "-m", "stages.run", "pad"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    return done.returncode, done.stderr, time.monotonic() - begin


@RAY
def test_an_address_where_nothing_listens_is_told_in_a_line(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    status, shown, took = stage_run(tmp_path, kind="ray", address=f"127.0.0.1:{port}")
    assert status == 1 and shown.count("\n") == 1 and took < 10
    assert f"engine.address: nothing answers at 127.0.0.1:{port}" in shown and "ray start --head" in shown


@RAY
def test_where_a_cluster_was_and_is_no_more_a_line_says_so(monkeypatch):
    """Ray itself would wait for minutes."""
    utils, services = (importlib.import_module(f"ray._private.{name}") for name in ("utils", "services"))
    monkeypatch.setattr(services, "find_gcs_addresses", set)
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"127.0.0.1:{server.getsockname()[1]}"
    for found, line in ((address, f"nothing answers at {address}"), (None, "no cluster runs here; start one with")):
        monkeypatch.setattr(utils, "read_ray_address", lambda folder, found=found: found)
        with pytest.raises(InputError, match=line):
            list(Engine("ray").spread(square, [1], memory_knob=LOWER))


def test_without_ray_the_line_says_how_to_install_it(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(InputError, match=r"engine\.kind: is 'ray', which is not installed; run `make cluster`"):
        Engine("ray").check()
    Engine().check()


@pytest.fixture(scope="module")
def ray():
    with cluster.started(nodes=2) as place:
        yield place


def test_a_cluster_gives_the_same_results(ray):
    found = list(ray.ordered(square, range(9), memory_knob=LOWER))
    assert [result for result, _ in found] == [task * task for task in range(9)]
    assert os.getpid() not in {process for _, process in found}
    (result,) = ray.ordered(square, [3], memory_knob=LOWER, parallel=1)
    assert result == (9, os.getpid())  # too little to be sent anywhere


def test_a_clusters_tasks_run_in_the_project(ray, monkeypatch):
    assert list(ray.ordered(inside, [0], memory_knob=LOWER)) == [os.getcwd()]
    monkeypatch.setattr(os, "getcwd", lambda: "/nowhere")
    with pytest.raises(
        InputError, match=r"^/nowhere: cannot be entered on .*; the project needs to lie there, on a file"
    ):
        list(ray.ordered(inside, [0], memory_knob=LOWER))


def test_a_function_is_made_once_in_a_process_of_a_cluster(ray, tmp_path):
    """Models are part of it, and tasks are graphs: hundreds."""
    found = list(ray.ordered(Large(tmp_path).called, range(20), memory_knob=LOWER))
    assert [task for task, _ in found] == list(range(20))
    assert len(list(tmp_path.iterdir())) == len({process for _, process in found}) < 20
    (tmp_path / "other").mkdir()
    other = [task for task, _ in ray.ordered(Large(tmp_path / "other").called, "ab", memory_knob=LOWER)]
    assert other == ["a", "b"] and list((tmp_path / "other").iterdir())


def test_a_clusters_errors_are_the_functions_own(ray):
    with pytest.raises(InputError, match=r"^file \d: is empty; leave it out$"):
        list(ray.spread(refused, range(3), memory_knob=LOWER))
    with pytest.raises(ZeroDivisionError, match="task"):
        list(ray.spread(broken, range(3), memory_knob=LOWER))


def test_a_lost_task_is_done_again(ray, tmp_path):
    assert list(ray.ordered(partial(marked, folder=str(tmp_path)), range(3), memory_knob=LOWER)) == [0, 1, 2]
    assert len(list(tmp_path.iterdir())) == 4


def test_a_task_that_always_loses_its_process_is_told(ray, monkeypatch):
    monkeypatch.setattr(ray_cluster, "RETRIES", 1)
    with pytest.raises(
        InputError, match=r"^a Ray worker was killed, .*lower gnn\.configurations, or raise engine\.memory"
    ):
        list(ray.spread(killed, range(2), memory_knob=LOWER))


def test_what_ray_says_of_its_nodes_is_on_no_page(ray, capsys):
    """Standard output is the notebook's; this is how Ray itself prints that a node was lost."""
    shown = ray_cluster.connected(ray)._private.worker.print_to_stdstream
    shown({"lines": ["a node was lost"], "pid": "raylet", "is_err": False}, ignore_prefix=False)
    out, err = capsys.readouterr()
    assert "a node was lost" not in out and "a node was lost" in err


def test_a_head_that_answers_no_more_is_told(ray, monkeypatch):
    """Not one that is silent for a moment."""
    assert ray_cluster.answers(ray, ray_cluster.connected(ray))
    monkeypatch.setattr(ray_cluster, "PATIENCE", 0.1)
    monkeypatch.setattr(ray_cluster, "SILENCE", 0.5)
    answers = iter([False, True, False, True])
    with monkeypatch.context() as patched:
        patched.setattr(ray_cluster, "answers", lambda *_: next(answers, True))
        assert list(ray.spread(slow, [1.5], memory_knob=LOWER)) == [(0, 1.5)]
    assert next(answers, None) is None

    monkeypatch.setattr(ray_cluster, "answers", lambda *_: False)
    with pytest.raises(InputError, match=r"^engine\.address: the Ray cluster was lost, its head answers no more"):
        list(ray.spread(slow, [4], memory_knob=LOWER))


def test_what_stands_for_a_lost_task_and_fresh_processes(ray, monkeypatch):
    """As the collector wants it: a program that crashes the compiler is left for later, and processes do not grow."""
    monkeypatch.setattr(ray_cluster, "RETRIES", 0)
    tasks = [1, -1, 2, 3]
    ends = dict(
        ray.spread(partial(pool.ended, task=measured), tasks, memory_knob=LOWER, calls=1, fallback=("later", "it died"))
    )
    assert [ends[place][0] for place in range(4)] == ["done", "later", "failed", "done"]
    assert ends[1][1] == "it died" and ends[2][1] == "ValueError: two"
    processes = [process for _, process in ray.ordered(square, range(3), memory_knob=LOWER, calls=1)]
    assert len(set(processes)) == 3


def test_a_network_trained_by_two_workers_of_a_cluster_ranks_like_one(ray, tmp_path, monkeypatch):
    """Ray Train connects them; the network ends as in one process, but for rounding."""
    import numpy as np
    from safetensors.numpy import load_file

    from stages.graphs.collection import SPLITS
    from tests.gnn.test_worker_group import FREE
    from tests.support import networks
    from tests.support.graphs import LAYOUT, TINY, TINY_SEGMENTS, sample, write_data

    knobs = TINY | TINY_SEGMENTS | {"gst": "gst", "graphs": 4, "dropout": 0.0, "epochs": 3, "loss": "logistic"}
    graphs = {
        split: [sample(LAYOUT, 10 * place + k, nodes=9 + k) for k in range(4)] for place, split in enumerate(SPLITS)
    }
    found = {}
    for name, place in {"one": Engine(), "two": Engine(ray.kind, ray.address, workers=2)}.items():
        monkeypatch.setattr(engine, "configured", lambda place=place: place)
        write_data(tmp_path / name, LAYOUT, graphs)
        networks.run(collection=LAYOUT, seeds=1, data=str(tmp_path / name), **knobs)
        found[name] = load_file(tmp_path / name / "gnn" / "layout-xla-random" / "weights-0.safetensors")
        assert not list((tmp_path / name / "checkpoints" / "gnn").rglob("*.*"))
    assert set(found["one"]) == set(found["two"])
    for name in set(found["one"]) - {FREE}:
        np.testing.assert_allclose(found["two"][name], found["one"][name], rtol=2e-4, atol=2e-5, err_msg=name)
    with pytest.raises(InputError, match=r"engine\.workers: is 2, and a step has 1 graphs to deal out"):
        networks.run(collection=LAYOUT, seeds=1, data=str(tmp_path / "two"), **knobs | {"graphs": 1})
