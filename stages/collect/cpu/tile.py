"""Measures the tile sizes of one kernel."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np

from stages.collect import record
from stages.collect.cpu import compiling, timing
from stages.collect.cpu.kernels.registry import Kernel
from stages.collect.cpu.kernels.tiles import config_row, tiles
from stages.collect.pool import Unmeasurable
from stages.collect.seed import seed_of

COLLECTION = "tile:xla"


def measure(kernel: Kernel, configurations: int, out: Path, tick: Callable) -> None:
    """Times the kernel under its tile sizes and untiled, and writes the record.

    Args:
        configurations: Tile sizes, at most.
        out: Folder of the records.
        tick: Called with no argument after each tile size that is compiled.

    Raises:
        Unmeasurable: no tile fits the scratchpad, or one changes the results.
    """
    import jax

    target = record.path(out, COLLECTION, kernel.id)
    if target.exists():
        return
    rng = np.random.default_rng(seed_of(kernel.id))
    chosen = tiles(kernel.operation, configurations, rng)
    if not chosen:
        raise Unmeasurable("no tile fits the scratchpad")
    function, shapes = kernel.operation.untiled()
    proto, _, _ = compiling.dumped(function, shapes)
    leaves = jax.tree.leaves(shapes)
    rows = leaves[0].shape[0]  # a gather's integers are row numbers
    arguments = compiling.example_arguments(leaves, rng, integers_below=rows)
    untiled = _compiled(function, shapes)
    passes, _ = timing.two_passes([untiled, *_tiled(kernel, chosen, untiled, arguments, tick)], arguments, rng)
    meta = {"id": kernel.id, "family": kernel.kind, "split": kernel.split, "kin": kernel.kin}
    meta["settings"] = compiling.settings()
    record.write(
        target,
        meta,
        proto=np.frombuffer(proto, np.uint8),
        config_feat=np.stack([config_row(kernel.operation, tile) for tile in chosen]),
        passes=passes[:, 1:],
        untiled=passes[:, 0],
    )


def _tiled(kernel: Kernel, chosen: list[tuple[int, ...]], untiled, arguments: list, tick: Callable) -> list:
    """Executables of the tiles, each with the untiled kernel's results to rounding."""
    (expected,) = (np.asarray(output, np.float64) for output in untiled.execute(arguments))
    tolerance = 1e-3 * (1e-6 + np.abs(expected).max())
    executables = []
    for tile in chosen:
        executables.append(_compiled(*kernel.operation.tiled(tile)))
        (output,) = executables[-1].execute(arguments)
        if not np.allclose(output, expected, rtol=1e-2, atol=tolerance):
            raise Unmeasurable(f"tile {tile} changes the kernel's results")
        tick()
    return executables


def _compiled(function: Callable, shapes: tuple):
    import jax

    return jax.jit(function).lower(*shapes).compile().runtime_executable()
