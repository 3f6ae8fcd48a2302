"""What a kernel does with its windows on a TPU: how often the pipeline steps, what it copies, what it computes.

A kernel is a pipeline: it goes over its windows like an odometer, copies a window into the core's memory where it has
moved, and computes. The loops of a convolution are, from the outermost: output features, batch, places of the output,
places of the kernel, input features; those of other kernels are the dimensions of what is cut, the major one first.
Source: the `iteration_bounds` that libtpu writes beside its windows. Dots are convolutions without places there.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from stages.graphs.dataset import PackedGraph
from stages.graphs.opcodes import CONVOLUTION, COPY, FUSION, PARAMETER, TRANSPOSE
from stages.graphs.operands import config_operands
from stages.graphs.tensors import CONVOLUTION_NUMBERS, DIMENSIONS, LAYOUT, MAX_RANK, ROOT, dimensions
from stages.statistics import hardware
from stages.statistics.tile_tensor import GROUPS, Tensor, cut, register, tensor_of

COLUMNS = {
    "steps": "logarithm of the steps of the kernel's pipeline",
    "kernel_moves": "logarithm of how often the window over a convolution's kernel moves",
    "input_moves": "logarithm of how often the window over a convolution's input moves",
    "output_moves": "logarithm of how often the window over the output moves",
    "moved_bytes": "logarithm of the bytes that all copies of windows move, whole registers",
    "moved_pieces": "logarithm of the pieces, lying apart in memory, that they move",
    "window_bytes": "logarithm of the bytes of all windows, of which the core's memory holds two each",
    "matrix_pushes": "logarithm of the registers that go through the matrix units in all steps",
    "weight_loads": "logarithm of the 128 x 128 blocks that are loaded into the matrix units in all steps",
    "vector_registers": "logarithm of the registers of all intermediate results in all steps",
    "computing": "logarithm of the nanoseconds that computing may take",
    "copying": "logarithm of the nanoseconds that copying may take",
    "estimate": "logarithm of the nanoseconds of the kernel by these two and the steps",
}
#: columns of a node: sizes, strides and dilations of a convolution's window by place; groups of features
_STRIDE, _WINDOW_DILATION, _BASE_DILATION = slice(45, 51), slice(69, 75), slice(77, 83)
#: dimension numbers of a convolution, from the first of `CONVOLUTION_NUMBERS`
_INPUT_BATCH, _INPUT_FEATURE, _INPUT_PLACES = 0, 1, slice(2, 6)
_KERNEL_INPUT, _KERNEL_OUTPUT, _KERNEL_PLACES = 6, 7, slice(8, 12)
_OUTPUT_BATCH, _OUTPUT_FEATURE = 12, 13


@dataclass(frozen=True, eq=False)
class _Moved:
    """A tensor that is copied window by window.

    Attributes:
        tensor: The whole.
        part: (c, 6) elements of its window along its dimensions.
        moves: (c,) how often the window moves.
    """

    tensor: Tensor
    part: np.ndarray
    moves: np.ndarray

    @property
    def bytes(self) -> np.ndarray:
        """Bytes (c,) of a window."""
        return self.tensor.registers(self.part) * self.tensor.register_bytes


@dataclass(frozen=True, eq=False)
class _Convolution:
    """A kernel's convolution.

    Attributes:
        output, data, kernel: Its tensors.
        numbers: (14,) dimension numbers.
        stride, window_dilation, base_dilation: (6,) by place.
    """

    output: Tensor
    data: Tensor
    kernel: Tensor
    numbers: np.ndarray
    stride: np.ndarray
    window_dilation: np.ndarray
    base_dilation: np.ndarray

    @property
    def places(self) -> int:
        """Number of its spatial dimensions."""
        return self.output.rank - 2

    def is_batch(self, place: int) -> bool:
        """Whether each place of the output has a tap of the kernel of its own: a batch of products, written as places.

        So it is where the input is dilated by the kernel's width, and where an input of one place is padded by it.
        """
        width = self.kernel.dims[self.numbers[_KERNEL_PLACES][place]]
        if self.base_dilation[place] > 1:
            return self.base_dilation[place] == width
        single = self.data.dims[self.numbers[_INPUT_PLACES][place]] == 1
        return single and width > 1 and width == self.output.dims[self.output_places[place]]

    @property
    def output_places(self) -> list[int]:
        """Its output's spatial dimensions, of which no column tells: those that are left, in order."""
        named = {self.numbers[_OUTPUT_BATCH], self.numbers[_OUTPUT_FEATURE]}
        return [axis for axis in range(self.output.rank) if axis not in named]


def pipeline(graph: PackedGraph, result: Tensor, tile: np.ndarray, in_registers: bool, rows: np.ndarray) -> dict:
    """The columns `COLUMNS` of configurations of a kernel.

    Args:
        graph: the kernel.
        result: the tensor that output bounds cut, `tile_tensor.windowed`.
        tile: (c, 6) elements of the output tiles along its dimensions, `tile_tensor.cut`.
        in_registers: whether bounds count registers.
        rows: (c, 24) tile columns of the configurations.

    Returns:
        Column -> (c,) float64, finite.
    """
    convolution = _convolution(graph)
    loads = pushes = np.zeros(len(tile))
    kernel_moves = input_moves = np.ones(len(tile))
    if convolution is None:
        output_moves = steps = np.ceil(np.maximum(result.dims, 1) / tile).prod(axis=1)
        windows = _outputs(graph, result, tile, output_moves)
        copied: set[int] = set()
    else:
        if result.rank != convolution.output.rank or not np.array_equal(result.dims, convolution.output.dims):
            tile = cut(rows[:, GROUPS["output"] :][:, :MAX_RANK].astype(np.float64), convolution.output, in_registers)
        windows, steps, pushes, loads = _convolved(convolution, tile, rows, in_registers)
        output_moves, input_moves, kernel_moves = (window.moves for window in windows)
        copied = {convolution.data.elements, convolution.kernel.elements}
        result = convolution.output
    windows += _others(graph, result, tile, output_moves, copied)
    vector = _vector_registers(graph, result, tile) * output_moves
    moved_bytes = sum(window.bytes * window.moves for window in windows)
    moved_pieces = sum(window.tensor.pieces(window.part) * window.moves for window in windows)
    cycles = hardware.PUSH_CYCLES * pushes + hardware.LOAD_CYCLES * loads + vector
    computing = cycles / hardware.CLOCK
    copying = moved_bytes / hardware.BANDWIDTH + moved_pieces * hardware.PIECE_NS
    longer = np.maximum(np.maximum(computing, copying), 1.0)
    estimate = longer + np.minimum(computing, copying) / steps + steps * hardware.STEP_NS
    values = {
        "steps": steps,
        "kernel_moves": kernel_moves,
        "input_moves": input_moves,
        "output_moves": output_moves,
        "moved_bytes": moved_bytes,
        "moved_pieces": moved_pieces,
        "window_bytes": sum(window.bytes for window in windows),
        "matrix_pushes": pushes,
        "weight_loads": loads,
        "vector_registers": vector,
        "computing": computing,
        "copying": copying,
        "estimate": estimate,
    }
    return {name: np.log1p(value) for name, value in values.items()}


def _convolution(graph: PackedGraph) -> _Convolution | None:
    """The largest convolution of a kernel; None where there is none, or the shapes do not say what its operands are."""
    nodes = np.flatnonzero(np.asarray(graph.node_opcode) == CONVOLUTION)
    if not len(nodes):
        return None
    node = nodes[np.argmax(dimensions(graph.node_feat[nodes]).clip(1).prod(axis=1))]
    operands = config_operands(graph.node_feat, graph.node_opcode, graph.edge_index, np.array([node]))[0]
    features = graph.node_feat[node]
    numbers = features[CONVOLUTION_NUMBERS].astype(np.int64)
    output = tensor_of(graph, node)
    if (operands < 0).any() or output.rank < 2:
        return None
    data, kernel = (_stored(graph, operand) for operand in operands)
    if not output.rank == data.rank == kernel.rank > max(numbers.max(), 1) or output.rank - 2 > 4:
        return None
    by_place = (_STRIDE, _WINDOW_DILATION, _BASE_DILATION)
    return _Convolution(output, data, kernel, numbers, *(np.maximum(features[part], 1.0) for part in by_place))


def _stored(graph: PackedGraph, node: int) -> Tensor:
    """An operand as it is copied: of the element type of a parameter of its shape, which the kernel may convert."""
    tensor = tensor_of(graph, node)
    parameters = _entry_parameters(graph)
    same = parameters[(dimensions(graph.node_feat[parameters]) == tensor.dims).all(axis=1)] if len(parameters) else []
    if len(same) and node not in same:
        return Tensor(tensor.dims, tensor.order, tensor_of(graph, same[0]).element_bytes)
    return tensor


def _convolved(
    convolution: _Convolution, tile: np.ndarray, rows: np.ndarray, in_registers: bool
) -> tuple[list[_Moved], np.ndarray, np.ndarray, np.ndarray]:
    """Windows over output, input and kernel of a convolution, and steps, pushes and weight loads (c,)."""
    numbers, places = convolution.numbers, convolution.places
    bounds = rows[:, GROUPS["kernel"] :][:, :MAX_RANK].astype(np.float64)
    taken = cut(bounds, convolution.kernel, in_registers)
    out_feature, batch = numbers[_OUTPUT_FEATURE], numbers[_OUTPUT_BATCH]
    kernel_places, in_feature = numbers[_KERNEL_PLACES][:places], numbers[_KERNEL_INPUT]
    part = np.ones_like(tile)
    part[:, numbers[_INPUT_BATCH]] = tile[:, batch]
    part[:, numbers[_INPUT_FEATURE]] = taken[:, in_feature]
    products, taps, in_rows = np.ones(len(tile)), np.ones(len(tile)), tile[:, batch].copy()
    by_place = zip(numbers[_INPUT_PLACES][:places], convolution.output_places, kernel_places, strict=True)
    for place, (of_data, of_output, of_kernel) in enumerate(by_place):
        along = tile[:, of_output]
        if convolution.is_batch(place):
            taken[:, of_kernel] = along
            part[:, of_data] = np.minimum(along, convolution.data.dims[of_data])
            products *= along
            continue
        reach = (along - 1) * convolution.stride[place] + (taken[:, of_kernel] - 1) * convolution.window_dilation[place]
        part[:, of_data] = np.ceil((reach + 1) / convolution.base_dilation[place])
        taps *= taken[:, of_kernel]
        in_rows *= along
    part = np.minimum(part, np.maximum(convolution.data.dims, 1))
    output_trips = np.ceil(np.maximum(convolution.output.dims, 1) / tile)
    kernel_trips = np.ceil(np.maximum(convolution.kernel.dims, 1) / taken)
    for place, of_kernel in enumerate(kernel_places):
        if convolution.is_batch(place):
            kernel_trips[:, of_kernel] = 1
    outer = output_trips[:, [out_feature, batch, *convolution.output_places]]
    trips = np.concatenate([outer, kernel_trips[:, [*kernel_places, in_feature]]], axis=1)
    loops = np.arange(trips.shape[1])
    moves_output, moves_data = loops < 2 + places, loops > 0
    moves_kernel = (loops == 0) | ~moves_output
    for place in range(places):
        moves_kernel[2 + place] |= convolution.is_batch(place)
    steps = trips.prod(axis=1)
    blocks = np.ceil(taken[:, in_feature] / hardware.LANES) * np.ceil(tile[:, out_feature] / hardware.LANES)
    loads = blocks * taps * products * steps
    windows = [
        _Moved(convolution.output, tile, _moves(trips, moves_output)),
        _Moved(convolution.data, part, _moves(trips, moves_data)),
        _Moved(convolution.kernel, taken, _moves(trips, moves_kernel)),
    ]
    return windows, steps, loads * np.ceil(in_rows / hardware.SUBLANES), loads


def _moves(trips: np.ndarray, moving: np.ndarray) -> np.ndarray:
    """How often a window moves: once a turn of the innermost loop that moves it and turns at all.

    Args:
        trips: (c, l) of the loops, the outermost first.
        moving: (l,) whether a loop moves the window.
    """
    turns = np.cumprod(trips, axis=1)
    last = np.where((trips > 1) & moving, np.arange(trips.shape[1]), -1).max(axis=1)
    return np.where(last < 0, 1, turns[np.arange(len(trips)), last])


def _others(graph: PackedGraph, result: Tensor, tile: np.ndarray, moves: np.ndarray, copied: set[int]) -> list[_Moved]:
    """Windows over the parameters that are none of a convolution's operands, which are of `copied` elements.

    A dimension of the size of one of the result's is cut as that one is; a parameter that is not cut moves once.
    """
    windows = []
    for node in _entry_parameters(graph):
        tensor = tensor_of(graph, node)
        if tensor.elements not in copied and tensor.element_bytes:
            windows.append(_following(tensor, tile, result, moves))
    return windows


def _outputs(graph: PackedGraph, result: Tensor, tile: np.ndarray, moves: np.ndarray) -> list[_Moved]:
    """Windows over what a kernel without a convolution writes: what is cut, unless that is reduced to its roots."""
    last = np.flatnonzero(graph.node_feat[:, ROOT] > 0)[-1:]
    roots = [tensor for tensor in (tensor_of(graph, node) for node in last) if tensor.element_bytes]
    if not roots or any(np.array_equal(tensor.dims, result.dims) for tensor in roots):
        return [_Moved(result, tile, moves)]
    return [_following(tensor, tile, result, moves) for tensor in roots]


def _following(tensor: Tensor, tile: np.ndarray, result: Tensor, moves: np.ndarray) -> _Moved:
    part = matched(tensor.dims, tile, result)
    whole = (part >= np.maximum(tensor.dims, 1)).all(axis=1)
    return _Moved(tensor, part, np.where(whole, 1, moves))


def _entry_parameters(graph: PackedGraph) -> np.ndarray:
    """Parameters of the kernel itself; its computations, of which it is the last, have parameters of their own."""
    parameters = np.flatnonzero(np.asarray(graph.node_opcode) == PARAMETER)
    roots = np.flatnonzero(graph.node_feat[:, ROOT] > 0)
    of_entry = parameters[parameters > roots[-2]] if len(roots) > 1 else parameters
    return of_entry if len(of_entry) else parameters


def matched(dims: np.ndarray, tile: np.ndarray, result: Tensor) -> np.ndarray:
    """Elements (c, 6), along its dimensions, of a tensor (6,) that tiles (c, 6) of the result need.

    A dimension of the size of one of the result's is cut as that one is, the first such that no dimension before it
    took; any other is needed whole.
    """
    part = np.ones(tile.shape) * np.maximum(dims, 1)
    free = list(range(result.rank))
    for axis in np.flatnonzero(dims > 0):
        same = next((other for other in free if result.dims[other] == dims[axis]), None)
        if same is not None:
            free.remove(same)
            part[:, axis] = tile[:, same]
    return part


def _turning(graph: PackedGraph) -> np.ndarray:
    """Copies and transposes that bring another dimension along the lanes."""
    consumers, producers = np.asarray(graph.edge_index).T
    moving = np.isin(graph.node_opcode[consumers], (COPY, TRANSPOSE))
    minor = graph.node_feat[:, LAYOUT.start]
    turned = minor[consumers] != minor[producers]
    axes = graph.node_feat[consumers, DIMENSIONS.start + np.clip(minor[consumers], 0, MAX_RANK - 1).astype(np.int64)]
    turned = np.where(graph.node_opcode[consumers] == TRANSPOSE, axes != minor[producers], turned)
    return np.unique(consumers[moving & turned])


def _vector_registers(graph: PackedGraph, result: Tensor, tile: np.ndarray) -> np.ndarray:
    """Registers (c,) of all that a step computes but its convolution: each node's share of the tile."""
    computed = np.flatnonzero(~np.isin(graph.node_opcode, (PARAMETER, CONVOLUTION, FUSION)))
    dims = dimensions(graph.node_feat[computed])
    shapes, number = np.unique(dims, axis=0, return_inverse=True)
    turning = np.isin(computed, _turning(graph)) * (hardware.TURN_CYCLES - 1)
    counts = np.bincount(number.reshape(-1), (dims > 1).any(axis=1) * (1 + turning), len(shapes))
    total = np.zeros(len(tile))
    size = register(result)
    for shape, count in zip(shapes[counts > 0], counts[counts > 0], strict=True):
        if np.array_equal(shape, result.dims):
            registers = np.ceil(tile / size).prod(axis=1)
        else:  # of another shape, whose place in registers the columns do not tell
            registers = np.maximum(matched(shape, tile, result).prod(axis=1) / size.prod(), 1)
        total += count * registers
    return total
