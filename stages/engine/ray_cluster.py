"""Runs tasks on the machines of a Ray cluster. Ray is imported inside functions, because one machine needs no Ray."""

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

PATIENCE = 5  # seconds to wait for an answer at an address
SILENCE = 30  # seconds without an answer after which a cluster's head counts as lost; Ray waits for a minute
RETRIES = 10  # for a task whose machine or process was lost
GIB = 2**30
#: environment variables that a task needs on a cluster too
_INHERITED = ("OPENBLAS_NUM_THREADS", "CUBLAS_WORKSPACE_CONFIG", *PROCESSOR)


def check(address: str) -> None:
    """Raises InputError if Ray is not installed, or nothing listens at the address of a cluster."""
    if importlib.util.find_spec("ray") is None:
        raise InputError(
            "params.yaml, engine.kind: is 'ray', which is not installed; run `make cluster`, or "
            "`pip install -r requirements-cluster.txt`"
        )
    if address != "auto":
        _check_listens(address)


def host(address: str) -> tuple[str, int] | None:
    """Host and port of a cluster's address.

    Args:
        address: "auto", HOST:PORT or ray://HOST:PORT.

    Returns:
        (host, port); None for "auto".

    Raises:
        InputError: it is no such address.
    """
    if address == "auto":
        return None
    with contextlib.suppress(ValueError):  # the port is no number, or out of range
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

    If a process or a machine is lost, its task runs again elsewhere. If a machine is only cut off from the network,
    Ray notices it after seven minutes: its `grpc_client_keepalive_time_ms` and `_timeout_ms` are 300 and 120 s. With
    15 s each it noticed after half a minute, but tasks of 200 s did not end, because its servers refuse such frequent
    pings.

    Args:
        engine: the cluster.
        function, tasks, memory_knob, gpu, calls, fallback: as in `Engine.spread`.

    Yields:
        (position of the task, result).

    Raises:
        InputError: as the function raises it; or a process was killed again and again; or the cluster was lost.
    """
    ray = connected(engine)
    remote = ray.remote(**_options(engine, gpu, calls))(_bootstrap()).options(name=_task_name(function))
    project, variables = os.getcwd(), _variables()
    running: dict = {}
    try:
        shared = [ray.put((function, tasks))]  # sent once; Ray leaves a reference in a list to the task
        running |= {remote.remote(project, variables, shared, position): position for position in range(len(tasks))}
        head = _Head(engine, ray)
        while running:
            done, _ = ray.wait([*running], num_returns=1, timeout=PATIENCE)
            for reference in done:
                yield running.pop(reference), _result(ray, reference, fallback)
            if head.is_lost():
                running.clear()  # without a head no task can be cancelled
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
    """Calls a function with one task in `engine.workers` processes of a cluster at the same time, by Ray Train.

    Args:
        engine: the cluster.
        function, task, folder, gpu: as in `Engine.worker_group`.

    Raises:
        InputError: as the function raises it, or the workers were lost more than `RETRIES` times.
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
    except Exception as error:  # Ray Train has a class of its own for each part that may fail
        raise InputError(f"a training over {engine.workers} workers ended: {_first_line(error)}; {GOES_ON}") from error
    finally:
        shutil.rmtree(storage, ignore_errors=True)
    if fault := (result.metrics or {}).get("fault"):
        raise InputError(fault)


def connected(engine: Engine):
    """Ray's module, connected to the engine's cluster; InputError if the cluster cannot be reached."""
    engine.check()
    import ray

    if ray.is_initialized():
        return ray
    os.environ.setdefault("RAY_IGNORE_UNHANDLED_ERRORS", "1")  # of the tasks beside the one whose error is raised
    address = engine.address
    try:
        if address == "auto":  # found as ray.init does it, which waits forever for a cluster that has ended
            address = ray._private.services.get_ray_address_from_environment(address, None)
    except ConnectionError:
        raise InputError(
            "params.yaml, engine.address: is 'auto', and no cluster runs here; start one with `ray start --head`"
        ) from None
    _check_listens(address)
    try:
        ray.init(
            address=address,
            # `spread` sets the environment itself, by `_bootstrap`, because with this each worker starts twice.
            runtime_env={"env_vars": {"PYTHONPATH": os.getcwd()} | _variables()} if engine.workers > 1 else None,
            logging_level="error",
            log_to_driver=True,
        )
    except Exception as error:  # Ray's errors about a cluster have no class in common
        raise InputError(
            f"params.yaml, engine.address: {engine.address} is no Ray cluster that takes work ({_first_line(error)}); "
            "start one with `ray start --head`"
        ) from None
    _print_to_standard_error(ray)
    return ray


def answers(engine: Engine, ray) -> bool:
    """Whether the head of the cluster answers.

    Ray itself waits for the head silently, and then ends the process.
    """
    try:
        _check_listens(engine.address if "://" in engine.address else ray.get_runtime_context().gcs_address)
    except InputError:
        return False
    return True


class _Head:
    """Tells whether the head of a cluster still answers; it asks every `PATIENCE` seconds."""

    def __init__(self, engine: Engine, ray) -> None:
        self.engine, self.ray = engine, ray
        self.answered, self.silent_since = time.monotonic(), None

    def is_lost(self) -> bool:
        """Whether the head has not answered for `SILENCE` seconds; shorter silence is normal."""
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
    """Ray's options for each task."""
    options: dict[str, object] = {"num_cpus": engine.cpus, "max_retries": RETRIES, "max_calls": calls}
    if gpu and engine.gpus:
        options["num_gpus"] = engine.gpus
    if engine.memory:
        options["memory"] = int(engine.memory * GIB)
    return options


def _task_name(function: Callable) -> str:
    """The name under which Ray's dashboard shows the tasks of a function."""
    named = getattr(function, "func", function)
    return f"{named.__module__}.{named.__name__}"


def _print_to_standard_error(ray) -> None:
    """Redirects to standard error what Ray prints here about other machines and itself, such as a lost node.

    Progress goes there too. On standard output it would be part of the notebook, and of its page's bytes.
    """
    printed = ray._private.worker.print_worker_logs
    ray._private.worker.print_worker_logs = lambda data, sink, *rest: printed(data, sys.stderr, *rest)


def _variables() -> dict[str, str]:
    return {name: os.environ[name] for name in _INHERITED if name in os.environ}


def _bootstrap() -> Callable:
    """The function that begins a task on a machine of a cluster.

    It is a local function, so that Ray sends its code and not the name of a module: a worker cannot import a module
    of the project before it knows where the project lies.
    """

    def begin(project: str, variables: Mapping[str, str], shared: list, position: int) -> tuple[bool, object]:
        import os
        import socket
        import sys

        os.environ.update(variables)  # before the import of NumPy and torch, which read them
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
    """The function and the tasks behind Ray's reference; cached, because they may hold many models."""
    import ray

    return ray.get(shared)


def _result(ray, reference, fallback: object) -> object:
    """The result of a task, or the fallback if its process was lost again and again."""
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
    """Runs in each worker of a `worker_group`."""
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
    """Raises InputError if nothing listens at a cluster's address."""
    try:
        socket.create_connection(host(address), PATIENCE).close()
    except OSError as error:
        raise InputError(
            f"params.yaml, engine.address: nothing answers at {address} ({error}); start a cluster with `ray start "
            "--head`, or mend the address"
        ) from None


def _first_line(error: BaseException) -> str:
    """The first line of an error of Ray, which may have many lines."""
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__
