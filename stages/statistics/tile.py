"""Statistics of tile configurations: how a tile cuts a kernel's result, and what the kernel is like."""

from __future__ import annotations

import numpy as np

from stages.graphs.dataset import PackedGraph
from stages.graphs.opcodes import OPCODE_NUMBERS, OPCODES, PARAMETER
from stages.graphs.tensors import MAX_RANK, dimensions, element_bytes, elements
from stages.statistics import hardware, tile_pipeline
from stages.statistics.tile_tensor import GROUPS, Tensor, cut, windowed

#: node columns that are sums, products or counts, whose mean over the kernel's nodes is worth a column
_MEANS = {
    27: "sum of the dimensions",
    28: "elements",
    43: "window sum",
    44: "window elements",
    51: "stride sum",
    59: "low padding sum",
    67: "high padding sum",
    75: "window dilation sum",
    83: "base dilation sum",
    107: "feature groups",
    119: "slice limit sum",
}
#: opcodes counted one by one
_COUNTED = (
    "add broadcast constant convert convolution copy divide dot exponential fusion gather maximum multiply parameter"
    " reduce reduce-window reshape select slice subtract tanh transpose"
).split()

_BOUND_COLUMNS = {
    f"{group}_bound_{axis}": f"tile size along dimension {axis} of the {group}"
    for group in GROUPS
    for axis in range(MAX_RANK)
}
_TILE_COLUMNS = {
    **{f"{group}_volume": f"logarithm of the {group} tile's elements (0: left to the compiler)" for group in GROUPS},
    **{f"tiles_{axis}": f"tiles along dimension {axis} of the result" for axis in range(MAX_RANK)},
    **{
        f"remainder_{axis}": f"share of the last tile along dimension {axis} that lies outside"
        for axis in range(MAX_RANK)
    },
    "tiles": "logarithm of the number of tiles that cover the result",
    "waste": "share of the covering tiles' elements that lies outside the result",
    "fits": "dimensions of the result that the tile divides without a remainder",
    "uncut": "dimensions of the result that one tile covers",
    "tile_bytes": "logarithm of the bytes of an output tile",
    "tile_share": "logarithm of the output tile's share of the result's elements",
    "run_bytes": "logarithm of the bytes that lie one after another in an output tile",
    "minor_bound": "tile size along the minor dimension of the result's layout",
    "second_bound": "tile size along the second minor dimension",
    "minor_share": "share of the minor dimension that a tile covers",
    "minor_lines": "1 if a tile's row is a whole number of cache lines",
    "minor_vector_rest": "elements of a tile's row beyond the last whole vector register",
    "minor_lanes": "share of the lanes that a tile's row fills on average",
    "second_sublanes": "share of the sublanes that a tile's second minor dimension fills on average",
    "aspect": "logarithm of minor over second minor bound",
    "elongation": "logarithm of the largest over the smallest bound above one",
    "edge_cost": "sum over the result's dimensions of 1 / bound: what a tile reads again per element",
    "touched_bytes": "logarithm of the bytes that a tile reads of the parameters and writes",
    "held_bytes": "logarithm of the bytes of all the kernel's intermediate results that a tile needs",
    "held_largest_bytes": "logarithm of the bytes of the largest of these",
    "read_again": "logarithm of how often all tiles together read the parameters' bytes",
    "reuse": "logarithm of the intermediate elements that a tile computes per byte it touches",
}
_TILE_COLUMNS |= tile_pipeline.COLUMNS
KERNEL_COLUMNS = {
    "kernel_nodes": "logarithm of the kernel's nodes",
    "result_elements": "logarithm of the result's elements",
    "result_bytes": "logarithm of the result's bytes",
    "result_rank": "rank of the result",
    "result_minor": "logarithm of the size of the result's minor dimension",
    "read_bytes": "logarithm of the bytes of the kernel's parameters",
    "node_bytes": "logarithm of the bytes of all nodes' results",
    **{
        f"mean_{column}": f"mean over the nodes of the logarithm of column {column}, {what}"
        for column, what in _MEANS.items()
    },
    **{f"count_{name}": f"nodes of opcode {name}" for name in _COUNTED},
    "count_other": "nodes of the other opcodes",
}
DESCRIPTIONS = _BOUND_COLUMNS | _TILE_COLUMNS | KERNEL_COLUMNS


def tile_statistics(graph: PackedGraph, rows: np.ndarray | None = None) -> tuple[list[str], np.ndarray]:
    """Statistics of configurations of a packed tile graph.

    TpuGraphs: output bounds follow the physical layout, major dimension first, and count registers of 8 x 128
    elements along the two minor ones. XLA:CPU (data/sample-cpu): they follow the dimensions and count elements.
    `tile_tensor.windowed` tells which. All columns but the raw bounds and their volumes are of elements.
    Source: the bounds of the windows that libtpu writes to `window_config`.
    Idea: configuration columns with means of the node columns from the 11th place of the TpuGraphs competition.

    Args:
        graph: the kernel.
        rows: (c,) the configurations; None: all.

    Returns:
        Names (f,) of the columns, the same for every graph, and (c, f) float64 values, finite.
    """
    config_feat = graph.config_feat if rows is None else graph.config_feat[rows]
    bounds = {name: config_feat[:, start : start + MAX_RANK].astype(np.float64) for name, start in GROUPS.items()}
    values = {f"{name}_bound_{axis}": bounds[name][:, axis] for name in GROUPS for axis in range(MAX_RANK)}
    for name, bound in bounds.items():
        values[f"{name}_volume"] = np.log1p(np.maximum(bound, 1).prod(axis=1) * (bound > 0).any(axis=1))
    result, in_registers = windowed(graph)
    tile = cut(bounds["output"], result, in_registers)
    values |= tile_pipeline.pipeline(graph, result, tile, in_registers, config_feat)
    values |= _cover(tile, result) | _minor_rows(tile, result) | _traffic(graph, tile, result)
    values |= {name: np.full(len(tile), value) for name, value in _kernel_values(graph, result).items()}
    return list(DESCRIPTIONS), np.stack([values[name] for name in DESCRIPTIONS], axis=1)


def _cover(tile: np.ndarray, result: Tensor) -> dict[str, np.ndarray]:
    """How tiles (c, 6) cover the result."""
    dims = np.maximum(result.dims, 1)
    tiles = np.ceil(dims / tile)
    remainder = 1 - (dims - (tiles - 1) * tile) / tile
    volume = tile.prod(axis=1)
    exists = result.dims > 0
    return {
        **{f"tiles_{axis}": tiles[:, axis] for axis in range(MAX_RANK)},
        **{f"remainder_{axis}": remainder[:, axis] for axis in range(MAX_RANK)},
        "tiles": np.log(tiles.prod(axis=1)),
        "waste": 1 - result.elements / (tiles.prod(axis=1) * volume),
        "fits": ((remainder == 0) & exists).sum(axis=1).astype(np.float64),
        "uncut": ((tiles == 1) & exists).sum(axis=1).astype(np.float64),
        "tile_bytes": np.log1p(volume * result.element_bytes),
        "tile_share": np.log(volume / result.elements),
        "elongation": np.log(tile.max(axis=1) / np.where(tile > 1, tile, tile.max(axis=1, keepdims=True)).min(axis=1)),
        "edge_cost": (exists / tile).sum(axis=1),
    }


def _minor_rows(tile: np.ndarray, result: Tensor) -> dict[str, np.ndarray]:
    """How tiles (c, 6) lie along the two minor dimensions of the result's layout."""
    one = np.ones(len(tile))
    minor, second, *_ = *(tile[:, axis] for axis in result.order[:2]), one, one
    size = result.dims[result.order[0]] if result.rank else 1
    return {
        "run_bytes": np.log1p(_run(tile, result) * result.element_bytes),
        "minor_bound": minor,
        "second_bound": second,
        "minor_share": np.minimum(minor / size, 1),
        "minor_lines": (minor * result.element_bytes % hardware.CACHE_LINE == 0).astype(np.float64),
        "minor_vector_rest": minor % max(1, hardware.VECTOR // max(result.element_bytes, 1)),
        "minor_lanes": minor / (np.ceil(minor / hardware.LANES) * hardware.LANES),
        "second_sublanes": second / (np.ceil(second / hardware.SUBLANES) * hardware.SUBLANES),
        "aspect": np.log(minor / second),
    }


def _run(tile: np.ndarray, result: Tensor) -> np.ndarray:
    """Elements (c,) of tiles (c, 6) that lie one after another in the result."""
    run, unbroken = np.ones(len(tile)), np.ones(len(tile), bool)
    for axis in result.order:
        run = np.where(unbroken, run * tile[:, axis], run)
        unbroken &= tile[:, axis] >= result.dims[axis]
    return run


def _traffic(graph: PackedGraph, tile: np.ndarray, result: Tensor) -> dict[str, np.ndarray]:
    """What tiles (c, 6) touch of the kernel's tensors, guessed from the shapes: `tile_pipeline.matched`."""
    dims, item_bytes = dimensions(graph.node_feat), element_bytes(graph.node_feat)
    is_parameter = np.asarray(graph.node_opcode) == PARAMETER
    shapes, shape_of_node = np.unique(dims, axis=0, return_inverse=True)
    part = np.minimum(tile, np.maximum(result.dims, 1))
    needed = np.stack([tile_pipeline.matched(shape, part, result).prod(axis=1) for shape in shapes], axis=1)
    needed = needed[:, shape_of_node.reshape(-1)]
    sizes = needed * item_bytes
    tiles = np.ceil(np.maximum(result.dims, 1) / tile).prod(axis=1)
    read = sizes[:, is_parameter].sum(axis=1)
    parameter_bytes = float((elements(dims) * item_bytes)[is_parameter].sum())
    touched = read + part.prod(axis=1) * result.element_bytes
    held = sizes[:, ~is_parameter]
    return {
        "touched_bytes": np.log1p(touched),
        "held_bytes": np.log1p(held.sum(axis=1)),
        "held_largest_bytes": np.log1p(held.max(axis=1, initial=0)),
        "read_again": np.log1p(tiles * read / max(parameter_bytes, 1)),
        "reuse": np.log1p(needed[:, ~is_parameter].sum(axis=1) / np.maximum(touched, 1)),
    }


def _kernel_values(graph: PackedGraph, result: Tensor) -> dict[str, float]:
    """Columns that all tiles of a kernel share."""
    sizes = elements(dimensions(graph.node_feat)) * element_bytes(graph.node_feat)
    opcodes = np.bincount(graph.node_opcode, minlength=OPCODES)
    counts = {name: float(opcodes[OPCODE_NUMBERS[name]]) for name in _COUNTED}
    logs = {column: np.log1p(np.abs(graph.node_feat[:, column].astype(np.float64))).mean() for column in _MEANS}
    return {
        "kernel_nodes": np.log1p(graph.nodes),
        "result_elements": np.log(result.elements),
        "result_bytes": np.log1p(result.elements * result.element_bytes),
        "result_rank": result.rank,
        "result_minor": np.log(result.dims[result.order[0]]) if result.rank else 0.0,
        "read_bytes": np.log1p(sizes[np.asarray(graph.node_opcode) == PARAMETER].sum()),
        "node_bytes": np.log1p(sizes.sum()),
        **{f"mean_{column}": value for column, value in logs.items()},
        **{f"count_{name}": count for name, count in counts.items()},
        "count_other": float(opcodes.sum() - sum(counts.values())),
    }
