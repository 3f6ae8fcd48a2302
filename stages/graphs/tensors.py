"""The published columns of nodes and configurations, and what those of a node say about its tensor."""

from __future__ import annotations

import numpy as np

MAX_RANK = 6
NODE_FEATURES = 140
#: the layouts that a configuration gives a configurable node, in the order of the columns; each has `MAX_RANK` of them
SLOTS = ("output", "input", "kernel")
LAYOUT_FEATURES = len(SLOTS) * MAX_RANK
#: of a tile configuration: the bounds of kernel, output and input tile, each with their sum and product
TILE_FEATURES = 3 * (MAX_RANK + 2)
#: columns of a node: 1 for the root of a computation; one-hot element type; dimensions; number of elements; dimensions
#: that the opcode names; dimension numbers of a convolution; own layout, minor-to-major
ROOT, TYPES, SHAPE, ELEMENTS = 0, slice(2, 21), slice(21, 27), 28
DIMENSIONS, CONVOLUTION_NUMBERS, LAYOUT = slice(31, 37), slice(93, 107), slice(134, 140)
#: Bytes of an element by the type columns: invalid, pred, s8..s64, u8..u64, f16, f32, f64, bf16, c64, c128, tuple,
#: opaque, token. A tuple has no bytes of its own: its elements are nodes too.
_ELEMENT_BYTES = np.array([0, 1, 1, 2, 4, 8, 1, 2, 4, 8, 2, 4, 8, 2, 8, 16, 0, 0, 0], np.int64)


def element_bytes(node_feat: np.ndarray) -> np.ndarray:
    """Bytes of one element of each node's result, (n,) int64; 0 for tuples and tokens."""
    return (node_feat[:, TYPES] > 0) @ _ELEMENT_BYTES


def dimensions(node_feat: np.ndarray) -> np.ndarray:
    """Dimensions of each node's result, (n, 6) int64, 0 beyond the rank."""
    return node_feat[:, SHAPE].astype(np.int64)


def elements(dims: np.ndarray) -> np.ndarray:
    """Number of elements of tensors (..., 6): 0 dimensions are padding; a tensor without dimensions is a scalar."""
    return np.maximum(dims, 1).prod(axis=-1)


def shape(dims: np.ndarray) -> tuple[int, ...]:
    """Dimensions of one tensor without the padding."""
    return tuple(int(size) for size in dims if size > 0)


def axes(node_feat: np.ndarray, node: int, count: int) -> tuple[int, ...]:
    """The first `count` of a node's `dimensions`: a transpose's permutation, the dimensions that a reduce sums over."""
    return tuple(int(axis) for axis in node_feat[node, DIMENSIONS][:count])
