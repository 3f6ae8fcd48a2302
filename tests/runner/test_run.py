import json
import os
import re
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
import yaml

from stages import run
from stages.runner import failures, page
from tests.support.pipeline import dvc

LISTING = (
    "notebooks/toy.ipynb takes collection (str), rate (float), deep (bool), steps (int), hops (int | str), root (str)"
)
PARAMETERS = """\
collection = "layout:xla:random"
rate = 0.5
deep = False
steps = 3
hops: int | str = 1  # a number or "all"
root = ""
"""
WORK = """\
import os, sys
for step in range(steps):
    print(f"step {step}", file=sys.stderr)
print(repr([collection, rate, deep, steps, hops, root]))
print(os.getcwd(), os.environ["PYTHONHASHSEED"], os.environ["CUBLAS_WORKSPACE_CONFIG"])
"""
DRAW = """\
import matplotlib.pyplot as plt
from IPython.display import HTML, Javascript, display
from stages.errors import InputError
plt.plot([1, 2, 3])
plt.show()
display(HTML("<b>shown</b>"), Javascript("alert(1)"))
"""
FAIL = """\
if steps == 7:
    raise InputError("graph.npz: no node_feat; write it again")
if steps == 8:
    raise KeyError("first line\\nsecond line")
if steps == 9:
    os._exit(1)
if steps == 6:
    raise MemoryError("of torch")
if steps == 11:
    raise OSError(28, "No space left on device", "data/toy/file")
"""
PARAMS = """\
data:
  root: elsewhere/npz_all
toy:
  rate: 2
  steps: {"tile:*": 4, "*": 2}
"""


def write_notebook(path, cells):
    """Write (kind, source) cells; a code cell's kind may be the tag `parameters`."""
    made = []
    for position, (kind, source) in enumerate(cells):
        new = nbformat.v4.new_markdown_cell if kind == "markdown" else nbformat.v4.new_code_cell
        cell = new(source, id=f"cell-{position:02d}")
        cell.metadata.tags = [kind] if kind == "parameters" else []
        made.append(cell)
    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    path.parent.mkdir(exist_ok=True)
    nbformat.write(nbformat.v4.new_notebook(cells=made, metadata={"kernelspec": kernel}), path)


@pytest.fixture
def project(tmp_path):
    cells = [("markdown", "# A toy"), ("parameters", PARAMETERS), ("code", WORK), ("code", DRAW), ("code", FAIL)]
    write_notebook(tmp_path / "notebooks" / "toy.ipynb", cells)
    write_notebook(tmp_path / "notebooks" / "plain.ipynb", [("code", "print(6 * 7)")])
    (tmp_path / "params.yaml").write_text(PARAMS)
    # A project's own stages come from its folder in real life; here from this repository.
    (tmp_path / "stages").symlink_to(os.path.abspath("stages"))
    return tmp_path


def refused(project, capfd, *arguments):
    """Run, expect failure, and return the one line printed."""
    assert run.main(arguments, project) == 1
    out, err = capfd.readouterr()
    assert out == "" and err.count("\n") == 1
    return err.rstrip("\n")


def test_report_and_console(project, capfd):
    (project / "reports").mkdir()
    stale = project / "reports" / "toy-tile-xla.failed.ipynb"
    stale.write_text("of an earlier run")
    assert run.main(["toy", "collection=tile-xla", "hops=all"], project) == 0
    out, err = capfd.readouterr()
    assert err == "step 0\nstep 1\nstep 2\nstep 3\n"
    values, places = out.splitlines()
    assert values == "['tile:xla', 2.0, False, 4, 'all', 'elsewhere/npz_all']"
    assert places == f"{project} 0 :4096:8"
    assert [path.name for path in (project / "reports").iterdir()] == ["toy-tile-xla.html"]

    page = (project / "reports" / "toy-tile-xla.html").read_text()
    assert "<title>toy · tile:xla</title>" in page
    assert (
        "A toy" in page and "<b>shown</b>" in page and "data:image/png;base64," in page and "elsewhere/npz_all" in page
    )
    for hidden in ("range(steps)", "step 0", "alert(1)", "<script", "In&nbsp;[", "papermill"):
        assert hidden not in page
    assert not re.search(r"""(src|href)\s*=\s*["']?(https?:)?//|url\(["']?(https?:)?//|@import""", page)
    assert "default-src 'none'" in page


def test_report_is_byte_stable(project, capfd):
    pages = []
    for steps in (1, 5):  # another number of progress lines is not another result
        source = (project / "notebooks" / "toy.ipynb").read_text().replace("deep, steps, hops", "deep, hops")
        (project / "notebooks" / "toy.ipynb").write_text(source)
        assert run.main(["toy", f"steps={steps}"], project) == 0
        pages.append((project / "reports" / "toy-layout-xla-random.html").read_bytes())
    assert pages[0] == pages[1]


def test_a_line_of_a_child_process_is_shown_once(project, capfd, monkeypatch):
    child = (
        "import subprocess, sys\n_ = subprocess.run([sys.executable, '-c', 'import sys; print(1234, file=sys.stderr)'])"
    )
    write_notebook(project / "notebooks" / "parent.ipynb", [("code", child)])
    monkeypatch.delenv("PYTEST_CURRENT_TEST", raising=False)  # under it ipykernel does not watch its descriptors
    assert run.main(["parent"], project) == 0
    assert capfd.readouterr().err == "1234\n"
    assert "1234" not in (project / "reports" / "parent.html").read_text().split("</head>")[1]


def test_notebook_without_parameters_or_section(project, capfd):
    assert run.main(["plain"], project) == 0
    assert capfd.readouterr() == ("42\n", "")
    assert "42" in (project / "reports" / "plain.html").read_text()
    assert "it takes none" in refused(project, capfd, "plain", "rate=1").replace("notebooks/plain.ipynb", "it")


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


def test_the_line_is_there_where_the_partial_notebook_cannot_be_kept(project, capfd, monkeypatch):
    def full(path, content):
        raise OSError(28, "No space left on device", str(path))

    monkeypatch.setattr(run.files, "replace", full)
    assert run.main(["toy", "steps=7"], project) == 1
    line = capfd.readouterr().err.splitlines()[-1]
    assert line == "notebooks/toy.ipynb, cell [4]: graph.npz: no node_feat; write it again"
    assert run.main(["plain"], project) == 1
    line = capfd.readouterr().err.splitlines()[-1]
    assert line.endswith("reports/plain.html: the disk is full (No space left on device); make room and run again")


def test_a_folder_that_cannot_be_written_to_stops_before_the_work(project, capfd):
    (project / "reports").touch()
    assert "reports: cannot be written to" in refused(project, capfd, "plain")


def test_an_interrupt_while_it_begins_is_one_line(tmp_path):
    """Imports take a second; one that interrupts stands for whatever comes then."""
    (tmp_path / "nbformat.py").write_text("import os, signal\nos.kill(os.getpid(), signal.SIGINT)\nos.kill(0, 0)\n")
    command = [sys.executable, "-m", "stages.run", "--help"]
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "interrupted\n")


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["tyo"], "no stage 'tyo'; the stages are plain, toy"),
        (["toy", "rate"], "rate: is not a parameter; write key=value"),
        (["toy", "=3"], "=3: is not a parameter; write key=value"),
        (["toy", "stepps=3"], f"command line: unknown parameter 'stepps'; {LISTING}"),
        (["toy", "steps=1.5"], f"toy.steps: 1.5 is float, expected int; {LISTING}"),
        (["toy", "steps=true"], f"toy.steps: True is bool, expected int; {LISTING}"),
        (["toy", "rate=true"], f"toy.rate: True is bool, expected float; {LISTING}"),
        (["toy", "deep=1"], f"toy.deep: 1 is int, expected bool; {LISTING}"),
        (["toy", "deep=yes"], f"toy.deep: 'yes' is str, expected bool; {LISTING}"),
        (["toy", "root=3"], f"toy.root: 3 is int, expected str; {LISTING}"),
        (["toy", "hops=1.5"], f"toy.hops: 1.5 is float, expected int | str; {LISTING}"),
        (["toy", "rate=NaN"], "toy.rate: nan is no number to compute with; give a finite one"),
        (["toy", "rate=-1e400"], "toy.rate: -inf is no number to compute with; give a finite one"),
        (["toy", f"steps={2**53 + 1}"], f"toy.steps: {2**53 + 1} is too large; give at most 2^53"),
        (["toy", "rate=-1" + "0" * 400], f"toy.rate: -1{'0' * 18} is too large; give at most 2^53"),
        (["toy", "steps=" + "[" * 9999], f"toy.steps: '{'[' * 9999}' is str, expected int; {LISTING}"),
        (["toy", "steps=[1, 2]"], f"toy.steps: [1, 2] is list, expected int; {LISTING}"),
    ],
)
def test_refused_before_anything_runs(project, capfd, arguments, line):
    assert refused(project, capfd, *arguments) == line
    assert not (project / "reports").exists()


def test_unknown_collection_lists_the_five(project, capfd):
    line = refused(project, capfd, "toy", "collection=layout:xla")
    for name in ("tile:xla", "layout:xla:random", "layout:xla:default", "layout:nlp:random", "layout:nlp:default"):
        assert name in line


@pytest.mark.parametrize(
    ("text", "line"),
    [
        (PARAMS + "  stepps: 1\n", f"params.yaml, toy: unknown parameter 'stepps'; {LISTING}"),
        (PARAMS.replace("root:", "rooot:"), f"params.yaml, data: unknown parameter 'rooot'; {LISTING}"),
        (PARAMS + "toyy:\n  steps: 1\n", "params.yaml: no stage 'toyy'; the stages are plain, toy"),
        (PARAMS.replace("rate: 2", "rate: fast"), f"toy.rate: 'fast' is str, expected float; {LISTING}"),
        (PARAMS.replace("rate: 2", "rate: .nan"), "toy.rate: nan is no number to compute with; give a finite one"),
    ],
)
def test_faults_in_params(project, capfd, text, line):
    (project / "params.yaml").write_text(text)
    assert refused(project, capfd, "toy") == line


def test_scalars_are_read_as_yaml_1_2_reads_them(project):
    pairs = ["a=1e-05", "b=false", "c=-3", "d=all", "e=[tile:xla, 2, true]", "f=x=y", 'g="7"', "h="]
    assert dict(map(run._pair, pairs)) == {
        "a": 1e-05,
        "b": False,
        "c": -3,
        "d": "all",
        "e": ["tile:xla", 2, True],
        "f": "x=y",
        "g": "7",
        "h": "",
    }


@pytest.mark.parametrize("source", ["rate = compute()", "import os", "a, b = 1, 2", "rate ="])
def test_parameters_that_are_not_literals(project, capfd, source):
    write_notebook(project / "notebooks" / "toy.ipynb", [("parameters", source)])
    assert "the parameters cell holds more than name = literal" in refused(project, capfd, "toy")


def test_broken_notebook(project, capfd):
    (project / "notebooks" / "toy.ipynb").write_text("{")
    assert "notebooks/toy.ipynb: is not a notebook" in refused(project, capfd, "toy")


def test_usage_lists_the_stages(project, capfd):
    assert run.main([], project) == 1
    assert capfd.readouterr().out == "usage: python -m stages.run STAGE [key=value ...]; stages: plain, toy\n"
    assert run.main(["--help"], project) == 0


def test_widgets_and_prompts_are_left_out_of_the_page():
    widget = nbformat.v4.new_output("display_data", data={"application/vnd.jupyter.widget-view+json": {}})
    result = nbformat.v4.new_output("execute_result", data={"text/plain": "forty-two"}, execution_count=9)
    cell = nbformat.v4.new_code_cell("secret", outputs=[widget, result], execution_count=9)
    notebook = nbformat.v4.new_notebook(cells=[cell], metadata={"widgets": {"state": {}}})
    shown = page.html(notebook, "a <title>")
    assert "forty-two" in shown and "a &lt;title&gt;" in shown
    assert "widget" not in shown and "secret" not in shown and "[9]" not in shown


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


def test_a_result_that_another_run_wrote_is_refused(project, capfd):
    """As one does that was killed and had not ended yet."""
    cell = "import json, pathlib\nfolder = pathlib.Path('data/mine')\nfolder.mkdir(parents=True)\n"
    cell += "(folder / 'parameters.json').write_text(json.dumps({'trees': 300}))"
    write_notebook(project / "notebooks" / "mine.ipynb", [("parameters", "trees = 4"), ("code", cell)])
    assert run.main(["mine"], project) == 1
    line = capfd.readouterr().err
    assert line == f"{project}/data/mine: another run wrote there, with mine.trees 300 instead of 4; run again\n"
    assert not (project / "reports" / "mine.html").exists()


def test_a_kernel_that_cannot_start_says_why(project, capfd):
    (project / "ipykernel_launcher.py").write_text("raise ImportError('libzmq.so: cannot open')")
    assert run.main(["plain"], project) == 1
    assert capfd.readouterr().err.splitlines()[-1] == (
        "notebooks/plain.ipynb: the kernel cannot start: ImportError: libzmq.so: cannot open; remove .venv and run "
        "make repro, which sets it up anew"
    )
