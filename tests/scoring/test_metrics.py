"""The official metrics, against values worked out by hand and against their definitions."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stages.engine.errors import InputError
from stages.scoring import metrics

LAYOUT, TILE = "layout:xla:random", "tile:xla"


def test_kendall_with_ties_by_hand():
    # Six pairs: 3 concordant, 1 discordant, one tied on each side only, so 5 are untied on either:
    # tau-b = (3 - 1) / sqrt(5 * 5), while tau-a would be 2 / 6.
    assert metrics.kendall(np.array([1, 2, 2, 3]), np.array([1, 3, 2, 2])) == pytest.approx(2 / 5)


def test_kendall_extremes():
    runtime = np.array([30, 10, 20])
    assert metrics.kendall(runtime, runtime) == pytest.approx(1)
    assert metrics.kendall(-runtime, runtime) == pytest.approx(-1)


@given(st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4)), min_size=2, max_size=12))
def test_kendall_is_tau_b(pairs):
    score, runtime = (np.array(column) for column in zip(*pairs, strict=True))
    signs = [
        (np.sign(score[i] - score[j]), np.sign(runtime[i] - runtime[j]))
        for i, j in itertools.combinations(range(len(pairs)), 2)
    ]
    untied_scores, untied_runtimes = (sum(side != 0 for side in column) for column in zip(*signs, strict=True))
    value = metrics.kendall(score, runtime)
    if untied_runtimes == 0:
        assert math.isnan(value)
    elif untied_scores == 0:
        assert value == 0
    else:
        expected = sum(int(a * b) for a, b in signs) / math.sqrt(untied_scores * untied_runtimes)
        assert value == pytest.approx(expected)


def test_kendall_keeps_runtimes_apart_that_float32_would_merge():
    runtime = np.array([70_000_000_001, 70_000_000_000, 70_000_000_002])
    assert metrics.kendall(np.array([2.0, 1.0, 3.0]), runtime) == pytest.approx(1)


def test_kendall_is_undefined_where_the_runtimes_order_nothing():
    assert math.isnan(metrics.kendall(np.array([1.0]), np.array([5])))
    assert math.isnan(metrics.kendall(np.array([1.0, 2.0, 3.0]), np.array([5, 5, 5])))


def test_a_score_that_ties_everything_counts_as_a_random_order_and_is_not_left_out():
    assert metrics.kendall(np.zeros(3), np.array([1, 2, 3])) == 0.0


def test_slowdown_by_hand():
    target = np.array([4.0, 2.0, 3.0, 6.0, 5.0, 8.0, 7.0])
    score = np.array([1, 7, 2, 3, 4, 5, 6])  # the fastest, at 1, is predicted slowest; the best of the five has 3
    assert metrics.slowdown_score(score, target) == pytest.approx(2 - 3 / 2)
    assert metrics.slowdown_score(score, target, k=1) == pytest.approx(2 - 4 / 2)
    assert metrics.slowdown_score(score, target, k=7) == 1.0


def test_slowdown_can_be_negative():
    assert metrics.slowdown_score(np.arange(6), np.array([4.0, 4, 4, 4, 4, 1])) == -2


def test_slowdown_is_perfect_with_fewer_than_five_configurations():
    assert metrics.slowdown_score(np.array([2.0, 1.0]), np.array([1.0, 9.0])) == 1.0
    assert metrics.slowdown_score(np.array([0.0]), np.array([3.0])) == 1.0


def test_slowdown_takes_ties_in_order_of_their_index():
    assert metrics.slowdown_score(np.zeros(6), np.array([2.0, 2, 2, 2, 2, 1])) == 0.0


def test_graph_scores_use_the_metric_of_the_collection_and_leave_the_undefined_out_of_the_mean():
    targets = {"a": np.array([1.0, 2.0, 3.0]), "tied": np.array([4.0, 4.0, 4.0]), "single": np.array([1.0])}
    scores = {"a": np.array([3.0, 2.0, 1.0]), "tied": np.array([1.0, 2.0, 3.0]), "single": np.array([0.0])}
    layout = metrics.graph_scores(LAYOUT, scores, targets)
    assert layout["a"] == pytest.approx(-1) and math.isnan(layout["tied"]) and math.isnan(layout["single"])
    assert metrics.collection_score(layout) == pytest.approx(-1)
    assert metrics.graph_scores(TILE, scores, targets) == {"a": 1.0, "tied": 1.0, "single": 1.0}
    assert math.isnan(metrics.collection_score([]))


@pytest.mark.parametrize("scores", [{}, {"a": np.zeros(2)}])
def test_graph_scores_name_the_graph_that_does_not_fit(scores):
    with pytest.raises(InputError, match="layout:xla:random.*a"):
        metrics.graph_scores(LAYOUT, scores, {"a": np.array([1.0, 2.0, 3.0])})


def test_closeness_is_the_share_of_the_best_speed():
    target, score = np.array([4.0, 2.0, 8.0]), np.array([2, 3, 1])
    assert metrics.closeness(score, target).tolist() == [0.25, 0.5, 1.0]


@given(st.lists(st.integers(1, 50), min_size=1, max_size=7), st.integers(1, 9))
def test_random_closeness_is_the_mean_over_all_subsets(target, k):
    subsets = list(itertools.combinations(target, min(k, len(target))))
    expected = sum(min(target) / min(subset) for subset in subsets) / len(subsets)
    assert metrics.random_closeness(np.array(target), k) == pytest.approx(expected)


@pytest.mark.parametrize("k", [1, 2, 4, 9])
def test_the_expected_best_of_k_is_the_mean_over_all_drawings(k):
    target = np.array([5.0, 2.0, 2.0, 9.0])
    drawings = [min(drawing) for drawing in itertools.combinations(target, min(k, 4))]
    assert metrics.random_best(target, k) == pytest.approx(np.mean(drawings))


def test_random_best_and_closeness_of_as_many_as_the_largest_file_has():
    """Where the binomials overflow: of two values, one of c - 1 slow ones is the best unless the fast one is drawn."""
    target = np.full(100_040, 4.0)
    target[7] = 1.0
    for k in (1, 5, 1000, 100_040):
        drawn = k / len(target)
        assert metrics.random_best(target, k) == pytest.approx(drawn * 1 + (1 - drawn) * 4)
        assert metrics.random_closeness(target, k) == pytest.approx(drawn * 1 + (1 - drawn) / 4)


def test_two_members_agree_by_the_order_they_give():
    assert metrics.agreement(np.array([1, 2, 3]), np.array([10, 20, 30])) == pytest.approx(1)
    # Three pairs: one tied by the first, one agreed, one not: (1 - 1) / sqrt(2 * 3).
    assert metrics.agreement(np.array([1, 1, 2]), np.array([1, 3, 2])) == pytest.approx(0)
    assert math.isnan(metrics.agreement(np.array([1, 1, 1]), np.array([1, 3, 2])))
    assert math.isnan(metrics.agreement(np.array([1]), np.array([2])))


def test_disagreement_is_of_every_two_members_and_leaves_undefined_graphs_out():
    scores = {
        name: {"g": np.array(order), "tied": np.zeros(2)}
        for name, order in zip("abc", ([1, 2], [2, 1], [1, 3]), strict=True)
    }
    values = {name: {"g": value, "tied": math.nan} for name, value in zip("abc", (0.1, 0.2, 0.3), strict=True)}
    rows = metrics.disagreement(scores, values)
    assert [row[:5] for row in rows] == [
        ("g", "a", "b", 0.1, 0.2),
        ("g", "a", "c", 0.1, 0.3),
        ("g", "b", "c", 0.2, 0.3),
    ]
    assert [row[5] for row in rows] == pytest.approx([-1, 1, -1])
