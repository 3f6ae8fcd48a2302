"""The table of historical embeddings, and the weights of segments."""

import numpy as np
import pytest

from stages.gnn.history import History, sampled, stale_weights


def test_weights_of_fresh_segments_by_hand():
    """One fresh segment of J, half of the others kept: it counts (J + 1) / 2 times, they once each."""
    for segments in (2, 5, 9):
        weight, kept = stale_weights(segments, np.array([1]), 0.5, np.random.default_rng(0))
        assert weight == (segments + 1) / 2
        assert 1 not in kept and set(kept) <= set(range(segments))
    weight, kept = stale_weights(5, np.array([1, 3]), None, np.random.default_rng(0))
    assert weight == 1 and kept.tolist() == [0, 2, 4]
    weight, kept = stale_weights(3, np.arange(3), 0.5, np.random.default_rng(0))
    assert weight == 1 and kept.tolist() == []


@pytest.mark.parametrize(("keep", "fresh"), [(0.5, 1), (0.2, 2), (1.0, 3)])
def test_the_expected_weight_of_all_segments_is_their_number(keep, fresh):
    rng = np.random.default_rng(0)
    totals = []
    for _ in range(1500):
        weight, kept = stale_weights(7, sampled(7, fresh, rng), keep, rng)
        totals.append(weight * fresh + len(kept))
    assert np.mean(totals) == pytest.approx(7, abs=4 * 7**0.5 / 1500**0.5)


def test_segments_are_sampled_alike_and_all_where_there_are_no_more():
    rng = np.random.default_rng(0)
    assert sampled(3, 3, rng).tolist() == sampled(3, 9, rng).tolist() == [0, 1, 2]
    draws = [sampled(5, 2, rng) for _ in range(500)]
    assert all(draw[0] < draw[1] for draw in draws)
    assert np.bincount(np.concatenate(draws)).min() > 150  # of 200 expected


def test_every_graph_configuration_and_segment_has_its_own_row():
    shapes = [(3, 2), (1, 1), (4, 5)]
    history = History(shapes, width=2)
    rows = [history.rows(g, np.arange(c), np.arange(s)) for g, (c, s) in enumerate(shapes)]
    assert [part.shape for part in rows] == shapes
    assert sorted(np.concatenate([part.ravel() for part in rows]).tolist()) == list(range(27))
    assert len(history.array) == 27


@pytest.mark.parametrize("budget", [10**9, 0], ids=["memory", "file"])
def test_what_is_written_is_read_in_half_precision(tmp_path, budget):
    history = History([(3, 2), (4, 3)], width=2, folder=tmp_path, budget=budget)
    assert history.array.dtype == np.float16
    assert isinstance(history.array, np.memmap) == (budget == 0) == bool(list(tmp_path.iterdir()))
    assert not history.read(1, np.array([0, 3]), np.arange(3)).any()
    values = np.random.default_rng(0).normal(size=(2, 4, 3, 2)).astype(np.float32)
    for graph, (configurations, segments) in enumerate([(3, 2), (4, 3)]):
        for segment in range(segments):
            history.write(graph, np.arange(configurations), segment, values[graph, :configurations, segment])
    halves = values.astype(np.float16).astype(np.float32)
    np.testing.assert_array_equal(history.read(0, np.array([2, 0]), np.array([1])), halves[0, [2, 0], 1])
    found = history.read(1, np.array([1, 3]), np.array([0, 2]))
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, halves[1][[1, 3]][:, [0, 2]].sum(axis=1))
    assert not history.read(1, np.array([1]), np.zeros(0, np.int64)).any()
    history.write(0, np.array([0]), 0, np.array([[1e9, -1e9]]))
    assert history.read(0, np.array([0]), np.array([0])).tolist() == [[65504, -65504]]  # and not infinite
