"""Runs the tasks of a stage on the cores of this machine, or on the machines of a Ray cluster.

params.yaml's section `engine` chooses. It is no parameter of a stage, because no result depends on it. Only the device
that trains a network changes the last digits, so the network's identity holds it. `python -m stages.run` checks the
section and puts it into the environment of the notebook's process, where `configured` finds it. A notebook that is
opened by hand runs on this machine.

All machines of a cluster need the project under the same path, on a shared file system, and the same packages. Tasks
read and write the files below data/ themselves. Only their arguments and results travel through Ray.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path

from stages.engine import local, ray_cluster
from stages.engine.errors import InputError

KINDS = ("local", "ray")
DEVICES = ("auto", "cpu", "cuda")
VARIABLE = "STAGES_ENGINE"  # environment variable that holds the section as JSON


@dataclass(frozen=True)
class Engine:
    """The section `engine` of params.yaml.

    Attributes:
        kind: one of `KINDS`.
        address: of a cluster: "auto" for the one that this machine belongs to, HOST:PORT, or ray://HOST:PORT of its
            client server.
        cpus: cores that a cluster reserves for a task.
        gpus: GPUs that a cluster reserves for a task; it may be a share of one.
        memory: GiB that a cluster reserves for a task; 0 for no reservation.
        workers: processes of a cluster that share the training of one network, see `worker_group`.
        device: one of `DEVICES`, which trains the networks; "auto" is CUDA if a task's machine has it, else the CPU.
    """

    kind: str = "local"
    address: str = "auto"
    cpus: int = 1
    gpus: float = 0.0
    memory: float = 0.0
    workers: int = 1
    device: str = "auto"

    def __post_init__(self) -> None:
        for name, choices in (("kind", KINDS), ("device", DEVICES)):
            if (value := getattr(self, name)) not in choices:
                raise InputError(f"params.yaml, engine.{name}: is {value!r}; choose one of {', '.join(choices)}")
        for name, least in (("cpus", 1), ("workers", 1), ("gpus", 0), ("memory", 0)):
            if not (value := getattr(self, name)) >= least:
                raise InputError(f"params.yaml, engine.{name}: is {value}; give at least {least}")
        if self.kind == "ray":
            ray_cluster.host(self.address)
        elif self.workers > 1:
            raise InputError(
                f"params.yaml, engine.workers: is {self.workers}, which needs Ray; set engine.kind: ray, or workers: 1"
            )

    def check(self) -> None:
        """Raises InputError if Ray is chosen and is not installed, or nothing listens at the address."""
        if self.kind == "ray":
            ray_cluster.check(self.address)

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
        """Calls a function with each task and yields the results as they come.

        Args:
            function: importable by name, or a `partial` of such a function.
            tasks: its arguments, one for each call.
            memory_knob: the parameter that makes a task need less memory, for the message.
            parallel: how many tasks run at the same time on this machine, by default one for each core; 1 runs all in
                this process, even if the engine is a cluster, unless `gpu` is set.
            threads: whether threads of this process run the tasks; for a function that works outside of Python.
            gpu: whether a cluster reserves `gpus` for each task and runs the tasks even if `parallel` is 1.
            calls: number of tasks after which a cluster replaces a process by a fresh one; 0 for never.
            fallback: the result of a task that loses its process on a cluster again and again; None makes it an error.

        Yields:
            (position of the task, result).

        Raises:
            InputError: a process was killed, or the cluster cannot be reached.
            Exception: as the function raises it.
        """
        if self.kind == "ray" and (parallel != 1 or gpu):
            options = {"memory_knob": memory_knob, "gpu": gpu, "calls": calls, "fallback": fallback}
            yield from ray_cluster.spread(self, function, tasks, **options)
        else:
            yield from local.spread(function, tasks, memory_knob=memory_knob, parallel=parallel, threads=threads)

    def ordered(self, function: Callable, tasks: Sequence, **options: object) -> Iterator:
        """Yields the results of `spread` in the order of the tasks, each as soon as those before it are yielded."""
        early: dict[int, object] = {}  # results that wait for one before them
        due = 0
        for position, result in self.spread(function, tasks, **options):
            early[position] = result
            while due in early:
                yield early.pop(due)
                due += 1

    def worker_group(self, function: Callable, task: object, folder: str | Path, *, gpu: bool = False) -> None:
        """Calls a function with one task in `workers` processes of a cluster at the same time.

        Ray Train starts the processes, and `torch.distributed` connects them, by gloo or, with GPUs, by NCCL. If a
        process or a machine is lost, all processes start again.

        Args:
            function: called by each process; its result is dropped.
            task: its argument.
            folder: for Ray Train's own files, which are removed at the end; all machines must share it.
            gpu: whether each process gets `gpus`.

        Raises:
            InputError: as the function raises it.
        """
        ray_cluster.worker_group(self, function, task, folder, gpu=gpu)


def configured() -> Engine:
    """The engine that `python -m stages.run` put into the environment of this process; by default this machine."""
    return Engine(**json.loads(os.environ.get(VARIABLE, "{}")))


def of(section: Mapping[str, object]) -> Engine:
    """The engine of a section of params.yaml.

    Raises:
        InputError: an unknown parameter, or one of another type or range.
    """
    types = {field.name: type(field.default) for field in fields(Engine)}
    for name, value in section.items():
        if name not in types:
            raise InputError(f"params.yaml, engine: unknown parameter '{name}'; it has {', '.join(types)}")
        if type(value) is not types[name] and not (types[name] is float and type(value) is int):
            kind = type(value).__name__
            raise InputError(f"params.yaml, engine.{name}: {value!r} is {kind}, expected {types[name].__name__}")
    return Engine(**section)


def exported(engine: Engine) -> dict[str, str]:
    """Environment variables by which `configured` finds the engine in another process."""
    return {VARIABLE: json.dumps(asdict(engine))}
