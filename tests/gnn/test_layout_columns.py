"""Columns derived from layouts."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from stages.gnn import layout_columns
from tests.support import samples


def test_inversions_of_known_layouts():
    rows = np.array([[3, 2, 1, 0, -1, -1], [0, 1, 2, 3, -1, -1], [1, 2, 0, -1, -1, -1], [-1] * 6], np.int8)
    assert layout_columns.inversions(rows).tolist() == [0, 6, 1, 0]


@given(hnp.arrays(np.int8, (7, 6), elements=st.integers(-1, 5)))
@settings(deadline=None, max_examples=50)
def test_inversions_equal_the_definition(rows):
    assert layout_columns.inversions(rows).tolist() == [samples.inversions(row) for row in rows]
    assert layout_columns.own_columns(rows)[:, 1].tolist() == [float(samples.inversions(row) > 0) for row in rows]


def test_every_layout_value_has_its_row_of_the_vocabulary():
    assert layout_columns.tokens(np.arange(-1, 6, dtype=np.int8)).tolist() == list(range(layout_columns.VOCABULARY))
