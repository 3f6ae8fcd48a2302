"""Columns of how often a search tried layouts."""

import numpy as np
import pytest

from tests.support.statistics import columns


def test_how_often_the_search_tried_a_nodes_layouts(chain):
    found = columns(chain, searched=True)
    # how many of the five have the same triple at the transpose, the dot and the reshape
    often = np.array([[2, 3, 3], [2, 3, 3], [2, 1, 3], [2, 3, 1], [1, 1, 1]])
    assert found["occurrence"] == pytest.approx(often.mean(axis=1) / 5)
    assert found["occurrence_bits"] == pytest.approx(np.log2(often / 5).mean(axis=1), abs=1e-3)
    assert found["rare"].tolist() == [0] * 5
    # the mode of the dot and of the reshape is that of three; of the transpose's two equally frequent ones it is one
    assert (found["off_mode"][[0, 1]] - found["off_mode"][[3, 2]]).tolist() == [-1, -1]
    assert found["off_mode"][4] == 3 and found["off_mode_bytes"][4] == found["off_mode_operations"][4] == 1
    assert not any(name in columns(chain) for name in ("occurrence", "off_mode"))
