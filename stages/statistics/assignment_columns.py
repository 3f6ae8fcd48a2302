"""Columns of a layout configuration: what layout assignment makes of the whole program, against nothing forced."""

from __future__ import annotations

import numpy as np

from stages.graphs.dataset import PackedGraph
from stages.graphs.tensors import MAX_RANK
from stages.statistics.assignment import COUNTS, sums
from stages.statistics.assignment_program import KINDS, program
from stages.statistics.assignment_tables import numbers
from stages.statistics.orders import Order

#: configurations whose layouts are held at once
_ROWS = 256

COLUMNS = {
    **{
        f"assigned_{kind}": f"bytes more that results of {kind} instructions take, share of the program's"
        for kind in KINDS
    },
    "assigned_bytes": "bytes more that all results take in the layouts assigned to them, share of the program's",
    "assigned_copies": "copies more that layout assignment puts in",
    "assigned_large_copies": "copies more of a million bytes or more",
    "assigned_copy_bytes": "bytes more read and written by copies, share of the program's",
    "assigned_turned_bytes": "bytes more read and written by copies that change the minor dimension, share",
    "assigned_estimate": "bytes more of results and of copies together, share of the program's",
}


def assigned(graph: PackedGraph, rows: np.ndarray) -> np.ndarray:
    """The columns of configurations of a packed layout graph.

    Args:
        graph: The graph.
        rows: (c,) the configurations.

    Returns:
        (c, 14) float64 in the order of `COLUMNS`: differences to the configuration that forces nothing.
    """
    tensors = program(graph)
    free = np.full((1, len(tensors.rank)), -1, np.int64)
    (nothing,) = sums(tensors, free)
    total = max(float(nothing[COUNTS.index("bytes")]), 1.0)
    layout_numbers = _layout_numbers(graph, tensors.rank, tensors.slots)
    values = np.empty((len(rows), len(COLUMNS)))
    there = tensors.slots >= 0
    for first in range(0, len(rows), _ROWS):
        codes = graph.codes[rows[first : first + _ROWS]].astype(np.int64)
        forced = np.repeat(free, len(codes), axis=0)
        chosen = layout_numbers[codes, np.arange(codes.shape[1])]
        forced[:, tensors.slots[there]] = chosen[:, there]
        values[first : first + _ROWS, :-1] = sums(tensors, forced) - nothing
    counted = [name in ("copies", "large_copies") for name in COUNTS]
    values[:, :-1] /= np.where(counted, 1.0, total)
    values[:, -1] = values[:, COUNTS.index("bytes")] + values[:, COUNTS.index("copy_bytes")]
    return values


def _layout_numbers(graph: PackedGraph, ranks: np.ndarray, slots: np.ndarray) -> np.ndarray:
    """(t, nc, 3) int64 number of the layout that a triple forces on a node's slots, -1 where it forces none."""
    made = np.full((len(graph.triples), *slots.shape), -1, np.int64)
    slot_ranks = np.where(slots >= 0, ranks[slots], 0)
    for triple, row in enumerate(graph.triples.reshape(-1, 3, MAX_RANK).tolist()):
        for slot, layout in enumerate(row):
            named = tuple(axis for axis in layout if axis >= 0)
            for rank in range(2, MAX_RANK + 1) if named else ():
                whole = _whole(named, rank)
                if whole is not None:
                    made[triple, slot_ranks[:, slot] == rank, slot] = numbers(rank)[whole]
    return made


def _whole(named: Order, rank: int) -> Order | None:
    """A layout with the dimensions that it leaves open behind, row-major; None where it is none of this rank."""
    if len(set(named)) < len(named) or max(named) >= rank:
        return None
    return (*named, *(axis for axis in range(rank - 1, -1, -1) if axis not in named))
