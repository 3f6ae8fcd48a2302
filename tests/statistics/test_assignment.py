"""Layout assignment replayed: small programs by hand, and a slow replay of a whole program beside the fast one."""

import dataclasses
from collections import deque

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stages.graphs import npz
from stages.graphs.opcodes import OPCODE_NUMBERS
from stages.graphs.whole_program import whole_program
from stages.statistics import assignment, assignment_columns
from stages.statistics.assignment_program import program
from stages.statistics.assignment_tables import factors, numbers, orders, reshaped
from stages.statistics.assignment_wishes import convolution_layouts, dot_layouts, padded
from tests.support.packing import packed as pack
from tests.support.samples import layout_arrays
from tests.support.statistics import features, packed

PLAIN, TURNED = (1, 0), (0, 1)


def made(nodes, edges, configured, slots, layouts):
    """A packed graph of (name, dims, dimensions) nodes; edges: (consumer, producer); slots: of each configured node."""
    numbered = [(OPCODE_NUMBERS[name], dims, axes) for name, dims, axes in nodes]
    graph = packed(numbered, configured, [[-1, -1]] * len(configured), [], layouts)
    arrays = npz.LayoutArrays(
        node_feat=features(numbered),
        node_opcode=np.array([node[0] for node in numbered], np.uint8),
        edge_index=np.array(edges).reshape(-1, 2),
        node_splits=np.array([0, len(nodes)]),
        node_config_feat=graph.layouts(),
        node_config_ids=np.array(configured),
        config_runtime=graph.runtime,
    )
    whole = whole_program(arrays)
    return dataclasses.replace(graph, **whole | {"whole_slots": np.array(slots, np.int32)})


def assigned(graph, row):
    """The layouts of the nodes in a configuration, and the operands that are copied, (consumer, producer) nodes."""
    tensors = program(graph)
    forced = np.full(len(tensors.rank), -1)
    layout_numbers = assignment_columns._layout_numbers(graph, tensors.rank, tensors.slots)
    chosen = layout_numbers[graph.codes[row].astype(int), np.arange(graph.codes.shape[1])]
    forced[tensors.slots[tensors.slots >= 0]] = chosen[tensors.slots >= 0]
    tensor, operand = assignment.layouts(tensors, forced)
    nodes = np.flatnonzero(np.isin(np.arange(len(forced)), tensors.slots, invert=True))
    layouts = [orders(tensors.rank[i])[tensor[i]] if tensor[i] >= 0 else None for i in nodes]
    copied = [
        (int(tensors.consumer[e]), int(tensors.producer[e]))
        for e in range(len(operand))
        if operand[e] >= 0 and tensors.rank[tensors.producer[e]] > 1 and operand[e] != tensor[tensors.producer[e]]
    ]
    return layouts, copied


def test_a_forced_layout_spreads_to_what_must_agree_and_is_copied_where_it_meets_another():
    """parameter -> exponential -> reshape (configured, here a mere renaming of dimensions) -> negate -> result."""
    graph = made(
        [("parameter", (8, 256), ()), ("exponential", (8, 256), ()), ("reshape", (8, 2, 128), ()),
         ("negate", (8, 2, 128), ())],
        [(1, 0), (2, 1), (3, 2)],
        [2],
        [[2, 1, -1]],
        [(((), ()),), (((0, 2, 1), ()),), (((), TURNED),)],
    )  # fmt: skip
    free, copies = assigned(graph, 0)
    assert free == [PLAIN, PLAIN, (2, 1, 0), (2, 1, 0)] and not copies
    output, copies = assigned(graph, 1)
    # The reshape's own result, its forced copy and what consumes it have the forced layout. For (0, 2, 1) it can stay a
    # view of an operand with its first dimension minor: the parameter, which is row-major, is copied at its use.
    assert output == [PLAIN, TURNED, (0, 2, 1), (0, 2, 1)] and len(copies) == 1
    operand, copies = assigned(graph, 2)
    assert operand == [PLAIN, TURNED, (0, 2, 1), (0, 2, 1)] and len(copies) == 1


def test_no_layout_gets_past_a_reshape_that_would_tear_it():
    graph = made(
        [("parameter", (8, 256), ()), ("reshape", (2048,), ()), ("reshape", (16, 128), ()), ("negate", (16, 128), ())],
        [(1, 0), (2, 1), (3, 2)],
        [2],
        [[2, 1, -1]],
        [((TURNED, ()),)],
    )
    assert assigned(graph, 0) == ([PLAIN, None, TURNED, TURNED], [])


def test_a_transpose_a_reduction_and_a_broadcast_pass_layouts_on():
    nodes = [
        ("reshape", (16, 128), ()),
        ("transpose", (128, 16), (1, 0)),
        ("reduce", (128,), (1,)),
        ("broadcast", (4, 128, 16), (1, 2)),
        ("reduce", (4, 16), (1,)),
    ]
    edges = [(1, 0), (2, 1), (3, 1), (4, 3)]
    graph = made(nodes, edges, [0], [[0, -1, -1]], [((TURNED,),)])
    layouts, copies = assigned(graph, 0)
    assert layouts[:2] == [TURNED, PLAIN]  # the transpose is a view of it
    assert layouts[3] == (2, 1, 0) and layouts[4] == PLAIN  # nothing is forced on the broadcast: it is row-major
    assert not copies


def test_a_dot_asks_for_its_layouts_whatever_is_forced():
    shapes = (256, 128), (128, 384), (256, 384)
    nodes = [(name, dims, ()) for name, dims in zip(("parameter", "parameter", "dot"), shapes, strict=True)]
    nodes.append(("negate", shapes[2], ()))
    graph = made(nodes, [(2, 0), (2, 1), (3, 2)], [2], [[2, 0, 1]], [((PLAIN,) * 3,), ((TURNED,) * 3,)])
    own, _ = assigned(graph, 0)
    layouts, copies = assigned(graph, 1)
    assert layouts[2] == own[2] and layouts[3] == TURNED
    assert len(copies) == 5  # parameters into the forced layouts, these into the dot's, and its result out of it


@pytest.mark.parametrize(
    "shapes, layouts",
    [
        (((32, 256, 768), (32, 256, 512), (512, 768)), ((2, 1, 0), (2, 1, 0), (1, 0))),
        # of heads 64 wide the 256 positions are minor
        (((8, 12, 256, 256), (8, 256, 12, 64), (8, 256, 12, 64)), ((3, 2, 1, 0), (1, 3, 2, 0), (1, 3, 2, 0))),
        # the right side has what is contracted minor, so the product is turned
        (((8, 128, 256), (8, 128, 128), (8, 256, 128)), ((1, 2, 0), (2, 1, 0), (2, 1, 0))),
        (((4, 5), (4,), (5,)), ((1, 0), None, None)),
        (((3, 4), (5, 6), (7, 8)), None),
    ],
)
def test_what_a_dot_asks_for(shapes, layouts):
    assert dot_layouts(*shapes) == layouts


def test_what_a_convolution_asks_for():
    shapes = [(3, 3, 16, 32), (2, 14, 14, 16), (2, 14, 14, 32)]
    layouts, pair = convolution_layouts(shapes, 2, [0, 1], [0, 3, 2, 3, 0, 3])
    assert layouts == ((3, 0, 2, 1), (3, 0, 2, 1), (3, 2, 1, 0)) and pair == (1, 0)
    assert convolution_layouts([(3, 3), (2, 14), (2, 14, 14, 32)], 2, [0, 1], [0, 3, 2, 3, 0, 3])[0] is None


def test_padding_is_to_eight_rows_of_128():
    assert padded((3, 5), PLAIN) == 8 * 128 and padded((3, 5), TURNED) == 128 * 8 and padded((130,), (0,)) == 256
    assert padded((2, 9, 200), (2, 1, 0)) == 2 * 16 * 256


@given(st.permutations(range(4)), st.lists(st.sampled_from([1, 2, 3, 4]), min_size=4, max_size=4))
def test_a_reshape_and_its_way_back_give_the_layout_again(order, dims):
    """But for dimensions of size one, which lie anywhere."""
    ones = [dims[0] * dims[1], dims[2], dims[3]]
    there, back = factors(dims, ones), factors(ones, dims)
    turned = reshaped(tuple(order), dims, there, len(ones))
    if turned is not None:
        again = reshaped(turned, ones, back, len(dims))
        assert [axis for axis in again if dims[axis] != 1] == [axis for axis in order if dims[axis] != 1]
    first, second = order.index(0), order.index(1)
    if min(dims) > 1:
        assert (turned is None) == (first != second + 1)  # dimension 1 must come just before 0


def test_layouts_are_numbered_with_row_major_first():
    assert orders(3)[0] == (2, 1, 0) and numbers(3)[(2, 1, 0)] == 0 and len(orders(4)) == 24


def replayed(tensors, forced):
    """`assignment.layouts`, slowly: a worklist of notes as XLA has it."""
    tensor, operand = [-1] * len(tensors.rank), [-1] * len(tensors.producer)
    fixed, demanded = set(), set()
    worklist = deque()

    def set_tensor(i, order, stays, first=True, note=True):
        if tensors.rank[i] < 2 or (tensor[i] >= 0 and not stays):
            return False
        same, tensor[i] = tensor[i] == order, order
        (fixed.add if stays else fixed.discard)(i)
        if not same and note:
            (worklist.appendleft if first else worklist.append)(("tensor", i))
        return not same

    def set_operand(e, order, stays, first=True, note=True):
        if operand[e] == order or (operand[e] >= 0 and e in demanded and not stays):
            return False
        operand[e] = order
        (demanded.add if stays else demanded.discard)(e)
        if note:
            (worklist.appendleft if first else worklist.append)(("operand", e))
        return True

    def spread():
        while worklist:
            what, number = worklist.popleft()
            if what == "tensor":
                i = number
                for e in range(tensors.start[i], tensors.start[i + 1]):
                    p = tensors.producer[e]
                    if tensors.rank[p] < 2:
                        continue
                    if tensors.agrees[i]:
                        if tensors.rank[p] == tensors.rank[i]:
                            set_operand(e, tensor[i], True)
                    elif tensors.backward[e] >= 0 and (order := tensors.tables[tensors.backward[e], tensor[i]]) >= 0:
                        set_operand(e, order, tensors.forward[e] < 0, tensors.eager[i])
                for e in np.flatnonzero(tensors.producer == i):
                    if operand[e] < 0:
                        set_operand(e, tensor[i], False)
                continue
            e, p, u = number, tensors.producer[number], tensors.consumer[number]
            if tensors.rank[p] < 2:
                continue
            if tensor[p] < 0:
                set_tensor(p, operand[e], True)
            if not tensors.agrees[u]:
                if tensors.forward[e] >= 0 and (tensor[u] < 0 or u not in fixed):
                    order = tensors.tables[tensors.forward[e], operand[e]]
                    if order >= 0:
                        set_tensor(u, order, bool(tensors.binding[e]), tensors.eager[u])
            elif tensors.leads[e]:
                for s in range(tensors.start[u], tensors.start[u + 1]):
                    other = tensors.producer[s]
                    if other != p and tensors.rank[other] == tensors.rank[p] and operand[s] < 0:
                        set_operand(s, operand[e], False)
                if tensors.rank[u] == tensors.rank[p]:
                    set_tensor(u, operand[e], False, first=False)

    def note(what, number):
        worklist.appendleft((what, number))

    for i in tensors.parameters:
        set_tensor(i, 0, True, note=False)
    given = np.flatnonzero(forced >= 0)
    for i in given:
        set_tensor(i, forced[i], True, note=False)
        set_operand(tensors.start[i], forced[i], True, note=False)
    results = [i for i in tensors.results if tensor[i] < 0 and set_tensor(i, 0, True, note=False)]
    asked = []
    for e, i, order in tensors.dots:
        if set_tensor(i, order, True, note=False) if e < 0 else set_operand(e, order, True, note=False):
            asked.append(("tensor", i) if e < 0 else ("operand", e))
    for i in given:
        note("tensor", i)
        note("operand", tensors.start[i])
    spread()
    for one in asked:
        note(*one)
    spread()
    for e, i, order in tensors.convolutions:
        if e < 0 and tensor[i] < 0:
            set_tensor(i, order, False)
        elif e >= 0 and operand[e] < 0:
            set_operand(e, order, False)
        spread()
    for i in tensors.parameters:
        if tensors.rank[i] > 1:
            note("tensor", i)
    spread()
    for i in results:
        note("tensor", i)
    spread()
    for i in range(len(tensor)):
        if tensor[i] < 0 and set_tensor(i, 0, False):
            spread()
    return tensor, operand


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10_000), st.integers(7, 40))
def test_the_fast_replay_is_the_slow_one(seed, nodes):
    rng = np.random.default_rng(seed)
    arrays = layout_arrays(nodes=nodes, configurable=5, configurations=3, seed=seed)
    ranks = rng.integers(0, 4, nodes)
    arrays["node_feat"][:, 21:27] = 0
    for row, rank in zip(arrays["node_feat"], ranks, strict=True):
        row[21 : 21 + rank] = rng.choice([1, 2, 4, 130], rank)
        row[31 : 31 + rank] = rng.permutation(rank)
    names = "add add transpose reshape reduce broadcast concatenate dot convolution parameter tuple gather".split()
    arrays["node_opcode"][:] = [OPCODE_NUMBERS[name] for name in rng.choice(names, nodes)]
    graph = pack(arrays)
    tensors = program(graph)
    forced = np.full(len(tensors.rank), -1)
    for i in tensors.slots[(tensors.slots >= 0) & (rng.random(tensors.slots.shape) < 0.5)]:
        if tensors.rank[i] > 1:
            forced[i] = rng.integers(len(orders(int(tensors.rank[i]))))
    tensor, operand = assignment.layouts(tensors, forced)
    assert (tensor.tolist(), operand.tolist()) == tuple(map(list, replayed(tensors, forced)))
    assert (tensor >= 0).tolist() == (tensors.rank > 1).tolist()  # every tensor has a layout in the end


def test_columns_are_differences_to_nothing_forced():
    graph = made(
        [("parameter", (3, 256), ()), ("reshape", (3, 256), ()), ("negate", (3, 256), ()), ("abs", (3, 256), ())],
        [(1, 0), (2, 1), (3, 2)],
        [1],
        [[1, 0, -1]],
        [(((), ()),), ((PLAIN, PLAIN),), ((TURNED, ()),)],
    )
    names = list(assignment_columns.COLUMNS)
    values = dict(zip(names, assignment_columns.assigned(graph, np.arange(3)).T, strict=True))
    for name in names:
        assert values[name][:2].tolist() == [0, 0]
    # Three results of 3 x 256 take 8 x 256 floats; turned they take 128 x 256 (128 lanes for 3, 256 sublanes).
    plain, turned = 8 * 256 * 4, 128 * 256 * 4
    assert values["assigned_elementwise"][2] == 2 * (turned - plain) / (3 * plain)
    assert values["assigned_reshape"][2] == (turned - plain) / (3 * plain)
    assert values["assigned_bytes"][2] == (turned - plain) / plain
    assert values["assigned_copies"][2] == 1 and values["assigned_large_copies"][2] == 0
    assert values["assigned_copy_bytes"][2] == values["assigned_turned_bytes"][2] == (turned + plain) / (3 * plain)
    assert values["assigned_estimate"][2] == values["assigned_bytes"][2] + values["assigned_copy_bytes"][2]
