"""Statistics of layout configurations: what the layouts of each make a compiler do, and what the program is like."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache

import numpy as np
from scipy.sparse import csr_array

from stages.hlo.opcodes import CONVOLUTION, DOT, OPCODE_NUMBERS, REDUCE, RESHAPE, TRANSPOSE
from stages.statistics import copies, orders
from stages.tensors import MAX_RANK

SLOTS = ("output", "input", "kernel")
#: opcodes that a column of their own is worth
KINDS = {"convolution": CONVOLUTION, "dot": DOT, "reshape": RESHAPE, "transpose": TRANSPOSE, "reduce": REDUCE}
#: of a TPU's vector register, the tile that the two minor dimensions are padded to
LANES, SUBLANES = 128, 8
#: bytes of a CPU's cache line
CACHE_LINE = 64
#: values held at once, so that memory does not grow with the number of configurations or of nodes
_CELLS = 4_000_000
#: (node, triple) pairs tabulated at once
_PAIRS = 500_000

#: opcodes whose share of a program tells programs apart
_SHARES = "add broadcast constant convert convolution divide dot gather multiply reduce reshape transpose".split()

_NODE_COLUMNS = {
    "inversions": "pairs of dimensions that stand the other way round than in row-major order, all configured layouts",
    **{f"inversions_{slot}": f"the same pairs in the {slot} layouts" for slot in SLOTS},
    **{f"inversions_{kind}": f"the same pairs at the nodes of opcode {kind}" for kind in KINDS},
    "inversions_bytes": "the same pairs, each times the tensor's bytes",
    **{f"not_row_major_{slot}": f"nodes whose {slot} layout is not row-major" for slot in SLOTS},
    **{f"not_row_major_{kind}": f"nodes of opcode {kind} with a layout that is not row-major" for kind in KINDS},
    "not_row_major_bytes": "bytes of the tensors whose layout is not row-major",
    "minor_moved": "tensors whose minor dimension is not the last one (sizes of one aside)",
    "minor_moved_bytes": "bytes of the tensors whose minor dimension is not the last one",
    **{
        f"minor_bits_{slot}": f"binary digits of the minor dimension's size, summed over the {slot} layouts"
        for slot in SLOTS
    },
    "second_minor_bits": "binary digits of the second minor dimension's size, summed over the output layouts",
    "short_rows": "tensors whose minor dimension is shorter than a cache line of 64 bytes",
    "short_rows_bytes": "bytes of the tensors with rows shorter than a cache line",
    "tile_padding_bytes": "bytes added when the two minor dimensions are padded to the TPU's tile of 128 by 8",
    "disagreeing": "nodes, transposes aside, whose input and output have one rank and different layouts",
    "disagreeing_bytes": "bytes of the outputs of these nodes",
    "unconfigured": "nodes whose layouts are all left to the compiler",
}
_COPY_COLUMNS = {
    "copies": "copies that the layouts force: between nodes, from row-major operands, inside transposes and reshapes",
    "copies_bytes": "bytes of these copies",
    "copies_share": "bytes of these copies, as a share of the bytes of all configured tensors",
    "copies_largest": "bytes of the largest of these copies",
    "copies_minor": "these copies, where the minor dimension moves",
    "copies_minor_bytes": "bytes of the copies where the minor dimension moves",
    "copies_direct": "copies between configurable nodes that are neighbours",
    "copies_direct_bytes": "bytes of the copies between neighbours",
    "copies_indirect": "copies between configurable nodes with a path of other nodes between them",
    "copies_indirect_bytes": "bytes of the copies along such paths",
    "copies_fixed": "copies of operands that no configurable node computes and that are taken to be row-major",
    "copies_fixed_bytes": "bytes of the copies of such operands",
    "copies_transpose": "transposes whose two layouts make them move data",
    "copies_transpose_bytes": "bytes of the transposes that move data",
    "copies_reshape": "reshapes whose two layouts make them move data",
    "copies_reshape_bytes": "bytes of the reshapes that move data",
    "copies_reduce": "reduces whose two layouts order the kept dimensions differently",
    "copies_reduce_bytes": "bytes of the operands of these reduces",
    **{f"copies_at_{kind}_bytes": f"bytes of the copies that nodes of opcode {kind} ask for or make" for kind in KINDS},
}
_PROGRAM_COLUMNS = {
    "program_nodes": "logarithm of the number of nodes of the pruned graph",
    "program_configurable": "logarithm of the number of configurable nodes",
    "program_configured_bytes": "logarithm of the bytes of all configured tensors",
    "program_largest_bytes": "logarithm of the bytes of the largest configured tensor",
    "program_rank": "mean rank of the configurable nodes' outputs",
    **{f"program_{kind}": f"share of opcode {kind} among the configurable nodes" for kind in KINDS},
    **{f"program_share_{name}": f"share of opcode {name} among the nodes of the unpruned program" for name in _SHARES},
    "program_possible_copies": "pairs of layouts that could force a copy, per configurable node",
}
DESCRIPTIONS = _COPY_COLUMNS | _NODE_COLUMNS | _PROGRAM_COLUMNS


def layout_statistics(graph) -> tuple[list[str], np.ndarray]:
    """Statistics of every configuration of a packed layout graph.

    Returns the column names, the same for every graph, and (c, f) float64 values, finite. All sums are of whole
    numbers below 2**53 and so exact: they depend neither on the order of the configurations nor on the chunks in which
    they are computed. No column looks at another configuration than its own: how often a layout was tried says which
    ones a search had timed as fast. None looks at a run time.
    Ideas: copies implied by mismatched layouts, sizes of the minor dimensions and their padding from the 11th place of
    the TpuGraphs competition (trees alone); copies inside transposes and reshapes, inversions from this project.
    """
    tensors = copies.slot_tensors(graph)
    layouts, slot_ids = distinct_layouts(graph.triples)
    sides = copies.Sides(layouts)
    event = copies.events(graph, tensors, sides)
    values = {
        **_copy_values(graph.codes, slot_ids, event, sides, tensors),
        **_node_values(graph.codes, slot_ids, sides.layouts, tensors),
    }
    constants = _program_values(graph, tensors, len(event.kind))
    total = max(int(tensors.bytes.sum()), 1)
    values["copies_share"] = values["copies_bytes"] / total
    columns = [values[name] for name in _COPY_COLUMNS | _NODE_COLUMNS]
    columns += [np.full(graph.configurations, value) for value in constants.values()]
    return [*_COPY_COLUMNS, *_NODE_COLUMNS, *constants], np.stack(columns, axis=1).astype(np.float64)


def distinct_layouts(triples: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Distinct layouts (l, 6) int8 of the triples, and the numbers (t, 3) of each triple's three."""
    layouts, numbers = np.unique(triples.reshape(-1, 6), axis=0, return_inverse=True)
    return layouts, numbers.reshape(-1, 3)


def _chunks(total: int, width: int) -> Iterator[slice]:
    step = max(1, _CELLS // max(width, 1))
    return (slice(start, start + step) for start in range(0, total, step))


def _copy_values(codes, slot_ids, event: copies.Events, sides: copies.Sides, tensors) -> dict[str, np.ndarray]:
    """Values (c,) of the copy columns, `copies_share` left out."""
    weights = _copy_weights(event, tensors)
    happens_by_minor = ("copies_minor", "copies_minor_bytes")
    values = {name: np.zeros(len(codes)) for name in (*weights, "copies_largest")}
    if not len(event.kind):
        return values
    table, differs = sides.table, orders.differ(list(sides.orders))
    matrix = np.stack(list(weights.values()), axis=1)
    minor = np.isin(list(weights), happens_by_minor)
    for part in _chunks(len(codes), max(len(event.kind), 3 * codes.shape[1])):
        happens = copies.happening(event, slot_ids[codes[part]], table, differs)
        anywhere, moved = (happens > 0).astype(np.float64), (happens & orders.MINOR > 0).astype(np.float64)
        sums = np.where(minor, moved @ matrix, anywhere @ matrix)
        for name, column in zip(weights, sums.T, strict=True):
            values[name][part] = column
        values["copies_largest"][part] = (anywhere * weights["copies_bytes"]).max(axis=1)
    return values


def _copy_weights(event: copies.Events, tensors) -> dict[str, np.ndarray]:
    """What each possible copy adds to each column if it happens, (e,) each."""
    one, size = np.ones(len(event.kind)), event.bytes.astype(np.float64)
    real = event.kind != copies.EVENTS.index("reduce")
    weights = {
        "copies": real * one,
        "copies_bytes": real * size,
        "copies_minor": real * one,
        "copies_minor_bytes": real * size,
    }
    for number, kind in enumerate(copies.EVENTS):
        weights[f"copies_{kind}"] = (event.kind == number) * one
        weights[f"copies_{kind}_bytes"] = (event.kind == number) * size
    for name, opcode in KINDS.items():
        weights[f"copies_at_{name}_bytes"] = (real & (tensors.opcode[event.consumer] == opcode)) * size
    return weights


def _node_values(codes, slot_ids, layouts: list[orders.Order], tensors) -> dict[str, np.ndarray]:
    """Values (c,) of the node columns: a table over the (node, triple) pairs that occur, summed by a sparse product."""
    total, nodes = codes.shape
    sums = np.zeros((total, len(_NODE_COLUMNS)))
    width = max(1, _PAIRS // len(slot_ids))
    for first in range(0, nodes, width):
        part = np.ascontiguousarray(codes[:, first : first + width])
        occurs = np.zeros((part.shape[1], len(slot_ids)), bool)
        occurs[np.arange(part.shape[1]), part] = True
        node, code = np.nonzero(occurs)
        facts = node_facts(first + node, slot_ids[code], layouts, tensors)
        table = np.stack([facts[name] for name in _NODE_COLUMNS], axis=1).astype(np.float64)
        row = np.zeros(occurs.shape, np.int32)
        row[node, code] = np.arange(len(node))
        for chunk in _chunks(total, part.shape[1]):
            rows = row[np.arange(part.shape[1]), part[chunk]]
            ends = np.arange(len(rows) + 1, dtype=np.int32) * part.shape[1]
            chosen = csr_array((np.ones(rows.size), rows.ravel(), ends), shape=(len(rows), len(table)))
            sums[chunk] += chosen @ table
    return dict(zip(_NODE_COLUMNS, sums.T, strict=True))


def node_facts(node: np.ndarray, ids: np.ndarray, layouts: list[orders.Order], tensors) -> dict[str, np.ndarray]:
    """What a configurable node with a triple adds to the node columns, (p,) each, for p pairs of a node and a triple.

    node: (p,) place among the configurable nodes; ids: (p, 3) numbers of the triple's layouts.
    """
    dims, size, opcode = tensors.dims[node], tensors.bytes[node], tensors.opcode[node]
    cells = _cells(dims, ids, layouts)
    inversions, known = cells["inversions"], cells["known"]
    moved = inversions > 0
    minor, second = _size_at(dims, cells["minor"]), _size_at(dims, cells["second"])
    row_bytes = minor * (size // np.maximum(tensors.elements[node], 1))
    short = known & (row_bytes < CACHE_LINE) & (size >= CACHE_LINE)
    minor_moved = known & (cells["minor"] != cells["last"])
    padded = _padded(tensors.elements[node, 0], minor[:, 0], second[:, 0]) * known[:, 0]
    disagreeing = cells["disagreeing"] & (opcode != KINDS["transpose"])
    facts = {
        "inversions": inversions.sum(1),
        "inversions_bytes": (inversions * size).sum(1),
        "not_row_major_bytes": (moved * size).sum(1),
        "minor_moved": minor_moved.sum(1),
        "minor_moved_bytes": (minor_moved * size).sum(1),
        "second_minor_bits": _bits(second[:, 0]) * known[:, 0],
        "short_rows": short.sum(1),
        "short_rows_bytes": (short * size).sum(1),
        "tile_padding_bytes": padded * (size[:, 0] // np.maximum(tensors.elements[node, 0], 1)),
        "disagreeing": disagreeing,
        "disagreeing_bytes": disagreeing * size[:, 0],
        "unconfigured": ~cells["given"].any(axis=1),
    }
    for slot, name in enumerate(SLOTS):
        facts[f"inversions_{name}"] = inversions[:, slot]
        facts[f"not_row_major_{name}"] = moved[:, slot]
        facts[f"minor_bits_{name}"] = _bits(minor[:, slot]) * known[:, slot]
    for name, number in KINDS.items():
        facts[f"inversions_{name}"] = inversions.sum(1) * (opcode == number)
        facts[f"not_row_major_{name}"] = moved.any(axis=1) & (opcode == number)
    return facts


def _cells(dims: np.ndarray, ids: np.ndarray, layouts: list[orders.Order]) -> dict[str, np.ndarray]:
    """Facts of each layout on its tensor, (p, 3) each: computed once for every distinct (which sizes are one, layout).

    minor, second: dimension that varies fastest and next, -1 for none; last: minor dimension of the row-major tensor;
    given: the layout says something; known: it does, and the tensor is more than one element; disagreeing (p,): input
    and output have one rank, and both known layouts differ.
    """
    kinds = np.minimum(dims, 2)
    digits = kinds @ 3 ** np.arange(dims.shape[-1])
    keys, places = np.unique(digits * len(layouts) + ids, return_inverse=True)
    places = places.reshape(ids.shape)
    pairs = [(layouts[key % len(layouts)], _shape(key // len(layouts))) for key in keys.tolist()]
    facts = np.array([_cell(*pair) for pair in pairs], np.int64)[places]
    names = ("inversions", "minor", "second", "last", "given")
    cells = {name: facts[..., number] for number, name in enumerate(names)}
    cells["given"] = cells["given"] > 0
    cells["known"] = cells["given"] & (cells["minor"] >= 0)
    distinct: dict[orders.Order, int] = {}
    order = np.array([distinct.setdefault(orders.known(*pair), len(distinct)) for pair in pairs])[places]
    differ = orders.differ(list(distinct))[order[:, 0], order[:, 1]] > 0
    cells["disagreeing"] = differ & (digits[:, 0] == digits[:, 1])
    return cells


def _shape(digits: int) -> orders.Order:
    """Shape of base-3 digits: 0 no dimension, 1 a dimension of size one, 2 of any other size."""
    return tuple(digit for axis in range(MAX_RANK) if (digit := digits // 3**axis % 3))


@cache
def _cell(layout: orders.Order, shape: orders.Order) -> tuple[int, ...]:
    order = orders.whole(layout, shape)
    minor, second, *_ = *order, -1, -1
    last, *_ = *orders.row_major(shape), -1
    return orders.inversions(order), minor, second, last, len(layout)


def _size_at(dims: np.ndarray, axis: np.ndarray) -> np.ndarray:
    """Size of dimension `axis` (p, 3) of tensors (p, 3, 6); 1 where there is no such dimension."""
    sizes = np.take_along_axis(dims, np.maximum(axis, 0)[..., None], axis=-1)[..., 0]
    return np.where(axis >= 0, np.maximum(sizes, 1), 1)


def _bits(size: np.ndarray) -> np.ndarray:
    """Binary digits of sizes >= 1, so that sums stay whole: 1 -> 0, 2 and 3 -> 1, 4 to 7 -> 2."""
    return np.frexp(size.astype(np.float64))[1] - 1


def _padded(count: np.ndarray, minor: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Elements that padding the two minor dimensions to LANES and SUBLANES adds."""
    outer = count // (minor * second)
    return outer * (-(-minor // LANES) * LANES) * (-(-second // SUBLANES) * SUBLANES) - count


def _program_values(graph, tensors, possible: int) -> dict[str, float]:
    """Columns that all configurations of a graph share."""
    nodes = len(tensors.opcode)
    values = {
        "program_nodes": np.log1p(graph.nodes),
        "program_configurable": np.log1p(nodes),
        "program_configured_bytes": np.log1p(tensors.bytes.sum()),
        "program_largest_bytes": np.log1p(tensors.bytes.max(initial=0)),
        "program_rank": (tensors.dims[:, 0] > 0).sum(axis=1).mean(),
        **{f"program_{name}": (tensors.opcode == opcode).mean() for name, opcode in KINDS.items()},
        "program_possible_copies": possible / nodes,
    }
    count = max(int(graph.whole_opcodes.sum()), 1)
    for name in _SHARES:
        values[f"program_share_{name}"] = graph.whole_opcodes[OPCODE_NUMBERS[name]] / count
    for name, value in sorted(graph.whole.items()):
        values[f"whole_{name}"] = value if name.startswith("log_") else np.log1p(max(value, 0.0))
    return values
