"""Run one stage's notebook with its section of params.yaml: `python -m stages.run STAGE [key=value ...]`.

Papermill executes; this module adds what it lacks: parameters that are refused when unknown or of the wrong type,
failures in one line, and a report whose bytes depend on nothing but the notebook's results.
"""
# ruff: noqa: E402

import ast
import functools
import json
import logging
import math
import operator
import os
import re
import resource
import signal
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

INTERRUPTED = "" if "STAGES_REPRO" in os.environ else "interrupted\n"  # stages.repro says so itself
if __name__ == "__main__":  # what follows takes a second to import, and an interrupt there is to be one line too
    signal.signal(signal.SIGINT, lambda *_: (os.write(2, INTERRUPTED.encode()), os._exit(130)))

import nbformat
import papermill
from nbclient.exceptions import DeadKernelError
from nbformat.validator import MissingIDFieldWarning
from papermill.exceptions import PapermillExecutionError
from traitlets.config import Config

from stages import PROCESSOR, checks, files, inputs
from stages.engine import elapsed_times, engine, lifetime
from stages.errors import InputError
from stages.graphs import collection as collections
from stages.graphs import roots
from stages.runner import failures, kernel, page, params

FRONT = "leaderboard"  # whose page all others link
ROOTED = ("prune", "configuration")  # read npz files
LARGEST_WHOLE = 2**53  # beyond it float64 merges neighbours
_TYPES = {"bool": bool, "int": int, "float": float, "str": str, "list": list, "None": type(None)}


def main(arguments: Sequence[str] | None = None, project: str | Path = ".") -> int:
    """Run a stage from the command line; return the exit status: 0, or 1 after one line on stderr."""
    arguments = sys.argv[1:] if arguments is None else arguments
    logging.getLogger("asyncio").setLevel(logging.CRITICAL)  # what it finds left of an interrupted notebook is no news
    try:
        if not arguments or arguments[0] in ("-h", "--help"):
            print("usage: python -m stages.run STAGE [key=value ...]; stages:", ", ".join(names(Path(project))))
            return 0 if arguments else 1
        execute(arguments[0], dict(map(_pair, arguments[1:])), project)
    except InputError as error:
        print(error, file=sys.stderr)
        return 1
    except OSError as error:
        if not (line := failures.of_system(error)):
            raise
        print(line, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print(end=INTERRUPTED, file=sys.stderr)
        return 130
    return 0


def names(project: Path) -> list[str]:
    """Return the stages of a project: the names of its notebooks, sorted."""
    return sorted(path.stem for path in (project / "notebooks").glob("*.ipynb"))


def execute(stage: str, given: dict[str, object], project: str | Path = ".") -> Path:
    """Execute notebooks/STAGE.ipynb and write reports/STAGE[-SLUG].html; return the report's path.

    Parameters come, the last one winning, from the notebook's defaults, its section of params.yaml and `given`; a
    notebook that has `root` takes the section data too. It runs with the project's folder as working directory.

    Raises:
        InputError: unknown stage, parameter or collection, a wrong type, or a failure in the notebook, whose partial
            copy is then kept as reports/STAGE[-SLUG].failed.ipynb.
    """
    project = Path(project).resolve()
    notebook = _read(project, stage)
    values = parameters(notebook, stage, given, project)
    name = f"{stage}-{collections.slug(values['collection'])}" if "collection" in values else stage
    shown, failed = (project / "reports" / f"{name}{suffix}" for suffix in (".html", ".failed.ipynb"))
    if stage in ROOTED:
        roots.check(values["root"], [values["collection"]], project)
    for folder in (shown.parent, project / values.get("data", "data")):
        failures.check_writable(folder)
    where = engine.of(params.read(project / "params.yaml").get("engine", {}))
    where.check()
    held = project / ".dvc" / "tmp" / f"run-{name}.lock"
    with _alone(held, name), _timed() as taken, _environment(engine.exported(where) | {kernel.LOCK: str(held)}):
        executed = _papermill(notebook, values, project, stage, failed)
        checks.made_by(stage, values | {"data": str(project / values.get("data", "data"))})
    title = " · ".join([stage, values.get("collection", "")]).rstrip(" ·")
    front = None if stage == FRONT else f"{FRONT}.html"
    files.replace(shown, page.html(executed, title, front).encode())
    failed.unlink(missing_ok=True)
    elapsed_times.ran(project / "data", name, stage, values.get("collection"), *taken)
    return shown


def parameters(notebook: nbformat.NotebookNode, stage: str, given: dict[str, object], project: Path) -> dict:
    """Return every parameter of the notebook with its value, checked against the notebook's defaults.

    Raises:
        InputError: a name the notebook does not have, or a value of another type than its default.
    """
    file, source = project / "params.yaml", f"notebooks/{stage}.ipynb"
    defaults = _defaults(notebook, source)
    if foreign := [name for name in params.sections(file) if name not in ("data", "engine", *names(project))]:
        raise InputError(f"params.yaml: no stage '{foreign[0]}'; the stages are {', '.join(names(project))}")
    known = ", ".join(f"{name} ({kind})" for name, (_, kind) in defaults.items()) or "none"
    _known(given, defaults, "command line", f"{source} takes {known}")
    given = {name: _official(name, value) for name, value in given.items()}
    collection = given.get("collection", defaults.get("collection", (None,))[0])
    own = params.section(file, stage, collection, given) if stage in params.sections(file) else given
    _known(own, defaults, f"params.yaml, {stage}", f"{source} takes {known}")
    everything = params.read(file)
    if "root" in defaults:
        shared = params.section(file, "data", collection, {"collections": None})
        del shared["collections"]  # of the pipeline
        _known(shared, defaults, "params.yaml, data", f"{source} takes {known}")
        own = {**shared, **own}
    if "collections" in defaults and "collections" in everything.get("data", {}):
        own = {"collections": inputs.collections(everything), **own}
    own = {name: inputs.resolved(everything, name, value) for name, value in own.items()}
    return {
        name: _typed(f"{stage}.{name}", own.get(name, default), kind, f"{source} takes {known}")
        for name, (default, kind) in defaults.items()
    }


@contextmanager
def _alone(path: Path, name: str) -> Iterator[None]:
    """Hold the stage's lock, which its kernel joins; InputError where an earlier run of it does not end."""

    def busy(holder: str) -> str:
        return f"{name}: is at work in this folder already, in process {holder}; wait for it"

    descriptor = lifetime.lock(path, busy, lifetime.PATIENCE, shared=True)
    try:
        yield
    finally:
        os.close(descriptor)


def _pair(argument: str) -> tuple[str, object]:
    """Split `key=value`; the value is read as a YAML 1.2 scalar or a flat list in brackets, else as a string."""
    key, equals, text = argument.partition("=")
    if not equals or not key.isidentifier():
        raise InputError(f"{argument}: is not a parameter; write key=value")
    return key, _scalar(text)


def _scalar(text: str) -> object:
    if text.startswith("[") and text.endswith("]"):
        return [_scalar(item.strip()) for item in text[1:-1].split(",") if item.strip()]
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text


def _read(project: Path, stage: str) -> nbformat.NotebookNode:
    """Read the stage's notebook and number its cells' ids by position."""
    if stage not in names(project):
        raise InputError(f"no stage '{stage}'; the stages are {', '.join(names(project)) or 'none here'}")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", MissingIDFieldWarning)
            notebook = nbformat.read(project / "notebooks" / f"{stage}.ipynb", as_version=4)
    except Exception as error:  # nbformat raises a different class for each kind of broken file
        raise InputError(f"notebooks/{stage}.ipynb: is not a notebook ({_line(str(error))}); restore it") from None
    for position, cell in enumerate(notebook.cells):
        cell.id = f"cell-{position:02d}"
    return notebook


def _defaults(notebook: nbformat.NotebookNode, source: str) -> dict[str, tuple[object, str]]:
    """Return {name: (default, type)} from the cell tagged `parameters`; the type is the annotation's or the default's.

    Only literals are accepted there, so that a notebook's parameters can be known without running it. An annotation
    such as `hops: int | str = 1` allows several types.
    """
    cells = [cell for cell in notebook.cells if "parameters" in cell.metadata.get("tags", [])]
    if not cells:
        return {}
    defaults = {}
    try:
        for statement in ast.parse(cells[0].source).body:
            if isinstance(statement, ast.AnnAssign):
                target, kind = statement.target, ast.unparse(statement.annotation)
            else:
                (target,), kind = statement.targets, None
            default = ast.literal_eval(statement.value)
            defaults[target.id] = default, kind or type(default).__name__
    except (SyntaxError, ValueError, AttributeError):
        raise InputError(f"{source}: the parameters cell holds more than name = literal; move the rest below") from None
    return defaults


def _known(values: dict, defaults: dict, where: str, listing: str) -> None:
    for name in values:
        if name not in defaults:
            raise InputError(f"{where}: unknown parameter '{name}'; {listing}")


def _official(name: str, value: object) -> object:
    """Turn slugs into official collection names; raise InputError that lists the five for any other name."""
    if name == "collection":
        return collections.from_slug(str(value))
    if name == "collections" and isinstance(value, list):
        return [collections.from_slug(str(item)) for item in value]
    return value


def _typed(name: str, value: object, kind: str, listing: str) -> object:
    """Return the value, a whole number as float where a float is wanted; raise InputError on another type."""
    _check_number(name, value)
    wanted = functools.reduce(operator.or_, (_TYPES[part.strip()] for part in kind.split("|")))
    return checks.fitting(name, value, wanted, listing)


def _check_number(name: str, value: object) -> None:
    if type(value) is float and not math.isfinite(value):
        raise InputError(f"{name}: {value} is no number to compute with; give a finite one")
    if type(value) is int and abs(value) > LARGEST_WHOLE:
        raise InputError(f"{name}: {str(value)[:20]} is too large; give at most 2^53")


def _papermill(
    notebook: nbformat.NotebookNode, values: dict, project: Path, stage: str, failed: Path
) -> nbformat.NotebookNode:
    """Execute the notebook in a kernel of its own, its output passed through; return the executed notebook."""
    source = f"notebooks/{stage}.ipynb"

    def now(parameter: str) -> object:
        section, _, name = parameter.partition(".")
        if section == stage:
            return values[name]
        value = params.read(project / "params.yaml").get(section, {})[name]
        if not isinstance(value, dict):
            return value
        if "collection" not in values:  # it differs between collections, and the stage sees them all
            raise KeyError(parameter)
        return params.section(project / "params.yaml", section, values["collection"])[name]

    for cell in notebook.cells:
        if "parameters" in cell.metadata.get("tags", []):
            # Papermill replaces a cell tagged so, where it would insert one: In [n] stays the source's.
            cell.metadata.tags = [*cell.metadata.tags, "injected-parameters"]
    with (
        tempfile.TemporaryDirectory(prefix="run-") as folder,
        _environment(_inherited(project, folder)),
        _console() as (stdout, stderr),
    ):
        partial = Path(folder) / "partial.ipynb"
        try:
            return papermill.execute_notebook(
                notebook,
                partial,
                values,
                cwd=project,
                kernel_name="python3",
                language="python",
                progress_bar=False,
                stdout_file=stdout,
                stderr_file=stderr,
                # TCP would be open to every user of the machine, and ipykernel says so at length. The short
                # name keeps the sockets' paths under the system's limit, 104 characters on macOS.
                config=Config(
                    KernelManager={"transport": "ipc", "connection_file": f"{folder}/kernel.json"},
                    NotebookClient={"extra_arguments": [f"--InteractiveShellApp.exec_lines={kernel.FIRST_LINE}"]},
                ),
            )
        except PapermillExecutionError as error:
            _keep(partial, failed)
            cause = error.evalue
            if error.ename != "InputError":
                cause = failures.told(f"{error.ename}: {error.evalue}", stage, now)
            raise InputError(f"{source}, cell [{error.exec_count}]: {_line(cause)}") from None
        except DeadKernelError:
            _keep(partial, failed)
            where = engine.configured()
            try:
                where.check()  # Ray ends a process whose part of the cluster is gone
            except InputError as lost:
                raise InputError(f"{source}: the kernel died, with the Ray cluster: {_line(str(lost))}") from None
            why = "for want of memory" if where.kind == "local" else "for want of memory, or of Ray's head"
            advice = failures.remedy(stage, now)
            raise InputError(f"{source}: the kernel died, most often {why}; {advice}") from None
        except RuntimeError as error:
            if "Kernel died" not in str(error):  # before it answered for the first time
                raise
            raise InputError(f"{source}: the kernel cannot start: {_why_no_kernel()}") from None


def _why_no_kernel() -> str:
    """What Python says where a kernel cannot start, or how to find out."""
    probe = [sys.executable, "-c", "import ipykernel_launcher, ipykernel.kernelapp"]
    done = subprocess.run(probe, capture_output=True, text=True)
    if done.returncode:
        last = done.stderr.strip().splitlines()[-1:] or [f"{sys.executable} ended with {done.returncode}"]
        return f"{_line(last[0])}; remove .venv and run make repro, which sets it up anew"
    return f"it ended before its first answer; `{sys.executable} -m ipykernel_launcher` may say why"


def _keep(partial: Path, failed: Path) -> None:
    """Keeps what there is of a notebook that failed, where there is room for it: its line matters more."""
    with suppress(OSError):
        files.replace(failed, partial.read_bytes())


@contextmanager
def _timed() -> Iterator[list[float]]:
    """Yield a list that has wall-clock and processor seconds at the end, these of the kernel and its workers."""
    taken: list[float] = []
    start, before = time.perf_counter(), resource.getrusage(resource.RUSAGE_CHILDREN)
    yield taken
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    worked = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    taken += [time.perf_counter() - start, worked]


@contextmanager
def _console():
    """Yield the console's two streams, which the kernel does not inherit.

    ipykernel hands on what processes of the notebook's own print and repeats it on the streams it inherited: every
    line would be there twice.
    """
    try:
        shown = [os.dup(stream.fileno()) for stream in (sys.stdout, sys.stderr)]
    except OSError:  # replaced by something without a descriptor, which no kernel can inherit
        yield sys.stdout, sys.stderr
        return
    sys.stdout.flush()
    sys.stderr.flush()
    before = [os.dup(descriptor) for descriptor in (1, 2)]
    with open(shown[0], "w") as stdout, open(shown[1], "w") as stderr, open(os.devnull, "w") as nowhere:
        for descriptor in (1, 2):
            os.dup2(nowhere.fileno(), descriptor)
        try:
            yield stdout, stderr
        finally:
            for descriptor, original in zip((1, 2), before, strict=True):
                os.dup2(original, descriptor)
                os.close(original)


def _inherited(project: Path, folder: str) -> dict[str, str]:
    """What the kernel inherits: the project's path, fixed hashing, one thread a sum, no profile of the user's own."""
    return {
        "PYTHONPATH": str(project),  # alone: packages of the shell's would take the place of the environment's
        "PYTHONHASHSEED": "0",
        "OPENBLAS_NUM_THREADS": "1",  # sums depend on the number of threads, and cores have tasks of their own
        "CUBLAS_WORKSPACE_CONFIG": ":4096:8",  # what cuBLAS needs to add in the same order every time
        **PROCESSOR,
        "MPLBACKEND": "module://matplotlib_inline.backend_inline",
        "JUPYTER_RUNTIME_DIR": folder,
        "JUPYTER_DATA_DIR": folder,  # the kernel is this interpreter's, whatever `python3` the user's folders name
        "JUPYTER_PATH": "",
        "JUPYTER_PREFER_ENV_PATH": "1",
        "IPYTHONDIR": folder,
        "PYDEVD_DISABLE_FILE_VALIDATION": "1",  # the debugger warns about frozen modules on every start
    }


@contextmanager
def _environment(wanted: dict[str, str]) -> Iterator[None]:
    """Set variables of the environment, which child processes inherit."""
    before = {name: os.environ.get(name) for name in wanted}
    os.environ.update(wanted)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def _line(text: str) -> str:
    """Fold a message into one line without colour codes."""
    return " ".join(re.sub(r"\x1b\[[0-9;]*m", "", text).split())


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.default_int_handler)
    lifetime.end_with_starters(signal.SIGKILL, lambda: (lifetime.end_all_below(), os._exit(1)))
    sys.exit(main())
