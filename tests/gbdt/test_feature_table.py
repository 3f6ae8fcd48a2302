"""Tables of statistics in small."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from stages.gbdt.feature_table import drawn, statistic
from stages.statistics.columns import describe, standardised
from tests.support.trees import NAMES, table


def test_z_scores_are_those_of_the_whole_graph():
    one = table([[1, 5, 7], [2, 5, 7], [6, 5, 7]])
    expected = standardised(one.values)[:, :2]
    np.testing.assert_allclose(one.z(slice(None)), expected, atol=1e-6)
    np.testing.assert_allclose(one.z(np.array([2])), expected[2:], atol=1e-6)
    assert one.feature_names == [*NAMES, "copies_z", "inversions_z"]
    np.testing.assert_allclose(one.features([1]), [[2, 5, 7, expected[1, 0], 0]], atol=1e-6)


def test_a_pair_is_one_what_it_exceeds_the_other_by_and_the_program():
    one = table([[1, 5, 7], [2, 3, 7], [6, 5, 7]])
    z = standardised(one.values)[:, :2]
    found = one.against(np.array([0, 2]), np.array([1, 0]))
    np.testing.assert_allclose(found, [[*z[0], *(z[0] - z[1]), 7], [*z[2], *(z[2] - z[0]), 7]], atol=1e-6)
    many = one.against(np.array([0, 2, 0, 2]), np.array([1, 0, 1, 0]))  # more pairs than rows
    np.testing.assert_array_equal(many, np.tile(found, (2, 1)))
    assert one.pair_names[2:4] == ["copies_difference", "inversions_difference"]


def test_a_column_says_of_which_statistic_it_is():
    one = table([[1, 5, 7], [2, 3, 7]])
    assert {statistic(name) for name in (*one.feature_names, *one.pair_names)} == set(NAMES)
    assert describe(statistic("copies_difference")) == describe("copies")


@given(st.integers(0, 200), st.integers(1, 100))
def test_drawn_rows_are_different_and_in_order(count, limit):
    rows = drawn(count, limit)
    assert len(rows) == min(count, limit) and (np.diff(rows) > 0).all()
    assert all(0 <= row < count for row in rows)
    assert len(drawn(count, None)) == count
