"""Relayout copies as features of states: the physical cause of a slow configuration.

A copy inside a node, or of an operand that no configurable node computes, is a fact of the node and its layouts: it
belongs to the node's state. One between two configurable nodes is a fact of both and has states of its own, the
distinct pairs of the layouts at its ends. What copies there can be comes from `stages.statistics.copies`, which the
trees' statistics are made of too.
"""

from __future__ import annotations

import numpy as np

from stages.graphs.dataset import PackedGraph
from stages.statistics import copies, orders
from stages.statistics.layout import distinct_layouts, node_facts

#: facts of a node and its layouts, each with what it is divided by to be of about unit size
_COUNTS = {
    "inversions_output": 4.0,
    "inversions_input": 4.0,
    "inversions_kernel": 4.0,
    "not_row_major_output": 1.0,
    "not_row_major_input": 1.0,
    "not_row_major_kernel": 1.0,
    "minor_bits_output": 8.0,
    "minor_bits_input": 8.0,
    "minor_bits_kernel": 8.0,
    "second_minor_bits": 8.0,
    "minor_moved": 2.0,
    "short_rows": 2.0,
    "disagreeing": 1.0,
    "unconfigured": 1.0,
}
_BYTES = ("inversions_bytes", "not_row_major_bytes", "minor_moved_bytes", "short_rows_bytes", "disagreeing_bytes")
_INSIDE = ("fixed", "transpose", "reshape", "reduce")
_PER_COPY = 3  # it happens, its minor dimension moves, its bytes
STATE_COLUMNS = len(_COUNTS) + len(_BYTES) + _PER_COPY * len(_INSIDE)
COPY_COLUMNS = _PER_COPY


class Moves:
    """Possible copies of one layout graph.

    between (e, 2) int64: places [consumer, producer] among the configurable nodes of each possible copy between two.
    """

    def __init__(self, graph: PackedGraph):
        self._tensors = copies.slot_tensors(graph)
        layouts, self._slots = distinct_layouts(graph.triples)
        sides = copies.Sides(layouts)
        self._events = copies.possible_copies(graph, self._tensors, sides)
        self._layouts = sides.layouts
        self._table, self._differs = sides.table, orders.differ(list(sides.orders))
        there = self._tensors.bytes > 0
        self._typical = self._tensors.bytes.sum() / max(1, there.sum()) or 1.0
        self._between = np.flatnonzero(self._events.consumer != self._events.producer)
        self._within = np.flatnonzero(self._events.consumer == self._events.producer)

    @property
    def between(self) -> np.ndarray:
        return np.stack([self._events.consumer[self._between], self._events.producer[self._between]], axis=1)

    def state_columns(self, place: np.ndarray, code: np.ndarray) -> np.ndarray:
        """(p, STATE_COLUMNS) float32 of configurable nodes (p,), by place, with layouts (p,), by number."""
        if not len(place):  # a segment without a configurable node, or all of whose configurations are alike
            return np.zeros((0, STATE_COLUMNS), np.float32)
        facts = node_facts(place, self._slots[code], self._layouts, self._tensors)
        columns = [facts[name] / unit for name, unit in _COUNTS.items()]
        columns += [self._size(facts[name]) for name in _BYTES]
        inside = np.zeros((len(place), len(_INSIDE), _PER_COPY))
        if len(self._within):
            order = self._within[np.argsort(self._events.consumer[self._within], kind="stable")]
            nodes = self._events.consumer[order]
            first, last = np.searchsorted(nodes, place), np.searchsorted(nodes, place, side="right")
            row = np.repeat(np.arange(len(place)), last - first)
            event = order[np.arange(len(row)) - np.repeat(np.cumsum(last - first) - last, last - first)]
            kinds = np.array([copies.COPY_KINDS.index(kind) for kind in _INSIDE])
            column = np.searchsorted(kinds, self._events.kind[event])
            np.add.at(inside, (row, column), self._happening(event, code[row], code[row]))
        return np.concatenate([np.stack(columns, axis=1), inside.reshape(len(place), -1)], axis=1).astype(np.float32)

    def copy_columns(self, copy: np.ndarray, consumer: np.ndarray, producer: np.ndarray) -> np.ndarray:
        """(q, COPY_COLUMNS) float32 of copies (q,), rows of `between`, with these layouts (q,) at their ends."""
        return self._happening(self._between[copy], consumer, producer).astype(np.float32)

    def _happening(self, event: np.ndarray, consumer: np.ndarray, producer: np.ndarray) -> np.ndarray:
        asked, made = self._slots[consumer], self._slots[producer, 0]
        happens = copies.happening_at(self._events, event, asked, made, self._table, self._differs)
        there = happens > 0
        size = self._size(self._events.bytes[event])
        return np.stack([there, happens & orders.MINOR > 0, there * size], axis=1)

    def _size(self, size: np.ndarray) -> np.ndarray:
        """Bytes, beside the graph's typical configured tensor: what slows a program is a copy that is large in it."""
        return np.log1p(size / self._typical)
