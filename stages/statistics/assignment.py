"""XLA's layout assignment, replayed: which layout each tensor of a program gets when a configuration forces some.

A layout spreads from where it is forced to every tensor that must agree with it, depth first, until it meets another;
there the compiler copies. Forced layouts come first, then what dots and convolutions ask for, then parameters and
results, which are row-major; what is left is row-major too.

Source: `LayoutAssignment` in `layout_assignment.cc` of openxla/xla. Not replayed: loops, calls and conditionals, whose
computations are assigned apart, and what libtpu does beyond `assignment_wishes`.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit

from stages.statistics.assignment_program import KINDS, Program
from stages.statistics.hardware import LANES, SUBLANES

#: bytes from which on a copy counts as large
LARGE = 1_000_000
#: what `sums` counts, in its order: bytes by kind of instruction, all tensors, copies
COUNTS = (*(f"bytes_{kind}" for kind in KINDS), "bytes", "copies", "large_copies", "copy_bytes", "turned_bytes")
_TOTAL, _COPIES, _LARGE, _COPY_BYTES, _TURNED = range(len(KINDS), len(COUNTS))
_ROW_MAJOR = 0  # the number of its layout


class _State(NamedTuple):
    """Layouts so far, and whose neighbours are still to hear of them.

    Attributes:
        tensor: (N,) int64 number of a tensor's layout, -1 for none yet.
        operand: (M,) int64 number of an operand's layout as its consumer reads it, -1 for any.
        fixed: (N,) bool; the tensor's layout stays.
        demanded: (M,) bool; the operand's layout stays.
        stack: (room,) int64; who comes next, last in first out: i for a tensor, -1 - e for an operand.
        queue: (room,) int64; who comes when the stack is empty, first in first out.
        ends: (3,) int64; how many are on the stack, and where the queue begins and ends.
    """

    tensor: np.ndarray
    operand: np.ndarray
    fixed: np.ndarray
    demanded: np.ndarray
    stack: np.ndarray
    queue: np.ndarray
    ends: np.ndarray


def layouts(program: Program, forced: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Assigns layouts.

    Args:
        program: Of N tensors and M operands.
        forced: (N,) int64 number of the layout of each slot's tensor that a configuration forces, else -1.

    Returns:
        (N,) number of each tensor's layout, and (M,) of each operand's as its consumer reads it; -1 where there is
        none, as the tensor has fewer than two dimensions or the consumer takes any layout. Where the two differ
        is a copy.
    """
    state = _state(program)
    _assign(program, state, forced.astype(np.int64))
    return state.tensor, state.operand


def sums(program: Program, forced: np.ndarray) -> np.ndarray:
    """What configurations make of a program's tensors.

    Args:
        program: Of N tensors.
        forced: (c, N) int64 as in `layouts`.

    Returns:
        (c, k) float64, a column for each of `COUNTS`. Bytes are those of tiled memory, padding included; those of
        copies are read and written. `turned_bytes` are of copies that change the minor dimension.
    """
    values = np.zeros((len(forced), len(COUNTS)))
    _add_sums(program, _state(program), np.ascontiguousarray(forced, np.int64), values)
    return values


def _state(program: Program) -> _State:
    tensors, operands = len(program.rank), len(program.producer)
    # A tensor's layout changes at most twice, and each time asks its operands; uses and siblings are asked once.
    room = 4 * (tensors + operands) + 64
    return _State(
        tensor=np.full(tensors, -1, np.int64),
        operand=np.full(operands, -1, np.int64),
        fixed=np.zeros(tensors, np.bool_),
        demanded=np.zeros(operands, np.bool_),
        stack=np.zeros(room, np.int64),
        queue=np.zeros(room, np.int64),
        ends=np.zeros(3, np.int64),
    )


# Arrays are taken out of the tuples once in a function that loops: each access to a field costs two atomic operations.


@njit(cache=True)
def _note(stack, queue, ends, item, first):
    """Puts a tensor or an operand before all that wait, or behind them."""
    if first:
        stack[ends[0]] = item
        ends[0] += 1
    else:
        queue[ends[2]] = item
        ends[2] += 1


@njit(cache=True)
def _set_tensor(tensor, fixed, i, order, stays):
    """Gives a tensor a layout unless another stays; whether its neighbours are to hear of it."""
    if tensor[i] >= 0 and not stays:
        return False
    same = tensor[i] == order
    tensor[i] = order
    fixed[i] = stays
    return not same


@njit(cache=True)
def _set_operand(operand, demanded, e, order, stays):
    """The same of an operand as its consumer reads it."""
    if operand[e] == order or (operand[e] >= 0 and demanded[e] and not stays):
        return False
    operand[e] = order
    demanded[e] = stays
    return True


@njit(cache=True)
def _spread(program, state):
    """Passes layouts on until nobody waits."""
    tensor, operand, fixed, demanded = state.tensor, state.operand, state.fixed, state.demanded
    stack, queue, ends = state.stack, state.queue, state.ends
    rank, agrees, eager, tables = program.rank, program.agrees, program.eager, program.tables
    start, producer, consumer = program.start, program.producer, program.consumer
    use_start, use = program.use_start, program.use
    forward, backward, binding, leads = program.forward, program.backward, program.binding, program.leads
    while ends[0] > 0 or ends[1] < ends[2]:
        if ends[0] > 0:
            ends[0] -= 1
            item = stack[ends[0]]
        else:
            item = queue[ends[1]]
            ends[1] += 1
            if ends[1] == ends[2]:
                ends[1] = ends[2] = 0
        if item >= 0:  # a tensor: to its operands and its uses
            order = tensor[item]
            for e in range(start[item], start[item + 1]):
                made = producer[e]
                if rank[made] < 2:
                    continue
                if agrees[item]:
                    if rank[made] == rank[item] and _set_operand(operand, demanded, e, order, True):
                        _note(stack, queue, ends, -1 - e, True)
                elif backward[e] >= 0:
                    wanted = tables[backward[e], order]
                    one_way = forward[e] < 0  # a broadcast's operand has no choice
                    if wanted >= 0 and _set_operand(operand, demanded, e, wanted, one_way):
                        _note(stack, queue, ends, -1 - e, eager[item])
            for place in range(use_start[item], use_start[item + 1]):
                e = use[place]
                if operand[e] < 0:
                    operand[e] = order
                    demanded[e] = False
                    _note(stack, queue, ends, -1 - e, True)
            continue
        e = -1 - item  # an operand: to its producer, its siblings and its consumer
        order, made, user = operand[e], producer[e], consumer[e]
        if rank[made] < 2:
            continue
        if tensor[made] < 0:
            tensor[made] = order
            fixed[made] = True
            _note(stack, queue, ends, made, True)
        if not agrees[user]:
            if forward[e] >= 0 and rank[user] > 1 and (tensor[user] < 0 or not fixed[user]):
                wanted = tables[forward[e], order]
                if wanted >= 0 and _set_tensor(tensor, fixed, user, wanted, binding[e]):
                    _note(stack, queue, ends, user, eager[user])
            continue
        if not leads[e]:
            continue
        for sibling in range(start[user], start[user + 1]):
            other = producer[sibling]
            if other != made and rank[other] == rank[made] and operand[sibling] < 0:
                operand[sibling] = order
                demanded[sibling] = False
                _note(stack, queue, ends, -1 - sibling, True)
        if rank[user] == rank[made] and _set_tensor(tensor, fixed, user, order, False):
            _note(stack, queue, ends, user, False)


@njit(cache=True)
def _assign(program, state, forced):
    tensor, operand, fixed, demanded = state.tensor, state.operand, state.fixed, state.demanded
    stack, queue, ends, rank = state.stack, state.queue, state.ends, program.rank
    parameters, results, dots = program.parameters, program.results, program.dots
    convolutions, start = program.convolutions, program.start
    tensor[:] = -1
    operand[:] = -1
    fixed[:] = False
    demanded[:] = False
    # All that is certain stands before anything spreads, and then spreads in its turn.
    for i in parameters:
        if rank[i] > 1:
            _set_tensor(tensor, fixed, i, _ROW_MAJOR, True)
    for i in range(len(forced)):
        if forced[i] >= 0:
            _set_tensor(tensor, fixed, i, forced[i], True)
            _set_operand(operand, demanded, start[i], forced[i], True)
    from_result = np.zeros(len(results), np.bool_)
    for place, i in enumerate(results):
        if rank[i] > 1 and tensor[i] < 0:
            from_result[place] = _set_tensor(tensor, fixed, i, _ROW_MAJOR, True)
    from_dot = np.zeros(len(dots), np.bool_)
    for place in range(len(dots)):
        e, i, order = dots[place]
        if e < 0:
            from_dot[place] = _set_tensor(tensor, fixed, i, order, True)
        else:
            from_dot[place] = _set_operand(operand, demanded, e, order, True)
    for i in range(len(forced)):
        if forced[i] >= 0:
            _note(stack, queue, ends, i, True)
            _note(stack, queue, ends, -1 - start[i], True)
    _spread(program, state)
    for place in range(len(dots)):
        if from_dot[place]:
            e, i, _ = dots[place]
            _note(stack, queue, ends, i if e < 0 else -1 - e, True)
    _spread(program, state)
    for place in range(len(convolutions)):  # they take the layout they get
        e, i, order = convolutions[place]
        if e < 0:
            if tensor[i] < 0 and _set_tensor(tensor, fixed, i, order, False):
                _note(stack, queue, ends, i, True)
        elif operand[e] < 0 and _set_operand(operand, demanded, e, order, False):
            _note(stack, queue, ends, -1 - e, True)
        _spread(program, state)
    for i in parameters:
        if rank[i] > 1:
            _note(stack, queue, ends, i, True)
    _spread(program, state)
    for place, i in enumerate(results):
        if from_result[place]:
            _note(stack, queue, ends, i, True)
    _spread(program, state)
    for i in range(len(rank)):
        if rank[i] > 1 and tensor[i] < 0 and _set_tensor(tensor, fixed, i, _ROW_MAJOR, False):
            _note(stack, queue, ends, i, True)
            _spread(program, state)


@njit(cache=True)
def _padded_bytes(dims, orders, size, rank, order):
    """Bytes of a tensor in tiled memory: dims (6,), orders (720, 6) of its rank, bytes of an element."""
    total = size
    for axis in range(rank):
        extent = dims[axis]
        if axis == orders[max(order, 0), 0]:
            extent = -(-extent // LANES) * LANES
        elif rank > 1 and axis == orders[max(order, 0), 1]:
            extent = -(-extent // SUBLANES) * SUBLANES
        total *= extent
    return total


@njit(cache=True)
def _add_sums(program, state, forced, values):
    tensor, operand, rank, kind = state.tensor, state.operand, program.rank, program.kind
    dims, size, perms, producer = program.dims, program.bytes, program.perms, program.producer
    for row in range(len(forced)):
        _assign(program, state, forced[row])
        for i in range(len(rank)):
            if kind[i] >= 0:
                held = _padded_bytes(dims[i], perms[rank[i]], size[i], rank[i], tensor[i])
                values[row, kind[i]] += held
                values[row, _TOTAL] += held
        for e in range(len(producer)):
            made, order = producer[e], operand[e]
            if order < 0 or rank[made] < 2 or order == tensor[made]:
                continue
            orders = perms[rank[made]]
            moved = _padded_bytes(dims[made], orders, size[made], rank[made], tensor[made])
            moved += _padded_bytes(dims[made], orders, size[made], rank[made], order)
            values[row, _COPIES] += 1
            values[row, _LARGE] += moved > LARGE
            values[row, _COPY_BYTES] += moved
            if orders[tensor[made], 0] != orders[order, 0]:
                values[row, _TURNED] += moved
