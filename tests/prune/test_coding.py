import tempfile

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stages.engine.errors import InputError
from stages.prune import coding


def encoded(blocks, runtime=None, duplicates=None, check=lambda layouts: None):
    """codes, triples, runtime and config_index of configurations given block by block."""
    with tempfile.TemporaryFile() as scratch:
        configurations = coding.Configurations(blocks[0].shape[1], scratch, check)
        for layouts, places in coding.changes(np.asarray(block, np.float32) for block in blocks):
            configurations.add(layouts, places)
        runtime = np.arange(sum(map(len, blocks))) if runtime is None else np.array(runtime, np.int64)
        tensors = configurations.tensors(runtime, duplicates)
        codes = np.concatenate(list(tensors["codes"].pieces))
    assert codes.shape == tensors["codes"].shape and codes.dtype == np.uint16
    return tensors | {"codes": codes, "distinct": configurations.distinct}


@st.composite
def searches(draw):
    """Layouts (c, nc, 18) as a search tries them: few triples, some configurations equal, some far apart."""
    rng = np.random.default_rng(draw(st.integers(0, 1000)))
    configurable, known = draw(st.integers(1, 4)), rng.integers(-1, 6, (draw(st.integers(1, 6)), 18))
    count, changed = draw(st.integers(1, 30)), draw(st.sampled_from([0.05, 0.5, 1.0]))
    picked = rng.integers(0, len(known), (count, configurable))
    for row in range(1, count):
        picked[row] = np.where(rng.random(configurable) < changed, picked[row], picked[row - 1])
    return known[picked].astype(np.float32)


@settings(max_examples=60, deadline=None)
@given(searches(), st.lists(st.integers(0, 30), max_size=4), st.sampled_from([None, *coding.DUPLICATES]))
def test_configurations_are_kept_whatever_the_blocks(layouts, cuts, duplicates):
    runtime = np.random.default_rng(0).integers(1, 100, len(layouts))
    blocks = [block for block in np.split(layouts, sorted(cuts)) if len(block)]
    tensors = encoded(blocks, runtime, duplicates)
    triples, places = np.unique(layouts.reshape(-1, 18)[:, ::-1], axis=0, return_inverse=True)
    np.testing.assert_array_equal(tensors["triples"], triples[:, ::-1])
    groups = {}
    for place, row in enumerate(layouts):
        groups.setdefault(row.tobytes(), []).append(place)
    assert tensors["distinct"] == len(groups)
    kept = [members[0] for members in groups.values()] if duplicates else list(range(len(layouts)))
    assert tensors["config_index"].tolist() == kept
    np.testing.assert_array_equal(tensors["codes"], places.reshape(layouts.shape[:2])[kept])
    reduce = {"first": lambda v: v[0], "mean": lambda v: round(sum(v) / len(v)), "minimum": min}
    if duplicates:
        times = [reduce[duplicates](runtime[members].tolist()) for members in groups.values()]
        assert tensors["runtime"].tolist() == times
    else:
        np.testing.assert_array_equal(tensors["runtime"], runtime)


def test_the_extreme_layouts_are_told_apart():
    layouts = np.stack([np.full(18, -1), np.full(18, 5), np.r_[np.full(17, 5), 4], np.r_[np.full(17, -1), 0]])
    tensors = encoded([layouts[:, None]])
    np.testing.assert_array_equal(tensors["triples"][tensors["codes"]][:, 0], layouts)
    assert len(tensors["triples"]) == 4


def test_minus_zero_is_zero():
    layouts = np.zeros((3, 1, 18))
    layouts[1, 0, ::2] = -0.0
    tensors = encoded([layouts], duplicates="first")
    assert tensors["triples"].tolist() == [[0] * 18] and tensors["config_index"].tolist() == [0]


@pytest.mark.parametrize("wrong", [np.nan, 0.5, 7.0, -1.0000001, 1e30, np.inf])
def test_a_wrong_value_is_seen_wherever_it_comes(wrong):
    """After many good triples, and though its key is that of a good one: 7 * 7 ** 0 is 1 * 7 ** 1."""

    def check(layouts):
        if not np.isin(layouts, np.arange(-1, 6)).all():
            raise InputError("wrong")

    rng = np.random.default_rng(0)
    good = rng.integers(-1, 6, (50, 2, 18)).astype(np.float32)
    encoded([good, good], check=check)
    for row, node, slot in ((0, 0, 0), (49, 1, 17), (20, 0, 5)):
        bad = good.copy()
        bad[row, node, slot] = wrong
        with pytest.raises(InputError, match="wrong"):
            encoded([good, bad], check=check)


def test_equal_hashes_are_told_apart(monkeypatch):
    layouts = np.random.default_rng(0).integers(-1, 6, (40, 2, 18))
    layouts[[7, 23, 39]] = layouts[3]
    expected = encoded([layouts], duplicates="first")
    monkeypatch.setattr(coding, "hash", lambda parts: parts[0][0] % 4 + parts[1], raising=False)
    monkeypatch.setattr(coding, "_HASH_BITS", 2)
    tensors = encoded(np.split(layouts, 8), duplicates="first")
    for name, array in expected.items():
        np.testing.assert_array_equal(tensors[name], array, name)
    assert tensors["distinct"] == 37


def test_more_layouts_than_codes_are_refused(monkeypatch):
    monkeypatch.setattr(coding, "MOST_TRIPLES", 3)
    layouts = np.full((4, 1, 18), -1)
    layouts[:, 0, 0] = np.arange(4)
    encoded([layouts[:3], layouts[:2]])
    with pytest.raises(InputError, match="more than 3 distinct layouts"):
        encoded([layouts[:3], layouts[3:]])


def test_as_many_layouts_as_codes_are_told_apart():
    numbers = np.arange(coding.MOST_TRIPLES)
    layouts = (numbers[:, None] // 7 ** np.arange(18) % 7 - 1).reshape(-1, 5, 18)
    tensors = encoded(np.split(layouts, 3))
    np.testing.assert_array_equal(tensors["codes"].reshape(-1), numbers)


@pytest.mark.parametrize(
    ("duplicates", "runtime"), [("first", [70, 40, 9]), ("mean", [50, 45, 9]), ("minimum", [30, 40, 9])]
)
def test_equal_configurations_become_one(duplicates, runtime):
    layouts = np.array([1, 3, 1, 5, 3, 1])[:, None, None] * np.ones((6, 2, 18))
    tensors = encoded([layouts], [70, 40, 30, 9, 50, 50], duplicates)
    assert tensors["config_index"].tolist() == [0, 1, 3]
    assert tensors["runtime"].tolist() == runtime and tensors["runtime"].dtype == np.int64


@pytest.mark.parametrize(("runtime", "mean"), [([2**53] * 2048, 2**53), ([2**53, 2**53 - 1], 2**53), ([1, 2], 2)])
def test_the_mean_of_long_run_times_is_exact(runtime, mean):
    """Their sum is beyond int64, or beyond what float64 holds; a half goes to the even side."""
    assert encoded([np.zeros((len(runtime), 1, 18))], runtime, "mean")["runtime"].tolist() == [mean]
