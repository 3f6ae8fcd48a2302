"""The window (tile) of a kernel: reading the compiler's own, forcing another one, and which others are worth trying.

Bounds stand in the order of the physical layout, the major dimension first, and count tiles: f32[32,26,26,192] in
{3,0,2,1:T(8,128)} has the extents (26, 26, 32/8, 192/128).

Which windows TpuGraphs tried follows from its real runs, all of whose bounds (752 of 752) keep these rules:

- a bound cuts an extent into n almost equal parts, n = 1, 2, 3, …: 26, 13, 9, 7, 6, 5, 4, 3, 2, 1 of 26;
- where features lie along the sublanes (8 a tile) of one tensor and along the lanes (128 a tile) of the other that they
  are multiplied with or end up in, they go in whole groups of 128: 16, 32, 48, 64 or all 125 of 125;
- a convolution's window over the output features is the same in its output and in its kernel.

A copy that turns a tensor has two windows, one over its output and one over its input, which hold the same elements.
TpuGraphs' timed kernels hold no such copy. The rule is that of the compiler's own windows; it refuses others.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from stages.collect.tpu.hlo import Instruction, Module, parse
from stages.hlo.features import MAX_RANK, aggregated

#: windows smaller than this many steps make are of no use, and slow to compile
MAX_STEPS = 4000
#: random draws for each window wanted
_DRAWS = 40
#: sublanes of a tile that make as many features as it has lanes
_GROUP = 16
_LANES = 128
_ARRAY = re.compile(r"[a-z]\w*\[(?P<dims>[\d,]*)\]\{(?P<order>[\d,]*)(?::T\((?P<tile>[\d,]+)\))?")
_CONFIG = re.compile(r", backend_config=(\{.*\})$")


@dataclass(frozen=True)
class Window:
    """Bounds of a kernel's windows as TpuGraphs gives them: a convolution's kernel, the output, the input."""

    kernel: tuple[int, ...]
    output: tuple[int, ...]
    input: tuple[int, ...] = ()

    def columns(self) -> list[int]:
        """The 24 columns of a tile configuration: each bound six columns, padded with 0, then their sum and product."""
        parts = (self.kernel, self.output, self.input)
        return [column for part in parts for column in aggregated(part, MAX_RANK, empty_product=0)]


def own_window(record: dict) -> Window | None:
    """The window that the compiler chose for a kernel; None where the kernel has none.

    Args:
        record: Of `worker.kernel_record`, of the kernel without a forced window.
    """
    config = record.get("window")
    if not config or not config["output_window_bounds"]:
        return None
    return Window(*(tuple(map(int, config[f"{part}_window_bounds"])) for part in ("kernel", "output", "input")))


def was_taken(window: Window, record: dict) -> bool:
    """Whether the compiler took a forced window; where one does not fit the core's memory it takes its own.

    Args:
        record: Of `worker.kernel_record`, of the kernel with the window forced on it.
    """
    taken = own_window(record)
    return taken is not None and (taken.kernel, taken.output) == (window.kernel, window.output)


def forced(text: str, window: Window) -> str:
    """The text of a kernel with a window forced on it."""
    lines = text.splitlines()
    number = max(number for number, line in enumerate(lines) if line.startswith("  ROOT "))
    line, config = lines[number], {"flag_configs": []}
    given = _CONFIG.search(line)
    if given:
        line, config = line[: given.start()], {**config, **json.loads(given[1])}
    config["window_config"] = {
        "kernel_window_bounds": list(map(str, window.kernel)),
        "output_window_bounds": list(map(str, window.output)),
        "input_window_bounds": list(map(str, window.input)),
        "iteration_bounds": [],
    }
    lines[number] = f"{line}, backend_config={json.dumps(config, separators=(',', ':'))}"
    return "\n".join(lines) + "\n"


@dataclass(frozen=True)
class _Shape:
    """An array as its layout has it, the physically major dimension first.

    Attributes:
        extents: In tiles.
        dimensions: Which logical dimension each is.
        sizes: In elements.
        tiles: Elements of a tile along each.
    """

    extents: tuple[int, ...]
    dimensions: tuple[int, ...]
    sizes: tuple[int, ...]
    tiles: tuple[int, ...]

    def per_lanes(self, position: int) -> int:
        """Tiles along a dimension that hold 128 elements: 1 along the lanes, 16 along the sublanes, else 128."""
        behind = len(self.extents) - 1 - position
        return {0: 1, 1: _GROUP}.get(behind, _LANES)


def _shape(text: str) -> _Shape | None:
    array = _ARRAY.search(text)
    if not array or not array["order"]:
        return None
    dims = [int(part) for part in array["dims"].split(",") if part]
    order = [int(part) for part in array["order"].split(",")][::-1]
    tile = [int(part) for part in (array["tile"] or "1").split(",")]
    sizes = [dims[dimension] for dimension in order]
    tiles = [1] * len(sizes)
    for position, size in enumerate(tile[::-1][: len(sizes)], start=1):
        tiles[-position] = size
    extents = (-(-size // tile) for size, tile in zip(sizes, tiles, strict=True))
    return _Shape(tuple(extents), tuple(order), tuple(sizes), tuple(tiles))


def _parts(extent: int, group: int = 1) -> list[int]:
    """Bounds that cut an extent into n almost equal parts of whole groups, the largest first."""
    groups = -(-extent // group)
    return sorted({min(extent, group * -(-groups // parts)) for parts in range(1, groups + 1)}, reverse=True)


@dataclass(frozen=True)
class Space:
    """The windows of a kernel that are worth trying.

    Attributes:
        output: Extents of the output that windows move over, in tiles.
        kernel: Extents of a convolution's kernel; empty for other kernels.
        output_bounds: Bounds of each of the output's dimensions.
        kernel_bounds: Bounds of each of the kernel's dimensions.
        features: The dimension of the output features in the output and in the kernel, and how many tiles of the
            kernel's make one of the output's; None for other kernels.
        turned: The output and the input of a copy whose window over the input holds the same elements as that over the
            output; None for other kernels.
    """

    output: tuple[int, ...]
    kernel: tuple[int, ...]
    output_bounds: tuple[tuple[int, ...], ...]
    kernel_bounds: tuple[tuple[int, ...], ...]
    features: tuple[int, int, float] | None = None
    turned: tuple[_Shape, _Shape] | None = None

    def draw(self, rng: np.random.Generator) -> Window:
        """A random window."""
        output = tuple(int(rng.choice(bounds)) for bounds in self.output_bounds)
        kernel = [int(rng.choice(bounds)) for bounds in self.kernel_bounds]
        if self.features:
            of_output, of_kernel, ratio = self.features
            kernel[of_kernel] = min(self.kernel[of_kernel], max(1, round(output[of_output] * ratio)))
        return Window(tuple(kernel), output, _same_elements(output, *self.turned) if self.turned else ())

    def steps(self, window: Window) -> int:
        """Steps of the pipeline: windows of the output times those of the kernel, output features counted once."""
        steps = math.prod(-(-whole // bound) for whole, bound in zip(self.output, window.output, strict=True))
        for dimension, (whole, bound) in enumerate(zip(self.kernel, window.kernel, strict=True)):
            if not self.features or dimension != self.features[1]:
                steps *= -(-whole // bound)
        return steps


def space(text: str, own: Window) -> Space | None:
    """The windows of a kernel; None where it is not clear what its bounds count.

    Args:
        text: The kernel's own module.
        own: The compiler's own window, which tells over which shape the windows move.
    """
    module = parse(text)
    convolution = _convolution(module)
    if own.kernel:
        return _convolution_space(convolution, own) if convolution else None
    if own.input:
        return _copy_space(module.entry.root, module, own)
    for shape in _shapes(module):
        if len(shape.extents) == len(own.output) and all(
            bound in _parts(extent) for bound, extent in zip(own.output, shape.extents, strict=True)
        ):
            bounds = tuple(tuple(_parts(extent)) for extent in shape.extents)
            return Space(shape.extents, (), bounds, ())
    return None


def _convolution(module: Module) -> tuple[Instruction, Instruction, Instruction] | None:
    """The convolution of a kernel, its input and its kernel."""
    for computation in module.computations.values():
        for instruction in computation.instructions:
            if instruction.opcode == "convolution":
                return instruction, *(computation.by_name[operand] for operand in instruction.operands[:2])
    return None


def _convolution_space(convolution: tuple[Instruction, Instruction, Instruction], own: Window) -> Space | None:
    output, data, kernel = (_shape(instruction.type) for instruction in convolution)
    labels = re.search(r"dim_labels=(\w+)_(\w+)->(\w+)", convolution[0].attributes)
    if not output or not data or not kernel or not labels:
        return None
    if not _fits(own.output, output) or not _fits(own.kernel, kernel):
        return None
    data_input = data.dimensions.index(labels[1].index("f"))
    kernel_input, kernel_output = (kernel.dimensions.index(labels[2].index(label)) for label in "io")
    output_output = output.dimensions.index(labels[3].index("f"))
    output_bounds = [_parts(extent) for extent in output.extents]
    kernel_bounds = [_parts(extent) for extent in kernel.extents]
    if output.per_lanes(output_output) == _GROUP and kernel.per_lanes(kernel_output) == 1:
        output_bounds[output_output] = _parts(output.extents[output_output], _GROUP)
    if kernel.per_lanes(kernel_input) == _GROUP and data.per_lanes(data_input) == 1:
        kernel_bounds[kernel_input] = _parts(kernel.extents[kernel_input], _GROUP)
    ratio = kernel.per_lanes(kernel_output) / output.per_lanes(output_output)
    features = (output_output, kernel_output, ratio)
    return Space(
        output.extents, kernel.extents, tuple(map(tuple, output_bounds)), tuple(map(tuple, kernel_bounds)), features
    )


def _copy_space(root: Instruction, module: Module, own: Window) -> Space | None:
    """The windows of a copy that turns a tensor; None where its own window does not follow the rule."""
    if root.opcode != "copy":
        return None
    output, data = _shape(root.type), _shape(module.entry.by_name[root.operands[0]].type)
    if not output or not data or not _fits(own.output, output) or own.input != _same_elements(own.output, output, data):
        return None
    tile_of_input = dict(zip(data.dimensions, data.tiles, strict=True))
    bounds = tuple(
        tuple(_parts(extent, max(1, tile_of_input[dimension] // tile)))
        for extent, dimension, tile in zip(output.extents, output.dimensions, output.tiles, strict=True)
    )
    return Space(output.extents, (), bounds, (), turned=(output, data))


def _same_elements(bounds: tuple[int, ...], output: _Shape, data: _Shape) -> tuple[int, ...]:
    """Bounds over the input of a copy that hold the elements of bounds over its output."""
    elements = {
        dimension: min(size, bound * tile)
        for bound, dimension, size, tile in zip(bounds, output.dimensions, output.sizes, output.tiles, strict=True)
    }
    return tuple(-(-elements[dimension] // tile) for dimension, tile in zip(data.dimensions, data.tiles, strict=True))


def _fits(bounds: tuple[int, ...], shape: _Shape) -> bool:
    return len(bounds) == len(shape.extents) and all(
        bound <= extent for bound, extent in zip(bounds, shape.extents, strict=True)
    )


def _shapes(module: Module) -> Iterator[_Shape]:
    """Shapes that a kernel's windows may move over: its results first, then the largest of what it computes with."""
    root = module.entry.root
    shapes = [_shape(array[0]) for array in _ARRAY.finditer(root.type)]
    inside = [
        _shape(instruction.type)
        for computation in module.computations.values()
        for instruction in computation.instructions
        if not instruction.type.startswith("(")
    ]
    results = [shape for shape in shapes if shape]
    others = sorted((shape for shape in inside if shape), key=lambda shape: -math.prod(shape.extents))
    yield from sorted(results, key=lambda shape: -math.prod(shape.extents))
    yield from others


def candidates(text: str, own: Window, limit: int, rng: np.random.Generator) -> list[Window]:
    """Windows of a kernel to compile, the compiler's own first, all different.

    Args:
        text: The kernel's own module.
        own: The compiler's own window.
        limit: How many at most, the own one included.
        rng: Draws the others.
    """
    chosen = {own: None}
    whole = space(text, own)
    if whole is None:
        return list(chosen)
    for _ in range(_DRAWS * limit):
        if len(chosen) >= limit:
            break
        window = whole.draw(rng)
        if whole.steps(window) <= MAX_STEPS:
            chosen.setdefault(window)
    return list(chosen)
