"""Sparse algebra of the network: constant CSR matrices, their products with gradients, and how they are joined."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from scipy.sparse import block_diag, csr_array

with warnings.catch_warnings():  # torch says once a process that CSR is in beta
    warnings.filterwarnings("ignore", message="Sparse CSR tensor support is in beta")
    torch.sparse_csr_tensor([0], [], [], size=(0, 0), check_invariants=False)


@dataclass(frozen=True, eq=False)
class SparseMatrix:
    """A constant sparse matrix, CSR. The transpose, which gradients need, is made for the first of them."""

    matrix: torch.Tensor

    @classmethod
    def of(cls, matrix: csr_array) -> SparseMatrix:
        """The matrix that scipy holds."""
        return cls(csr_tensor(matrix.indptr, matrix.indices, matrix.data, matrix.shape))

    @cached_property
    def transposed(self) -> torch.Tensor:
        parts = (self.matrix.values(), self.matrix.col_indices(), self.matrix.crow_indices())
        columns = csr_array(tuple(part.numpy() for part in parts), shape=tuple(self.matrix.shape)).tocsc()
        return csr_tensor(columns.indptr, columns.indices, columns.data, columns.shape[::-1])

    def __matmul__(self, x: torch.Tensor) -> torch.Tensor:
        return _Product.apply(self, x)


class _Product(torch.autograd.Function):
    """The product runs in float32 also where the rest is autocast: not every device has sparse products in bfloat16,
    and sums need digits."""

    @staticmethod
    @torch.amp.custom_fwd(device_type="cuda", cast_inputs=torch.float32)
    def forward(ctx, sparse, x):
        ctx.sparse = sparse
        return sparse.matrix @ x

    @staticmethod
    @torch.amp.custom_bwd(device_type="cuda")
    def backward(ctx, grad):
        return None, ctx.sparse.transposed @ grad.contiguous()


def csr_tensor(pointer: np.ndarray, column: np.ndarray, data: np.ndarray, shape: tuple[int, int]) -> torch.Tensor:
    """A CSR tensor of torch.

    Its indices have 32 bits: from longer ones torch's sparse products on a CPU would convert each time.

    Args:
        pointer: (rows + 1,) where the entries of each row begin.
        column: (entries,) the column of each.
        data: (entries,) the value of each.
        shape: rows and columns.
    """
    return torch.sparse_csr_tensor(
        torch.from_numpy(pointer.astype(np.int32, copy=False)),
        torch.from_numpy(column.astype(np.int32, copy=False)),
        torch.from_numpy(data),
        size=shape,
        check_invariants=False,
    )


def block_diagonal(blocks: list[csr_array]) -> csr_array:
    """The matrix with the blocks along its diagonal."""
    return blocks[0] if len(blocks) == 1 else csr_array(block_diag(blocks, format="csr"))


def used_columns(matrix: csr_array, kinds: int) -> tuple[list[torch.Tensor], csr_array]:
    """Leaves out the columns without an entry: what no row reads need not be computed.

    Args:
        matrix: (rows, n * kinds), whose column i * kinds + kind is item i's message of one kind.
        kinds: of messages.

    Returns:
        For each kind the items (r_kind,) int64 with an entry, ascending; and the matrix (rows, sum of r_kind) with
        their columns, one kind after the other.
    """
    used = np.zeros(matrix.shape[1], bool)
    used[matrix.indices] = True
    used = used.reshape(-1, kinds).T
    number = np.cumsum(used).reshape(kinds, -1).T.reshape(-1) - 1
    shape = matrix.shape[0], int(used.sum())
    items = [torch.from_numpy(np.flatnonzero(of_kind)) for of_kind in used]
    return items, csr_array((matrix.data, number[matrix.indices], matrix.indptr), shape=shape)


def normalised_adjacency(consumers: np.ndarray, producers: np.ndarray, nodes: int) -> csr_array:
    """(nodes, nodes) D^-1/2 (A + A^T + I) D^-1/2 of the adjacency A, D the row sums (Kipf and Welling 2017).

    Parallel edges count each.

    Args:
        consumers: (m,) the node at one end of each edge.
        producers: (m,) the node at the other.
        nodes: their number.
    """
    every = np.arange(nodes)
    row, column = np.concatenate([consumers, producers, every]), np.concatenate([producers, consumers, every])
    root = np.sqrt(np.bincount(row, minlength=nodes))
    matrix = csr_array(((1 / (root[row] * root[column])).astype(np.float32), (row, column)), shape=(nodes, nodes))
    matrix.sum_duplicates()
    return matrix


def mean_over(row: np.ndarray, column: np.ndarray, nodes: int) -> csr_array:
    """(nodes, nodes) operator whose product is the mean over the neighbours of each node; parallel edges count each.

    Args:
        row: (m,) the node that takes the mean, of each edge.
        column: (m,) its neighbour.
        nodes: their number.
    """
    degree = np.maximum(np.bincount(row, minlength=nodes), 1)
    matrix = csr_array(((1 / degree[row]).astype(np.float32), (row, column)), shape=(nodes, nodes))
    matrix.sum_duplicates()
    return matrix


def renumbered(parts: list[np.ndarray], sizes: list[int]) -> np.ndarray:
    """Indices of several parts in one array, as indices into the parts put one after the other.

    Args:
        parts: indices, each from 0 within its part.
        sizes: how many items each part has.
    """
    if len(parts) == 1:
        return parts[0]
    first = np.cumsum([0, *sizes[:-1]])
    return np.concatenate([part + start for part, start in zip(parts, first, strict=True)])


def concatenated(parts: list[np.ndarray]) -> np.ndarray:
    """The parts in one array; a single one is not copied."""
    return parts[0] if len(parts) == 1 else np.concatenate(parts)


def catenated(parts: list[torch.Tensor]) -> torch.Tensor:
    """The same for tensors."""
    return parts[0] if len(parts) == 1 else torch.cat(parts)
