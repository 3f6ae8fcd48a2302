"""What surrounds a notebook while it runs: its environment, the console, and the clocks."""

from __future__ import annotations

import os
import resource
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

from stages.engine.processor import PROCESSOR


@dataclass
class Taken:
    """How long a block took.

    Attributes:
        seconds: of wall-clock time.
        processor: seconds of processor time, of the processes that it started and that have ended: the kernel and its
            workers.
    """

    seconds: float = 0.0
    processor: float = 0.0


@contextmanager
def timed() -> Iterator[Taken]:
    """Yields what is filled in at the end of the block."""
    taken = Taken()
    start, before = time.perf_counter(), resource.getrusage(resource.RUSAGE_CHILDREN)
    yield taken
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    taken.seconds = time.perf_counter() - start
    taken.processor = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


@contextmanager
def environment(variables: Mapping[str, str]) -> Iterator[None]:
    """Sets variables of the environment for a block; processes that it starts inherit them."""
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def of_the_kernel(project: Path, folder: str) -> dict[str, str]:
    """Variables that a kernel inherits: the project's path, fixed hashing, one thread a sum, no profile of the user's.

    Args:
        project: the project's folder.
        folder: for the files of Jupyter and IPython; it goes with the kernel.
    """
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
def console() -> Iterator[tuple[TextIO, TextIO]]:
    """Yields the console's two streams, which the kernel does not inherit.

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
