"""An operation computed tile by tile equals the whole one, and a tile that does not fit is refused."""

import math

import numpy as np
import pytest

from stages.collect.cpu.kernels import normalisation, products
from stages.collect.cpu.kernels.registry import KERNELS
from stages.collect.cpu.kernels.tiles import tiles

KINDS = sorted({kernel.kind for kernel in KERNELS})


def _smallest(kind: str):
    return min((k for k in KERNELS if k.kind == kind), key=lambda k: math.prod(k.operation.output))


def _arguments(structs, rng):
    for struct in structs:
        if np.issubdtype(struct.dtype, np.integer):
            yield rng.integers(0, 32, struct.shape, dtype=struct.dtype)
        else:
            yield rng.standard_normal(struct.shape, dtype=struct.dtype)


def _remainder_tile(kernel) -> tuple[int, ...]:
    """A valid tile that leaves a remainder on as many axes as possible: the case where the last tile overlaps."""
    candidates = tiles(kernel.operation, 10**6, np.random.default_rng(0))
    return max(candidates, key=lambda t: (sum(d % s != 0 for d, s in zip(kernel.operation.output, t, strict=True)), t))


@pytest.mark.parametrize("kind", KINDS)
def test_tiled_equals_untiled(kind):
    jax = pytest.importorskip("jax", reason="jax is not installed: it belongs to requirements-collect.txt")
    kernel = _smallest(kind)
    rng = np.random.default_rng(0)
    function, structs = kernel.operation.untiled()
    arguments = list(_arguments(structs, rng))
    expected = np.asarray(jax.jit(function)(*arguments))
    assert expected.shape == kernel.operation.output
    assert np.ptp(expected) > 0
    for tile in (_remainder_tile(kernel), tiles(kernel.operation, 1, rng)[0]):
        function, tiled_structs = kernel.operation.tiled(tile)
        assert tiled_structs == structs
        tiled = np.asarray(jax.jit(function)(*arguments))
        assert tiled.dtype == expected.dtype
        np.testing.assert_allclose(tiled, expected, rtol=2e-5, atol=2e-5 * np.abs(expected).max(), err_msg=str(tile))


def test_dot_against_numpy():
    jax = pytest.importorskip("jax", reason="jax is not installed: it belongs to requirements-collect.txt")
    rng = np.random.default_rng(0)
    for variant, left, right in (("nn", "mk", "kn"), ("nt", "mk", "nk"), ("tn", "km", "kn")):
        operation = products.dot(variant, 5, 4, 7)
        function, structs = operation.tiled((2, 3))
        x, y = _arguments(structs, rng)
        expected = np.einsum(f"{left},{right}->mn", x, y)
        np.testing.assert_allclose(jax.jit(function)(x, y), expected, rtol=1e-5, atol=1e-5)


def test_a_tile_that_does_not_fit_is_refused():
    pytest.importorskip("jax", reason="jax is not installed: it belongs to requirements-collect.txt")
    softmax = normalisation.softmax("plain", 8, 100, 128)
    for tile in ((9, 1, 128), (0, 1, 128), (1, 128), (1, 1, 64)):
        with pytest.raises(ValueError, match="tile"):
            softmax.tiled(tile)
