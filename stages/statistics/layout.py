"""Statistics of layout configurations: what the layouts of each make a compiler do, and what the program is like."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from scipy.sparse import csr_array

from stages.graphs.opcodes import CONVOLUTION, DOT, OPCODE_NUMBERS
from stages.statistics import copies, default_distance, layout_pairs, node_kinds, occurrences, orders
from stages.statistics.hardware import DEFAULT, Hardware
from stages.statistics.node_kinds import KINDS, SLOTS

#: values held at once, so that memory does not grow with the number of configurations or of nodes
_CELLS = 2_000_000
#: (node, triple) pairs tabulated at once
_PAIRS = 200_000

#: opcodes whose share of a program tells programs apart
_SHARES = "add broadcast constant convert convolution divide dot gather multiply reduce reshape transpose".split()

#: opcodes whose share of the operations tells programs apart
_WORKERS = {"convolution": CONVOLUTION, "dot": DOT}

_ORDER_COLUMNS = {
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
    "short_rows": "tensors whose minor dimension is shorter than a cache line",
    "short_rows_bytes": "bytes of the tensors with rows shorter than a cache line",
    "tile_padding_bytes": "bytes added when the two minor dimensions are padded to whole tiles",
    "disagreeing": "nodes, transposes aside, whose input and output have one rank and different layouts",
    "disagreeing_bytes": "bytes of the outputs of these nodes",
    "unconfigured": "nodes whose layouts are all left to the compiler",
}
_COPY_COLUMNS = {
    "copies": "copies that the layouts force: between nodes, from row-major operands, inside transposes and reshapes",
    "copies_bytes": "bytes of these copies",
    "copies_share": "bytes of these copies, as a share of the bytes of all configured tensors",
    "copies_largest": "bytes of the largest of these copies",
    "copies_bits": "binary digits of their bytes, summed",
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
#: by the opcodes of the nodes at both ends
_BETWEEN_COLUMNS = {
    f"copies_{producer}_to_{consumer}_bytes": f"bytes of the copies between results of {producer} and operands of "
    f"{consumer}"
    for producer in KINDS
    for consumer in KINDS
}
PROGRAM_COLUMNS = {
    "program_nodes": "logarithm of the number of nodes of the pruned graph",
    "program_configurable": "logarithm of the number of configurable nodes",
    "program_configured_bytes": "logarithm of the bytes of all configured tensors",
    "program_largest_bytes": "logarithm of the bytes of the largest configured tensor",
    "program_rank": "mean rank of the configurable nodes' outputs",
    **{f"program_{kind}": f"share of opcode {kind} among the configurable nodes" for kind in KINDS},
    **{f"program_share_{name}": f"share of opcode {name} among the nodes of the unpruned program" for name in _SHARES},
    "program_operations": "logarithm of the floating-point operations of the configurable nodes",
    "program_intensity": "logarithm of these operations per byte of the configured tensors",
    **{f"program_operations_{kind}": f"share of these operations at nodes of opcode {kind}" for kind in _WORKERS},
    "program_possible_copies": "pairs of layouts that could force a copy, per configurable node",
}
#: columns by what they are about; `search` is there only where it is asked for. The program's columns are in no group:
#: they are the same for all configurations of a graph, and its `whole_...` ones are named by the prune stage.
GROUPS = {
    "copies": tuple(_COPY_COLUMNS),
    "between": tuple(_BETWEEN_COLUMNS),
    "orders": tuple(_ORDER_COLUMNS),
    "kinds": tuple(node_kinds.COLUMNS),
    "default": tuple(default_distance.COLUMNS),
    "search": tuple(occurrences.COLUMNS),
}
_NODE_COLUMNS = _ORDER_COLUMNS | node_kinds.COLUMNS | default_distance.COLUMNS
DESCRIPTIONS = _COPY_COLUMNS | _BETWEEN_COLUMNS | _NODE_COLUMNS | occurrences.COLUMNS | PROGRAM_COLUMNS


def layout_statistics(
    graph, rows: np.ndarray | None = None, searched: bool = False, hardware: Hardware = DEFAULT
) -> tuple[list[str], np.ndarray]:
    """Statistics of configurations of a packed layout graph: of those at `rows` (c,), else of all.

    Returns the column names, the same for every graph, and (c, f) float64 values, finite. All sums are of whole
    numbers below 2**53 and so exact: they depend neither on the order of the configurations nor on the chunks in which
    they are computed. No column looks at another configuration than its own but those of `occurrences`, which
    `searched` adds: how often a layout was tried says which ones a search had timed as fast. None looks at a run
    time.
    Ideas: copies implied by mismatched layouts, sizes of the minor dimensions and their padding from the 11th place of
    the TpuGraphs competition (trees alone); copies inside transposes and reshapes, inversions from this project.
    """
    tensors = copies.slot_tensors(graph)
    layouts, slot_ids = distinct_layouts(graph.triples)
    sides = copies.Sides(layouts)
    event = copies.events(graph, tensors, sides)
    given = default_distance.defaults(graph.node_feat, graph.config_nodes, tensors)
    constants = _program_values(graph, tensors, len(event.kind), given.operations)
    varying = [*_COPY_COLUMNS, *_BETWEEN_COLUMNS, *_NODE_COLUMNS, *(occurrences.COLUMNS if searched else ())]
    place = {name: number for number, name in enumerate([*varying, *constants])}
    rows = np.arange(graph.configurations) if rows is None else np.asarray(rows)
    values = np.zeros((len(rows), len(place)))
    values[:, len(varying) :] = list(constants.values())
    _copy_values(graph.codes, rows, slot_ids, event, sides, tensors, values, place)
    node_columns = varying[len(_COPY_COLUMNS) + len(_BETWEEN_COLUMNS) :]
    part = values[:, len(varying) - len(node_columns) : len(varying)]
    _node_values(graph, rows, slot_ids, sides.layouts, tensors, given, hardware, node_columns, part)
    size, work = max(int(tensors.bytes.sum()), 1), max(float(given.operations.sum()), 1.0)
    nodes = len(graph.config_nodes)
    values[:, place["copies_share"]] = values[:, place["copies_bytes"]]
    divisors = {"copies_share": size, "off_default_bytes": size, "off_default_operations": work}
    if searched:
        divisors |= {"off_mode_bytes": size, "off_mode_operations": work}
        divisors |= {"occurrence": nodes * graph.configurations, "occurrence_bits": nodes}
    for name, divisor in divisors.items():
        values[:, place[name]] /= divisor
    return list(place), values


def distinct_layouts(triples: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Distinct layouts (l, 6) int8 of the triples, and the numbers (t, 3) of each triple's three."""
    layouts, numbers = np.unique(triples.reshape(-1, 6), axis=0, return_inverse=True)
    return layouts, numbers.reshape(-1, 3)


def node_facts(node: np.ndarray, ids: np.ndarray, layouts: list[orders.Order], tensors) -> dict[str, np.ndarray]:
    """What a configurable node with a triple adds to the columns of the group `orders`, (p,) each, for p pairs.

    node: (p,) place among the configurable nodes; ids: (p, 3) numbers of the triple's layouts.
    """
    return _order_facts(layout_pairs.make(node, ids, layouts, tensors), DEFAULT)


def _chunks(total: int, width: int) -> Iterator[slice]:
    step = max(1, _CELLS // max(width, 1))
    return (slice(start, start + step) for start in range(0, total, step))


def _copy_values(codes, rows, slot_ids, event: copies.Events, sides, tensors, values: np.ndarray, place: dict) -> None:
    """Writes the columns of copies, `copies_share` left out, into values (c, f) by their place."""
    if not len(event.kind):
        return
    weights = _copy_weights(event, tensors)
    moving = [name for name in weights if name in ("copies_minor", "copies_minor_bytes")]
    still = [name for name in weights if name not in moving]
    table, differs = sides.table, orders.differ(list(sides.orders))
    matrices = {
        bit: (np.stack([weights[name] for name in names], axis=1), [place[name] for name in names])
        for bit, names in ((0xFF, still), (orders.MINOR, moving))
    }
    for part in _chunks(len(rows), max(len(event.kind), 3 * codes.shape[1])):
        happens = copies.happening(event, slot_ids[codes[rows[part]]], table, differs)
        for bit, (matrix, columns) in matrices.items():
            values[part, columns] = (happens & bit > 0).astype(np.float64) @ matrix
        values[part, place["copies_largest"]] = np.where(happens > 0, weights["copies_bytes"], 0).max(axis=1)


def _copy_weights(event: copies.Events, tensors) -> dict[str, np.ndarray]:
    """What each possible copy adds to each column if it happens, (e,) each."""
    one, size = np.ones(len(event.kind)), event.bytes.astype(np.float64)
    real = event.kind != copies.EVENTS.index("reduce")
    weights = {
        "copies": real * one,
        "copies_bytes": real * size,
        "copies_bits": real * layout_pairs.bits(np.maximum(event.bytes, 1)),
        "copies_minor": real * one,
        "copies_minor_bytes": real * size,
    }
    for number, kind in enumerate(copies.EVENTS):
        weights[f"copies_{kind}"] = (event.kind == number) * one
        weights[f"copies_{kind}_bytes"] = (event.kind == number) * size
    at = {name: tensors.opcode[event.consumer] == opcode for name, opcode in KINDS.items()}
    between = event.consumer != event.producer
    for name, here in at.items():
        weights[f"copies_at_{name}_bytes"] = (real & here) * size
        for producer, opcode in KINDS.items():
            made = between & (tensors.opcode[event.producer] == opcode)
            weights[f"copies_{producer}_to_{name}_bytes"] = (made & here) * size
    return weights


def _node_values(
    graph,
    rows,
    slot_ids,
    layouts,
    tensors,
    given: default_distance.Defaults,
    hardware: Hardware,
    names,
    values: np.ndarray,
) -> None:
    """Adds the node columns `names` to values (c, f): a table over the (node, triple) pairs that occur, summed by a
    sparse product."""
    nodes = graph.codes.shape[1]
    node_feat = np.asarray(graph.node_feat)[graph.config_nodes]
    searched = "occurrence" in names
    width = max(1, _PAIRS // len(slot_ids))
    for first in range(0, nodes, width):
        block = slice(first, min(first + width, nodes))
        size = block.stop - first
        counts = _counts(graph.codes, block, None if searched else rows, len(slot_ids))
        node, code = np.nonzero(counts)
        made = layout_pairs.make(first + node, slot_ids[code], layouts, tensors)
        facts = _order_facts(made, hardware) | node_kinds.facts(made, node_feat, hardware)
        facts |= default_distance.facts(made, layouts, given)
        if searched:
            often, total = counts[node, code], graph.configurations
            most = code == counts.argmax(axis=1)[node]
            facts |= occurrences.facts(made, often, most, total, given.operations)
        table = np.empty((len(node), len(names)))
        for column, name in enumerate(names):
            table[:, column] = facts[name]
        number = np.zeros(counts.shape, np.int32)
        number[node, code] = np.arange(len(node))
        for chunk in _chunks(len(rows), size):
            found = number[np.arange(size), graph.codes[rows[chunk], block]]
            ends = np.arange(len(found) + 1, dtype=np.int32) * size
            chosen = csr_array((np.ones(found.size), found.ravel(), ends), shape=(len(found), len(table)))
            values[chunk] += chosen @ table


def _counts(codes: np.ndarray, block: slice, rows: np.ndarray | None, triples: int) -> np.ndarray:
    """How many of the configurations at `rows`, else of all, give a node of the block each triple: (b, t)."""
    width = block.stop - block.start
    counts = np.zeros(width * triples, np.int64)
    for chunk in _chunks(len(codes) if rows is None else len(rows), width):
        part = codes[chunk if rows is None else rows[chunk], block]
        counts += np.bincount((part + np.arange(width) * triples).ravel(), minlength=len(counts))
    return counts.reshape(width, triples)


def _order_facts(made: layout_pairs.Pairs, hardware: Hardware) -> dict[str, np.ndarray]:
    """What each of p pairs adds to the columns of the group `orders`, (p,) each."""
    size, opcode, inversions, known = made.bytes, made.opcode, made.inversions, made.known
    moved = inversions > 0
    minor, second = made.minor_size, made.second_size
    short = known & (minor * made.item < hardware.cache_line) & (size >= hardware.cache_line)
    minor_moved = known & (made.minor != made.last)
    disagreeing = made.disagreeing & (opcode != KINDS["transpose"])
    facts = {
        "inversions": inversions.sum(1),
        "inversions_bytes": (inversions * size).sum(1),
        "not_row_major_bytes": (moved * size).sum(1),
        "minor_moved": minor_moved.sum(1),
        "minor_moved_bytes": (minor_moved * size).sum(1),
        "second_minor_bits": layout_pairs.bits(second[:, 0]) * known[:, 0],
        "short_rows": short.sum(1),
        "short_rows_bytes": (short * size).sum(1),
        "tile_padding_bytes": layout_pairs.padding(made, hardware.lanes, hardware.sublanes)[:, 0],
        "disagreeing": disagreeing,
        "disagreeing_bytes": disagreeing * size[:, 0],
        "unconfigured": ~made.given.any(axis=1),
    }
    for slot, name in enumerate(SLOTS):
        facts[f"inversions_{name}"] = inversions[:, slot]
        facts[f"not_row_major_{name}"] = moved[:, slot]
        facts[f"minor_bits_{name}"] = layout_pairs.bits(minor[:, slot]) * known[:, slot]
    for name, number in KINDS.items():
        facts[f"inversions_{name}"] = inversions.sum(1) * (opcode == number)
        facts[f"not_row_major_{name}"] = moved.any(axis=1) & (opcode == number)
    return facts


def _program_values(graph, tensors, possible: int, operations: np.ndarray) -> dict[str, float]:
    """Columns that all configurations of a graph share."""
    nodes = len(tensors.opcode)
    work, size = float(operations.sum()), float(tensors.bytes.sum())
    values = {
        "program_nodes": np.log1p(graph.nodes),
        "program_configurable": np.log1p(nodes),
        "program_configured_bytes": np.log1p(size),
        "program_largest_bytes": np.log1p(tensors.bytes.max(initial=0)),
        "program_rank": (tensors.dims[:, 0] > 0).sum(axis=1).mean(),
        **{f"program_{name}": (tensors.opcode == opcode).mean() for name, opcode in KINDS.items()},
        "program_operations": np.log1p(work),
        "program_intensity": np.log1p(work / max(size, 1)),
        **{
            f"program_operations_{name}": operations[tensors.opcode == opcode].sum() / max(work, 1)
            for name, opcode in _WORKERS.items()
        },
        "program_possible_copies": possible / nodes,
    }
    count = max(int(graph.whole_opcodes.sum()), 1)
    for name in _SHARES:
        values[f"program_share_{name}"] = graph.whole_opcodes[OPCODE_NUMBERS[name]] / count
    for name, value in sorted(graph.whole.items()):
        values[f"whole_{name}"] = value if name.startswith("log_") else np.log1p(max(value, 0.0))
    return values
