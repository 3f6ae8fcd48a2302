"""The graph of an HLO module as arrays: 140 feature columns, an opcode, the edges.

The columns, the order of the edges and the splits are those of the TpuGraphs data set, to the bit (the repository
google-research-datasets/tpu_graphs, section "Node Features" of its README): a graph read from XLA today and one
published with the data set can be given to the same model.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from stages.engine.errors import InputError
from stages.graphs.opcodes import opcode_number
from stages.graphs.tensors import MAX_RANK
from stages.hlo.hlo_pb2 import (
    ConvolutionDimensionNumbers,
    HloComputationProto,
    HloInstructionProto,
    HloModuleProto,
    ShapeProto,
    Window,
)

#: what the official featurizer leaves out, by name with the number of columns: of a dot, then of a gather. The third
#: place (jafluri/kaggle_tpu_graph) added these and two more that say nothing new: the root of a computation is column 0
#: of the 140, and whether a module is dynamic is the same for all of its nodes.
LEFT_OUT = {
    "lhs_contracting_dimensions": 3,
    "rhs_contracting_dimensions": 3,
    "lhs_batch_dimensions": 3,
    "rhs_batch_dimensions": 3,
    "offset_dims": 3,
    "collapsed_slice_dims": 3,
    "start_index_map": 3,
    "index_vector_dim": 1,
    "gather_slice_sizes": 5,
    "indices_are_sorted": 1,
}
LEFT_OUT_PADDING = -1
# XLA's number of the element type that each of the columns 2..20 stands for: invalid, pred, s8, s16, s32, s64, u8, u16,
# u32, u64, f16, f32, f64, bf16, c64, c128, tuple, opaque, token.
ELEMENT_TYPES = (0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 16, 15, 18, 13, 14, 17)
# Parts of a program that the data set cuts it at; fusions, reductions and the like stay with the part around them.
SPLIT_NAMES = ("cluster", "while", "cond")


@dataclass(frozen=True)
class GraphArrays:
    """A module of n instructions, m edges and s splits, in the dtypes of the official npz files.

    Attributes:
        node_feat: (n, 140) float32.
        node_opcode: (n,) uint8; 0 for an opcode that the data set does not know.
        edge_index: (m, 2) int64, sorted; a row [u, v] says that u consumes the output of v.
        node_splits: (1, s) int64, from 0 to n; where the major computations end.
        names: The n names of the instructions.
    """

    node_feat: np.ndarray
    node_opcode: np.ndarray
    edge_index: np.ndarray
    node_splits: np.ndarray
    names: list[str]


def graph_arrays(module: HloModuleProto, padding: int = 0) -> GraphArrays:
    """Makes the arrays of a module; its nodes are the instructions of all computations in file order.

    Args:
        module: A program or a kernel.
        padding: What follows the lists of dimension numbers, columns 31-36 (dimensions), 95-98 and 101-104 (spatial
            ones of a convolution) and 134-139 (own layout). 0 as published; -1 as the first place had it, who changed
            the one line of the official featurizer that pads these lists and no others
            (thanhhau097/google_fast_or_slow, README).

    Returns:
        The arrays.

    Raises:
        InputError: The module has no instruction, or an instruction refers to one that is not there.
    """
    computations = [_Computation(proto, start) for proto, start in _with_starts(module)]
    instructions = [instruction for computation in computations for instruction in computation.proto.instructions]
    if not instructions:
        raise InputError(f"module {module.name!r} has no instruction; give the HLO of a whole program or kernel")
    rows = [
        _feature_row(instruction, is_root=computation.start + position == computation.root, padding=padding)
        for computation in computations
        for position, instruction in enumerate(computation.proto.instructions)
    ]
    return GraphArrays(
        # By way of int64: through Python's double a large product would be rounded twice.
        node_feat=np.array(rows, dtype=np.int64).astype(np.float32),
        node_opcode=np.array([opcode_number(instruction.opcode) for instruction in instructions], dtype=np.uint8),
        edge_index=_edge_index(computations),
        node_splits=_node_splits(module, len(instructions)),
        names=[instruction.name for instruction in instructions],
    )


def left_out(module: HloModuleProto) -> np.ndarray:
    """Makes the columns of `LEFT_OUT`, which the official featurizer leaves out.

    Args:
        module: A program or a kernel of n instructions.

    Returns:
        (n, 28) float32; a row for each instruction, in the order of `graph_arrays`. -1 where a list has no entry, or
        the instruction is neither dot nor gather. Whether indices are sorted is 0 or 1 of every node.
    """
    rows = [
        _left_out_row(instruction) for computation in module.computations for instruction in computation.instructions
    ]
    return np.array(rows, dtype=np.int64).astype(np.float32)


def _left_out_row(instruction: HloInstructionProto) -> list[int]:
    dot, gather = instruction.dot_dimension_numbers, instruction.gather_dimension_numbers
    values = {
        "lhs_contracting_dimensions": dot.lhs_contracting_dimensions,
        "rhs_contracting_dimensions": dot.rhs_contracting_dimensions,
        "lhs_batch_dimensions": dot.lhs_batch_dimensions,
        "rhs_batch_dimensions": dot.rhs_batch_dimensions,
        "offset_dims": gather.offset_dims,
        "collapsed_slice_dims": gather.collapsed_slice_dims,
        "start_index_map": gather.start_index_map,
        "index_vector_dim": [gather.index_vector_dim] if instruction.HasField("gather_dimension_numbers") else [],
        "gather_slice_sizes": instruction.gather_slice_sizes,
        "indices_are_sorted": [int(instruction.indices_are_sorted)],
    }
    return [value for name, count in LEFT_OUT.items() for value in leading(values[name], count, LEFT_OUT_PADDING)]


class _Computation:
    """A computation with the node number of each of its instructions, found by instruction id."""

    def __init__(self, proto: HloComputationProto, start: int):
        self.proto = proto
        self.start = start
        self.nodes = {instruction.id: start + i for i, instruction in enumerate(proto.instructions)}
        if len(self.nodes) != len(proto.instructions):
            raise InputError(f"computation {proto.name!r} has two instructions of one id; dump the HLO again")
        # XLA's newer ids are (computation id << 32 | local id), and not every writer packs all of them.
        self._local_nodes = {identifier & 0xFFFFFFFF: node for identifier, node in self.nodes.items()}
        self.root = self.find(proto.root_id)

    def find(self, identifier: int) -> int | None:
        node = self.nodes.get(identifier)
        if node is None and len(self._local_nodes) == len(self.nodes):
            node = self._local_nodes.get(identifier & 0xFFFFFFFF)
        return node


def _with_starts(module: HloModuleProto) -> Iterable[tuple[HloComputationProto, int]]:
    start = 0
    for computation in module.computations:
        yield computation, start
        start += len(computation.instructions)


def _edge_index(computations: Sequence[_Computation]) -> np.ndarray:
    whole_module: dict[int, list[int]] = {}
    by_id: dict[int, _Computation] = {}
    for computation in computations:
        if by_id.setdefault(computation.proto.id, computation) is not computation:
            raise InputError(f"computation id {computation.proto.id} occurs twice; dump the HLO again")
        for identifier, node in computation.nodes.items():
            whole_module.setdefault(identifier, []).append(node)
    edges = []
    for computation in computations:
        for consumer, instruction in enumerate(computation.proto.instructions, start=computation.start):
            producers = {_operand(computation, instruction, i, whole_module) for i in instruction.operand_ids}
            producers |= {_called_root(instruction, i, by_id) for i in instruction.called_computation_ids}
            edges += [(consumer, producer) for producer in sorted(producers)]
    return np.array(edges, dtype=np.int64).reshape(-1, 2)


def _operand(
    computation: _Computation, instruction: HloInstructionProto, identifier: int, whole_module: dict[int, list[int]]
) -> int:
    """Node of an operand: by id in the same computation (ids may recur in others), else by an id that is unique."""
    elsewhere = whole_module.get(identifier, [])
    if identifier not in computation.nodes and len(elsewhere) == 1:
        return elsewhere[0]
    node = computation.find(identifier)
    if node is None:
        raise InputError(
            f"instruction {instruction.name!r} has the operand id {identifier}, which no instruction can be told by; "
            "dump the HLO again"
        )
    return node


def _called_root(instruction: HloInstructionProto, identifier: int, by_id: dict[int, _Computation]) -> int:
    called = by_id.get(identifier)
    if called is None or called.root is None:
        raise InputError(
            f"instruction {instruction.name!r} calls computation id {identifier}, which is not there or has no root; "
            "dump the whole module"
        )
    return called.root


def _node_splits(module: HloModuleProto, nodes: int) -> np.ndarray:
    splits = [0]
    for computation, start in _with_starts(module):
        if any(part in computation.name for part in SPLIT_NAMES):
            splits.append(start + len(computation.instructions))
    if splits[-1] < nodes:
        splits.append(nodes)
    return np.array([splits], dtype=np.int64)


def _feature_row(instruction: HloInstructionProto, is_root: bool, padding: int) -> list[int]:
    """The 140 columns, all of them whole numbers; column 1 (element_size_in_bits) is deprecated and 0."""
    slices = instruction.slice_dimensions
    pads = instruction.padding_config.dimensions if instruction.HasField("padding_config") else ()
    shape = instruction.shape
    return [
        int(is_root),
        0,
        *_shape_columns(shape),
        instruction.parameter_number,
        *leading(instruction.dimensions, MAX_RANK, padding),
        *_window_columns(instruction.window),
        *_convolution_columns(instruction.convolution_dimension_numbers, padding),
        instruction.feature_group_count,
        instruction.batch_group_count,
        *aggregated([dimension.start for dimension in slices], 2),
        *aggregated([dimension.stride for dimension in slices], 2),
        *aggregated([dimension.limit for dimension in slices], 2),
        *aggregated(instruction.dynamic_slice_sizes, 2),
        *aggregated([dimension.edge_padding_low for dimension in pads], 2),
        *aggregated([dimension.edge_padding_high for dimension in pads], 2),
        int(instruction.is_stable),
        *leading(shape.layout.minor_to_major, MAX_RANK, padding),
    ]


def _shape_columns(shape: ShapeProto) -> list[int]:
    one_hot = [int(shape.element_type == element_type) for element_type in ELEMENT_TYPES]
    return [*one_hot, *aggregated(shape.dimensions, MAX_RANK), len(shape.tuple_shapes)]


def _window_columns(window: Window) -> list[int]:
    dimensions = window.dimensions
    reversals = [int(dimension.window_reversal) for dimension in dimensions]
    return [
        *aggregated([dimension.size for dimension in dimensions], MAX_RANK),
        *aggregated([dimension.stride for dimension in dimensions], MAX_RANK),
        *aggregated([dimension.padding_low for dimension in dimensions], MAX_RANK),
        *aggregated([dimension.padding_high for dimension in dimensions], MAX_RANK),
        *aggregated([dimension.window_dilation for dimension in dimensions], MAX_RANK),
        *aggregated([dimension.base_dilation for dimension in dimensions], MAX_RANK),
        *leading(reversals, MAX_RANK),
        sum(reversals),
        len(reversals) - sum(reversals),
    ]


def _convolution_columns(numbers: ConvolutionDimensionNumbers, padding: int) -> list[int]:
    return [
        numbers.input_batch_dimension,
        numbers.input_feature_dimension,
        *leading(numbers.input_spatial_dimensions, 4, padding),
        numbers.kernel_input_feature_dimension,
        numbers.kernel_output_feature_dimension,
        *leading(numbers.kernel_spatial_dimensions, 4, padding),
        numbers.output_batch_dimension,
        numbers.output_feature_dimension,
    ]


def leading(values: Iterable[int], count: int, padding: int = 0) -> list[int]:
    """The first `count` of `values`, padded to that length."""
    first = list(values)[:count]
    return first + [padding] * (count - len(first))


def aggregated(values: Iterable[int], count: int, empty_product: int = 1) -> list[int]:
    """The first `count` of `values` padded with 0, then the sum and the product of all of them."""
    values = list(values)
    product = math.prod(values) if values else empty_product
    return [*leading(values, count), _as_int64(sum(values)), _as_int64(product)]


def _as_int64(value: int) -> int:
    """`value` wrapped as the data set's own 64-bit arithmetic would: a broken shape must not stop the reading."""
    return (value + (1 << 63)) % (1 << 64) - (1 << 63)
