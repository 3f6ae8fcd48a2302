"""One operation of which the output can be computed whole, or tile by tile.

A tile here is a loop-level tile: a loop over the grid of output tiles slices what one tile needs from the inputs,
computes it with the operation's own function and writes it back. It is not a compiler flag.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np

_ITEM_BYTES = 4  # both element types are four bytes wide
_DTYPES = {"f32": np.float32, "s32": np.int32}

ACTIVATIONS = {
    "relu": lambda jax, x: jax.numpy.maximum(x, 0.0),
    "gelu": lambda jax, x: jax.nn.gelu(x),
    "tanh": lambda jax, x: jax.numpy.tanh(x),
    "silu": lambda jax, x: jax.nn.silu(x),
    "sigmoid": lambda jax, x: jax.nn.sigmoid(x),
}


@dataclass(frozen=True)
class Along:
    """An input dimension that follows an output axis: cells s..s+t of it need s*stride..(s+t-1)*stride+window."""

    axis: int
    stride: int = 1
    window: int = 1

    def extent(self, cells: int) -> int:
        """Cells of the input that so many cells of the output need."""
        return (cells - 1) * self.stride + self.window


@dataclass(frozen=True)
class Input:
    """One argument: per dimension an int (needed whole by every tile) or the output axis it follows."""

    dims: tuple[int | Along, ...]
    dtype: str = "f32"

    def extent(self, tile: tuple[int, ...]) -> tuple[int, ...]:
        """Shape of the part of the input that a tile of this shape needs."""
        return tuple(dim if isinstance(dim, int) else dim.extent(tile[dim.axis]) for dim in self.dims)


@dataclass(frozen=True)
class Operation:
    """An operation whose `compute(jax, *inputs)` gives the whole output from whole inputs and a tile from slices.

    A tile is a size for each dimension of the output. int32 inputs of a gather are row numbers of its first input.
    """

    compute: Callable
    inputs: tuple[Input, ...]
    output: tuple[int, ...]  # shape
    dtype: str = "f32"  # of the output
    whole_axes: tuple[int, ...] = ()  # output axes that a tile may not cut
    has_window: bool = False  # the second input is a convolution's window

    def arguments(self) -> tuple:
        """ShapeDtypeStructs of the whole inputs."""
        import jax  # the registry is read where JAX is not installed

        return tuple(
            jax.ShapeDtypeStruct(argument.extent(self.output), _DTYPES[argument.dtype]) for argument in self.inputs
        )

    def untiled(self) -> tuple[Callable, tuple]:
        """JAX function of the whole output, and its arguments' ShapeDtypeStructs."""
        import jax

        return partial(self.compute, jax), self.arguments()

    def tiled(self, tile: tuple[int, ...]) -> tuple[Callable, tuple]:
        """JAX function that computes the output tile by tile, the same but for rounding, and its arguments.

        Raises:
            ValueError: the tile does not fit the output, or cuts an axis that must stay whole.
        """
        import jax

        if len(tile) != len(self.output) or not all(1 <= t <= d for t, d in zip(tile, self.output, strict=True)):
            raise ValueError(f"tile {tile} does not fit an output of {self.output}")
        if any(tile[axis] != self.output[axis] for axis in self.whole_axes):
            raise ValueError(f"tile {tile} cuts one of the axes {self.whole_axes} of {self.output}")
        return partial(self._run, jax, tile), self.arguments()

    def grid(self, tile: tuple[int, ...]) -> tuple[int, ...]:
        """Number of tiles along each dimension of the output."""
        return tuple(-(-d // t) for d, t in zip(self.output, tile, strict=True))

    def tile_bytes(self, tile: tuple[int, ...]) -> int:
        """Bytes of one tile of the output and of what it needs from the inputs."""
        cells = math.prod(tile) + sum(math.prod(argument.extent(tile)) for argument in self.inputs)
        return _ITEM_BYTES * cells

    def kernel_bounds(self, tile: tuple[int, ...]) -> tuple[int, ...]:
        """Bounds of the part of a convolution's window that a tile needs; empty for other operations."""
        return self.inputs[1].extent(tile) if self.has_window else ()

    def _run(self, jax, tile, *arrays):
        grid = self.grid(tile)

        def one_tile(step, output):
            starts = []
            for axis in reversed(range(len(grid))):
                # A last tile that would stick out is moved back and computes some of its neighbour again, alike.
                start = jax.lax.min(jax.lax.rem(step, grid[axis]) * tile[axis], self.output[axis] - tile[axis])
                starts.insert(0, start)
                step = jax.lax.div(step, grid[axis])
            slices = [
                jax.lax.dynamic_slice(
                    array,
                    [0 if isinstance(dim, int) else starts[dim.axis] * dim.stride for dim in argument.dims],
                    argument.extent(tile),
                )
                for argument, array in zip(self.inputs, arrays, strict=True)
            ]
            return jax.lax.dynamic_update_slice(output, self.compute(jax, *slices), starts)

        return jax.lax.fori_loop(0, math.prod(grid), one_tile, jax.numpy.zeros(self.output, _DTYPES[self.dtype]))


def along_all(shape: tuple[int, ...]) -> Input:
    """An input of the output's shape."""
    return Input(tuple(Along(axis) for axis in range(len(shape))))
