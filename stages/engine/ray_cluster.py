"""Tasks on the machines of a Ray cluster. Ray is imported only where it is asked for: one machine does without it."""

from __future__ import annotations

import contextlib
import functools
import importlib.util
import os
import shutil
import socket
import sys
import time
import urllib.parse
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from stages.engine.errors import InputError
from stages.engine.local import GOES_ON, KILLED
from stages.engine.processor import PROCESSOR

if TYPE_CHECKING:
    from stages.engine.engine import Engine

PATIENCE = 5  # seconds in which whatever listens at an address answers
SILENCE = 30  # seconds in which a cluster's head does not answer, and after which it is lost: Ray waits for a minute
RETRIES = 10  # of a task whose machine or process was lost
GIB = 2**30
#: of the environment, what a task needs on a cluster too
_INHERITED = ("OPENBLAS_NUM_THREADS", "CUBLAS_WORKSPACE_CONFIG", *PROCESSOR)


def check(address: str) -> None:
    """Raises InputError where Ray is not installed, or nothing listens at the address of a cluster."""
    if importlib.util.find_spec("ray") is None:
        raise InputError(
            "params.yaml, engine.kind: is 'ray', which is not installed; run `make cluster`, or "
            "`pip install -r requirements-cluster.txt`"
        )
    if address != "auto":
        _check_listens(address)


def host(address: str) -> tuple[str, int] | None:
    """Host and port of a cluster's address, None for "auto"; InputError for anything else."""
    if address == "auto":
        return None
    with contextlib.suppress(ValueError):  # of a port that is no number, or out of range
        parts = urllib.parse.urlsplit(address if "://" in address else f"tcp://{address}")
        if parts.scheme in ("tcp", "ray") and parts.hostname and parts.port and not parts.path:
            return parts.hostname, parts.port
    raise InputError(
        f"params.yaml, engine.address: {address!r} is no address of a cluster; give auto, HOST:PORT or ray://HOST:PORT"
    )


def spread(
    engine: Engine,
    function: Callable,
    tasks: Sequence,
    *,
    memory_knob: str,
    gpu: bool = False,
    calls: int = 0,
    fallback: object = None,
) -> Iterator[tuple[int, object]]:
    """Calls a function with each task on the machines of a cluster, and yields the results as they come.

    A task whose process or machine is lost is done again elsewhere; where the machine is only cut off, after seven
    minutes: Ray's `grpc_client_keepalive_time_ms` and `_timeout_ms`, 300 and 120 s. With 15 s each it took half a
    minute, but tasks of 200 s did not end: its servers refuse pings that come so often.

    Args: as of `Engine.spread`.

    Yields:
        (position of the task, result).

    Raises:
        InputError: as the function does; a process was killed again and again; the cluster was lost.
    """
    ray = connected(engine)
    remote = ray.remote(**_options(engine, gpu, calls))(_bootstrap()).options(name=_shown_name(function))
    project, variables = os.getcwd(), _variables()
    running: dict = {}
    try:
        shared = [ray.put((function, tasks))]  # once; in a list Ray leaves it to the task to get
        running |= {remote.remote(project, variables, shared, position): position for position in range(len(tasks))}
        head = _Head(engine, ray)
        while running:
            done, _ = ray.wait([*running], num_returns=1, timeout=PATIENCE)
            for reference in done:
                yield running.pop(reference), _result(ray, reference, fallback)
            if head.is_lost():
                running.clear()  # there is nobody to cancel them
                raise InputError(
                    "engine.address: the Ray cluster was lost, its head answers no more; start one with `ray start "
                    f"--head`, and {GOES_ON}"
                )
    except (ray.exceptions.WorkerCrashedError, ray.exceptions.OutOfMemoryError) as error:
        raise InputError(
            f"a Ray worker {KILLED} ({_first_line(error)}); lower {memory_knob}, or raise engine.memory; {GOES_ON}"
        ) from None
    except (ray.exceptions.RayError, ConnectionError) as error:
        raise InputError(f"engine.address: the Ray cluster was lost ({_first_line(error)}); {GOES_ON}") from None
    finally:
        with contextlib.suppress(ray.exceptions.RayError, ConnectionError):
            for reference in running:
                ray.cancel(reference)


def worker_group(engine: Engine, function: Callable, task: object, folder: str | Path, *, gpu: bool = False) -> None:
    """Calls a function with one task in `engine.workers` processes of a cluster at once, by Ray Train.

    Args: as of `Engine.worker_group`.

    Raises:
        InputError: as the function does, or where the workers were lost more than `RETRIES` times.
    """
    connected(engine)
    from ray.train import FailureConfig, RunConfig, ScalingConfig
    from ray.train.torch import TorchTrainer

    storage = Path(folder).resolve()
    uses_gpu = gpu and engine.gpus > 0
    resources = {"CPU": engine.cpus} | ({"GPU": engine.gpus} if uses_gpu else {})
    trainer = TorchTrainer(
        _member,
        train_loop_config={"function": function, "task": task, "project": os.getcwd()},
        scaling_config=ScalingConfig(num_workers=engine.workers, use_gpu=uses_gpu, resources_per_worker=resources),
        run_config=RunConfig(
            name="worker-group", storage_path=str(storage), failure_config=FailureConfig(max_failures=RETRIES)
        ),
    )
    try:
        result = trainer.fit()
    except Exception as error:  # Ray Train has one of its own for each part that may fail
        raise InputError(f"a training over {engine.workers} workers ended: {_first_line(error)}; {GOES_ON}") from error
    finally:
        shutil.rmtree(storage, ignore_errors=True)
    if fault := (result.metrics or {}).get("fault"):
        raise InputError(fault)


def connected(engine: Engine):
    """Ray's module, connected to the engine's cluster; InputError where there is none."""
    engine.check()
    import ray

    if ray.is_initialized():
        return ray
    os.environ.setdefault("RAY_IGNORE_UNHANDLED_ERRORS", "1")  # of tasks beside the one whose error is told
    address = engine.address
    try:
        if address == "auto":  # as ray.init finds it, which waits for ever where a cluster was and is no more
            address = ray._private.services.get_ray_address_from_environment(address, None)
    except ConnectionError:
        raise InputError(
            "params.yaml, engine.address: is 'auto', and no cluster runs here; start one with `ray start --head`"
        ) from None
    _check_listens(address)
    try:
        ray.init(
            address=address,
            # `spread` brings its environment itself, by `_bootstrap`: with this each worker starts twice.
            runtime_env={"env_vars": {"PYTHONPATH": os.getcwd()} | _variables()} if engine.workers > 1 else None,
            logging_level="error",
            log_to_driver=True,
        )
    except Exception as error:  # Ray has no class in common for what can be wrong with a cluster
        raise InputError(
            f"params.yaml, engine.address: {engine.address} is no Ray cluster that takes work ({_first_line(error)}); "
            "start one with `ray start --head`"
        ) from None
    _print_to_standard_error(ray)
    return ray


def answers(engine: Engine, ray) -> bool:
    """Whether the head of the cluster answers.

    Ray itself says nothing while it waits for the head, and then ends the process.
    """
    try:
        _check_listens(engine.address if "://" in engine.address else ray.get_runtime_context().gcs_address)
    except InputError:
        return False
    return True


class _Head:
    """Whether the head of a cluster still answers, asked every `PATIENCE` seconds."""

    def __init__(self, engine: Engine, ray) -> None:
        self.engine, self.ray = engine, ray
        self.answered, self.silent_since = time.monotonic(), None

    def is_lost(self) -> bool:
        """Whether it has not answered for `SILENCE` seconds; it may be silent for a moment."""
        now = time.monotonic()
        if now < self.answered + PATIENCE:
            return False
        if answers(self.engine, self.ray):
            self.answered, self.silent_since = now, None
            return False
        if self.silent_since is None:
            self.silent_since = now
        return now > self.silent_since + SILENCE


def _options(engine: Engine, gpu: bool, calls: int) -> dict[str, object]:
    """What Ray is asked for with each task."""
    options: dict[str, object] = {"num_cpus": engine.cpus, "max_retries": RETRIES, "max_calls": calls}
    if gpu and engine.gpus:
        options["num_gpus"] = engine.gpus
    if engine.memory:
        options["memory"] = int(engine.memory * GIB)
    return options


def _shown_name(function: Callable) -> str:
    """The name under which Ray's dashboard shows the tasks of a function."""
    named = getattr(function, "func", function)
    return f"{named.__module__}.{named.__name__}"


def _print_to_standard_error(ray) -> None:
    """Has what Ray prints here of other machines and of itself, such as a lost node, go to standard error.

    Progress goes there too. On standard output it would be part of the notebook, and of its page's bytes.
    """
    printed = ray._private.worker.print_worker_logs
    ray._private.worker.print_worker_logs = lambda data, sink, *rest: printed(data, sys.stderr, *rest)


def _variables() -> dict[str, str]:
    return {name: os.environ[name] for name in _INHERITED if name in os.environ}


def _bootstrap() -> Callable:
    """The function that begins a task on a machine of a cluster.

    It is made here so that it travels by its code, and not by the name of a module, which a worker cannot import
    before it is told where the project lies.
    """

    def begin(project: str, variables: Mapping[str, str], shared: list, position: int) -> tuple[bool, object]:
        import os
        import socket
        import sys

        os.environ.update(variables)  # before NumPy and torch are imported, which read them then
        try:
            os.chdir(project)
        except OSError as error:
            return False, (
                f"{project}: cannot be entered on {socket.gethostname()} ({error.strerror}); the project needs to lie "
                "there, on a file system that all machines of the cluster share"
            )
        if project not in sys.path:
            sys.path.insert(0, project)
        from stages.engine.ray_cluster import _called

        return _called(shared[0], position)

    return begin


def _called(shared, position: int) -> tuple[bool, object]:
    """Calls the function with the task at a position, on a machine of a cluster.

    Returns:
        (True, its result), or (False, the line of its InputError).
    """
    function, tasks = _received(shared)
    try:
        return True, function(tasks[position])
    except InputError as error:
        return False, str(error)


@functools.lru_cache(maxsize=1)
def _received(shared) -> tuple[Callable, Sequence]:
    """What Ray's reference stands for, made once for all tasks that follow one another: it may hold many models."""
    import ray

    return ray.get(shared)


def _result(ray, reference, fallback: object) -> object:
    """The result of a task, or the fallback where its process was lost again and again."""
    try:
        succeeded, result = ray.get(reference)
    except (ray.exceptions.WorkerCrashedError, ray.exceptions.OutOfMemoryError):
        if fallback is None:
            raise
        return fallback
    except ray.exceptions.RayTaskError as error:
        raise error.cause from None
    if not succeeded:
        raise InputError(result)
    return result


def _member(config: Mapping) -> None:
    """What each worker of a `worker_group` runs."""
    import ray.train
    import ray.train.torch
    import torch

    os.chdir(config["project"])
    device = ray.train.torch.get_device()
    if device.type == "cuda":
        torch.cuda.set_device(device)
    try:
        config["function"](config["task"])
        ray.train.report({})
    except InputError as error:
        ray.train.report({"fault": str(error)})


def _check_listens(address: str) -> None:
    """Raises InputError where nothing listens at a cluster's address."""
    try:
        socket.create_connection(host(address), PATIENCE).close()
    except OSError as error:
        raise InputError(
            f"params.yaml, engine.address: nothing answers at {address} ({error}); start a cluster with `ray start "
            "--head`, or mend the address"
        ) from None


def _first_line(error: BaseException) -> str:
    """The first line of an error of Ray's, which may have many."""
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__
