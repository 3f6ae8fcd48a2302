"""A notebook that runs, fails, or dies, and the interpreter that runs it."""

import json
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
import yaml

from stages import run
from stages.engine import files
from stages.runner import failures
from tests.support import networks
from tests.support.pipeline import dvc
from tests.support.toy import PARAMS, refused, write_notebook


def test_broken_notebook(project, capfd):
    (project / "notebooks" / "toy.ipynb").write_text("{")
    assert "notebooks/toy.ipynb: is not a notebook" in refused(project, capfd, "toy")


def test_a_line_of_a_child_process_is_shown_once(project, capfd, monkeypatch):
    child = (
        "import subprocess, sys\n_ = subprocess.run([sys.executable, '-c', 'import sys; print(1234, file=sys.stderr)'])"
    )
    write_notebook(project / "notebooks" / "parent.ipynb", [("code", child)])
    monkeypatch.delenv("PYTEST_CURRENT_TEST", raising=False)  # under it ipykernel does not watch its descriptors
    assert run.main(["parent"], project) == 0
    assert capfd.readouterr().err == "1234\n"
    assert "1234" not in (project / "reports" / "parent.html").read_text().split("</head>")[1]


@pytest.mark.parametrize(
    ("steps", "line"),
    [
        (7, "notebooks/toy.ipynb, cell [4]: graph.npz: no node_feat; write it again"),
        (8, r"notebooks/toy.ipynb, cell [4]: KeyError: 'first line\nsecond line'"),
        (6, "notebooks/toy.ipynb, cell [4]: memory ran out (MemoryError: of torch); lower toy.rate, now 2.0"),
        (
            11,
            "notebooks/toy.ipynb, cell [4]: the disk is full (OSError: [Errno 28] No space left on device: "
            "'data/toy/file'); make room and run again",
        ),
    ],
)
def test_failure_is_one_line_and_keeps_the_partial_notebook(project, capfd, monkeypatch, steps, line):
    monkeypatch.setitem(failures.MEMORY, "toy", ("lower", ("toy.rate",)))
    assert run.main(["toy", f"steps={steps}"], project) == 1
    _, err = capfd.readouterr()
    assert err.splitlines()[-1] == line
    assert [text for text in err.splitlines() if not text.startswith("step ")] == [line]
    assert [path.name for path in (project / "reports").iterdir()] == ["toy-layout-xla-random.failed.ipynb"]
    kept = nbformat.read(project / "reports" / "toy-layout-xla-random.failed.ipynb", as_version=4)
    failed = [cell for cell in kept.cells if cell.cell_type == "code" and cell.execution_count == 4]
    assert any(output.output_type == "error" for output in failed[0].outputs)


def test_dead_kernel(project, capfd):
    assert run.main(["toy", "steps=9"], project) == 1
    line = capfd.readouterr().err.splitlines()[-1]
    assert line == "notebooks/toy.ipynb: the kernel died, most often for want of memory; give the machine more"


@pytest.mark.skipif(not Path("/proc/self/oom_score_adj").exists(), reason="only Linux chooses so")
def test_where_memory_ends_the_notebook_goes_before_what_tells_of_it(project, capfd):
    cell = """\
import subprocess
score = "/proc/self/oom_score_adj"
worker = subprocess.run(["cat", score], capture_output=True, text=True).stdout
print(open(score).read().strip(), worker.strip(), [name for name in globals() if "kernel" in name])
"""
    write_notebook(project / "notebooks" / "score.ipynb", [("code", cell)])
    own = Path("/proc/self/oom_score_adj").read_text()
    assert run.main(["score"], project) == 0
    expected = max(failures.FIRST, int(own))
    assert capfd.readouterr() == (f"{expected} {expected} []\n", "")
    assert Path("/proc/self/oom_score_adj").read_text() == own


def test_a_kernel_that_died_with_the_cluster(project, capfd):
    """Ray ends a process that has lost the head: so does this one, and it takes the head along."""
    pytest.importorskip("ray", reason="Ray is not installed: make cluster")
    listen = "import socket, time; s = socket.create_server(('127.0.0.1', 0)); print(s.getsockname()[1], flush=True)"
    with subprocess.Popen(
        [sys.executable, "-c", f"{listen}; time.sleep(600)"], stdout=subprocess.PIPE, text=True
    ) as head:
        address = f"127.0.0.1:{head.stdout.readline().strip()}"
        (project / "params.yaml").write_text(f"{PARAMS}engine:\n  kind: ray\n  address: {address}\n")
        cell = [("code", f"import os, signal\nos.kill({head.pid}, signal.SIGKILL)\nos._exit(1)")]
        write_notebook(project / "notebooks" / "last.ipynb", cell)
        assert run.main(["last"], project) == 1
    line = capfd.readouterr().err.splitlines()[-1]
    assert line.startswith(
        "notebooks/last.ipynb: the kernel died, with the Ray cluster: params.yaml, engine.address: nothing answers at "
    )


def test_dead_kernel_of_another_stages_parameters(project, capfd, monkeypatch):
    """The stage's own value is the one of this run; another's is that of params.yaml."""
    (project / "params.yaml").write_text(PARAMS + "plain:\n  seeds: 3\n  width: {'layout:*': 8}\n")
    monkeypatch.setitem(failures.MEMORY, "toy", ("lower", ("toy.steps", "plain.seeds", "plain.width", "plain.no")))
    assert run.main(["toy", "steps=9"], project) == 1
    line = capfd.readouterr().err.splitlines()[-1]
    assert line.endswith("lower toy.steps, now 9, or plain.seeds, now 3, or plain.width, now 8, or plain.no")


def test_dead_kernel_of_a_stage_with_knobs(project, capfd):
    """A knob of the command line is one of the stage's own."""
    (project / "params.yaml").write_text(PARAMS + yaml.safe_dump({"gnn": networks.DEFAULTS}))
    cells = [("parameters", 'collection = "tile:xla"\nknobs: dict = {}'), ("code", "import os; os._exit(1)")]
    write_notebook(project / "notebooks" / "gnn.ipynb", cells)
    assert run.main(["gnn", "segment_nodes=7"], project) == 1
    line = capfd.readouterr().err.splitlines()[-1]
    assert line.endswith("lower gnn.configurations, now 64, or gnn.segment_nodes, now 7")


def test_the_line_is_there_where_the_partial_notebook_cannot_be_kept(project, capfd, monkeypatch):
    def full(path, content):
        raise OSError(28, "No space left on device", str(path))

    monkeypatch.setattr(files, "replace", full)
    assert run.main(["toy", "steps=7"], project) == 1
    line = capfd.readouterr().err.splitlines()[-1]
    assert line == "notebooks/toy.ipynb, cell [4]: graph.npz: no node_feat; write it again"
    assert run.main(["plain"], project) == 1
    line = capfd.readouterr().err.splitlines()[-1]
    assert line.endswith("reports/plain.html: the disk is full (No space left on device); make room and run again")


def test_a_kernel_that_cannot_start_says_why(project, capfd):
    (project / "ipykernel_launcher.py").write_text("raise ImportError('libzmq.so: cannot open')")
    assert run.main(["plain"], project) == 1
    assert capfd.readouterr().err.splitlines()[-1] == (
        "notebooks/plain.ipynb: the kernel cannot start: ImportError: libzmq.so: cannot open; remove .venv and run "
        "make repro, which sets it up anew"
    )


@pytest.fixture
def piped(project):
    """A project of one stage that prints its interpreter, in a DVC pipeline."""
    write_notebook(project / "notebooks" / "where.ipynb", [("code", "import sys\nprint(sys.prefix, sys.path[1:2])")])
    stage = {"cmd": "sh stages/start.sh run where", "outs": ["reports/where.html"]}
    (project / "dvc.yaml").write_text(yaml.safe_dump({"stages": {"where": stage}}))
    dvc(project, "init", "--no-scm", "--quiet")
    return project


def test_a_stage_and_its_kernel_run_on_the_projects_own_interpreter(piped, tmp_path):
    """Whatever PATH, Jupyter's folders and PYTHONPATH say."""
    (piped / ".venv").symlink_to(sys.prefix)
    wrong = tmp_path / "wrong" / "python"
    wrong.parent.mkdir()
    wrong.write_text("#!/bin/sh\necho another interpreter >&2\nexit 1\n")
    wrong.chmod(0o755)
    spec = tmp_path / "home" / ".local" / "share" / "jupyter" / "kernels" / "python3" / "kernel.json"
    spec.parent.mkdir(parents=True)
    spec.write_text(json.dumps({"argv": [str(wrong)], "display_name": "Another", "language": "python"}))
    environment = {
        "HOME": str(tmp_path / "home"),
        "PATH": f"{wrong.parent}:/usr/bin:/bin",
        "PYTHONPATH": str(wrong.parent),
        "JUPYTER_PATH": str(spec.parents[2]),
    }
    command = [f"{piped}/.venv/bin/python", "-P", "-m", "dvc", "repro"]
    (wrong.parent / "papermill.py").write_text("raise ImportError('another papermill')")
    done = subprocess.run(command, cwd=piped, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"{piped}/.venv " in (piped / "reports" / "where.html").read_text()


def test_without_an_environment_the_python_on_the_path_runs_a_stage(piped):
    dvc(piped, "repro")
    assert f"{sys.prefix} " in (piped / "reports" / "where.html").read_text()
