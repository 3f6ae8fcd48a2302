"""A stage's notebook: found, read, and executed by papermill in a kernel of its own; a failed one is kept."""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path

import nbformat
import papermill
from nbclient.exceptions import DeadKernelError
from nbformat.validator import MissingIDFieldWarning
from papermill.exceptions import PapermillExecutionError
from traitlets.config import Config

from stages.engine import engine, files, params
from stages.engine.errors import InputError
from stages.runner import failures, kernel, surroundings


def names(project: Path) -> list[str]:
    """The stages of a project: the names of its notebooks, sorted."""
    return sorted(path.stem for path in (project / "notebooks").glob("*.ipynb"))


def read(project: Path, stage: str) -> nbformat.NotebookNode:
    """A stage's notebook, the ids of its cells numbered by position; InputError where it is none, or none is there."""
    if stage not in names(project):
        raise InputError(f"no stage '{stage}'; the stages are {', '.join(names(project)) or 'none here'}")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", MissingIDFieldWarning)
            notebook = nbformat.read(project / "notebooks" / f"{stage}.ipynb", as_version=4)
    except Exception as error:  # nbformat raises a different class for each kind of broken file
        raise InputError(f"notebooks/{stage}.ipynb: is not a notebook ({_folded(error)}); restore it") from None
    for position, cell in enumerate(notebook.cells):
        cell.id = f"cell-{position:02d}"
    return notebook


def execute(
    notebook: nbformat.NotebookNode, values: Mapping[str, object], project: Path, stage: str, failed: Path
) -> nbformat.NotebookNode:
    """Executes a notebook in the project's folder, its output passed through to the console.

    Args:
        notebook: as `read` gives it.
        values: all its parameters.
        project: the project's folder.
        stage: the notebook's name.
        failed: where to keep the notebook, as far as it came, if it fails.

    Returns:
        The executed notebook.

    Raises:
        InputError: it failed; the line says what to do.
    """
    source = f"notebooks/{stage}.ipynb"
    value_of = _lookup(values, project, stage)
    for cell in notebook.cells:
        if "parameters" in cell.metadata.get("tags", []):
            # Papermill replaces a cell tagged so, where it would insert one: In [n] stays the source's.
            cell.metadata.tags = [*cell.metadata.tags, "injected-parameters"]
    with (
        tempfile.TemporaryDirectory(prefix="run-") as folder,
        surroundings.environment(surroundings.of_the_kernel(project, folder)),
    ):
        partial = Path(folder) / "partial.ipynb"
        try:
            return _by_papermill(notebook, partial, values, project, folder)
        except PapermillExecutionError as error:
            _keep(partial, failed)
            cause = error.evalue
            if error.ename != "InputError":
                cause = failures.told(f"{error.ename}: {error.evalue}", stage, value_of)
            raise InputError(f"{source}, cell [{error.exec_count}]: {_folded(cause)}") from None
        except DeadKernelError:
            _keep(partial, failed)
            raise InputError(f"{source}: the kernel died, {_why_it_died(stage, value_of)}") from None
        except RuntimeError as error:
            if "Kernel died" not in str(error):  # before it answered for the first time
                raise
            raise InputError(f"{source}: the kernel cannot start: {_why_no_kernel()}") from None


def _by_papermill(
    notebook: nbformat.NotebookNode, partial: Path, values: Mapping[str, object], project: Path, folder: str
) -> nbformat.NotebookNode:
    """Executes a notebook with papermill, which writes it to `partial` cell by cell."""
    # TCP would be open to every user of the machine, and ipykernel says so at length. The short name keeps the
    # sockets' paths under the system's limit, 104 characters on macOS.
    config = Config(
        KernelManager={"transport": "ipc", "connection_file": f"{folder}/kernel.json"},
        NotebookClient={"extra_arguments": [f"--InteractiveShellApp.exec_lines={kernel.FIRST_LINE}"]},
    )
    with surroundings.console() as (stdout, stderr):
        return papermill.execute_notebook(
            notebook,
            partial,
            dict(values),
            cwd=project,
            kernel_name="python3",
            language="python",
            progress_bar=False,
            stdout_file=stdout,
            stderr_file=stderr,
            config=config,
        )


def _lookup(values: Mapping[str, object], project: Path, stage: str) -> Callable[[str], object]:
    """A function from a parameter's name, as 'gnn.seeds', to its value in this run; KeyError where it has none."""

    def value_of(parameter: str) -> object:
        section, _, name = parameter.partition(".")
        if section == stage:
            return (values | values.get("knobs", {}))[name]
        value = params.read(project / "params.yaml").get(section, {})[name]
        if not isinstance(value, dict):
            return value
        if "collection" not in values:  # it differs between collections, and the stage sees them all
            raise KeyError(parameter)
        return params.section(project / "params.yaml", section, values["collection"])[name]

    return value_of


def _keep(partial: Path, failed: Path) -> None:
    """Keeps what there is of a notebook that failed, where there is room for it: its line matters more."""
    with suppress(OSError):
        files.replace(failed, partial.read_bytes())


def _why_it_died(stage: str, value_of: Callable[[str], object]) -> str:
    """What ended a kernel, most often, and what to do about it."""
    where = engine.configured()
    try:
        where.check()  # Ray ends a process whose part of the cluster is gone
    except InputError as error:
        return f"with the Ray cluster: {_folded(error)}"
    cause = "for want of memory" if where.kind == "local" else "for want of memory, or of Ray's head"
    return f"most often {cause}; {failures.remedy(stage, value_of)}"


def _why_no_kernel() -> str:
    """What Python says where a kernel cannot start, or how to find out."""
    probe = [sys.executable, "-c", "import ipykernel_launcher, ipykernel.kernelapp"]
    done = subprocess.run(probe, capture_output=True, text=True)
    if done.returncode:
        last = done.stderr.strip().splitlines()[-1:] or [f"{sys.executable} ended with {done.returncode}"]
        return f"{_folded(last[0])}; remove .venv and run make repro, which sets it up anew"
    return f"it ended before its first answer; `{sys.executable} -m ipykernel_launcher` may say why"


def _folded(text: object) -> str:
    """A message in one line, without colour codes."""
    return " ".join(re.sub(r"\x1b\[[0-9;]*m", "", str(text)).split())
