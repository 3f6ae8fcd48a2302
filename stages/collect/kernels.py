"""The kernels of the tile collection: one operation each, whole or output tile by output tile.

A tile here is a loop-level tile: a loop over the grid of output tiles slices what one tile needs from the inputs,
computes it with the operation's own function and writes it back. It is not a compiler flag. Tiles are limited like a
scratchpad's: uncapped, the whole output as one tile would be fastest everywhere and there would be nothing to learn.
"""

import itertools
import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np

SCRATCHPAD_BYTES = 65536
MAX_TILES = 1024
CONFIG_COLUMNS = 24
_BOUNDS = 6
_ITEM_BYTES = 4  # both element types are four bytes wide
_DTYPES = {"f32": np.float32, "s32": np.int32}


@dataclass(frozen=True)
class Kernel:
    """One kernel whose output tile size is chosen; `tile` is always a size for each dimension of the output.

    `kin` says how a test or validation kernel relates to training: 'sibling' (its kind is trained on, its shape is not)
    or 'unseen' (its kind is never in train). `untiled()` and `tiled(tile)` return a JAX function and the
    ShapeDtypeStructs of its arguments; both functions give the same output up to rounding. int32 arguments of
    'gather_rows' are row numbers of its first argument and are clipped to it. `whole_axes` are the output axes that a
    tile may not cut; `kernel_bounds(tile)` are the convolution window's bounds, empty for the other kinds.
    """

    id: str
    kind: str
    split: str
    kin: str
    untiled: Callable[[], tuple[Callable, tuple]]
    output_shape: tuple[int, ...]
    tile_bytes: Callable[[tuple[int, ...]], int]
    tiled: Callable[[tuple[int, ...]], tuple[Callable, tuple]]
    whole_axes: tuple[int, ...]
    kernel_bounds: Callable[[tuple[int, ...]], tuple[int, ...]]


@dataclass(frozen=True)
class _Along:
    """An input dimension that follows an output axis: cells s..s+t of it need s*stride..(s+t-1)*stride+window."""

    axis: int
    stride: int = 1
    window: int = 1

    def extent(self, cells: int) -> int:
        return (cells - 1) * self.stride + self.window


@dataclass(frozen=True)
class _Input:
    """One argument: per dimension an int (needed whole by every tile) or the output axis it follows."""

    dims: tuple[int | _Along, ...]
    dtype: str = "f32"

    def extent(self, tile: tuple[int, ...]) -> tuple[int, ...]:
        return tuple(dim if isinstance(dim, int) else dim.extent(tile[dim.axis]) for dim in self.dims)


@dataclass(frozen=True)
class _Operation:
    """An operation whose `compute(jax, *inputs)` gives the whole output from whole inputs and a tile from slices."""

    compute: Callable
    inputs: tuple[_Input, ...]
    output: tuple[int, ...]
    dtype: str = "f32"
    whole_axes: tuple[int, ...] = ()
    has_window: bool = False

    def arguments(self) -> tuple:
        import jax  # the registry is read where JAX is not installed

        return tuple(jax.ShapeDtypeStruct(one.extent(self.output), _DTYPES[one.dtype]) for one in self.inputs)

    def untiled(self) -> tuple[Callable, tuple]:
        import jax

        return partial(self.compute, jax), self.arguments()

    def tile_bytes(self, tile: tuple[int, ...]) -> int:
        cells = math.prod(tile) + sum(math.prod(one.extent(tile)) for one in self.inputs)
        return _ITEM_BYTES * cells

    def kernel_bounds(self, tile: tuple[int, ...]) -> tuple[int, ...]:
        return self.inputs[1].extent(tile) if self.has_window else ()

    def tiled(self, tile: tuple[int, ...]) -> tuple[Callable, tuple]:
        """Raise ValueError for a tile that does not fit the output or cuts an axis that must stay whole."""
        import jax

        if len(tile) != len(self.output) or not all(1 <= t <= d for t, d in zip(tile, self.output, strict=True)):
            raise ValueError(f"tile {tile} does not fit an output of {self.output}")
        if any(tile[axis] != self.output[axis] for axis in self.whole_axes):
            raise ValueError(f"tile {tile} cuts one of the axes {self.whole_axes} of {self.output}")
        return partial(self._run, jax, tile), self.arguments()

    def _run(self, jax, tile, *arrays):
        grid = _grid(self.output, tile)

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
                    [0 if isinstance(dim, int) else starts[dim.axis] * dim.stride for dim in one.dims],
                    one.extent(tile),
                )
                for one, array in zip(self.inputs, arrays, strict=True)
            ]
            return jax.lax.dynamic_update_slice(output, self.compute(jax, *slices), starts)

        return jax.lax.fori_loop(0, math.prod(grid), one_tile, jax.numpy.zeros(self.output, _DTYPES[self.dtype]))


def _grid(output: tuple[int, ...], tile: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(-(-d // t) for d, t in zip(output, tile, strict=True))


def _sizes(dimension: int) -> list[int]:
    """Tile sizes worth trying along one dimension: powers of two, divisors, and sizes that leave a remainder."""
    near_even = {-(-dimension // parts) for parts in range(1, 10)}
    divisors = {size for size in range(1, dimension + 1) if dimension % size == 0}
    stepped = {base << shift for base in (1, 3, 5) for shift in range(dimension.bit_length())}
    return sorted(size for size in near_even | divisors | stepped if size <= dimension)


def tiles(kernel: Kernel, count: int, rng: np.random.Generator) -> list[tuple[int, ...]]:
    """Sample up to `count` distinct tiles of at most SCRATCHPAD_BYTES bytes that cut the output in at most MAX_TILES.

    The whole-output tile is left out: it is the untiled program. Fewer are returned when fewer are valid.
    """
    choices = [
        [dimension] if axis in kernel.whole_axes else _sizes(dimension)
        for axis, dimension in enumerate(kernel.output_shape)
    ]
    valid = [
        tile
        for tile in itertools.product(*choices)
        if tile != kernel.output_shape
        and math.prod(_grid(kernel.output_shape, tile)) <= MAX_TILES
        and kernel.tile_bytes(tile) <= SCRATCHPAD_BYTES
    ]
    picked = rng.permutation(len(valid))[:count]
    return [valid[index] for index in picked]


def config_row(kernel: Kernel, tile: tuple[int, ...]) -> np.ndarray:
    """Return the official 24 tile columns, (24,) float32: kernel, output and input bounds, each with sum and product.

    Unused bounds are 0 and are left out of the product; a group without bounds (kernel bounds outside the
    convolutions; input bounds, which the compiler infers) is all zero.
    """
    row = np.zeros(CONFIG_COLUMNS, dtype=np.float32)
    for start, bounds in ((0, kernel.kernel_bounds(tile)), (_BOUNDS + 2, tile)):
        if bounds:
            row[start : start + len(bounds)] = bounds
            row[start + _BOUNDS] = sum(bounds)
            row[start + _BOUNDS + 1] = math.prod(bounds)
    return row


# Operations, one builder a kind. A builder takes a variant's name and the sizes that also name the kernel.

_UNARY = {
    "relu": lambda jax, x: jax.numpy.maximum(x, 0.0),
    "gelu": lambda jax, x: jax.nn.gelu(x),
    "tanh": lambda jax, x: jax.numpy.tanh(x),
    "silu": lambda jax, x: jax.nn.silu(x),
    "sigmoid": lambda jax, x: jax.nn.sigmoid(x),
}


def _dot(variant: str, m: int, k: int, n: int) -> _Operation:
    """`variant` names the minor dimensions: nn is (m,k)(k,n), nt has the right side (n,k), tn the left side (k,m)."""
    left = (k, _Along(0)) if variant == "tn" else (_Along(0), k)
    right = (_Along(1), k) if variant == "nt" else (k, _Along(1))
    axes = ((left.index(k),), (right.index(k),))
    return _Operation(
        lambda jax, x, y: jax.lax.dot_general(x, y, (axes, ((), ()))), (_Input(left), _Input(right)), (m, n)
    )


def _batched_dot(variant: str, b: int, m: int, k: int, n: int) -> _Operation:
    right = (_Along(0), _Along(2), k) if variant == "nt" else (_Along(0), k, _Along(2))
    equation = "bmk,bnk->bmn" if variant == "nt" else "bmk,bkn->bmn"
    return _Operation(
        lambda jax, x, y: jax.numpy.einsum(equation, x, y),
        (_Input((_Along(0), _Along(1), k)), _Input(right)),
        (b, m, n),
    )


def _dense(variant: str, m: int, k: int, n: int) -> _Operation:
    return _Operation(
        lambda jax, x, w, bias: _UNARY[variant](jax, x @ w + bias),
        (_Input((_Along(0), k)), _Input((k, _Along(1))), _Input((_Along(1),))),
        (m, n),
    )


def _convolution(variant: str, b: int, h: int, w: int, ci: int, co: int, window: int, stride: int) -> _Operation:
    """NHWC input, HWIO window, no padding: h and w are the output's."""

    def compute(jax, x, kernel):
        y = jax.lax.conv_general_dilated(
            x, kernel, (stride, stride), "VALID", dimension_numbers=("NHWC", "HWIO", "NHWC")
        )
        return _UNARY["relu"](jax, y) if variant == "relu" else y

    image = _Input((_Along(0), _Along(1, stride, window), _Along(2, stride, window), ci))
    return _Operation(compute, (image, _Input((window, window, ci, _Along(3)))), (b, h, w, co), has_window=True)


def _depthwise_convolution(variant: str, b: int, h: int, w: int, c: int, window: int, stride: int) -> _Operation:
    """NHWC input, one window a channel, no padding: h and w are the output's."""

    def compute(jax, x, kernel):
        return jax.lax.conv_general_dilated(
            x,
            kernel,
            (stride, stride),
            "VALID",
            dimension_numbers=("NHWC", "HWIO", "NHWC"),
            feature_group_count=x.shape[3],
        )

    image = _Input((_Along(0), _Along(1, stride, window), _Along(2, stride, window), _Along(3)))
    return _Operation(compute, (image, _Input((window, window, 1, _Along(3)))), (b, h, w, c), has_window=True)


def _reduce(variant: str, *shape: int) -> _Operation:
    """`variant` is function and reduced axis; a trailing i makes it int32."""
    name, axis, dtype = variant[:-1], int(variant[-1]), "f32"
    if name.endswith("i"):
        name, dtype = name[:-1], "s32"
    compute = {
        "sum": lambda jax, x: jax.numpy.sum(x, axis),
        "max": lambda jax, x: jax.numpy.max(x, axis),
        "norm": lambda jax, x: jax.numpy.sqrt(jax.numpy.sum(x * x, axis)),
        "expsum": lambda jax, x: jax.numpy.sum(jax.numpy.exp(x), axis),
    }[name]
    dims = [_Along(position - (position > axis)) for position in range(len(shape))]
    dims[axis] = shape[axis]
    return _Operation(compute, (_Input(tuple(dims), dtype),), shape[:axis] + shape[axis + 1 :], dtype)


def _transpose(variant: str, *shape: int) -> _Operation:
    """`variant` is the permutation, with a trailing i for int32; `shape` is the input's."""
    dtype = "s32" if variant.endswith("i") else "f32"
    order = tuple(int(digit) for digit in variant.rstrip("i"))
    dims = tuple(_Along(order.index(position)) for position in range(len(shape)))
    output = tuple(shape[position] for position in order)
    return _Operation(lambda jax, x: jax.numpy.transpose(x, order), (_Input(dims, dtype),), output, dtype)


def _elementwise(variant: str, *shape: int) -> _Operation:
    compute, arity, dtype = {
        "gate": (lambda jax, x, y: jax.numpy.tanh(x) * jax.nn.sigmoid(y), 2, "f32"),
        "fma": (lambda jax, x, y, z: x * y + z, 3, "f32"),
        "swish": (lambda jax, x: x * jax.nn.sigmoid(x), 1, "f32"),
        "adam": (lambda jax, x, m, v: x - 0.01 * m / (jax.numpy.sqrt(jax.numpy.abs(v)) + 1e-3), 3, "f32"),
        "hash": (lambda jax, x, y: ((x ^ (x >> 15)) * 73244475 + y) & 0xFFFF, 2, "s32"),
    }[variant]
    dims = _Input(tuple(_Along(axis) for axis in range(len(shape))), dtype)
    return _Operation(compute, (dims,) * arity, shape, dtype)


def _softmax(variant: str, *shape: int) -> _Operation:
    compute = {
        "plain": lambda jax, x: jax.nn.softmax(x, axis=-1),
        "log": lambda jax, x: jax.nn.log_softmax(x, axis=-1),
    }[variant]
    return _Operation(compute, (_rows(shape),), shape, whole_axes=(len(shape) - 1,))


def _layer_norm(variant: str, *shape: int) -> _Operation:
    def layer(jax, x, scale, offset):
        centred = x - jax.numpy.mean(x, -1, keepdims=True)
        return centred * jax.lax.rsqrt(jax.numpy.mean(centred * centred, -1, keepdims=True) + 1e-5) * scale + offset

    def root_mean_square(jax, x, scale):
        return x * jax.lax.rsqrt(jax.numpy.mean(x * x, -1, keepdims=True) + 1e-5) * scale

    compute, vectors = {"layer": (layer, 2), "rms": (root_mean_square, 1)}[variant]
    inputs = (_rows(shape), *[_Input((shape[-1],))] * vectors)
    return _Operation(compute, inputs, shape, whole_axes=(len(shape) - 1,))


def _rows(shape: tuple[int, ...]) -> _Input:
    return _Input(tuple(_Along(axis) for axis in range(len(shape))))


def _broadcast_bias_activation(variant: str, *shape: int) -> _Operation:
    bias = _Input((_Along(len(shape) - 1),))
    return _Operation(lambda jax, x, b: _UNARY[variant](jax, x + b), (_rows(shape), bias), shape)


def _gather_rows(variant: str, rows: int, width: int, count: int) -> _Operation:
    compute = {
        "plain": lambda jax, table, index: jax.numpy.take(table, index, axis=0, mode="clip"),
        "tanh": lambda jax, table, index: jax.numpy.tanh(jax.numpy.take(table, index, axis=0, mode="clip")),
    }[variant]
    return _Operation(compute, (_Input((rows, _Along(1))), _Input((_Along(0),), "s32")), (count, width))


def _pooling(variant: str, b: int, h: int, w: int, c: int, window: int, stride: int) -> _Operation:
    def compute(jax, x):
        window_dims, strides = (1, window, window, 1), (1, stride, stride, 1)
        if variant == "max":
            return jax.lax.reduce_window(x, -np.inf, jax.lax.max, window_dims, strides, "VALID")
        return jax.lax.reduce_window(x, 0.0, jax.lax.add, window_dims, strides, "VALID") / window**2

    image = _Input((_Along(0), _Along(1, stride, window), _Along(2, stride, window), _Along(3)))
    return _Operation(compute, (image,), (b, h, w, c))


def _outer(variant: str, b: int, m: int, n: int) -> _Operation:
    combine = {
        "product": lambda jax, x, y: x * y,
        "tanhsum": lambda jax, x, y: jax.numpy.tanh(x + y),
        "distance": lambda jax, x, y: jax.numpy.exp(-jax.numpy.abs(x - y)),
    }[variant]
    return _Operation(
        lambda jax, x, y: combine(jax, x[:, :, None], y[:, None, :]),
        (_Input((_Along(0), _Along(1))), _Input((_Along(0), _Along(2)))),
        (b, m, n),
    )


def _attention(variant: str, heads: int, queries: int, keys: int, width: int) -> _Operation:
    """Attention, heads first. The width stays whole: a tile that cut it would compute the scores again."""

    def compute(jax, query, key, value):
        scores = jax.numpy.einsum("hqd,hkd->hqk", query, key) * width**-0.5
        weights = jax.nn.softmax(scores, axis=-1) if variant == "softmax" else _UNARY["relu"](jax, scores)
        return jax.numpy.einsum("hqk,hkd->hqd", weights, value)

    return _Operation(
        compute,
        (
            _Input((_Along(0), _Along(1), width)),
            _Input((_Along(0), keys, width)),
            _Input((_Along(0), keys, width)),
        ),
        (heads, queries, width),
        whole_axes=(2,),
    )


def _stencil(variant: str, *shape: int) -> _Operation:
    """Each output cell from its direct neighbours on every axis; the input carries a rim of one cell."""
    inner = (slice(1, -1),) * len(shape)

    def compute(jax, x):
        total = x[inner] * (-2.0 * len(shape))
        for axis in range(len(shape)):
            for side in (slice(None, -2), slice(2, None)):
                total = total + x[inner[:axis] + (side,) + inner[axis + 1 :]]
        return x[inner] + 0.1 * (jax.numpy.tanh(total) if variant == "tanh" else total)

    return _Operation(compute, (_Input(tuple(_Along(axis, 1, 3) for axis in range(len(shape)))),), shape)


def _pairwise_distance(variant: str, m: int, n: int, width: int) -> _Operation:
    def compute(jax, x, y):
        gap = x[:, None, :] - y[None, :, :]
        if variant == "l1":
            return jax.numpy.sum(jax.numpy.abs(gap), -1)
        return jax.numpy.sqrt(jax.numpy.sum(gap * gap, -1))

    return _Operation(compute, (_Input((_Along(0), width)), _Input((_Along(1), width))), (m, n))


_SHAPES: dict[str, tuple[Callable[..., _Operation], str]] = {
    "dot": (
        _dot,
        "nn 256 192 384|nn 100 128 300|nt 256 128 256|tn 192 96 320|nn 144 200 260|nn 512 64 256|nt 300 100 200|"
        "tn 256 256 128|nn 384 48 384|nn 200 150 333|nt 128 384 192|nn 320 80 500|tn 120 160 420|nn 96 512 128|"
        "nt 450 60 210",
    ),
    "batched_dot": (
        _batched_dot,
        "nn 8 64 64 64|nt 4 100 48 100|nn 12 48 32 96|nt 16 40 64 40|nn 6 72 50 90|nn 3 128 96 128|nt 8 50 100 70|"
        "nn 24 32 48 64|nt 12 64 16 64|nn 5 110 64 75|nn 2 200 80 160|nt 6 96 32 96|nn 10 60 120 36|nt 20 49 32 49|"
        "nn 32 30 20 50",
    ),
    "dense": (
        _dense,
        "gelu 256 128 256|relu 100 96 400|tanh 192 64 256|silu 300 80 200|relu 144 144 288|gelu 128 256 128|"
        "sigmoid 320 48 240|tanh 90 200 330|relu 512 32 192|silu 220 120 180|gelu 384 64 150|relu 160 320 160|"
        "sigmoid 125 90 375|gelu 64 192 512|tanh 250 50 250",
    ),
    "convolution": (
        _convolution,
        "plain 1 28 28 16 32 3 1|relu 2 14 14 32 48 3 1|plain 1 32 32 8 24 3 1|relu 1 20 30 12 40 3 1|"
        "plain 4 14 14 24 36 1 1|relu 1 16 16 32 64 3 2|plain 1 56 56 3 16 3 2|plain 2 24 24 10 20 3 1|"
        "relu 1 40 40 6 18 5 1|plain 1 25 35 20 30 3 1|plain 2 28 28 32 48 1 1|relu 3 12 12 40 40 3 1|"
        "plain 1 48 48 4 32 5 2|relu 1 36 20 16 28 3 1|plain 4 10 18 16 50 3 1",
    ),
    "depthwise_convolution": (
        _depthwise_convolution,
        "plain 1 28 28 32 3 1|plain 2 14 14 48 3 1|plain 1 40 40 16 3 1|plain 1 30 20 40 3 1|plain 1 24 24 36 5 1|"
        "plain 1 20 20 64 3 2|plain 2 16 16 32 3 1|plain 1 48 24 20 3 1|plain 1 33 33 24 3 1|plain 1 22 26 50 3 1|"
        "plain 3 14 14 40 3 1|plain 1 56 28 12 3 2|plain 1 18 18 72 3 1|plain 4 12 12 30 5 1|plain 1 32 32 28 3 2",
    ),
    "reduce": (
        _reduce,
        "sum2 16 100 256|max1 16 128 300|sum0 48 128 100|norm2 12 200 144|expsum1 20 64 250|sum1 40 64 150|"
        "sumi2 8 300 120|norm1 32 96 160|max0 64 90 120|expsum2 10 120 200|maxi1 24 60 400|sum0 64 50 300|"
        "norm0 32 200 80|max2 24 80 150|expsum0 40 50 200",
    ),
    "transpose": (
        _transpose,
        "10 512 384|021 16 100 300|102 64 48 200|210 40 96 128|0213 4 64 8 96|10i 300 700|021 8 256 192|"
        "102 100 30 150|0231 4 32 48 64|210 50 60 150|10 1000 250|0321 3 40 60 64|120 64 80 90|201i 48 100 72|"
        "0312 6 20 50 80",
    ),
    "elementwise": (
        _elementwise,
        "gate 256 300|fma 512 512|swish 16 100 128|adam 300 500|gate 8 96 200|hash 512 300|fma 32 64 150|"
        "swish 384 384|gate 400 250|adam 12 128 160|hash 20 100 144|swish 6 50 400|fma 1000 200|gate 4 32 32 48|"
        "adam 640 256",
    ),
    "softmax": (
        _softmax,
        "plain 8 100 128|plain 12 64 200|log 16 80 96|plain 4 200 150|log 6 128 256|plain 24 96 64|"
        "plain 5 90 300|log 20 60 100|plain 4 6 50 80|log 10 144 72|plain 6 160 256|plain 32 40 120|log 4 150 160|"
        "plain 2 8 64 64|plain 7 110 190",
    ),
    "layer_norm": (
        _layer_norm,
        "layer 8 128 192|layer 6 100 256|rms 16 96 128|layer 8 200 100|rms 12 70 300|layer 24 100 96|rms 8 160 200|"
        "layer 10 110 144|rms 20 64 200|layer 6 125 180|rms 5 240 128|layer 32 96 80|rms 9 90 240|layer 4 12 24 160|"
        "rms 7 150 320",
    ),
    "broadcast_bias_activation": (
        _broadcast_bias_activation,
        "gelu 256 384|relu 16 100 200|tanh 300 400|silu 8 128 150|sigmoid 512 250|relu 640 512|gelu 12 96 120|"
        "tanh 24 50 128|silu 400 333|sigmoid 6 140 180|gelu 1000 100|relu 4 40 40 64|tanh 128 700|silu 20 80 96|"
        "gelu 3 200 240",
    ),
    "gather_rows": (
        _gather_rows,
        "plain 128 256 1024|plain 200 300 2000|tanh 64 192 800|plain 100 128 3000|tanh 256 200 1200|plain 96 500 600|"
        "plain 300 100 4000|tanh 150 160 1400|plain 48 384 1600|tanh 80 320 900|plain 180 240 1800|plain 64 640 1000|"
        "tanh 120 96 2400|plain 220 150 2600|tanh 40 250 1280",
    ),
    "pooling": (
        _pooling,
        "max 3 28 28 48 2 2|mean 6 14 14 64 3 1|max 3 32 32 24 3 2|mean 3 40 20 30 2 2|max 12 16 16 20 3 1|"
        "mean 3 24 36 40 3 2|max 6 25 25 18 5 1",
    ),
    "outer": (
        _outer,
        "product 4 200 300|tanhsum 8 96 100|distance 2 256 192|product 16 64 256|tanhsum 3 150 250|distance 6 80 220|"
        "product 1 640 512",
    ),
    "attention": (
        _attention,
        "softmax 8 64 64 32|softmax 4 100 80 24|relu 6 96 48 32|softmax 12 48 50 16|relu 4 160 64 24|"
        "softmax 6 128 60 28|softmax 16 40 40 20|softmax 10 72 50 30",
    ),
    "stencil": (
        _stencil,
        "plain 300 400|tanh 256 256|plain 24 60 100|tanh 16 48 80|plain 640 500|tanh 150 600|plain 40 40 64|"
        "tanh 10 90 120",
    ),
    "pairwise_distance": (
        _pairwise_distance,
        "l2 256 200 16|l1 128 300 32|l2 400 160 8|l1 200 200 24|l2 96 512 20|l1 333 150 12|l2 180 240 48|l1 500 100 10",
    ),
}
_UNSEEN = {"pooling": "valid", "outer": "valid", "attention": "test", "stencil": "test", "pairwise_distance": "test"}
# Positions in a trained kind's list of shapes that are held out; early ones, so that a short collection has them too.
_HELD_OUT = {1: "test", 4: "valid", 9: "test"}


def _kernel(kind: str, position: int, text: str) -> Kernel:
    build, _ = _SHAPES[kind]
    variant, *sizes = text.split()
    operation = build(variant, *map(int, sizes))
    split = _UNSEEN.get(kind) or _HELD_OUT.get(position, "train")
    kin = "unseen" if kind in _UNSEEN else "train" if split == "train" else "sibling"
    return Kernel(
        id="_".join([kind, variant, operation.dtype, "x".join(sizes)]),
        kind=kind,
        split=split,
        kin=kin,
        untiled=operation.untiled,
        output_shape=operation.output,
        tile_bytes=operation.tile_bytes,
        tiled=operation.tiled,
        whole_axes=operation.whole_axes,
        kernel_bounds=operation.kernel_bounds,
    )


def _registry() -> list[Kernel]:
    """All kernels, the kinds interleaved in proportion to their numbers, so that a prefix has all kinds and splits."""
    placed = []
    for kind, (_, shapes) in _SHAPES.items():
        texts = shapes.split("|")
        placed += [((2 * at + 1) / len(texts), _kernel(kind, at, text)) for at, text in enumerate(texts)]
    return [kernel for _, kernel in sorted(placed, key=lambda pair: pair[0])]


KERNELS: list[Kernel] = _registry()
