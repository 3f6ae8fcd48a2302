"""What a program costs on a TPU, as Google's compiler schedules it: simulated nanoseconds, without a TPU.

A program is the list of its kernels; kernels are compiled once and kept (`kernel_cache`), so that a configuration
costs its HLO passes and the few kernels that no configuration before it had.
"""

from __future__ import annotations

import base64
import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from stages.collect.tpu import cutting, libtpu, time_model, worker, workers
from stages.collect.tpu.kernel_cache import KernelCache, key_of
from stages.collect.tpu.passes import Stages


@dataclass(frozen=True)
class KernelCost:
    """A kernel of a program with its cost.

    Attributes:
        kernel: The kernel.
        time_ns: Simulated time of one run, None where it could not be compiled.
        window: The compiler's own ``window_config``, None where it has none.
        fault: Why it could not be compiled, else None.
    """

    kernel: cutting.Kernel
    time_ns: float | None
    window: dict | None
    fault: str | None


@dataclass(frozen=True)
class Simulation:
    """A program's kernels with their costs, in the order in which they run."""

    kernels: tuple[KernelCost, ...]

    @property
    def faults(self) -> tuple[KernelCost, ...]:
        """Kernels that could not be compiled: with one of them the program is an error run."""
        return tuple(cost for cost in self.kernels if cost.fault is not None)

    @property
    def time_ns(self) -> float | None:
        """Sum over the kernels, each times its trips; None for an error run."""
        if self.faults:
            return None
        return sum(cost.time_ns * cost.kernel.trips for cost in self.kernels)


class Simulator:
    """Simulates programs and kernels, one compiling process at a time unless told; to be used as a context manager.

    The calling process needs neither jax nor libtpu at hand in memory: all compiling is done in processes that may die.

    Args:
        cache: The file of compiled kernels, made where it is missing; processes may share it.
        processes: Compiling processes at a time.
        topology: That is compiled for, of `libtpu.TARGETS`. The time model's constants are those of a TPU v3.

    Raises:
        InputError: libtpu is missing or another version; the cache cannot be used.
    """

    def __init__(self, cache: Path, processes: int = 1, topology: str = libtpu.TOPOLOGY) -> None:
        libtpu.require()
        self._topology = topology
        self._cache = KernelCache(cache)
        self._pool = workers.Pool(processes, serve=functools.partial(worker.serve, topology=topology))

    def __enter__(self) -> Simulator:
        return self

    def __exit__(self, *_: object) -> None:
        self._pool.__exit__()
        self._cache.close()

    def stages(self, text: str) -> Stages:
        """Runs the HLO passes on a module's text, as `passes.run` does, in a process that may die.

        Raises:
            libtpu.CompileError: The compiler refuses the module, or dies of it.
        """
        record = self._one("passes", text)
        return Stages(**{**record, "before_proto": base64.b64decode(record["before_proto"])})

    def _one(self, kind: str, text: str) -> dict | str:
        """The answer to one job; raises CompileError where it has none."""
        ((_, answer),) = self._pool.run([(kind, text)])
        if "record" not in answer:
            raise libtpu.CompileError(_fault(answer))
        return answer["record"]

    def program(self, text: str, tick: Callable[[], None] = lambda: None) -> Simulation:
        """Simulates a program from its module's text, before layout assignment, with whatever layouts it constrains.

        Args:
            text: HLO text; `passes.module_of` makes one from a jax function, `passes.run` gives the graph's own.
            tick: Called after each kernel that was compiled anew.

        Raises:
            libtpu.CompileError: The HLO passes refuse the module, or die of it.
            cutting.Uncuttable: The program is no plain list of kernels.
        """
        return self.kernels(cutting.kernels(self._one("optimised", text)), tick)

    def kernels(self, kernels: Sequence[cutting.Kernel], tick: Callable[[], None] = lambda: None) -> Simulation:
        """Costs of kernels that are already cut."""
        records = self.records([kernel.text for kernel in kernels], tick)
        return Simulation(tuple(_cost(kernel, record) for kernel, record in zip(kernels, records, strict=True)))

    def records(self, texts: Sequence[str], tick: Callable[[], None] = lambda: None) -> list[dict]:
        """What the compiler says of kernels, from the cache or compiled now.

        Args:
            texts: Kernels' own modules, as `cutting` cuts them, or with a forced window (`windows.forced`).
            tick: Called after each kernel that was compiled anew.

        Returns:
            Of each, the record of `worker.kernel_record`, or ``{"fault": reason}``.
        """
        keys = [key_of(text, self._topology) for text in texts]
        records = self._cache.get(keys)
        new = {key: text for key, text in zip(keys, texts, strict=True) if key not in records}
        order = list(new)
        for number, answer in self._pool.run([("kernel", new[key]) for key in order]):
            record = answer["record"] if "record" in answer else {"fault": _fault(answer)}
            records[order[number]] = record
            if "killed" not in answer:
                self._cache.put(order[number], record)
            tick()
        return [records[key] for key in keys]


def _fault(answer: dict) -> str:
    ((kind, reason),) = answer.items()
    return f"no answer within {reason:g} s of processor time" if kind == "hung" else f"{kind}: {reason}"


def _cost(kernel: cutting.Kernel, record: dict) -> KernelCost:
    if "fault" in record:
        return KernelCost(kernel, None, None, record["fault"])
    return KernelCost(kernel, time_model.kernel_ns(record), record["window"], None)
