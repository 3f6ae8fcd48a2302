"""Brings the tensors of a batch to a device together: one copy for each type of number, from memory that is pinned.

A copy for each tensor would have the processor wait some seventy times a step, and the device with it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields, is_dataclass, replace

import torch

from stages.gnn.sparse import SparseMatrix

#: every tensor begins at a multiple of so many bytes, as the sparse products of a GPU want it
_ALIGNMENT = 256


def to_device(value, device: torch.device):
    """A tensor on the CPU, or a list or dataclass of such, on a device; what is no tensor stays as it is."""
    return _rebuilt(value, iter(_moved(list(_pieces(value)), device)))


def _pieces(value) -> Iterator[torch.Tensor]:
    """The dense tensors that a value is made of, in the order in which `_rebuilt` takes them."""
    if isinstance(value, torch.Tensor):
        if value.layout == torch.sparse_csr:
            yield from (value.crow_indices(), value.col_indices(), value.values())
        else:
            yield value
    elif isinstance(value, list):
        for item in value:
            yield from _pieces(item)
    elif isinstance(value, SparseMatrix):
        yield from _pieces([value.matrix, value.transposed])  # scipy, which makes the second, knows no device
    elif is_dataclass(value):
        for field in fields(value):
            yield from _pieces(getattr(value, field.name))


def _moved(pieces: list[torch.Tensor], device: torch.device) -> list[torch.Tensor]:
    """The same tensors on the device."""
    starts, lengths = [], dict.fromkeys((piece.dtype for piece in pieces), 0)
    for piece in pieces:
        starts.append(lengths[piece.dtype])
        step = _ALIGNMENT // piece.element_size()
        lengths[piece.dtype] += -(-piece.numel() // step) * step
    whole = {}
    for dtype, length in lengths.items():
        host = torch.empty(length, dtype=dtype, pin_memory=device.type == "cuda")
        for piece, start in zip(pieces, starts, strict=True):
            if piece.dtype == dtype:
                host[start : start + piece.numel()].copy_(piece.reshape(-1))
        whole[dtype] = host.to(device, non_blocking=True)
    return [
        whole[piece.dtype][start : start + piece.numel()].view(piece.shape)
        for piece, start in zip(pieces, starts, strict=True)
    ]


def _rebuilt(value, pieces: Iterator[torch.Tensor]):
    """The value with the tensors that come from `pieces`."""
    if isinstance(value, torch.Tensor):
        if value.layout != torch.sparse_csr:
            return next(pieces)
        parts = next(pieces), next(pieces), next(pieces)
        return torch.sparse_csr_tensor(*parts, size=value.shape, check_invariants=False)
    if isinstance(value, list):
        return [_rebuilt(item, pieces) for item in value]
    if isinstance(value, SparseMatrix):
        matrix, transposed = _rebuilt([value.matrix, value.transposed], pieces)
        moved = SparseMatrix(matrix)
        moved.__dict__["transposed"] = transposed
        return moved
    if is_dataclass(value):
        return replace(value, **{field.name: _rebuilt(getattr(value, field.name), pieces) for field in fields(value)})
    return value
