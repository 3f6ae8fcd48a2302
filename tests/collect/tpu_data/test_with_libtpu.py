"""A program through Google's compiler to the official files, twice; skipped where there is no libtpu."""

import pytest

from stages.collect.tpu import passes
from stages.collect.tpu.simulate import Simulator
from stages.collect.tpu_data import export, layouts, tiles
from stages.collect.tpu_data.compiled import compiled
from stages.collect.tpu_data.store import Store
from stages.collect.tpu_data.work import collections_of
from tests.support import tpu_records as made


@pytest.fixture(scope="module")
def text():
    pytest.importorskip("libtpu", reason="Google's TPU compiler is not installed")
    jax = pytest.importorskip("jax")

    def network(x, kernel, weights):
        y = jax.lax.conv_general_dilated(x, kernel, (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC"))
        return jax.numpy.tanh(y).reshape(-1, 128) @ weights

    shapes = [jax.ShapeDtypeStruct(shape, "float32") for shape in ((32, 8, 8, 128), (3, 3, 128, 128), (128, 256))]
    return passes.module_of(network, tuple(shapes))


def collected(text, folder):
    """Files of a data set of one program, everything compiled anew."""
    store = Store(folder / "records")
    with Simulator(folder / "kernels.sqlite") as simulator:
        program = compiled(text, simulator)
        program.write(store.program(made.TRAIN), made.TRAIN)
        layouts.measure(
            made.TRAIN, collections_of(made.TRAIN), program, simulator, store, 6, lambda search, count: None
        )
        for kernel in tiles.tiled(program.kernels, 2):
            tiles.measure(kernel, simulator, store, 12)
    result = export.export(store, folder / "sample")
    files = {path.name: path.read_bytes() for path in (folder / "sample").rglob("*") if path.is_file()}
    return result, files


def test_the_compiler_says_the_same_twice(text, tmp_path):
    result, files = collected(text, tmp_path / "once")
    assert result.programs, "no kernel is tiled"
    dropped = {line["collection"] for line in result.dropped}  # six configurations are too few, by rule
    assert {"layout:xla:random", "layout:xla:default"} <= dropped
    assert all(line["slowest_over_fastest"] > 1 for line in result.programs)
    assert collected(text, tmp_path / "again")[1] == files
