"""A tiny made-up data set and a copy of the project's pipeline on it, for tests that look at what it makes.

Two of the collections, one of each kind, because starting a stage costs more than its tiny work.
"""

import atexit
import functools
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import nbformat
import yaml

from stages.graphs.collection import slug
from tests.support import samples

PROJECT = Path(__file__).parents[2]
CHOSEN = ("tile:xla", "layout:xla:random")  # the second is what the notebooks take by default
# Below reports/, committed: they take long to make.
TABLES = ("benchmarks.json", "recipes.csv", "ablation.csv")
# What makes a model small, by the knob's name; other knobs keep the value they have.
TINY = {"seeds": 2, "width": 8, "layers": 1, "configurations": 4, "epochs": 2, "trees": 4, "leaves": 4}


def chosen(collections):
    """Return what data.collections says for these collections."""
    return {slug(collection): collection.replace(":", "/") for collection in collections}


def copy(folder, collections=CHOSEN):
    """Copy the project's committed parts without its sample, write a tiny one and tiny parameters, and init DVC.

    The sample has all five collections; `collections` go through the pipeline.
    """
    for name in ("stages", "notebooks"):  # with the bytecode, or the copy's first stages would compile all of it
        shutil.copytree(PROJECT / name, folder / name, ignore=shutil.ignore_patterns("collect", "collect.ipynb"))
    print_every_epoch(folder / "stages" / "gnn" / "training.py")
    for name in ("dvc.yaml", ".dvcignore"):
        shutil.copy(PROJECT / name, folder)
    samples.write_root(folder / "data" / "sample")
    given = yaml.safe_load((PROJECT / "params.yaml").read_text())
    small = {
        stage: {key: TINY.get(key, value) for key, value in (content or {}).items()} for stage, content in given.items()
    }
    small["data"]["collections"] = chosen(collections)
    (folder / "params.yaml").write_text(yaml.safe_dump(small, sort_keys=False))
    dvc(folder, "init", "--no-scm", "--quiet")
    dvc(folder, "config", "core.analytics", "false")
    return folder


def again(reproduced, folder):
    """A copy of what the fixture `reproduced` made, to write to."""
    return shutil.copytree(reproduced[0], folder, symlinks=True)


def change(folder, section, **values):
    """Changes values in a section of params.yaml."""
    given = yaml.safe_load((folder / "params.yaml").read_text())
    given[section] |= values
    (folder / "params.yaml").write_text(yaml.safe_dump(given, sort_keys=False))


def add_page_collect(folder):
    """Gives a copy the page `collect` and its code, which no stage depends on."""
    ignored = shutil.ignore_patterns("__pycache__")
    shutil.copytree(PROJECT / "stages" / "collect", folder / "stages" / "collect", ignore=ignored)
    shutil.copy(PROJECT / "notebooks" / "collect.ipynb", folder / "notebooks")


def leave_out_stage(folder, stage):
    """Takes a stage on whose outputs no other depends out of dvc.yaml."""
    given = yaml.safe_load((folder / "dvc.yaml").read_text())
    del given["stages"][stage]
    (folder / "dvc.yaml").write_text(yaml.safe_dump(given, sort_keys=False))


def leave_out_pictures(folder, *stages):
    """Cuts these stages' notebooks off after their work: what a page shows of it takes longer."""
    for path in (folder / "notebooks" / f"{stage}.ipynb" for stage in stages):
        notebook = nbformat.read(path, as_version=4)
        working = next(place for place, cell in enumerate(notebook.cells) if re.search(r"= \w+\.run\(", cell.source))
        del notebook.cells[working + 1 :]
        nbformat.write(notebook, path)


def check_page(page, folder):
    """Fails where a report loads something, or holds an address of memory or of its own folder."""
    text = re.sub(r"base64,[A-Za-z0-9+/=]+", "", page.read_text())
    assert not re.search(r"""<script|src\s*=\s*["']?(https?:)?//|<link|@import""", text), page.name
    assert not re.search(r" at 0x[0-9a-f]{6,}", text), page.name
    assert str(folder) not in text, page.name


def print_every_epoch(file):
    """So small a training is over before its second line is due, and when it comes must not change the page."""
    text, count = re.subn(r"^PRINT_SECONDS = \d+$", "PRINT_SECONDS = 0", file.read_text(), flags=re.MULTILINE)
    assert count == 1
    file.write_text(text)


def environment():
    """Of DVC as `make repro` runs it: this interpreter first on the path; one thread, for the machine may be busy."""
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    variables = {**os.environ, "PATH": path, "OMP_NUM_THREADS": "1", "DVC_NO_ANALYTICS": "1"}
    variables.pop("PYTHONPATH", None)
    variables.pop("PYTEST_CURRENT_TEST", None)  # under it the kernel does not pass on what its workers print
    return variables


def dvc_alone(folder, *arguments):
    """Run `python -m dvc`; what it shows."""
    command = [sys.executable, "-m", "dvc", *arguments]
    done = subprocess.run(command, cwd=folder, env=environment(), capture_output=True, text=True)
    assert done.returncode == 0, (done.stdout + done.stderr)[-3000:]
    return done.stdout + done.stderr


def dvc(folder, *arguments):
    """As `dvc_alone`, in a process that has DVC's modules already."""
    server = _server()
    with tempfile.NamedTemporaryFile("r") as output, tempfile.NamedTemporaryFile("r") as error:
        call = [str(folder), environment(), output.name, error.name, arguments]
        server.stdin.write(json.dumps(call) + "\n")
        server.stdin.flush()
        status, shown = int(server.stdout.readline()), output.read() + error.read()
    assert status == 0, shown[-3000:]
    return shown


@functools.cache
def _server():
    """The process that forks DVC's; it ends with this one."""
    command = [sys.executable, "-m", "tests.support.dvc_server"]
    server = subprocess.Popen(command, cwd=PROJECT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def end():
        server.stdin.close()
        server.wait()
        server.stdout.close()

    atexit.register(end)
    return server
