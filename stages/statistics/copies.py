"""Where a layout configuration can make the compiler copy a tensor into another order.

Each possible copy is an event with two sides, a producer's and a consumer's order of the same tensor; it happens in
the configurations where the known parts of the two orders differ. An order depends on the configuration only through
one node's layout triple, so each side is a table over the graph's distinct layouts.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from stages.graphs.opcodes import OPCODE_NUMBERS, REDUCE, RESHAPE, TRANSPOSE
from stages.graphs.tensors import axes, dimensions, element_bytes, elements, shape
from stages.statistics import orders
from stages.statistics.orders import Order

#: opcodes whose result no configurable node computes
LEAVES = [
    OPCODE_NUMBERS[name]
    for name in "constant infeed iota parameter rng rng-bit-generator rng-get-and-update-state".split()
]

#: direct: a configurable node's operand is a configurable node; indirect: a path of other nodes lies between the two;
#: fixed: no configurable node computes the operand, row-major is assumed; transpose, reshape: inside the node;
#: reduce: the node's two layouts disagree about the dimensions that it keeps (strided reads, no copy)
EVENTS = ("direct", "indirect", "fixed", "transpose", "reshape", "reduce")


@dataclass(frozen=True)
class Tensors:
    """The tensors of the configurable nodes' slots: output, input, kernel.

    source: (nc, 3) int64 node of the tensor in the graph, -1 where the slot has none; dims: (nc, 3, 6) int64;
    elements, bytes: (nc, 3) int64, 0 where the slot has none; opcode: (nc,) int64 of the configurable nodes.
    """

    source: np.ndarray
    dims: np.ndarray
    elements: np.ndarray
    bytes: np.ndarray
    opcode: np.ndarray

    def shape(self, node: int, slot: int) -> Order:
        return shape(self.dims[node, slot])


def slot_tensors(graph) -> Tensors:
    """Tensors of the slots of a packed layout graph; the operands come from `config_operands`."""
    source = np.concatenate([graph.config_nodes[:, None], graph.config_operands], axis=1).astype(np.int64)
    there = source >= 0
    used = np.where(there, source, 0)
    dims = dimensions(graph.node_feat)[used] * there[..., None]
    count = elements(dims) * there
    opcode = np.asarray(graph.node_opcode)[graph.config_nodes].astype(np.int64)
    return Tensors(source, dims, count, count * element_bytes(graph.node_feat)[used], opcode)


class Sides:
    """Sides of events: for each side the order's number by layout.

    layouts: (l, 6) int8 distinct layouts. A side is a row of `table` (s, l) of numbers into `orders`.
    """

    def __init__(self, layouts: np.ndarray):
        self.layouts = [tuple(int(axis) for axis in row if axis >= 0) for row in layouts]
        self.orders: dict[Order, int] = {}
        self._rows: dict[tuple, int] = {}
        self._table: list[list[int]] = []

    def add(self, key: tuple, order: Callable[[Order], Order]) -> int:
        """Row of the side that is `order` of the layout; equal keys share a row."""
        if key not in self._rows:
            self._rows[key] = len(self._table)
            self._table.append([self.orders.setdefault(order(lay), len(self.orders)) for lay in self.layouts])
        return self._rows[key]

    def known(self, shape: Order) -> int:
        """The layout's known dimensions as they are."""
        ones = tuple(size == 1 for size in shape)
        return self.add(("known", ones), lambda layout: orders.known(layout, shape))

    def fixed(self, shape: Order) -> int:
        """Row-major whatever the layout."""
        order = orders.row_major(shape)
        return self.add(("fixed", order), lambda layout: order)

    @property
    def table(self) -> np.ndarray:
        return np.array(self._table, np.int32).reshape(len(self._table), len(self.layouts))


@dataclass(frozen=True)
class Events:
    """Possible copies of a graph, one entry each; `second` columns hold an alternative: a copy needs both to differ.

    kind: (e,) place in EVENTS; consumer, producer: (e,) configurable nodes; bytes: (e,) of the tensor;
    slot, slot2: (e,) consumer's slots; side, side2: (e,) rows of `Sides` for them; from_side, from_side2: (e,) rows for
    the producer's output.
    """

    kind: np.ndarray
    consumer: np.ndarray
    producer: np.ndarray
    bytes: np.ndarray
    slot: np.ndarray
    side: np.ndarray
    from_side: np.ndarray
    slot2: np.ndarray
    side2: np.ndarray
    from_side2: np.ndarray


class _Collector:
    def __init__(self, graph, tensors: Tensors, sides: Sides):
        self.graph, self.tensors, self.sides = graph, tensors, sides
        self.place = {int(node): number for number, node in enumerate(graph.config_nodes)}
        self.rows: list[tuple[int, ...]] = []

    def add(self, kind: str, consumer: int, producer: int, size: int, alternatives: list[tuple[int, int, int]]) -> None:
        first, second = alternatives[0], alternatives[-1]
        self.rows.append((EVENTS.index(kind), consumer, producer, size, *first, *second))

    def between(self) -> set[tuple[int, int]]:
        """Adds the copies between configurable nodes; returns the (node, slot) whose operand such a node computes."""
        tensors, sides = self.tensors, self.sides
        fed: set[tuple[int, int]] = set()
        adjacent: set[tuple[int, int]] = set()
        for consumer, slot in self.operands():
            producer = self.place.get(int(tensors.source[consumer, slot]))
            if producer is None:
                continue
            side = sides.known(tensors.shape(consumer, slot))
            self.add("direct", consumer, producer, tensors.bytes[consumer, slot], [(slot, side, side)])
            fed.add((consumer, slot))
            adjacent.add((consumer, producer))
        for consumer, producer in self.graph.contracted:
            if (int(consumer), int(producer)) not in adjacent:
                fed |= self.indirect(int(consumer), int(producer))
        return fed

    def operands(self):
        """(node, slot) of every input and kernel that has a tensor."""
        return (map(int, pair + (0, 1)) for pair in np.argwhere(self.tensors.source[:, 1:] >= 0))

    def indirect(self, consumer: int, producer: int) -> set[tuple[int, int]]:
        """Adds the copy at the end of a path. Nothing tells the operand it arrives at: the slots of the producer's
        shape, failing these of its rank; where both fit there is a copy only if both would need one."""
        tensors, sides = self.tensors, self.sides
        made = tensors.shape(producer, 0)
        opcodes = self.graph.node_opcode
        slots = [
            slot
            for slot in (1, 2)
            if (source := tensors.source[consumer, slot]) >= 0
            and opcodes[source] not in LEAVES
            and int(source) not in self.place
        ]
        fitting = [slot for slot in slots if tensors.shape(consumer, slot) == made]
        fitting = fitting or [slot for slot in slots if len(tensors.shape(consumer, slot)) == len(made)]
        if not fitting or not made:
            return set()
        alternatives = []
        for slot in fitting:
            common = tuple(1 if 1 in pair else 2 for pair in zip(tensors.shape(consumer, slot), made, strict=True))
            alternatives.append((slot, sides.known(common), sides.known(common)))
        size = min(tensors.bytes[consumer, slot] for slot in fitting)
        self.add("indirect", consumer, producer, size, alternatives)
        return {(consumer, slot) for slot in fitting}

    def fixed(self, fed: set[tuple[int, int]]) -> None:
        tensors, sides = self.tensors, self.sides
        for node, slot in self.operands():
            if (node, slot) not in fed:
                of = tensors.shape(node, slot)
                self.add("fixed", node, node, tensors.bytes[node, slot], [(slot, sides.known(of), sides.fixed(of))])

    def inside(self) -> None:
        """Adds the copies that a node's own input and output layouts force on it."""
        tensors, sides = self.tensors, self.sides
        for node in np.flatnonzero(tensors.source[:, 1] >= 0).tolist():
            made, given = tensors.shape(node, 0), tensors.shape(node, 1)
            side = from_side = None
            opcode = int(tensors.opcode[node])
            if opcode == TRANSPOSE:
                side, from_side = self.transpose(node, made, given)
            elif opcode == RESHAPE:
                side, from_side = self.reshape(made, given)
            elif opcode == REDUCE:
                gone = axes(self.graph.node_feat, tensors.source[node, 0], len(given) - len(made))
                side = sides.add(("reduce", given, gone), lambda lay, s=given, g=gone: orders.reduced(lay, s, g))
                from_side = sides.known(made)
            if side is not None:
                kind = {TRANSPOSE: "transpose", RESHAPE: "reshape", REDUCE: "reduce"}[opcode]
                self.add(kind, node, node, tensors.bytes[node, 1], [(1, side, from_side)])

    def transpose(self, node: int, made: Order, given: Order) -> tuple[int | None, int | None]:
        permutation = axes(self.graph.node_feat, self.tensors.source[node, 0], len(made))
        if len(made) != len(given) or sorted(permutation) != list(range(len(made))):
            return None, None
        key = ("transpose", made, permutation)
        wanted = self.sides.add(key, lambda layout: orders.transposed(layout, made, permutation))
        return self.sides.known(given), wanted

    def reshape(self, made: Order, given: Order) -> tuple[int | None, int | None]:
        runs = orders.groups(made, given)
        if not made or not given or runs is None:
            return None, None
        out = self.sides.add(("made", made, given), lambda lay: orders.collapsed(lay, made, runs[0], "output"))
        into = self.sides.add(("given", made, given), lambda lay: orders.collapsed(lay, given, runs[1], "input"))
        return into, out


def events(graph, tensors: Tensors, sides: Sides) -> Events:
    """Every possible copy of a packed layout graph; adds the sides it needs to `sides`."""
    collector = _Collector(graph, tensors, sides)
    fed = collector.between()
    collector.fixed(fed)
    collector.inside()
    columns = np.array(collector.rows, np.int64).reshape(-1, 10).T
    kind, consumer, producer, size, slot, side, from_side, slot2, side2, from_side2 = columns
    return Events(kind, consumer, producer, size, slot, side, from_side, slot2, side2, from_side2)


def happening(event: Events, ids: np.ndarray, table: np.ndarray, differs: np.ndarray) -> np.ndarray:
    """Which copies happen, (c, e) uint8: 0 or `orders.ANYWHERE`, with `orders.MINOR` if the minor one moves.

    ids: (c, nc, 3) int number of each slot's layout; table: `Sides.table`; differs: `orders.differ` of its orders.
    """
    made = ids[:, event.producer, 0]
    happens = differs[table[event.side, ids[:, event.consumer, event.slot]], table[event.from_side, made]]
    second = np.flatnonzero(event.slot2 != event.slot)
    if len(second):
        wanted = table[event.side2[second], ids[:, event.consumer[second], event.slot2[second]]]
        happens[:, second] &= differs[wanted, table[event.from_side2[second], made[:, second]]]
    return happens


def happening_at(
    event: Events, which: np.ndarray, asked: np.ndarray, made: np.ndarray, table: np.ndarray, differs: np.ndarray
) -> np.ndarray:
    """The same, (q,) uint8, of the copies `which` (q,) where the consumer's slots have the layouts `asked` (q, 3) and
    the producer's output has `made` (q,)."""
    row = np.arange(len(which))
    first = differs[table[event.side[which], asked[row, event.slot[which]]], table[event.from_side[which], made]]
    other = differs[table[event.side2[which], asked[row, event.slot2[which]]], table[event.from_side2[which], made]]
    return first & other  # without an alternative the second columns repeat the first
