"""A tiny made-up data set and a copy of the project's pipeline on it, for tests that look at what it makes.

Two of the collections, one of each kind, because starting a stage costs more than its tiny work.
"""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

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
    for name in ("stages", "notebooks"):
        shutil.copytree(
            PROJECT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__", "collect", "collect.ipynb")
        )
    print_every_epoch(folder / "stages" / "gnn" / "training.py")
    shutil.copy(PROJECT / "dvc.yaml", folder)
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


def print_every_epoch(file):
    """So small a training is over before its second line is due, and when it comes must not change the page."""
    text, count = re.subn(r"^PRINT_SECONDS = \d+$", "PRINT_SECONDS = 0", file.read_text(), flags=re.MULTILINE)
    assert count == 1
    file.write_text(text)


def dvc(folder, *arguments):
    """Run DVC as `make repro` does: this interpreter first on the path, and one thread, for the machine may be busy."""
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    environment = {**os.environ, "PATH": path, "OMP_NUM_THREADS": "1", "DVC_NO_ANALYTICS": "1"}
    environment.pop("PYTHONPATH", None)
    environment.pop("PYTEST_CURRENT_TEST", None)  # under it the kernel does not pass on what its workers print
    command = [sys.executable, "-m", "dvc", *arguments]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, (done.stdout + done.stderr)[-3000:]
    return done.stdout + done.stderr
