"""A run ends whole: who is killed takes along what he started, and the next run's outputs are its own."""

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from benchmarks.faults.runs import processes
from stages.engine import lifetime
from stages.engine.errors import InputError
from stages.graphs.collection import SPLITS
from tests.support.pipeline import dvc
from tests.support.toy import write_notebook

PARAMETERS = 'word = ""\nseconds = 0.0\ndata = "data"'
#: two processes, the kernel and a worker, write their word over and over
CELL = """\
import toy_tasks
from stages.engine import engine

running = engine.configured().spread(toy_tasks.write, [(word, seconds)] * 2, memory_knob="toy.seconds", parallel=2)
print([name for _, name in running])
"""
TASKS = """\
import time
from pathlib import Path

def write(task):
    word, seconds = task
    file = Path("data/toy/words.txt")
    file.parent.mkdir(parents=True, exist_ok=True)
    end = time.monotonic() + seconds
    while True:
        with open(file, "a") as words:
            words.write(word + "\\n")
        if time.monotonic() >= end:
            return word
        time.sleep(0.02)
"""
PIPELINE = """\
stages:
  toy:
    cmd: sh stages/start.sh run toy
    params: [toy]
    outs:
      - data/toy
      - reports/toy.html
"""
PARAMS = """\
data:
  root: npz_all
  collections: {{tile-xla: tile/xla}}
blend: {{eval_indices: null}}
leaderboard: {{solution: null, programs: null, sample_submission: null}}
toy:
  word: {}
  seconds: {}
"""
LIMIT = 5  # seconds in which all of a run that was killed has ended


@pytest.fixture(scope="module")
def template(tmp_path_factory):
    """A project of one stage, whose workers go on for minutes where nobody ends them."""
    folder = tmp_path_factory.mktemp("lifetime") / "template"
    write_notebook(folder.mkdir() or folder / "notebooks" / "toy.ipynb", [("parameters", PARAMETERS), ("code", CELL)])
    for name in ("blend", "leaderboard"):
        shutil.copy(folder / "notebooks" / "toy.ipynb", folder / "notebooks" / f"{name}.ipynb")
    for split in SPLITS:
        (folder / "npz_all" / "npz" / "tile" / "xla" / split).mkdir(parents=True)
        (folder / "npz_all" / "npz" / "tile" / "xla" / split / "kernel.npz").touch()
    (folder / "toy_tasks.py").write_text(TASKS)
    (folder / "dvc.yaml").write_text(PIPELINE)
    (folder / "params.yaml").write_text(PARAMS.format("old", 300.0))
    (folder / "Makefile").write_text(f"repro:\n\t{sys.executable} -m stages.repro\n")
    (folder / "stages").symlink_to(Path("stages").absolute())
    dvc(folder, "init", "--no-scm", "--quiet")
    return folder


@pytest.fixture
def project(template, tmp_path):
    """A copy of the template; no process is left there."""
    folder = shutil.copytree(template, tmp_path / "project", symlinks=True)
    yield folder
    left = processes(folder)
    for number in left:
        psutil.Process(number).kill()
    assert left == {}


def start(folder, *command):
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    environment = {**os.environ, "PATH": path}
    console = open(folder.parent / "console.txt", "w")
    return subprocess.Popen(
        command, cwd=folder, env=environment, stderr=console, stdout=console, start_new_session=True
    )


def process(folder, pattern):
    """The process whose command line matches, once it is there and the stage's workers write."""
    end = time.monotonic() + 60
    while time.monotonic() < end:
        if (folder / "data" / "toy" / "words.txt").exists():
            return next(number for number, words in processes(folder).items() if re.search(pattern, words))
        time.sleep(0.05)
    raise TimeoutError((folder.parent / "console.txt").read_text())


def ended(folder):
    end = time.monotonic() + LIMIT
    while processes(folder) and time.monotonic() < end:
        time.sleep(0.05)
    return processes(folder) == {}


@pytest.mark.skipif(shutil.which("make") is None, reason="there is no make")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGKILL], ids=lambda number: number.name)
@pytest.mark.parametrize("target", ["^make", r"-m stages\.repro", r"-m stages\.run"], ids=["make", "dvc", "runner"])
def test_who_is_killed_takes_along_what_he_started(project, target, number):
    if target == "^make" and number == signal.SIGINT and sys.platform != "linux":
        pytest.skip("make does not pass SIGINT on, and only Linux shows that it was sent")
    first = start(project, "make", "repro")
    os.kill(process(project, target), number)
    assert ended(project)
    assert first.wait(LIMIT) != 0
    (project / "params.yaml").write_text(PARAMS.format("new", 0.0))
    assert start(project, "make", "repro").wait(60) == 0
    assert (project / "data" / "toy" / "words.txt").read_text() == "new\nnew\n"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL], ids=lambda number: number.name)
def test_plain_dvc_takes_along_what_it_started(project, number):
    start(project, sys.executable, "-m", "dvc", "repro")
    os.kill(process(project, r"-m dvc repro"), number)
    assert ended(project)


def test_what_is_started_by_hand_outlives_its_shell(project):
    """As `nohup python -m stages.run … &` does. Under a make that started the tests nobody could tell."""
    command = (
        f"import subprocess, sys; subprocess.Popen([sys.executable, '-m', 'stages.run', 'toy'], cwd={str(project)!r})"
    )
    environment = {**os.environ, "PYTHONPATH": str(Path.cwd())}
    free = ["setsid", "--fork", sys.executable, "-c", command]  # no child of this process, nor of what started it
    subprocess.run(free, env=environment, stdout=-3, stderr=-3, check=True)
    number = process(project, r"-m stages\.run")
    time.sleep(5 * lifetime.INTERVAL)
    assert number in processes(project)
    os.kill(number, signal.SIGKILL)
    assert ended(project)


def test_a_stage_waits_for_an_earlier_run_of_itself_and_then_refuses(tmp_path, monkeypatch):
    path = tmp_path / "run-toy.lock"
    held = lifetime.lock(path, str, shared=True)
    joined = lifetime.join(path)
    os.close(held)  # the runner has ended, its kernel has not
    with pytest.raises(InputError, match=f"^busy {os.getpid()}$"):
        lifetime.lock(path, lambda holder: f"busy {holder}", patience=0.3)
    os.close(joined)
    os.close(lifetime.lock(path, str))


def test_a_lock_is_had_as_soon_as_the_other_ends(tmp_path):
    path = tmp_path / "toy.lock"
    hold = f"lifetime.lock(lifetime.Path({str(path)!r}), str); print(flush=True); input()"
    code = f"from stages.engine import lifetime; {hold}"
    other = subprocess.Popen([sys.executable, "-c", code], stdin=-1, stdout=-1)
    other.stdout.readline()
    with pytest.raises(InputError, match=str(other.pid)):
        lifetime.lock(path, str)
    other.communicate(b"\n")
    os.close(lifetime.lock(path, str, patience=LIMIT))
