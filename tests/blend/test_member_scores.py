"""Members' scores, combined into one ranking."""

import numpy as np

from stages.blend.member_scores import combine


def test_combine_gives_places_without_ties_by_index():
    ranks = {"gnn": {"g": np.array([0.25, 0.75, 0.5, 1.0])}, "gbdt": {"g": np.array([0.75, 0.25, 0.5, 1.0])}}
    assert combine(ranks, (0.5, 0.5))["g"].tolist() == [0.25, 0.5, 0.75, 1.0]
    assert combine(ranks, (0.0, 1.0))["g"].tolist() == [0.75, 0.25, 0.5, 1.0]
