"""Where the tasks of a stage run: on the cores of this machine, or on the machines of a Ray cluster.

params.yaml's section `engine` chooses. It is no parameter of a stage, because no result depends on it: `python -m
stages.run` checks it and leaves it in the environment of the notebook's process, where `configured` finds it. A
notebook opened by hand runs here.

A cluster's machines need the project under the same path, on a file system they share, and the same packages: tasks
read and write the files below data/ themselves, and what travels through Ray are their results, and what they share.
"""

from __future__ import annotations

import contextlib
import functools
import importlib.util
import json
import multiprocessing
import os
import shutil
import socket
import sys
import threading
import time
import urllib.parse
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Executor, ProcessPoolExecutor, ThreadPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import asdict, dataclass, fields
from pathlib import Path

from stages import PROCESSOR
from stages.engine import lifetime
from stages.errors import InputError

KINDS = ("local", "ray")
VARIABLE = "STAGES_ENGINE"  # of the environment: the section as JSON
PATIENCE = 5  # seconds in which whatever listens at an address answers
SILENCE = 30  # seconds in which a cluster's head does not answer, and after which it is lost: Ray waits for a minute
RETRIES = 10  # of a task whose machine or process was lost
GIB = 2**30
#: of the environment, what a task needs on a cluster too
_INHERITED = ("OPENBLAS_NUM_THREADS", "CUBLAS_WORKSPACE_CONFIG", *PROCESSOR)
_KILLED = "was killed, most often for want of memory"
_GOES_ON = "run again, it goes on where it was"


@dataclass(frozen=True)
class Engine:
    """The section `engine` of params.yaml.

    address: of a cluster, "auto" for the one that this machine belongs to, HOST:PORT, or ray://HOST:PORT of its client
    server. cpus, gpus (a share of one), memory (GiB, 0: not asked for): what a task is given on a cluster. workers:
    processes there over which the training of one network is split, see `team`.
    """

    kind: str = "local"
    address: str = "auto"
    cpus: int = 1
    gpus: float = 0.0
    memory: float = 0.0
    workers: int = 1

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise InputError(f"params.yaml, engine.kind: is {self.kind!r}; choose one of {', '.join(KINDS)}")
        for name, least in (("cpus", 1), ("workers", 1), ("gpus", 0), ("memory", 0)):
            if not (value := getattr(self, name)) >= least:
                raise InputError(f"params.yaml, engine.{name}: is {value}; give at least {least}")
        if self.kind == "ray":
            _host(self.address)
        elif self.workers > 1:
            raise InputError(
                f"params.yaml, engine.workers: is {self.workers}, which needs Ray; set engine.kind: ray, or workers: 1"
            )

    def check(self) -> None:
        """InputError where Ray is asked for and not installed, or nothing listens at the address."""
        if self.kind != "ray":
            return
        if importlib.util.find_spec("ray") is None:
            raise InputError(
                "params.yaml, engine.kind: is 'ray', which is not installed; run `make cluster`, or "
                "`pip install -r requirements-cluster.txt`"
            )
        if self.address != "auto":
            _listens(self.address)

    def spread(
        self,
        function: Callable,
        tasks: Sequence,
        *,
        memory_knob: str,
        parallel: int | None = None,
        threads: bool = False,
        gpu: bool = False,
        calls: int = 0,
        fallback: object = None,
    ) -> Iterator[tuple[int, object]]:
        """Calls the function, importable by name or a `partial` of such a one, with each task; yields (place of the
        task, result) as they are done.

        parallel: how many tasks at a time pay on this machine, by default one a core; with 1 all are done in this
        process, on a cluster too. threads: the function works outside of Python, and so threads of this process do for
        it. gpu: on a cluster each task is given `gpus`, even where only one task at a time pays here. memory_knob: the
        parameter with which a task takes less memory.

        A task of a cluster whose process or machine is lost is done again elsewhere; where the machine is only cut off,
        after seven minutes: Ray's `grpc_client_keepalive_time_ms` and `_timeout_ms`, 300 and 120 s. With 15 s each it
        took half a minute, but tasks of 200 s did not end: its servers refuse pings that come so often. fallback: what
        stands there for the result of one that loses its process again and again, else an error. calls: tasks after
        which a process of a cluster makes way for a fresh one; 0: it stays.

        Raises what the function raises, and InputError where a process was killed, or the cluster cannot be reached.
        """
        if self.kind == "ray" and (parallel != 1 or gpu):
            yield from self._on_cluster(function, tasks, memory_knob, gpu, calls, fallback)
            return
        together = min(len(tasks), os.cpu_count() or 1, parallel or len(tasks))
        try:
            if together <= 1:
                yield from ((place, function(task)) for place, task in enumerate(tasks))
                return
            with ThreadPoolExecutor(together) if threads else _processes(function, together) as pool:
                try:
                    yield from _done(pool, function, tasks)
                finally:
                    pool.shutdown(cancel_futures=True)
        except (BrokenProcessPool, SystemExit):  # a notebook would take the second for a cell that is done
            raise InputError(f"a process {_KILLED}; lower {memory_knob}, or {_GOES_ON}") from None

    def ordered(self, function: Callable, tasks: Sequence, **options: object) -> Iterator:
        """The results of `spread` in the order of the tasks, each as soon as those before it are there."""
        early: dict[int, object] = {}
        due = 0
        for place, result in self.spread(function, tasks, **options):
            early[place] = result
            while due in early:
                yield early.pop(due)
                due += 1

    def worker_group(self, function: Callable, task: object, folder: str | Path, *, gpu: bool = False) -> None:
        """Calls the function with the task in `workers` processes of a cluster at once, which `torch.distributed`
        connects, by gloo or, with GPUs, by NCCL: Ray Train. What it returns is lost.

        folder: for Ray Train's own files, which go at the end; the machines share it. A lost process or machine starts
        all of them again. Raises InputError as the function does.
        """
        self._connected()
        from ray.train import FailureConfig, RunConfig, ScalingConfig
        from ray.train.torch import TorchTrainer

        storage = Path(folder).resolve()
        uses_gpu = gpu and self.gpus > 0
        resources = {"CPU": self.cpus} | ({"GPU": self.gpus} if uses_gpu else {})
        trainer = TorchTrainer(
            _member,
            train_loop_config={"function": function, "task": task, "project": os.getcwd()},
            scaling_config=ScalingConfig(num_workers=self.workers, use_gpu=uses_gpu, resources_per_worker=resources),
            run_config=RunConfig(
                name="team", storage_path=str(storage), failure_config=FailureConfig(max_failures=RETRIES)
            ),
        )
        try:
            result = trainer.fit()
        except Exception as error:  # Ray Train has one of its own for each part that may fail
            raise InputError(f"a training over {self.workers} workers ended: {_first(error)}; {_GOES_ON}") from error
        finally:
            shutil.rmtree(storage, ignore_errors=True)
        if fault := (result.metrics or {}).get("fault"):
            raise InputError(fault)

    def _on_cluster(
        self, function: Callable, tasks: Sequence, memory_knob: str, gpu: bool, calls: int, fallback: object
    ) -> Iterator[tuple[int, object]]:
        ray = self._connected()
        options: dict[str, object] = {"num_cpus": self.cpus, "max_retries": RETRIES, "max_calls": calls}
        options |= {"num_gpus": self.gpus} if gpu and self.gpus else {}
        options |= {"memory": int(self.memory * GIB)} if self.memory else {}
        own = getattr(function, "func", function)
        name = f"{own.__module__}.{own.__name__}"  # as Ray's dashboard shows it
        remote = ray.remote(**options)(_bootstrap()).options(name=name)
        project, variables = os.getcwd(), _variables()
        running: dict = {}
        try:
            shared = [ray.put((function, tasks))]  # once; in a list Ray leaves it to the task to get
            running |= {remote.remote(project, variables, shared, place): place for place in range(len(tasks))}
            heard, silent = time.monotonic(), None
            while running:
                done, _ = ray.wait([*running], num_returns=1, timeout=PATIENCE)
                for reference in done:
                    yield running.pop(reference), _result(ray, reference, fallback)
                if (now := time.monotonic()) < heard + PATIENCE:
                    continue
                if self._answers(ray):
                    heard, silent = now, None
                elif now > (silent := silent or now) + SILENCE:
                    running.clear()  # there is nobody to cancel them
                    raise InputError(
                        "engine.address: the Ray cluster was lost, its head answers no more; start one with `ray start "
                        f"--head`, and {_GOES_ON}"
                    )
        except (ray.exceptions.WorkerCrashedError, ray.exceptions.OutOfMemoryError) as error:
            raise InputError(
                f"a Ray worker {_KILLED} ({_first(error)}); lower {memory_knob}, or raise engine.memory; {_GOES_ON}"
            ) from None
        except (ray.exceptions.RayError, ConnectionError) as error:
            raise InputError(f"engine.address: the Ray cluster was lost ({_first(error)}); {_GOES_ON}") from None
        finally:
            with contextlib.suppress(ray.exceptions.RayError, ConnectionError):
                for reference in running:
                    ray.cancel(reference)

    def _answers(self, ray) -> bool:
        """Whether the head of the cluster does, of which Ray itself says nothing while it waits for it, and then ends
        the process."""
        try:
            _listens(self.address if "://" in self.address else ray.get_runtime_context().gcs_address)
        except InputError:
            return False
        return True

    def _connected(self):
        """Ray's module, connected to the cluster."""
        self.check()
        import ray

        if ray.is_initialized():
            return ray
        os.environ.setdefault("RAY_IGNORE_UNHANDLED_ERRORS", "1")  # of tasks beside the one whose error is told
        address = self.address
        try:
            if address == "auto":  # as ray.init finds it, which waits for ever where a cluster was and is no more
                address = ray._private.services.get_ray_address_from_environment(address, None)
        except ConnectionError:
            raise InputError(
                "params.yaml, engine.address: is 'auto', and no cluster runs here; start one with `ray start --head`"
            ) from None
        _listens(address)
        try:
            ray.init(
                address=address,
                # What spreads brings its environment itself, `_bootstrap`: with this each worker starts twice.
                runtime_env={"env_vars": {"PYTHONPATH": os.getcwd()} | _variables()} if self.workers > 1 else None,
                logging_level="error",
                log_to_driver=True,
            )
        except Exception as error:  # Ray has no class in common for what can be wrong with a cluster
            raise InputError(
                f"params.yaml, engine.address: {self.address} is no Ray cluster that takes work ({_first(error)}); "
                "start one with `ray start --head`"
            ) from None
        _quiet(ray)
        return ray


def configured() -> Engine:
    """The engine that `python -m stages.run` left for this process; this machine where there is none."""
    return Engine(**json.loads(os.environ.get(VARIABLE, "{}")))


def of(section: Mapping[str, object]) -> Engine:
    """The engine of a section of params.yaml; InputError for an unknown parameter, or one of another type or range."""
    known = {field.name: type(field.default) for field in fields(Engine)}
    for name, value in section.items():
        if name not in known:
            raise InputError(f"params.yaml, engine: unknown parameter '{name}'; it has {', '.join(known)}")
        if type(value) is not known[name] and not (known[name] is float and type(value) is int):
            kind = type(value).__name__
            raise InputError(f"params.yaml, engine.{name}: {value!r} is {kind}, expected {known[name].__name__}")
    return Engine(**section)


def exported(engine: Engine) -> dict[str, str]:
    """What the environment of a process needs for `configured` to find the engine."""
    return {VARIABLE: json.dumps(asdict(engine))}


def _processes(function: Callable, workers: int) -> ProcessPoolExecutor:
    """Fresh processes that know the function's module: a notebook's kernel has threads, and is not to be forked."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([getattr(function, "func", function).__module__])
    return ProcessPoolExecutor(workers, mp_context=context, initializer=_end_with_parent)


def _end_with_parent() -> None:
    """Ends this worker when the process that gives it work is killed, where it would else wait for more for ever.

    Between the two is the server that forked it, which ends with that process too.
    """
    lifetime.end_with_parent()

    def wait() -> None:
        multiprocessing.parent_process().join()
        os._exit(1)

    threading.Thread(target=wait, daemon=True).start()


def _done(pool: Executor, function: Callable, tasks: Sequence) -> Iterator[tuple[int, object]]:
    futures = {pool.submit(function, task): place for place, task in enumerate(tasks)}
    yield from ((futures[future], future.result()) for future in as_completed(futures))


def _quiet(ray) -> None:
    """Has what Ray prints here of other machines and of itself, a lost node for one, go to standard error, as progress
    does: on standard output it would be part of the notebook, and of its page's bytes."""
    printed = ray._private.worker.print_worker_logs
    ray._private.worker.print_worker_logs = lambda data, sink, *rest: printed(data, sys.stderr, *rest)


def _variables() -> dict[str, str]:
    return {name: os.environ[name] for name in _INHERITED if name in os.environ}


def _bootstrap() -> Callable:
    """What begins a task on a machine of a cluster; made here, it travels by its code and not by its module's name,
    which a worker cannot import before it is told where."""

    def begin(project: str, variables: Mapping[str, str], shared: list, place: int) -> tuple[bool, object]:
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
        from stages.engine.engine import _called

        return _called(shared[0], place)

    return begin


def _called(shared, place: int) -> tuple[bool, object]:
    """What the function returns for the task at a place, or the line of its InputError, on a machine of a cluster."""
    function, tasks = _got(shared)
    try:
        return True, function(tasks[place])
    except InputError as error:
        return False, str(error)


@functools.lru_cache(maxsize=1)
def _got(shared) -> tuple[Callable, Sequence]:
    """What Ray's reference stands for, made once for all tasks that follow one another: it may hold many models."""
    import ray

    return ray.get(shared)


def _result(ray, reference, lost: object) -> object:
    try:
        fine, result = ray.get(reference)
    except (ray.exceptions.WorkerCrashedError, ray.exceptions.OutOfMemoryError):
        if lost is None:
            raise
        return lost
    except ray.exceptions.RayTaskError as error:
        raise error.cause from None
    if not fine:
        raise InputError(result)
    return result


def _member(config: Mapping) -> None:
    """What each worker of a `team` runs."""
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


def _host(address: str) -> tuple[str, int] | None:
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


def _listens(address: str) -> None:
    """InputError where nothing does at a cluster's address."""
    try:
        socket.create_connection(_host(address), PATIENCE).close()
    except OSError as error:
        raise InputError(
            f"params.yaml, engine.address: nothing answers at {address} ({error}); start a cluster with `ray start "
            "--head`, or mend the address"
        ) from None


def _first(error: BaseException) -> str:
    """The first line of an error of Ray's, which may have many."""
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__
