"""Statistics of layout configurations: what the layouts of each make a compiler do, and what the program is like."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.sparse import csr_array

from stages.graphs.dataset import PackedGraph
from stages.statistics import (
    assignment_columns,
    copies,
    copy_columns,
    default_distance,
    inversions,
    node_kinds,
    occurrences,
    orders,
    program,
)
from stages.statistics.copies import Sides, SlotTensors
from stages.statistics.default_distance import DefaultOrders
from stages.statistics.layout_pairs import layout_pairs

#: values held at once, so that memory does not grow with the number of configurations or of nodes
_CELLS = 2_000_000
#: (node, triple) pairs tabulated at once
_PAIRS = 200_000

PROGRAM_COLUMNS = program.COLUMNS
#: columns by what they are about; `search` is there only where it is asked for. The program's columns are in no group:
#: they are the same for all configurations of a graph, and its `whole_...` ones are named by the prune stage.
GROUPS = {
    "copies": tuple(copy_columns.COLUMNS),
    "between": tuple(copy_columns.BETWEEN_COLUMNS),
    "orders": tuple(inversions.COLUMNS),
    "kinds": tuple(node_kinds.COLUMNS),
    "default": tuple(default_distance.COLUMNS),
    "assigned": tuple(assignment_columns.COLUMNS),
    "search": tuple(occurrences.COLUMNS),
}
_COPY_COLUMNS = copy_columns.COLUMNS | copy_columns.BETWEEN_COLUMNS
_NODE_COLUMNS = inversions.COLUMNS | node_kinds.COLUMNS | default_distance.COLUMNS
DESCRIPTIONS = _COPY_COLUMNS | _NODE_COLUMNS | occurrences.COLUMNS | assignment_columns.COLUMNS | PROGRAM_COLUMNS


def layout_statistics(
    graph: PackedGraph, rows: np.ndarray | None = None, searched: bool = False
) -> tuple[list[str], np.ndarray]:
    """Statistics of configurations of a packed layout graph.

    All sums are of whole numbers below 2**53 and so exact: they depend neither on the order of the configurations nor
    on the chunks in which they are computed. No column looks at another configuration than its own but those of
    `occurrences`: how often a layout was tried says which ones a search had timed as fast. None looks at a run time.

    Args:
        graph: the program.
        rows: (c,) the configurations; None: all.
        searched: whether the columns of `occurrences` are there.

    Returns:
        Names (f,) of the columns, the same for every graph, and (c, f) float64 values, finite.
    """
    rows = np.arange(graph.configurations) if rows is None else np.asarray(rows)
    graph_layouts = _graph_layouts(graph)
    node_columns = [*_NODE_COLUMNS, *(occurrences.COLUMNS if searched else ())]
    constants = program.program_values(
        graph, graph_layouts.tensors, len(graph_layouts.copies.kind), graph_layouts.defaults.operations
    )
    names = [*_COPY_COLUMNS, *node_columns, *assignment_columns.COLUMNS, *constants]
    values = np.zeros((len(rows), len(names)))
    first_node, first_assigned = len(_COPY_COLUMNS), len(_COPY_COLUMNS) + len(node_columns)
    first_constant = first_assigned + len(assignment_columns.COLUMNS)
    values[:, first_constant:] = list(constants.values())
    _write_copies(graph, rows, graph_layouts, values[:, :first_node])
    _add_nodes(graph, rows, graph_layouts, node_columns, values[:, first_node:first_assigned])
    values[:, first_assigned:first_constant] = assignment_columns.assigned(graph, rows)
    column = {name: number for number, name in enumerate(names)}
    values[:, column["copies_share"]] = values[:, column["copies_bytes"]]
    for name, divisor in _divisors(graph, graph_layouts, searched).items():
        values[:, column[name]] /= divisor
    return names, values


def distinct_layouts(triples: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Distinct layouts of triples.

    Args:
        triples: (t, 18) int8 output, input and kernel layouts.

    Returns:
        (l, 6) int8 layouts, and (t, 3) numbers of each triple's three.
    """
    layouts, numbers = np.unique(triples.reshape(-1, 6), axis=0, return_inverse=True)
    return layouts, numbers.reshape(-1, 3)


def node_facts(
    node: np.ndarray, ids: np.ndarray, layouts: list[orders.Order], tensors: SlotTensors
) -> dict[str, np.ndarray]:
    """What a configurable node with a triple adds to the columns of the group `orders`.

    Args:
        node: (p,) number of the configurable node.
        ids: (p, 3) numbers of the triple's layouts.
        layouts: the distinct ones of the graph.
        tensors: of the graph's configurable nodes.

    Returns:
        column -> (p,).
    """
    return inversions.contributions(layout_pairs(node, ids, layouts, tensors))


@dataclass(frozen=True, eq=False)
class _GraphLayouts:
    """What the layouts of a graph mean, whatever the configuration.

    Attributes:
        tensors: of the configurable nodes' slots.
        slot_ids: (t, 3) numbers of the layouts of each triple.
        sides: of the possible copies; it has the distinct layouts too.
        copies: the possible ones.
        defaults: default orders and operations of the configurable nodes.
    """

    tensors: SlotTensors
    slot_ids: np.ndarray
    sides: Sides
    copies: copies.PossibleCopies
    defaults: DefaultOrders


def _graph_layouts(graph: PackedGraph) -> _GraphLayouts:
    tensors = copies.slot_tensors(graph)
    layouts, slot_ids = distinct_layouts(graph.triples)
    sides = Sides(layouts)
    possible = copies.possible_copies(graph, tensors, sides)
    defaults = default_distance.default_orders(graph.node_feat, graph.config_nodes, tensors)
    return _GraphLayouts(tensors, slot_ids, sides, possible, defaults)


def _divisors(graph: PackedGraph, graph_layouts: _GraphLayouts, searched: bool) -> dict[str, float]:
    """What makes a share or a mean of a column's sum."""
    size = max(int(graph_layouts.tensors.bytes.sum()), 1)
    work = max(float(graph_layouts.defaults.operations.sum()), 1.0)
    nodes = len(graph.config_nodes)
    divisors = {"copies_share": size, "off_default_bytes": size, "off_default_operations": work}
    if searched:
        divisors |= {"off_mode_bytes": size, "off_mode_operations": work}
        divisors |= {"occurrence": nodes * graph.configurations, "occurrence_bits": nodes}
    return divisors


def _chunks(total: int, width: int) -> Iterator[slice]:
    """Slices of `total` rows of which each has, with `width` values of a row, at most `_CELLS` values."""
    step = max(1, _CELLS // max(width, 1))
    return (slice(start, start + step) for start in range(0, total, step))


def _write_copies(graph: PackedGraph, rows: np.ndarray, graph_layouts: _GraphLayouts, values: np.ndarray) -> None:
    """Writes the columns of copies, `copies_share` left out, into values (c, w)."""
    possible, sides = graph_layouts.copies, graph_layouts.sides
    if not len(possible.kind):
        return
    weights = copy_columns.weights(possible, graph_layouts.tensors)
    table, differs = sides.table, orders.differ(list(sides.orders))
    for part in _chunks(len(rows), max(len(possible.kind), 3 * graph.codes.shape[1])):
        ids = graph_layouts.slot_ids[graph.codes[rows[part]]]
        values[part] = copy_columns.sums(copies.happening(possible, ids, table, differs), weights)


def _add_nodes(
    graph: PackedGraph,
    rows: np.ndarray,
    graph_layouts: _GraphLayouts,
    names: Sequence[str],
    values: np.ndarray,
) -> None:
    """Adds the node columns `names` to values (c, w): block by block of nodes, so that a table of pairs stays small."""
    nodes, triples = graph.codes.shape[1], len(graph_layouts.slot_ids)
    counted = None if "occurrence" in names else rows  # how often a layout was tried is of the whole graph
    width = max(1, _PAIRS // triples)
    for first in range(0, nodes, width):
        block = slice(first, min(first + width, nodes))
        counts = _counts(graph.codes, block, counted, triples)
        table = _pair_table(graph, graph_layouts, names, first, counts)
        _add_block(graph, rows, block, counts, table, values)


def _pair_table(
    graph: PackedGraph,
    graph_layouts: _GraphLayouts,
    names: Sequence[str],
    first: int,
    counts: np.ndarray,
) -> np.ndarray:
    """What each of the p pairs that occur, counts (b, t) > 0, adds to the columns: (p, w)."""
    node, code = np.nonzero(counts)
    layouts, defaults = graph_layouts.sides.layouts, graph_layouts.defaults
    pairs = layout_pairs(first + node, graph_layouts.slot_ids[code], layouts, graph_layouts.tensors)
    node_feat = np.asarray(graph.node_feat)[graph.config_nodes]
    columns = inversions.contributions(pairs) | node_kinds.contributions(pairs, node_feat)
    columns |= default_distance.contributions(pairs, layouts, defaults)
    if "occurrence" in names:
        is_mode = code == counts.argmax(axis=1)[node]
        columns |= occurrences.contributions(
            pairs, counts[node, code], is_mode, graph.configurations, defaults.operations
        )
    table = np.empty((len(node), len(names)))
    for number, name in enumerate(names):
        table[:, number] = columns[name]
    return table


def _add_block(
    graph: PackedGraph, rows: np.ndarray, block: slice, counts: np.ndarray, table: np.ndarray, values: np.ndarray
) -> None:
    """Adds the rows of a table (p, w) of a block's pairs to values (c, w), by a sparse product."""
    nodes = len(counts)
    number = np.zeros(counts.shape, np.int32)
    number[np.nonzero(counts)] = np.arange(len(table))
    for chunk in _chunks(len(rows), nodes):
        pairs = number[np.arange(nodes), graph.codes[rows[chunk], block]]
        ends = np.arange(len(pairs) + 1, dtype=np.int32) * nodes
        chosen = csr_array((np.ones(pairs.size), pairs.ravel(), ends), shape=(len(pairs), len(table)))
        values[chunk] += chosen @ table


def _counts(codes: np.ndarray, block: slice, rows: np.ndarray | None, triples: int) -> np.ndarray:
    """How many of the configurations at `rows`, else of all, give a node of the block each triple: (b, t)."""
    width = block.stop - block.start
    counts = np.zeros(width * triples, np.int64)
    for chunk in _chunks(len(codes) if rows is None else len(rows), width):
        part = codes[chunk if rows is None else rows[chunk], block]
        counts += np.bincount((part + np.arange(width) * triples).ravel(), minlength=len(counts))
    return counts.reshape(width, triples)
