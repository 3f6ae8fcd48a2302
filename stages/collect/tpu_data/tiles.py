"""The windows (tiles) of a kernel with their simulated times."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

import numpy as np

from stages.collect import record
from stages.collect.tpu import libtpu, time_model, windows
from stages.collect.tpu.simulate import Simulator
from stages.collect.tpu_data.compiled import TiledKernel, check_killed
from stages.collect.tpu_data.kinds import chosen
from stages.collect.tpu_data.plan import seed_of
from stages.collect.tpu_data.store import Store, as_bytes

COLLECTION = "tile:xla"
#: a kernel with fewer windows to choose from is not tiled
LEAST_WINDOWS = 8


def candidates(kernel: TiledKernel, limit: int) -> list[windows.Window]:
    """Windows of a kernel that are worth trying, the compiler's own first; the same whatever program it stands in."""
    return windows.candidates(kernel.text, kernel.window, limit, np.random.default_rng(seed_of(kernel.key)))


def measure(
    kernel: TiledKernel, simulator: Simulator, store: Store, limit: int, tick: Callable[[], None] = lambda: None
) -> None:
    """Compiles a kernel with each window and writes its record, unless it is there.

    What does not compile is left out, and so are windows that the compiler puts its own in the place of.

    Args:
        limit: Windows at most.
        tick: Called after each window that was compiled anew.
    """
    path = store.graph(COLLECTION, kernel.key)
    if path.exists():
        return
    begin = time.monotonic()
    tried = candidates(kernel, limit)
    answers = simulator.records([windows.forced(kernel.text, window) for window in tried], tick)
    for answer in answers:
        check_killed(answer.get("fault", ""))
    kept = [
        (window, answer)
        for window, answer in zip(tried, answers, strict=True)
        if "fault" not in answer and windows.was_taken(window, answer)
    ]
    meta = {
        "id": kernel.key,
        "kind": kernel.kind,
        "libtpu": libtpu.VERSION,
        "asked": limit,
        "errors": len(tried) - len(kept),
        "own_ns": kernel.time_ns,
    }
    record.write(
        path,
        meta,
        proto=as_bytes(_proto(kernel.text)),
        config_feat=np.array([window.columns() for window, _ in kept], np.int32).reshape(-1, 24),
        times_ns=np.array([time_model.kernel_ns(answer) for _, answer in kept]),
    )
    store.time("kernel", kernel.key, 0, len(kept), len(tried), time.monotonic() - begin)


def tiled(kernels: Sequence[TiledKernel], count: int) -> list[TiledKernel]:
    """Those of a program's kernels whose windows are tried, `count` at most."""
    by_key = {kernel.key: kernel for kernel in kernels}
    rich = [kernel for kernel in kernels if len(candidates(kernel, LEAST_WINDOWS)) >= LEAST_WINDOWS]
    return [by_key[key] for key in chosen([(kernel.key, kernel.kind) for kernel in rich], count)]


def _proto(text: str) -> bytes:
    """A kernel's own module as a serialized HloModuleProto."""
    from jaxlib import _hlo

    return _hlo.hlo_module_from_text(text).as_serialized_hlo_module_proto()
