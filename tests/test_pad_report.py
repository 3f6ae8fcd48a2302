"""What the pad page says and shows, from small arrays."""

import numpy as np
import polars as pl
import pytest

from stages import pad_report
from stages.reporting import figures

COLUMNS = pl.DataFrame(
    {
        "group": ["node"] * 3 + ["tile"],
        "column": [0, 1, 2, 0],
        "mean": [1.0, 2.0, 3.0, 4.0],
        "deviation": [0.0, 0.5, 0.1, 0.2],
        "kept": [False, True, True, True],
    }
)


def test_columns_are_counted_by_group_and_the_narrowest_kept_ones_are_named():
    assert pad_report.amounts(COLUMNS).rows() == [("node", 3, 2), ("tile", 1, 1)]
    assert pad_report.least(COLUMNS).rows() == [("node 2", 3.0, 0.1), ("tile 0", 4.0, 0.2), ("node 1", 2.0, 0.5)]


def test_what_stands_at_each_place_of_a_layout():
    layouts = [np.array([[1, 0, -1, -1, -1, -1]]), np.array([[0, -1, -1, -1, -1, -1]] * 3)]
    shares = pad_report.places(layouts)
    assert shares[:, 0].tolist() == [0, 0.75, 0.25, 0, 0, 0, 0] and shares.sum(axis=0) == pytest.approx(1)
    assert pad_report.usual(shares) == (
        "79% of all places are beyond the tensor's rank. At the most minor one 75% of the nodes have 0. Dimension 0 "
        "stands at 17% of the places."
    )
    assert all(figures.svg(pad_report.place_map(shares, narrow=narrow)).count("<svg") == 1 for narrow in (False, True))


def test_the_numbers_of_elements_before_and_after():
    published, scaled = np.array([1e3, 2e3, 6e6]), np.array([-1.5, 0.0, 1.25])
    for narrow in (False, True):
        before, after = pad_report.elements(published, scaled, narrow=narrow).axes
        assert sum(bar.get_height() for bar in before.patches) == sum(bar.get_height() for bar in after.patches) == 3
    assert pad_report.stretched(published, scaled) == (
        "As published 67% of the nodes are in the first of 60 equal bins, and the largest tensor has 6,000,000 "
        "elements; model-ready all values lie between -1.5 and 1.2."
    )
