"""Rows, labels and the judge in small."""

import lightgbm
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stages.gbdt import training_rows


def test_shares_are_highest_for_the_fastest():
    assert training_rows.shares_of_slower(np.array([30.0, 10.0, 20.0])) == pytest.approx([1 / 6, 5 / 6, 1 / 2])
    assert training_rows.shares_of_slower(np.array([5.0, 5.0])) == pytest.approx([0.5, 0.5])


@given(st.lists(st.integers(0, 4), min_size=1, max_size=8), st.integers(1, 70))
def test_pairs_are_ordered_different_and_never_equal(target, limit):
    target = np.array(target)
    one, other = training_rows.ordered_pairs(target, limit, np.random.default_rng(0))
    assert (target[one] != target[other]).all() and len(one) <= limit
    assert len(set(zip(one.tolist(), other.tolist(), strict=True))) == len(one)
    if limit >= len(target) * (len(target) - 1):
        expected = {(i, j) for i in range(len(target)) for j in range(len(target)) if target[i] != target[j]}
        assert set(zip(one.tolist(), other.tolist(), strict=True)) == expected


def test_the_judge_looks_at_held_out_graphs_with_an_order():
    judge = training_rows.tau_judge([np.array([1.0, 2.0, 3.0]), np.array([4.0, 4.0]), np.array([7.0, 6.0])])
    held_out = lightgbm.Dataset(np.zeros((7, 1)))
    held_out.used_indices = [0, 1, 2, 3, 4]
    # a larger prediction is a faster configuration: two of three pairs are right; the tied graph does not count
    assert judge(np.array([0.9, 0.1, 0.5, 0.0, 1.0]), held_out) == ("tau", pytest.approx(1 / 3), True)
    held_out.used_indices = [5, 6]
    assert judge(np.array([0.2, 0.8]), held_out) == ("tau", 1.0, True)
    held_out.used_indices = [3, 4]
    assert judge(np.array([0.2, 0.8]), held_out) == ("tau", 0.0, True)
