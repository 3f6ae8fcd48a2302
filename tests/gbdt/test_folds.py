"""Folds in small."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from stages.gbdt.folds import folds
from stages.graphs.families import family

ids = st.lists(st.tuples(st.sampled_from("abcdefg"), st.integers(0, 99)), min_size=1, max_size=30)


@given(ids, st.integers(2, 6), st.integers(0, 3))
def test_no_family_is_parted_and_folds_are_about_equal(drawn_ids, count, seed):
    names = [f"{letter}_{number}" for letter, number in drawn_ids]
    found = folds(names, count, seed)
    groups = [family(name) for name in names]
    sizes = np.bincount(found)
    if len(set(groups)) > 1:
        assert all(len({fold for fold, other in zip(found, groups, strict=True) if other == g}) == 1 for g in groups)
        assert len(sizes) == min(count, len(set(groups)))
        assert sizes.min() >= 1 and sizes.max() - sizes.min() <= max(map(groups.count, groups))
    else:
        assert len(sizes) == min(count, len(set(names)))
    np.testing.assert_array_equal(found, folds(names, count, seed))


def test_seeds_draw_other_folds():
    names = [f"{letter}_0" for letter in "abcdefgh"]
    assert len({tuple(folds(names, 4, seed)) for seed in range(5)}) > 1
    assert folds(["a_0"], 5, 0).tolist() == [0]
