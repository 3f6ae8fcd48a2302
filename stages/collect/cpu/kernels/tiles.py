"""The tile sizes of a kernel: which are tried, and how one is coded.

Tiles are limited like a scratchpad's: uncapped, the whole output as one tile would be fastest everywhere and there
would be nothing to learn.
"""

import itertools
import math

import numpy as np

from stages.collect.cpu.kernels.operation import Operation

SCRATCHPAD_BYTES = 65536
MAX_TILES = 1024
CONFIG_COLUMNS = 24
_BOUNDS = 6


def tiles(operation: Operation, count: int, rng: np.random.Generator) -> list[tuple[int, ...]]:
    """Sample distinct tiles of at most SCRATCHPAD_BYTES bytes that cut the output in at most MAX_TILES.

    The whole-output tile is left out: it is the untiled program.

    Args:
        count: Tiles wanted; fewer are returned when fewer are valid.

    Returns:
        Of each tile its size along each dimension of the output.
    """
    choices = [
        [dimension] if axis in operation.whole_axes else _sizes(dimension)
        for axis, dimension in enumerate(operation.output)
    ]
    valid = [
        tile
        for tile in itertools.product(*choices)
        if tile != operation.output
        and math.prod(operation.grid(tile)) <= MAX_TILES
        and operation.tile_bytes(tile) <= SCRATCHPAD_BYTES
    ]
    picked = rng.permutation(len(valid))[:count]
    return [valid[index] for index in picked]


def _sizes(dimension: int) -> list[int]:
    """Tile sizes worth trying along one dimension: powers of two, divisors, and sizes that leave a remainder."""
    near_even = {-(-dimension // parts) for parts in range(1, 10)}
    divisors = {size for size in range(1, dimension + 1) if dimension % size == 0}
    stepped = {base << shift for base in (1, 3, 5) for shift in range(dimension.bit_length())}
    return sorted(size for size in near_even | divisors | stepped if size <= dimension)


def config_row(operation: Operation, tile: tuple[int, ...]) -> np.ndarray:
    """Return the official 24 tile columns, (24,) float32: kernel, output and input bounds, each with sum and product.

    Unused bounds are 0 and are left out of the product; a group without bounds (kernel bounds outside the
    convolutions; input bounds, which the compiler infers) is all zero.
    """
    row = np.zeros(CONFIG_COLUMNS, dtype=np.float32)
    for start, bounds in ((0, operation.kernel_bounds(tile)), (_BOUNDS + 2, tile)):
        if bounds:
            row[start : start + len(bounds)] = bounds
            row[start + _BOUNDS] = sum(bounds)
            row[start + _BOUNDS + 1] = math.prod(bounds)
    return row
