"""Tiles keep the limits, and the 24 columns are the official ones."""

import math

import numpy as np
import pytest

from stages.collect.cpu.kernels import normalisation, products, windows
from stages.collect.cpu.kernels.registry import KERNELS
from stages.collect.cpu.kernels.tiles import MAX_TILES, SCRATCHPAD_BYTES, config_row, tiles

FIRST_OF_KIND = {kernel.kind: kernel for kernel in reversed(KERNELS)}


@pytest.mark.parametrize("kind", sorted(FIRST_OF_KIND))
def test_tiles_keep_the_limits_and_are_deterministic(kind):
    kernel = FIRST_OF_KIND[kind]
    chosen = tiles(kernel.operation, 40, np.random.default_rng(7))
    assert chosen == tiles(kernel.operation, 40, np.random.default_rng(7))
    assert len(chosen) == len(set(chosen)) == 40
    assert kernel.operation.output not in chosen
    for tile in chosen:
        assert all(1 <= size <= dimension for size, dimension in zip(tile, kernel.operation.output, strict=True))
        assert all(tile[axis] == kernel.operation.output[axis] for axis in kernel.operation.whole_axes)
        assert kernel.operation.tile_bytes(tile) <= SCRATCHPAD_BYTES
        count = math.prod(math.ceil(d / t) for d, t in zip(kernel.operation.output, tile, strict=True))
        assert 1 < count <= MAX_TILES


def test_tile_bytes_by_hand():
    dot = products.dot("nn", 256, 192, 384)
    assert dot.tile_bytes((16, 8)) == 4 * (16 * 192 + 192 * 8 + 16 * 8)
    # Stride 2, window 3: 4 output rows need 9 input rows, 5 columns need 11; the window for 6 of 64 channels.
    convolution = windows.convolution("plain", 2, 16, 16, 32, 64, 3, 2)
    assert convolution.tile_bytes((1, 4, 5, 6)) == 4 * (9 * 11 * 32 + 3 * 3 * 32 * 6 + 4 * 5 * 6)
    softmax = normalisation.softmax("plain", 8, 100, 128)
    assert softmax.tile_bytes((2, 10, 128)) == 4 * 2 * (2 * 10 * 128)


def test_config_row_by_hand():
    dot = next(k for k in KERNELS if k.id == "dot_nn_f32_256x192x384")
    row = config_row(dot.operation, (16, 48))
    assert row.dtype == np.float32
    assert row.tolist() == [0] * 8 + [16, 48, 0, 0, 0, 0, 64, 768] + [0] * 8
    convolution = next(k for k in KERNELS if k.id == "convolution_plain_f32_1x28x28x16x32x3x1")
    row = config_row(convolution.operation, (1, 7, 14, 8))
    assert row.tolist() == [3, 3, 16, 8, 0, 0, 30, 1152, 1, 7, 14, 8, 0, 0, 30, 784] + [0] * 8
