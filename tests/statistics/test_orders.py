"""Orders in memory against memory itself."""

import itertools
import math
from functools import cache

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from stages.statistics import orders

shapes = st.lists(st.integers(1, 4), min_size=1, max_size=4).map(tuple)


def memory(shape, order):
    """Row-major numbers of a tensor's elements in the order of its memory."""
    return np.arange(np.prod(shape)).reshape(shape).transpose(order[::-1]).ravel()


@given(shapes, st.data())
@settings(deadline=None)
def test_a_transpose_is_a_view_exactly_when_memory_says_so(operand, data):
    axes = range(len(operand))
    permutation, given_, made = (tuple(data.draw(st.permutations(axes))) for _ in range(3))
    result = tuple(operand[axis] for axis in permutation)
    numbers = np.arange(np.prod(operand)).reshape(operand).transpose(permutation)
    view = np.array_equal(memory(operand, given_), numbers.transpose(made[::-1]).ravel())
    pair = [orders.known(given_, operand), orders.transposed(made, result, permutation)]
    assert (orders.differ(pair)[0, 1] == 0) == view


@cache
def factorings(size):
    return [s for n in range(1, 5) for s in itertools.product((1, 2, 3, 4, 6, 8), repeat=n) if math.prod(s) == size]


@given(shapes, st.data())
@settings(deadline=None)
def test_a_reshape_is_a_view_exactly_when_memory_says_so(operand, data):
    size = int(np.prod(operand))
    result = data.draw(st.sampled_from([*factorings(size), operand]))
    given_, made = (tuple(data.draw(st.permutations(range(len(shape))))) for shape in (operand, result))
    view = np.array_equal(memory(operand, given_), memory(result, made))
    runs = orders.groups(result, operand)
    pair = [
        orders.collapsed(made, result, runs[0], "output"),
        orders.collapsed(given_, operand, runs[1], "input"),
    ]
    assert (orders.differ(pair)[0, 1] == 0) == view


def test_shapes_of_different_sizes_have_no_runs():
    assert orders.groups((2, 3), (4,)) is None
    assert orders.groups((6, 4), (2, 3, 4)) == ({0: 0, 1: 1}, {0: 0, 1: 0, 2: 1})
