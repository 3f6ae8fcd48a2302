"""A program as layout assignment sees it: which tensors must agree, and what a layout becomes on its way past an
instruction.

Source: XLA's `layout_assignment.cc` (openxla/xla), whose rules the tables here restate, and what libtpu makes of
convolutions and dots, read off modules after its layout assignment.
"""

from __future__ import annotations

import math
from itertools import permutations
from typing import NamedTuple

import numpy as np

from stages.graphs.dataset import PackedGraph
from stages.graphs.opcodes import CONVOLUTION, DOT, OPCODE_NAMES, PARAMETER
from stages.graphs.tensors import shape
from stages.graphs.whole_program import AXES, BYTES, IS_ROOT, OPCODE, ROLES, SHAPE
from stages.statistics.assignment_tables import Tables, by_number, numbers, passes
from stages.statistics.assignment_wishes import convolution_layouts, dot_layouts
from stages.statistics.orders import Order

#: opcodes whose operands and result need not agree
_FREE = set(
    """batch-norm-grad batch-norm-inference batch-norm-training bitcast broadcast call constant convolution copy
    custom-call domain dot fusion gather get-tuple-element infeed iota outfeed parameter reduce reshape rng
    rng-bit-generator scatter send recv transpose while conditional tuple fft triangular-solve cholesky copy-start
    copy-done after-all rng-get-and-update-state""".split()
)
#: opcodes that pass a layout on before others do
_EAGER = {"transpose", "gather", "scatter"}
#: what bytes are counted by: opcodes, and the rest as elementwise
KINDS = ("convolution", "dot", "reshape", "transpose", "reduce", "broadcast", "moving", "elementwise")
_MOVING = set("concatenate slice pad gather scatter reduce-window dynamic-slice dynamic-update-slice".split())


class Program(NamedTuple):
    """N tensors and M operands of them. Beside each node's result there is a tensor for each slot of a configuration.

    A slot's tensor stands between the node and its operand, or between the node and its consumers; a configuration
    forces a layout on it, or it agrees with its neighbours. Tensors are numbered in the program's order.

    Attributes:
        rank: (N,) int64.
        dims: (N, 6) int64, 0 beyond the rank.
        bytes: (N,) int64 of an element.
        kind: (N,) int64 into `KINDS`; -1 of a slot's tensor and of what is never written.
        agrees: (N,) bool; its operands and its result must have one layout.
        eager: (N,) bool; it passes a layout on before others do.
        start: (N + 1,) int64; tensor i has the operands start[i] to start[i + 1].
        producer, consumer: (M,) int64 tensors of an operand.
        use_start: (N + 1,) int64, and use (M,) int64: the operands that are tensor i, use[use_start[i]:…].
        forward, backward: (M,) int64 row of `tables` by which an operand's layout becomes its consumer's, and the
            other way round; -1 where it does not.
        binding: (M,) bool; the consumer must take the layout that `forward` gives.
        leads: (M,) bool; the operand's layout passes to a consumer that agrees: of a concatenation the largest does.
        tables: (t, 720) int16 numbers of layouts, -1 where there is none.
        parameters, results: (p,), (r,) int64 tensors that are row-major.
        dots: (d, 3) int64 operand, or -1, tensor and layout that a dot asks for.
        convolutions: (v, 3) int64, likewise, where nothing else was asked.
        slots: (nc, 3) int64 tensor of each slot, -1 for none.
        perms: (7, 720, 6) int64 the layouts of each rank.
    """

    rank: np.ndarray
    dims: np.ndarray
    bytes: np.ndarray
    kind: np.ndarray
    agrees: np.ndarray
    eager: np.ndarray
    start: np.ndarray
    producer: np.ndarray
    consumer: np.ndarray
    use_start: np.ndarray
    use: np.ndarray
    forward: np.ndarray
    backward: np.ndarray
    binding: np.ndarray
    leads: np.ndarray
    tables: np.ndarray
    parameters: np.ndarray
    results: np.ndarray
    dots: np.ndarray
    convolutions: np.ndarray
    slots: np.ndarray
    perms: np.ndarray


def program(graph: PackedGraph) -> Program:
    """The tensors of a packed layout graph's whole program, with what each instruction does to layouts."""
    nodes = graph.whole_nodes
    shapes = [shape(row) for row in nodes[:, SHAPE]]
    names = [OPCODE_NAMES.get(int(opcode), "") for opcode in nodes[:, OPCODE]]
    operands = _operands(graph)
    place, result, slots, source, of_slot = _places(len(shapes), graph.whole_slots)
    lists = _lists(graph, operands, place, result, slots, len(source))
    starts = np.cumsum([0, *map(len, lists)])
    producer = np.array([one for each in lists for one in each], np.int64)
    consumer = np.repeat(np.arange(len(lists)), np.diff(starts))
    use = np.argsort(producer, kind="stable")
    forward, backward, tables = _passing(nodes, names, shapes, source, of_slot, producer, consumer)
    entry_root = [node for node in range(len(names)) if nodes[node, IS_ROOT] and names[node] == "tuple"]
    wanted_dots, wanted_convolutions = _wanted(nodes, shapes, operands, place, lists, source)
    names_of, virtual = [names[node] for node in source], of_slot.tolist()
    return Program(
        rank=np.array([len(shapes[node]) for node in source], np.int64),
        dims=nodes[source][:, SHAPE].astype(np.int64),
        bytes=nodes[source, BYTES].astype(np.int64),
        kind=np.array([-1 if made else _kind(name) for name, made in zip(names_of, virtual, strict=True)]),
        agrees=np.array([made or name not in _FREE for name, made in zip(names_of, virtual, strict=True)], bool),
        eager=np.array(
            [
                not made and _is_eager(names[node], shapes[node], [shapes[one] for one in operands[node]])
                for node, made in zip(source, virtual, strict=True)
            ],
            bool,
        ),
        start=starts.astype(np.int64),
        producer=producer,
        consumer=consumer.astype(np.int64),
        use_start=np.searchsorted(producer[use], np.arange(len(lists) + 1)).astype(np.int64),
        use=use.astype(np.int64),
        forward=forward,
        backward=backward,
        binding=np.array([not virtual[user] and names_of[user] == "reduce" for user in consumer.tolist()], bool),
        leads=_leads(names_of, shapes, source, of_slot, lists, producer, consumer),
        tables=tables,
        parameters=np.array([place[node] for node in np.flatnonzero(nodes[:, OPCODE] == PARAMETER)], np.int64),
        results=np.array([one for node in entry_root for one in lists[place[node]]], np.int64),
        dots=np.array(wanted_dots, np.int64).reshape(-1, 3),
        convolutions=np.array(wanted_convolutions, np.int64).reshape(-1, 3),
        slots=slots,
        perms=by_number(),
    )


def _operands(graph: PackedGraph) -> list[list[int]]:
    """The nodes that each node reads, in order."""
    operands: list[list[int]] = [[] for _ in graph.whole_nodes]
    for consumer, producer in graph.whole_edges.tolist():
        if not graph.whole_nodes[producer, IS_ROOT]:  # nobody consumes a root: its computation is called
            operands[consumer].append(producer)
    return operands


def _lists(
    graph: PackedGraph,
    operands: list[list[int]],
    place: list[int],
    result: list[int],
    slots: np.ndarray,
    count: int,
) -> list[list[int]]:
    """The tensors that each tensor is made of; slots' tensors stand between a node and its operands or consumers.

    A slot of `slots` whose operand has another slot already, as in dot(x, x), becomes -1.
    """
    lists: list[list[int]] = [[] for _ in range(count)]
    for node, producers in enumerate(operands):
        lists[place[node]] = [result[producer] for producer in producers]
        if result[node] != place[node]:
            lists[result[node]] = [place[node]]
    for row, (node, *inputs) in zip(slots, graph.whole_slots.tolist(), strict=True):
        for slot, producer in enumerate(inputs, start=1):
            if producer < 0:
                continue
            if result[producer] in lists[place[node]]:
                position = lists[place[node]].index(result[producer])
                lists[row[slot]], lists[place[node]][position] = [result[producer]], row[slot]
            else:
                row[slot] = -1
    return lists


def _passing(
    nodes: np.ndarray,
    names: list[str],
    shapes: list[Order],
    source: np.ndarray,
    of_slot: np.ndarray,
    producer: np.ndarray,
    consumer: np.ndarray,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Of each operand the rows of the tables by which layouts pass to and from its consumer, and the tables."""
    tables = Tables()
    forward, backward = np.full(len(producer), -1, np.int64), np.full(len(producer), -1, np.int64)
    for operand, (user, made) in enumerate(zip(consumer.tolist(), producer.tolist(), strict=True)):
        if not of_slot[user]:
            node = source[user]
            axes = tuple(nodes[node, AXES].tolist())
            forward[operand], backward[operand] = passes(tables, names[node], shapes[source[made]], shapes[node], axes)
    return forward, backward, tables.array


def _leads(
    names: list[str],
    shapes: list[Order],
    source: np.ndarray,
    of_slot: np.ndarray,
    lists: list[list[int]],
    producer: np.ndarray,
    consumer: np.ndarray,
) -> np.ndarray:
    """(M,) bool: whether an operand's layout passes to its consumer. Of a concatenation only the largest operands' do.

    Args:
        names: Opcode of each tensor's node.
    """
    leads = np.ones(len(producer), bool)
    for operand, (user, made) in enumerate(zip(consumer.tolist(), producer.tolist(), strict=True)):
        if names[user] == "concatenate" and not of_slot[user]:
            largest = max(math.prod(shapes[source[one]]) for one in lists[user])
            leads[operand] = math.prod(shapes[source[made]]) >= largest
    return leads


def _places(count: int, slots: np.ndarray) -> tuple[list[int], list[int], np.ndarray, np.ndarray, np.ndarray]:
    """Numbers the tensors.

    Returns:
        Of each node its own tensor and the one that its consumers see; the tensor of each slot (nc, 3); of each tensor
        the node whose shape it has, and whether it is a slot's.
    """
    row_of = {int(node): row for row, node in enumerate(slots[:, 0])}
    place, result = [0] * count, [0] * count
    made = np.full(slots.shape, -1, np.int64)
    source: list[int] = []
    of_slot: list[bool] = []

    def tensor(node: int, virtual: bool) -> int:
        source.append(node)
        of_slot.append(virtual)
        return len(source) - 1

    for node in range(count):
        row = row_of.get(node)
        if row is not None:
            for slot in (1, 2):
                if slots[row, slot] >= 0:
                    made[row, slot] = tensor(int(slots[row, slot]), True)
        place[node] = result[node] = tensor(node, False)
        if row is not None:
            made[row, 0] = result[node] = tensor(node, True)
    return place, result, made, np.array(source, np.int64), np.array(of_slot, bool)


def _kind(name: str) -> int:
    if name in ("parameter", "constant", "tuple", "get-tuple-element", "bitcast"):
        return -1
    name = "moving" if name in _MOVING else name
    return KINDS.index(name) if name in KINDS else KINDS.index("elementwise")


def _is_eager(name: str, ours: Order, producers: list[Order]) -> bool:
    """Transposes, and reshapes that only add or drop dimensions of size one, have layouts worth passing on first."""
    if name == "reshape" and producers:
        return [size for size in ours if size != 1] == [size for size in producers[0] if size != 1]
    return name in _EAGER


def _wanted(
    nodes: np.ndarray,
    shapes: list[Order],
    operands: list[list[int]],
    place: list[int],
    lists: list[list[int]],
    source: np.ndarray,
) -> tuple[list[list[int]], list[list[int]]]:
    """What dots and convolutions ask for: (operand or -1, tensor, layout) of each."""
    starts = np.cumsum([0, *map(len, lists)]).tolist()
    dots: list[list[int]] = []
    convolutions: list[list[int]] = []
    for node in np.flatnonzero((nodes[:, OPCODE] == DOT) | (nodes[:, OPCODE] == CONVOLUTION)).tolist():
        is_dot = nodes[node, OPCODE] == DOT
        pair = (operands[node] * 2)[:2] if len(operands[node]) == 1 else operands[node][:2]
        if len(pair) < 2:
            continue
        asked = None
        for left, right in permutations(pair) if is_dot else [tuple(pair)]:
            asked = dot_layouts(shapes[node], shapes[left], shapes[right]) if is_dot else None
            if asked is not None:
                break
        if not is_dot:
            asked, (left, right) = convolution_layouts(shapes, node, pair, nodes[node, ROLES].tolist())
        if asked is None:
            continue
        wanted = dots if is_dot else convolutions
        if asked[0] is not None:
            wanted.append([-1, place[node], numbers(len(asked[0]))[asked[0]]])
        free = list(range(len(lists[place[node]])))
        for producer, order in zip((left, right), asked[1:], strict=True):
            position = next((one for one in free if source[lists[place[node]][one]] == producer), None)
            if position is not None:
                free.remove(position)
                if order is not None:
                    tensor = lists[place[node]][position]
                    wanted.append([starts[place[node]] + position, tensor, numbers(len(order))[order]])
    return dots, convolutions
