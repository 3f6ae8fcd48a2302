"""Where a layout configuration can make the compiler copy a tensor into another order: relayout copies.

Each possible copy has two sides, the order in which the consumer wants a tensor and the order in which the producer
makes it. The copy happens in the configurations where the known parts of the two orders differ. An order depends on the
configuration only through one node's layout triple, so each side is a table over the graph's distinct layouts.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from stages.graphs.dataset import PackedGraph
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
COPY_KINDS = ("direct", "indirect", "fixed", "transpose", "reshape", "reduce")
_INSIDE = {TRANSPOSE: "transpose", RESHAPE: "reshape", REDUCE: "reduce"}


@dataclass(frozen=True, eq=False)
class SlotTensors:
    """The tensors of the slots of nc configurable nodes: output, input, kernel.

    Attributes:
        source: (nc, 3) int64 node of the tensor in the graph, -1 where the slot has none.
        dims: (nc, 3, 6) int64 dimensions, 0 beyond the rank.
        elements: (nc, 3) int64, 0 where the slot has none.
        bytes: (nc, 3) int64, 0 where the slot has none.
        opcode: (nc,) int64 of the nodes.
    """

    source: np.ndarray
    dims: np.ndarray
    elements: np.ndarray
    bytes: np.ndarray
    opcode: np.ndarray

    def shape(self, node: int, slot: int) -> Order:
        """Dimensions of one tensor, without the padding."""
        return shape(self.dims[node, slot])


def slot_tensors(graph: PackedGraph) -> SlotTensors:
    """Tensors of the slots of a packed layout graph; the operands come from `config_operands`."""
    source = np.concatenate([graph.config_nodes[:, None], graph.config_operands], axis=1).astype(np.int64)
    exists = source >= 0
    node = np.where(exists, source, 0)
    dims = dimensions(graph.node_feat)[node] * exists[..., None]
    count = elements(dims) * exists
    opcode = np.asarray(graph.node_opcode)[graph.config_nodes].astype(np.int64)
    return SlotTensors(source, dims, count, count * element_bytes(graph.node_feat)[node], opcode)


class Sides:
    """Sides of possible copies: of each the number of its order, by layout.

    Attributes:
        layouts: l distinct layouts, each without its padding.
        orders: the number of each order.
    """

    def __init__(self, layouts: np.ndarray):
        """Begins without a side.

        Args:
            layouts: (l, 6) int8 distinct layouts.
        """
        self.layouts = [tuple(int(axis) for axis in row if axis >= 0) for row in layouts]
        self.orders: dict[Order, int] = {}
        self._rows: dict[tuple, int] = {}
        self._table: list[list[int]] = []

    def add(self, key: tuple, order: Callable[[Order], Order]) -> int:
        """Row of the side that is `order` of the layout; equal keys share a row."""
        if key not in self._rows:
            self._rows[key] = len(self._table)
            self._table.append([self.orders.setdefault(order(layout), len(self.orders)) for layout in self.layouts])
        return self._rows[key]

    def known(self, shape: Order) -> int:
        """Row of the side that has the layout's known dimensions as they are."""
        ones = tuple(size == 1 for size in shape)
        return self.add(("known", ones), lambda layout: orders.known(layout, shape))

    def fixed(self, shape: Order) -> int:
        """Row of the side that is row-major whatever the layout."""
        order = orders.row_major(shape)
        return self.add(("fixed", order), lambda layout: order)

    @property
    def table(self) -> np.ndarray:
        """(s, l) int32 numbers into `orders`: a row for each side, a column for each layout."""
        return np.array(self._table, np.int32).reshape(len(self._table), len(self.layouts))


@dataclass(frozen=True, eq=False)
class Arrivals:
    """Where e possible copies arrive.

    Attributes:
        slot: (e,) slot of the consumer.
        wanted: (e,) row of `Sides` that is the consumer's order, of the layout at this slot.
        made: (e,) row of `Sides` that is the producer's order, of the layout of its output.
    """

    slot: np.ndarray
    wanted: np.ndarray
    made: np.ndarray


@dataclass(frozen=True, eq=False)
class PossibleCopies:
    """The e possible copies of a graph.

    Attributes:
        kind: (e,) index into COPY_KINDS.
        consumer: (e,) configurable node.
        producer: (e,) configurable node; the consumer itself for a copy inside it or of a fixed operand.
        bytes: (e,) of the tensor.
        arrival: of each copy.
        alternative: where else a copy may arrive: it happens only if both orders differ. The same as `arrival` where
            there is no alternative.
    """

    kind: np.ndarray
    consumer: np.ndarray
    producer: np.ndarray
    bytes: np.ndarray
    arrival: Arrivals
    alternative: Arrivals


@dataclass(frozen=True)
class _Arrival:
    """One row of `Arrivals`."""

    slot: int
    wanted: int
    made: int


@dataclass(frozen=True)
class _PossibleCopy:
    """One row of `PossibleCopies`."""

    kind: str
    consumer: int
    producer: int
    bytes: int
    arrival: _Arrival
    alternative: _Arrival


class _Collector:
    """Finds the possible copies of a graph."""

    def __init__(self, graph: PackedGraph, tensors: SlotTensors, sides: Sides):
        self.graph, self.tensors, self.sides = graph, tensors, sides
        self.configurable = {int(node): number for number, node in enumerate(graph.config_nodes)}
        self.copies: list[_PossibleCopy] = []

    def add(self, kind: str, consumer: int, producer: int, size: int, arrivals: list[_Arrival]) -> None:
        self.copies.append(_PossibleCopy(kind, consumer, producer, size, arrivals[0], arrivals[-1]))

    def between(self) -> set[tuple[int, int]]:
        """Adds the copies between configurable nodes; returns the (node, slot) whose operand such a node computes."""
        tensors, sides = self.tensors, self.sides
        computed: set[tuple[int, int]] = set()
        adjacent: set[tuple[int, int]] = set()
        for consumer, slot in self.operands():
            producer = self.configurable.get(int(tensors.source[consumer, slot]))
            if producer is None:
                continue
            side = sides.known(tensors.shape(consumer, slot))
            self.add("direct", consumer, producer, tensors.bytes[consumer, slot], [_Arrival(slot, side, side)])
            computed.add((consumer, slot))
            adjacent.add((consumer, producer))
        for consumer, producer in self.graph.contracted:
            if (int(consumer), int(producer)) not in adjacent:
                computed |= self.indirect(int(consumer), int(producer))
        return computed

    def operands(self) -> Iterator[tuple[int, int]]:
        """(node, slot) of every input and kernel that has a tensor."""
        exists = self.tensors.source[:, 1:] >= 0
        return ((int(node), int(operand) + 1) for node, operand in np.argwhere(exists))

    def indirect(self, consumer: int, producer: int) -> set[tuple[int, int]]:
        """Adds the copy at the end of a path of other nodes.

        Nothing tells the operand it arrives at: it is taken to be one of the producer's shape or, where there is none,
        of its rank. Where both operands fit, there is a copy only if both would need one.

        Returns:
            The (node, slot) it may arrive at.
        """
        tensors, sides = self.tensors, self.sides
        produced = tensors.shape(producer, 0)
        slots = [slot for slot in (1, 2) if self.computed_elsewhere(int(tensors.source[consumer, slot]))]
        fitting = [slot for slot in slots if tensors.shape(consumer, slot) == produced]
        fitting = fitting or [slot for slot in slots if len(tensors.shape(consumer, slot)) == len(produced)]
        if not fitting or not produced:
            return set()
        arrivals = []
        for slot in fitting:
            common = tuple(1 if 1 in pair else 2 for pair in zip(tensors.shape(consumer, slot), produced, strict=True))
            arrivals.append(_Arrival(slot, sides.known(common), sides.known(common)))
        size = min(tensors.bytes[consumer, slot] for slot in fitting)
        self.add("indirect", consumer, producer, size, arrivals)
        return {(consumer, slot) for slot in fitting}

    def computed_elsewhere(self, source: int) -> bool:
        """Whether a node is there, computes something and is not configurable."""
        return source >= 0 and self.graph.node_opcode[source] not in LEAVES and source not in self.configurable

    def fixed(self, computed: set[tuple[int, int]]) -> None:
        """Adds the copies of operands that are not `computed` by a configurable node."""
        tensors, sides = self.tensors, self.sides
        for node, slot in self.operands():
            if (node, slot) not in computed:
                operand = tensors.shape(node, slot)
                arrival = _Arrival(slot, sides.known(operand), sides.fixed(operand))
                self.add("fixed", node, node, tensors.bytes[node, slot], [arrival])

    def inside(self) -> None:
        """Adds the copies that a node's own input and output layouts force on it."""
        tensors = self.tensors
        for node in np.flatnonzero(tensors.source[:, 1] >= 0).tolist():
            opcode = int(tensors.opcode[node])
            if opcode in _INSIDE:
                arrival = self.inner_sides(node, opcode, tensors.shape(node, 0), tensors.shape(node, 1))
                if arrival is not None:
                    self.add(_INSIDE[opcode], node, node, tensors.bytes[node, 1], [arrival])

    def inner_sides(self, node: int, opcode: int, output: Order, operand: Order) -> _Arrival | None:
        """The sides of the copy inside a node of such shapes; None where nothing can be said."""
        if opcode == TRANSPOSE:
            return self.transpose(node, output, operand)
        if opcode == RESHAPE:
            return self.reshape(output, operand)
        return self.reduce(node, output, operand)

    def transpose(self, node: int, output: Order, operand: Order) -> _Arrival | None:
        permutation = axes(self.graph.node_feat, self.tensors.source[node, 0], len(output))
        if len(output) != len(operand) or sorted(permutation) != list(range(len(output))):
            return None
        key = ("transpose", output, permutation)
        view = self.sides.add(key, lambda layout: orders.transposed(layout, output, permutation))
        return _Arrival(1, self.sides.known(operand), view)

    def reshape(self, output: Order, operand: Order) -> _Arrival | None:
        runs = orders.groups(output, operand)
        if not output or not operand or runs is None:
            return None
        of_output, of_operand = runs
        made = self.sides.add(
            ("output", output, operand), lambda layout: orders.collapsed(layout, output, of_output, "output")
        )
        wanted = self.sides.add(
            ("operand", output, operand), lambda layout: orders.collapsed(layout, operand, of_operand, "input")
        )
        return _Arrival(1, wanted, made)

    def reduce(self, node: int, output: Order, operand: Order) -> _Arrival:
        summed = axes(self.graph.node_feat, self.tensors.source[node, 0], len(operand) - len(output))
        wanted = self.sides.add(("reduce", operand, summed), lambda layout: orders.reduced(layout, operand, summed))
        return _Arrival(1, wanted, self.sides.known(output))


def possible_copies(graph: PackedGraph, tensors: SlotTensors, sides: Sides) -> PossibleCopies:
    """Every possible copy of a packed layout graph; adds the sides it needs to `sides`."""
    collector = _Collector(graph, tensors, sides)
    computed = collector.between()
    collector.fixed(computed)
    collector.inside()
    copies = collector.copies
    return PossibleCopies(
        kind=np.array([COPY_KINDS.index(copy.kind) for copy in copies], np.int64),
        consumer=np.array([copy.consumer for copy in copies], np.int64),
        producer=np.array([copy.producer for copy in copies], np.int64),
        bytes=np.array([copy.bytes for copy in copies], np.int64),
        arrival=_arrivals([copy.arrival for copy in copies]),
        alternative=_arrivals([copy.alternative for copy in copies]),
    )


def _arrivals(rows: list[_Arrival]) -> Arrivals:
    return Arrivals(
        slot=np.array([row.slot for row in rows], np.int64),
        wanted=np.array([row.wanted for row in rows], np.int64),
        made=np.array([row.made for row in rows], np.int64),
    )


def happening(copies: PossibleCopies, ids: np.ndarray, table: np.ndarray, differs: np.ndarray) -> np.ndarray:
    """Which copies happen in configurations.

    Args:
        copies: e possible ones.
        ids: (c, nc, 3) int number of each slot's layout.
        table: `Sides.table`.
        differs: `orders.differ` of its orders.

    Returns:
        (c, e) uint8: 0 or `orders.ANYWHERE`, with `orders.MINOR` if the minor dimension moves.
    """
    made = ids[:, copies.producer, 0]
    first, second = copies.arrival, copies.alternative
    wanted = table[first.wanted, ids[:, copies.consumer, first.slot]]
    happens = differs[wanted, table[first.made, made]]
    choice = np.flatnonzero(second.slot != first.slot)
    if len(choice):
        wanted = table[second.wanted[choice], ids[:, copies.consumer[choice], second.slot[choice]]]
        happens[:, choice] &= differs[wanted, table[second.made[choice], made[:, choice]]]
    return happens


def happening_at(
    copies: PossibleCopies,
    which: np.ndarray,
    asked: np.ndarray,
    made: np.ndarray,
    table: np.ndarray,
    differs: np.ndarray,
) -> np.ndarray:
    """Which copies happen where the nodes at their ends have certain layouts.

    Args:
        copies: the possible ones.
        which: (q,) of them.
        asked: (q, 3) int numbers of the layouts of the consumer's slots.
        made: (q,) int number of the layout of the producer's output.
        table: `Sides.table`.
        differs: `orders.differ` of its orders.

    Returns:
        (q,) uint8, as `happening`.
    """
    row = np.arange(len(which))

    def differing(arrivals: Arrivals) -> np.ndarray:
        wanted = table[arrivals.wanted[which], asked[row, arrivals.slot[which]]]
        return differs[wanted, table[arrivals.made[which], made]]

    return differing(copies.arrival) & differing(copies.alternative)  # the same where there is no alternative
