"""The surroundings of a notebook while it runs: its environment, the console and the clocks."""

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
class Times:
    """The times of a block.

    Attributes:
        seconds: wall-clock time.
        processor: processor seconds of the processes that it started and that have ended: the kernel and its workers.
    """

    seconds: float = 0.0
    processor: float = 0.0


@contextmanager
def timed() -> Iterator[Times]:
    """Measures the times of a block and fills in the yielded object at the block's end."""
    times = Times()
    start, before = time.perf_counter(), resource.getrusage(resource.RUSAGE_CHILDREN)
    yield times
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    times.seconds = time.perf_counter() - start
    times.processor = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


@contextmanager
def environment(variables: Mapping[str, str]) -> Iterator[None]:
    """Sets environment variables for a block; processes that the block starts inherit them."""
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
    """Environment variables of a kernel: the project's path, fixed hashing, one thread, no profile of the user.

    Args:
        project: the project's folder.
        folder: for the files of Jupyter and IPython; it is removed after the run.

    Returns:
        Name -> value.
    """
    return {
        "PYTHONPATH": str(project),  # no more: packages on the shell's path would replace those of the environment
        "PYTHONHASHSEED": "0",
        "OPENBLAS_NUM_THREADS": "1",  # sums depend on the number of threads, and each core has a task anyway
        "CUBLAS_WORKSPACE_CONFIG": ":4096:8",  # makes cuBLAS add in the same order every time
        **PROCESSOR,
        "MPLBACKEND": "module://matplotlib_inline.backend_inline",
        "JUPYTER_RUNTIME_DIR": folder,
        "JUPYTER_DATA_DIR": folder,  # the kernel is this interpreter, whatever `python3` is in the user's folders
        "JUPYTER_PATH": "",
        "JUPYTER_PREFER_ENV_PATH": "1",
        "IPYTHONDIR": folder,
        "PYDEVD_DISABLE_FILE_VALIDATION": "1",  # the debugger warns about frozen modules on every start
    }


@contextmanager
def console() -> Iterator[tuple[TextIO, TextIO]]:
    """Yields the console's two streams, which the kernel does not inherit.

    ipykernel captures what processes of the notebook print, and repeats it on the streams that it inherited. With the
    console's streams every line would appear there twice.
    """
    try:
        outer = [os.dup(stream.fileno()) for stream in (sys.stdout, sys.stderr)]
    except OSError:  # the streams were replaced by objects without a descriptor, which no kernel inherits
        yield sys.stdout, sys.stderr
        return
    sys.stdout.flush()
    sys.stderr.flush()
    before = [os.dup(descriptor) for descriptor in (1, 2)]
    with open(outer[0], "w") as stdout, open(outer[1], "w") as stderr, open(os.devnull, "w") as nowhere:
        for descriptor in (1, 2):
            os.dup2(nowhere.fileno(), descriptor)
        try:
            yield stdout, stderr
        finally:
            for descriptor, original in zip((1, 2), before, strict=True):
                os.dup2(original, descriptor)
                os.close(original)
