"""Where the tasks of a stage run: on the cores of this machine, or on the machines of a Ray cluster.

params.yaml's section `engine` chooses. It is no parameter of a stage, because no result depends on it, but for the last
digits that a GPU gives: a network's identity holds the device that trained it. `python -m stages.run` checks the
section and leaves it in the environment of the notebook's process, where `configured` finds it. A notebook opened by
hand runs on this machine.

The machines of a cluster need the project under the same path, on a file system they share, and the same packages.
Tasks read and write the files below data/ themselves. What travels through Ray are their results, and what they share.
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
VARIABLE = "STAGES_ENGINE"  # of the environment: the section as JSON


@dataclass(frozen=True)
class Engine:
    """The section `engine` of params.yaml.

    Attributes:
        kind: one of `KINDS`.
        address: of a cluster, "auto" for the one that this machine belongs to, HOST:PORT, or ray://HOST:PORT of its
            client server.
        cpus: cores that a task is given on a cluster.
        gpus: GPUs that a task is given there; may be a share of one.
        memory: GiB that a task is given there; 0: it is not asked for.
        workers: processes of a cluster over which the training of one network is split, see `worker_group`.
        device: that trains a network, one of `DEVICES`; "auto": CUDA where the machine of a task has it, else the CPU.
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
        """Raises InputError where Ray is asked for and not installed, or nothing listens at the address."""
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
            function: importable by name, or a `partial` of such a one.
            tasks: its arguments, one a call.
            memory_knob: the parameter with which a task takes less memory, for the message.
            parallel: how many tasks at a time pay on this machine, by default one a core; with 1 all are done in this
                process, on a cluster too.
            threads: the function works outside of Python, and so threads of this process do for it.
            gpu: on a cluster each task is given `gpus`, even where only one task at a time pays here.
            calls: tasks after which a process of a cluster makes way for a fresh one; 0: it stays.
            fallback: the result of a task that loses its process on a cluster again and again; None: that is an error.

        Yields:
            (position of the task, result).

        Raises:
            InputError: a process was killed, or the cluster cannot be reached. Else what the function raises.
        """
        if self.kind == "ray" and (parallel != 1 or gpu):
            options = {"memory_knob": memory_knob, "gpu": gpu, "calls": calls, "fallback": fallback}
            yield from ray_cluster.spread(self, function, tasks, **options)
        else:
            yield from local.spread(function, tasks, memory_knob=memory_knob, parallel=parallel, threads=threads)

    def ordered(self, function: Callable, tasks: Sequence, **options: object) -> Iterator:
        """The results of `spread` in the order of the tasks, each as soon as those before it are there."""
        early: dict[int, object] = {}
        due = 0
        for position, result in self.spread(function, tasks, **options):
            early[position] = result
            while due in early:
                yield early.pop(due)
                due += 1

    def worker_group(self, function: Callable, task: object, folder: str | Path, *, gpu: bool = False) -> None:
        """Calls a function with one task in `workers` processes of a cluster at once.

        `torch.distributed` connects them, by gloo or, with GPUs, by NCCL: Ray Train. A lost process or machine starts
        all of them again.

        Args:
            function: what each process calls; its result is lost.
            task: its argument.
            folder: for Ray Train's own files, which go at the end; the machines share it.
            gpu: whether each process is given `gpus`.

        Raises:
            InputError: as the function does.
        """
        ray_cluster.worker_group(self, function, task, folder, gpu=gpu)


def configured() -> Engine:
    """The engine that `python -m stages.run` left for this process; this machine where there is none."""
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
    """What the environment of a process needs for `configured` to find the engine."""
    return {VARIABLE: json.dumps(asdict(engine))}
