"""Many tensors in one copy, on a device that keeps no numbers and on the CPU itself."""

from dataclasses import dataclass

import numpy as np
import torch
from scipy.sparse import csr_array

from stages.gnn import transfer
from stages.gnn.sparse import SparseMatrix

CPU = torch.device("cpu")


@dataclass(frozen=True)
class Inner:
    whole: torch.Tensor
    sparse: SparseMatrix | None
    count: int


@dataclass(frozen=True)
class Outer:
    first: torch.Tensor
    parts: list[Inner]
    mask: torch.Tensor | None


def example() -> Outer:
    matrix = SparseMatrix.of(csr_array(np.array([[0, 2, 0], [1, 0, 3]], np.float32)))
    inner = [
        Inner(torch.arange(6).reshape(2, 3), matrix, 7),
        Inner(torch.empty(0, 4, dtype=torch.int64), None, 8),
    ]
    return Outer(torch.rand(5, 2)[:, 1], inner, torch.tensor([True, False, True]))


def test_every_tensor_keeps_its_numbers_its_shape_and_its_type():
    given = example()
    moved = transfer.to_device(given, CPU)
    assert moved.first.equal(given.first) and moved.first.is_contiguous() and moved.mask.equal(given.mask)
    for before, after in zip(given.parts, moved.parts, strict=True):
        assert after.whole.equal(before.whole) and after.whole.dtype == before.whole.dtype
        assert after.whole.shape == before.whole.shape and after.count == before.count
    sparse, before = moved.parts[0].sparse, given.parts[0].sparse
    assert sparse.matrix.to_dense().equal(before.matrix.to_dense())
    assert sparse.transposed.to_dense().equal(before.matrix.to_dense().T)
    assert moved.parts[1].sparse is None
    rows = torch.rand(3, 2)
    assert (sparse @ rows).equal(before @ rows)


def test_there_is_one_copy_for_each_type_of_number(monkeypatch):
    given, copies, original = example(), [], torch.Tensor.to

    def counted(tensor, *arguments, **options):
        copies.append(tensor.dtype)
        return original(tensor, *arguments, **options)

    monkeypatch.setattr(torch.Tensor, "to", counted)
    moved = transfer.to_device(given, torch.device("meta"))
    assert sorted(map(str, copies)) == ["torch.bool", "torch.float32", "torch.int32", "torch.int64"]
    assert moved.parts[0].sparse.matrix.device.type == moved.first.device.type == "meta"


def test_tensors_begin_where_a_device_can_read_them_fast():
    moved = transfer.to_device([torch.ones(3), torch.ones(5), torch.ones(2, dtype=torch.bool)], CPU)
    base = moved[0].data_ptr()
    assert (moved[1].data_ptr() - base) % 256 == 0 and moved[1].data_ptr() > base
