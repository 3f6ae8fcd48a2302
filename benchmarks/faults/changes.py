"""What a person changes or gets wrong between two runs: a file that a parameter names, the interpreter, the root.

Each begins with a copy of a finished project, and the change is taken back before the run that is judged.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from pathlib import Path

from benchmarks.faults import runs
from benchmarks.faults.judging import judged

#: of each parameter that names a file: which of the sample's files is named, and the stage that reads it
NAMED = {"solution": "solution.csv", "programs": "programs.csv", "sample_submission": "sample_submission.csv"}
#: of `data.root`: what is wrong with it
ROOTS = ("one level too high", "one level too low", "of another computer", "of one collection")
#: a `python` and an IPython that a shell or a user's folder may put before the project's own
_WRONG = "#!/bin/sh\necho 'this is not the interpreter of the project' >&2\nexit 3\n"
_NO_KERNEL = "raise ImportError('libzmq.so: cannot open')\n"


def content(folder: Path, source: Path, name: str, reference: Mapping) -> dict:
    """A file that `leaderboard.NAME` names by its path gets another content; the leaderboard must be made anew."""
    project = runs.copy(source, folder)
    parameters = (project / "params.yaml").read_bytes()
    named = project / NAMED[name]
    _write_named(project, name, named)
    runs.set_parameters(project, leaderboard={name: named.name})
    if (ended := runs.run(project)).status:
        raise RuntimeError(f"the run with {name} named failed: {ended.message}")
    _change(named)
    ended = runs.run(project)
    seen = "Running stage 'leaderboard'" in ended.text
    (project / "params.yaml").write_bytes(parameters)
    named.unlink()
    row = judged(project, ended, reference, where=f"leaderboard.{name} named, its content changed")
    return row | {"clear": seen and "Traceback" not in ended.text}


def _write_named(project: Path, name: str, named: Path) -> None:
    """The file that the parameter will name: the sample's, or for the sample submission what the pipeline wrote."""
    source = project / "data" / "sample" / NAMED[name]
    if not source.exists():
        source = project / "data" / "leaderboard" / "submission.csv"
    shutil.copyfile(source, named)


def _change(named: Path) -> None:
    """Takes the last line of a table away."""
    lines = named.read_text().splitlines(keepends=True)
    named.write_text("".join(lines[:-1]))


def interpreter(folder: Path, source: Path, stage: str, path: str, reference: Mapping) -> dict:
    """Plain `.venv/bin/dvc repro`, with nothing of the environment but HOME and a PATH.

    Args:
        path: "bare", which has no python of the project's, or "wrong", whose python is another one.
    """
    project = runs.copy(source, folder, stage)
    places = ["/usr/bin", "/bin"]
    if path == "wrong":
        (project / "wrong").mkdir()
        (project / "wrong" / "python").write_text(_WRONG)
        (project / "wrong" / "python").chmod(0o755)
        places.insert(0, str(project / "wrong"))
    clean = ("env", "-i", f"HOME={os.environ['HOME']}", f"PATH={os.pathsep.join(places)}")
    ended = runs.run(project, command=(*clean, ".venv/bin/dvc", "repro", "-s", "-f", stage))
    row = judged(project, ended, reference, where=f"{stage.partition('@')[0]}, {path} PATH")
    return row | {"clear": ended.status == 0 and "Traceback" not in ended.text}


def root(folder: Path, source: Path, fault: str, reference: Mapping) -> dict:
    """A `data.root` that is not the folder that holds npz/; the line must name what to do."""
    project = runs.copy(source, folder)
    parameters = (project / "params.yaml").read_bytes()
    true = Path("data", "sample", "npz_all")
    if fault == "of one collection":
        wrong = "one-collection"
        shutil.copytree(project / true / "npz" / "tile", project / wrong / "npz" / "tile")
    else:
        wrong = {ROOTS[0]: "data/sample", ROOTS[1]: str(true / "npz"), ROOTS[2]: "C:\\data\\npz_all"}[fault]
    runs.set_parameters(project, data={"root": wrong})
    ended = runs.run(project)
    (project / "params.yaml").write_bytes(parameters)
    return judged(project, ended, reference, where=f"data.root {fault}")


def no_kernel(folder: Path, source: Path, stage: str, reference: Mapping) -> dict:
    """A kernel that cannot start, because a library of Jupyter's is broken."""
    project = runs.copy(source, folder, stage)
    broken = project / "ipykernel_launcher.py"  # the project's folder comes first in a kernel's search for modules
    broken.write_text(_NO_KERNEL)
    ended = runs.run(project, stage)
    broken.unlink()
    return judged(project, ended, reference, where=stage.partition("@")[0])
