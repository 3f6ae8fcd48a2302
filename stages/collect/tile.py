"""Measures the tile sizes of one kernel."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from stages.collect import compiling, kernels, record, timing
from stages.collect.layout import Unmeasurable, example_arguments, seed_of

COLLECTION = "tile:xla"


def measure(kernel: kernels.Kernel, configurations: int, out: Path, tick) -> None:
    """Times the kernel under its tile sizes and untiled, and writes the record.

    tick: called with no argument after each tile size that is compiled.
    """
    import jax

    target = record.path(out, COLLECTION, kernel.id)
    if target.exists():
        return
    rng = np.random.default_rng(seed_of(kernel.id))
    tiles = kernels.tiles(kernel, configurations, rng)
    if not tiles:
        raise Unmeasurable("no tile fits the scratchpad")
    function, shapes = kernel.untiled()
    proto, _, _ = compiling.dumped(function, shapes)
    leaves = jax.tree.leaves(shapes)
    arguments = example_arguments(leaves, rng, integers_below=leaves[0].shape[0])  # a gather's integers are row numbers
    executables = [_compiled(function, shapes)]
    (expected,) = (np.asarray(output, np.float64) for output in executables[0].execute(arguments))
    for tile in tiles:
        executables.append(_compiled(*kernel.tiled(tile)))
        (output,) = executables[-1].execute(arguments)
        tolerance = 1e-3 * (1e-6 + np.abs(expected).max())
        if not np.allclose(output, expected, rtol=1e-2, atol=tolerance):
            raise Unmeasurable(f"tile {tile} changes the kernel's results")
        tick()
    passes, _ = timing.two_passes(executables, arguments, rng)
    meta = {"id": kernel.id, "family": kernel.kind, "split": kernel.split, "kin": kernel.kin}
    meta["settings"] = compiling.settings()
    rows = np.stack([kernels.config_row(kernel, tile) for tile in tiles])
    record.write(
        target, meta, proto=np.frombuffer(proto, np.uint8), config_feat=rows, passes=passes[:, 1:], untiled=passes[:, 0]
    )


def _compiled(function, shapes):
    import jax

    return jax.jit(function).lower(*shapes).compile().runtime_executable()
