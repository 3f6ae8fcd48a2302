"""The tile collection's kernels: tiled equals untiled, tiles keep the limits, the 24 columns are the official ones."""

import math
from collections import Counter

import numpy as np
import pytest

from stages.collect import kernels
from stages.collect.kernels import KERNELS, MAX_TILES, SCRATCHPAD_BYTES, config_row, tiles

FIRST_OF_KIND = {kernel.kind: kernel for kernel in reversed(KERNELS)}


def _smallest(kind: str):
    return min((k for k in KERNELS if k.kind == kind), key=lambda k: math.prod(k.output_shape))


def _arguments(structs, rng):
    for struct in structs:
        if np.issubdtype(struct.dtype, np.integer):
            yield rng.integers(0, 32, struct.shape, dtype=struct.dtype)
        else:
            yield rng.standard_normal(struct.shape, dtype=struct.dtype)


def _remainder_tile(kernel) -> tuple[int, ...]:
    """A valid tile that leaves a remainder on as many axes as possible: the case where the last tile overlaps."""
    candidates = tiles(kernel, 10**6, np.random.default_rng(0))
    return max(candidates, key=lambda t: (sum(d % s != 0 for d, s in zip(kernel.output_shape, t, strict=True)), t))


@pytest.mark.parametrize("kind", sorted(FIRST_OF_KIND))
def test_tiled_equals_untiled(kind):
    jax = pytest.importorskip("jax", reason="jax is not installed: it belongs to requirements-collect.txt")
    kernel = _smallest(kind)
    rng = np.random.default_rng(0)
    function, structs = kernel.untiled()
    arguments = list(_arguments(structs, rng))
    expected = np.asarray(jax.jit(function)(*arguments))
    assert expected.shape == kernel.output_shape
    assert np.ptp(expected) > 0
    for tile in (_remainder_tile(kernel), tiles(kernel, 1, rng)[0]):
        function, tiled_structs = kernel.tiled(tile)
        assert tiled_structs == structs
        found = np.asarray(jax.jit(function)(*arguments))
        assert found.dtype == expected.dtype
        np.testing.assert_allclose(found, expected, rtol=2e-5, atol=2e-5 * np.abs(expected).max(), err_msg=str(tile))


def test_dot_against_numpy():
    jax = pytest.importorskip("jax", reason="jax is not installed: it belongs to requirements-collect.txt")
    rng = np.random.default_rng(0)
    for variant, left, right in (("nn", "mk", "kn"), ("nt", "mk", "nk"), ("tn", "km", "kn")):
        operation = kernels._dot(variant, 5, 4, 7)
        function, structs = operation.tiled((2, 3))
        x, y = _arguments(structs, rng)
        expected = np.einsum(f"{left},{right}->mn", x, y)
        np.testing.assert_allclose(jax.jit(function)(x, y), expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("kind", sorted(FIRST_OF_KIND))
def test_tiles_keep_the_limits_and_are_deterministic(kind):
    kernel = FIRST_OF_KIND[kind]
    found = tiles(kernel, 40, np.random.default_rng(7))
    assert found == tiles(kernel, 40, np.random.default_rng(7))
    assert len(found) == len(set(found)) == 40
    assert kernel.output_shape not in found
    for tile in found:
        assert all(1 <= size <= dimension for size, dimension in zip(tile, kernel.output_shape, strict=True))
        assert all(tile[axis] == kernel.output_shape[axis] for axis in kernel.whole_axes)
        assert kernel.tile_bytes(tile) <= SCRATCHPAD_BYTES
        count = math.prod(math.ceil(d / t) for d, t in zip(kernel.output_shape, tile, strict=True))
        assert 1 < count <= MAX_TILES


def test_tile_bytes_by_hand():
    dot = kernels._dot("nn", 256, 192, 384)
    assert dot.tile_bytes((16, 8)) == 4 * (16 * 192 + 192 * 8 + 16 * 8)
    # Stride 2, window 3: 4 output rows need 9 input rows, 5 columns need 11; the window for 6 of 64 channels.
    convolution = kernels._convolution("plain", 2, 16, 16, 32, 64, 3, 2)
    assert convolution.tile_bytes((1, 4, 5, 6)) == 4 * (9 * 11 * 32 + 3 * 3 * 32 * 6 + 4 * 5 * 6)
    softmax = kernels._softmax("plain", 8, 100, 128)
    assert softmax.tile_bytes((2, 10, 128)) == 4 * 2 * (2 * 10 * 128)


def test_config_row_by_hand():
    dot = next(k for k in KERNELS if k.id == "dot_nn_f32_256x192x384")
    row = config_row(dot, (16, 48))
    assert row.dtype == np.float32
    assert row.tolist() == [0] * 8 + [16, 48, 0, 0, 0, 0, 64, 768] + [0] * 8
    convolution = next(k for k in KERNELS if k.id == "convolution_plain_f32_1x28x28x16x32x3x1")
    row = config_row(convolution, (1, 7, 14, 8))
    assert row.tolist() == [3, 3, 16, 8, 0, 0, 30, 1152, 1, 7, 14, 8, 0, 0, 30, 784] + [0] * 8


def test_a_tile_that_does_not_fit_is_refused():
    pytest.importorskip("jax", reason="jax is not installed: it belongs to requirements-collect.txt")
    softmax = kernels._softmax("plain", 8, 100, 128)
    for tile in ((9, 1, 128), (0, 1, 128), (1, 128), (1, 1, 64)):
        with pytest.raises(ValueError, match="tile"):
            softmax.tiled(tile)


def test_splits_hold_out_kinds_and_any_prefix_has_all_splits():
    assert len({kernel.id for kernel in KERNELS}) == len(KERNELS)
    trained = {kernel.kind for kernel in KERNELS if kernel.split == "train"}
    for kernel in KERNELS:
        expected = "train" if kernel.split == "train" else "sibling" if kernel.kind in trained else "unseen"
        assert kernel.kin == expected, kernel.id
    unseen = {split: {k.kind for k in KERNELS if k.kin == "unseen" and k.split == split} for split in ("valid", "test")}
    assert len(unseen["test"]) >= 2 and unseen["valid"] and not unseen["test"] & unseen["valid"]
    third = Counter((kernel.split, kernel.kin) for kernel in KERNELS[: len(KERNELS) // 3])
    assert set(third) == set(Counter((kernel.split, kernel.kin) for kernel in KERNELS))
