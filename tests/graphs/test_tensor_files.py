import json

import numpy as np
import pytest
import safetensors.numpy

from stages.engine.errors import InputError
from stages.graphs.dataset import PACKED_LAYOUT
from stages.graphs.tensor_files import Pieces, read_tensors, write_tensors
from tests.support.tensors import layout_tensors

NAMES = {"whole_stats": ["nodes", "log_bytes"]}


def example(configurations=3):
    """Tensors of all dtypes, two of them empty, as a packed graph has them."""
    return layout_tensors(configurations) | {"whole_stats": np.array([4.0, 1.5])}


def store(folder, tensors):
    path = folder / "graph.safetensors"
    write_tensors(path, tensors, PACKED_LAYOUT, NAMES)
    return path


@pytest.mark.parametrize("configurations", [1, 3])
def test_the_bytes_are_those_that_safetensors_writes(tmp_path, configurations):
    tensors = example(configurations)
    stored = store(tmp_path, tensors).read_bytes()
    assert stored == safetensors.numpy.save(tensors, {"names": json.dumps(NAMES)})


@pytest.mark.parametrize("mapped", [True, False])
def test_tensors_come_back_as_written_and_read_only(tmp_path, mapped):
    tensors = example()
    stored, names = read_tensors(store(tmp_path, tensors), mapped)
    assert names == NAMES and stored.keys() == tensors.keys()
    for name, tensor in tensors.items():
        np.testing.assert_array_equal(stored[name], tensor, name)
        assert stored[name].dtype == tensor.dtype and stored[name].shape == tensor.shape, name
        assert not stored[name].flags.writeable, name


@pytest.mark.parametrize("mapped", [True, False])
@pytest.mark.parametrize("damage", [lambda b: b[:40], lambda b: b[:-200], lambda b: b"", lambda b: b"\xff" * 64])
def test_damage_is_told(tmp_path, damage, mapped):
    path = store(tmp_path, example())
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(InputError, match=r"graph\.safetensors: is damaged; run the stage"):
        read_tensors(path, mapped)


def test_an_array_in_pieces_is_written_as_in_one(tmp_path):
    tensors = example()
    expected = store(tmp_path / "whole", tensors).read_bytes()
    pieces = iter([tensors["codes"][:1], tensors["codes"][1:1], tensors["codes"][1:]])
    in_pieces = tensors | {"codes": Pieces(tensors["codes"].shape, pieces)}
    assert store(tmp_path / "pieces", in_pieces).read_bytes() == expected


@pytest.mark.parametrize("rows", [2, 4])
def test_pieces_of_another_shape_are_a_mistake(tmp_path, rows):
    tensors = example()
    codes = Pieces((rows, 2), [tensors["codes"]])
    with pytest.raises(ValueError, match="the pieces of a tensor are not of its shape"):
        store(tmp_path, tensors | {"codes": codes})
    assert not list(tmp_path.iterdir())


def test_a_tensor_too_few_is_a_mistake(tmp_path):
    tensors = example()
    tensors.pop("contracted")
    with pytest.raises(ValueError, match="the schema has"):
        store(tmp_path, tensors)
    assert not list(tmp_path.iterdir())
