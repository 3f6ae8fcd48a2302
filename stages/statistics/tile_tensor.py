"""The tensor that a kernel's output bounds cut, and what a part of it is in the chip's registers and memory."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from stages.graphs.dataset import PackedGraph
from stages.graphs.opcodes import OPCODE_NUMBERS, PARAMETER
from stages.graphs.tensors import LAYOUT, MAX_RANK, ROOT, dimensions, element_bytes, elements
from stages.statistics import hardware

TUPLE, UPDATE = OPCODE_NUMBERS["tuple"], OPCODE_NUMBERS["dynamic-update-slice"]
#: first of the eight columns (six bounds, sum, product) of each group of the 24 tile columns
GROUPS = {"kernel": 0, "output": 8, "input": 16}


@dataclass(frozen=True)
class Tensor:
    """A tensor as it lies in memory.

    Attributes:
        dims: (6,) int64, 0 beyond the rank.
        order: its dimensions, minor first.
        element_bytes: of one of its elements.
    """

    dims: np.ndarray
    order: list[int]
    element_bytes: int

    @property
    def rank(self) -> int:
        return len(self.order)

    @property
    def elements(self) -> int:
        return int(elements(self.dims))

    def registers(self, part: np.ndarray) -> np.ndarray:
        """Registers (c,) that parts (c, 6), in elements along the dimensions, fill or begin to fill."""
        return np.ceil(np.maximum(part, 1) / register(self)).prod(axis=1)

    @property
    def register_bytes(self) -> int:
        """Bytes of a register's worth of the tensor: bfloat16 is packed two to a word."""
        return int(register(self).prod()) * self.element_bytes

    def pieces(self, part: np.ndarray) -> np.ndarray:
        """Pieces (c,) of parts (c, 6) that lie apart in memory: a dimension within one that is cut breaks it up."""
        size = register(self)
        wide, whole = np.ceil(np.maximum(part, 1) / size), np.ceil(np.maximum(self.dims, 1) / size)
        pieces, joined = np.ones(len(part)), np.ones(len(part), bool)
        for axis in self.order:
            pieces = np.where(joined, pieces, pieces * wide[:, axis])
            joined &= wide[:, axis] >= whole[axis]
        return pieces


def windowed(graph: PackedGraph) -> tuple[Tensor, bool]:
    """The tensor that output bounds cut, and whether they count registers in the order of its layout.

    They do if a tensor has as many dimensions as there are bounds, and no configuration's bound is larger than its
    dimension in registers. It is the largest such result; of a fusion that ends in a reduction the largest such tensor
    that it computes; of one that updates a slice in place, the slice. Otherwise bounds count elements of the largest
    root.
    """
    largest = np.asarray(graph.config_feat)[:, GROUPS["output"] :][:, :MAX_RANK].max(axis=0, initial=0)
    rank = int(np.flatnonzero(largest > 0).max(initial=-1)) + 1
    dims = dimensions(graph.node_feat)
    of_rank = np.flatnonzero((dims > 0).sum(axis=1) == rank) if rank else np.zeros(0, np.int64)
    place = _place(graph)
    for node in sorted(of_rank, key=lambda node: (place[node], -elements(dims[node : node + 1])[0], node)):
        tensor = tensor_of(graph, node)
        if (largest[:rank] <= np.ceil(tensor.dims[tensor.order[::-1]] / register(tensor)[tensor.order[::-1]])).all():
            updates = _updates(graph, node)
            return (tensor_of(graph, updates[0]) if len(updates) else tensor), True
    roots = np.flatnonzero(graph.node_feat[:, ROOT] > 0)
    return tensor_of(graph, roots[np.argmax(elements(dims[roots]))] if len(roots) else graph.nodes - 1), False


def _place(graph: PackedGraph) -> np.ndarray:
    """(n,) 0 for results, roots and what a tuple at a root holds, 1 for what is computed, 2 for parameters."""
    is_root = graph.node_feat[:, ROOT] > 0
    consumers, producers = np.asarray(graph.edge_index).T
    result = is_root.copy()
    result[producers[is_root[consumers] & (graph.node_opcode[consumers] == TUPLE)]] = True
    return np.where(result, 0, np.where(np.asarray(graph.node_opcode) == PARAMETER, 2, 1))


def _updates(graph: PackedGraph, node: int) -> np.ndarray:
    """Nodes (u,) that a kernel of this result writes into a part of it: of its dynamic-update-slices of that shape."""
    dims = dimensions(graph.node_feat)
    consumers, producers = np.asarray(graph.edge_index).T
    updating = (graph.node_opcode[consumers] == UPDATE) & (dims[consumers] == dims[node]).all(axis=1)
    part = ((dims[producers] > 0).sum(axis=1) == (dims[node] > 0).sum()) & (dims[producers] != dims[node]).any(axis=1)
    return np.unique(producers[updating & part & (dims[producers] > 0).any(axis=1)])


def tensor_of(graph: PackedGraph, node: int) -> Tensor:
    """The tensor of a node, row-major where the file gives no layout."""
    features = graph.node_feat[node]
    dims = dimensions(features[None])[0]
    rank = int((dims > 0).sum())
    order = [int(axis) for axis in features[LAYOUT][:rank]]
    if sorted(order) != list(range(rank)):
        order = list(range(rank - 1, -1, -1))
    return Tensor(dims, order, int(element_bytes(features[None])[0]))


def register(tensor: Tensor) -> np.ndarray:
    """(6,) elements of a register along each dimension: lanes along the minor one, sublanes along the next."""
    size = np.ones(MAX_RANK)
    if tensor.rank == 1:  # a vector fills whole registers
        size[tensor.order[0]] = hardware.LANES * hardware.SUBLANES
    for axis, count in zip(tensor.order if tensor.rank > 1 else (), (hardware.LANES, hardware.SUBLANES), strict=False):
        size[axis] = count
    return size


def cut(bounds: np.ndarray, result: Tensor, in_registers: bool) -> np.ndarray:
    """Elements (c, 6) of the output tiles along the dimensions of the result.

    Args:
        bounds: (c, 6) of a configuration; a bound of 0 is the whole dimension.
        result: the tensor that they cut.
        in_registers: whether they count registers in the order of its layout, major first; else they count elements.
    """
    whole = np.maximum(result.dims, 1)
    if not in_registers:
        return np.where(bounds > 0, bounds, whole)
    logical = np.zeros(bounds.shape)
    logical[:, result.order[::-1]] = bounds[:, : result.rank]
    return np.where(logical > 0, np.minimum(logical * register(result), whole), whole)
