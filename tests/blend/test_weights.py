"""Weights of the members: the grid, the best, and shrinking toward equal."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stages.blend import weights


@given(st.integers(1, 4), st.integers(1, 6))
def test_the_grid_covers_the_simplex(members, steps):
    points = weights.simplex(members, steps)
    assert len(set(points)) == len(points)
    assert all(len(point) == members and min(point) >= 0 and sum(point) == pytest.approx(1) for point in points)
    assert all(tuple(row) in points for row in np.eye(members))


def test_the_default_grid_has_steps_of_a_twentieth():
    assert len(weights.simplex(2)) == 21 and (0.05, 0.95) in weights.simplex(2)


def test_the_best_weights_win_and_equals_go_to_the_middle():
    assert weights.best({(0.0, 1.0): 0.2, (0.5, 0.5): 0.1, (1.0, 0.0): 0.3}) == (1.0, 0.0)
    assert weights.best({(0.0, 1.0): 0.3, (0.45, 0.55): 0.3, (1.0, 0.0): 0.3}) == (0.45, 0.55)
    assert weights.best({point: float("nan") for point in weights.simplex(2)}) == (0.5, 0.5)


@given(st.lists(st.floats(0.01, 1), min_size=1, max_size=4), st.floats(0, 1))
def test_shrinking_moves_every_weight_toward_equal_and_keeps_their_sum(parts, shrink):
    chosen = tuple(part / sum(parts) for part in parts)
    moved = weights.shrunk(chosen, shrink)
    assert sum(moved) == pytest.approx(1) and min(moved) >= 0
    equal = 1 / len(parts)
    assert [weight - equal for weight in moved] == pytest.approx([(1 - shrink) * (part - equal) for part in chosen])
