"""Families, folds and members of the trees' ensemble, in small."""

import lightgbm
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stages.gbdt import models
from stages.gbdt.ensemble import Ensemble, combined, fit
from stages.gbdt.feature_table import Sheet, drawn, statistic
from stages.gbdt.folds import folds
from stages.gbdt.settings import Settings
from stages.graphs.families import family
from stages.statistics import describe, standardised

NAMES = ["copies", "inversions", "program_nodes"]


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


def sheet(values, target=None, id="bert_0", split="train"):
    values = np.asarray(values, np.float64)
    target = np.arange(len(values)) if target is None else np.asarray(target, np.float64)
    return Sheet(id, split, NAMES, values, target, np.arange(len(values)))


def learnable(seed, rows=30, id="bert_0"):
    """Slow where there are many copies; inversions are noise."""
    rng = np.random.default_rng(seed)
    values = np.stack([rng.integers(0, 20, rows), rng.integers(0, 5, rows), np.full(rows, seed)], axis=1)
    return sheet(values, 100 * values[:, 0] + rng.integers(0, 30, rows), id)


KNOBS = Settings(seeds=1, trees=30, min_leaf=3, learning_rate=0.3, feature_fraction=1.0, pairs=100, patience=5)


def test_z_scores_are_those_of_the_whole_graph():
    one = sheet([[1, 5, 7], [2, 5, 7], [6, 5, 7]])
    expected = standardised(one.values)[:, :2]
    np.testing.assert_allclose(one.z(slice(None)), expected, atol=1e-6)
    np.testing.assert_allclose(one.z(np.array([2])), expected[2:], atol=1e-6)
    assert one.feature_names == [*NAMES, "copies_z", "inversions_z"]
    np.testing.assert_allclose(one.features([1]), [[2, 5, 7, expected[1, 0], 0]], atol=1e-6)


def test_a_pair_is_one_what_it_exceeds_the_other_by_and_the_program():
    one = sheet([[1, 5, 7], [2, 3, 7], [6, 5, 7]])
    z = standardised(one.values)[:, :2]
    found = one.against(np.array([0, 2]), np.array([1, 0]))
    np.testing.assert_allclose(found, [[*z[0], *(z[0] - z[1]), 7], [*z[2], *(z[2] - z[0]), 7]], atol=1e-6)
    many = one.against(np.array([0, 2, 0, 2]), np.array([1, 0, 1, 0]))  # more pairs than rows
    np.testing.assert_array_equal(many, np.tile(found, (2, 1)))
    assert one.pair_names[2:4] == ["copies_difference", "inversions_difference"]


def test_a_column_says_of_which_statistic_it_is():
    one = sheet([[1, 5, 7], [2, 3, 7]])
    assert {statistic(name) for name in (*one.feature_names, *one.pair_names)} == set(NAMES)
    assert describe(statistic("copies_difference")) == describe("copies")


@given(st.integers(0, 200), st.integers(1, 100))
def test_drawn_rows_are_different_and_in_order(count, limit):
    rows = drawn(count, limit)
    assert len(rows) == min(count, limit) and (np.diff(rows) > 0).all()
    assert all(0 <= row < count for row in rows)
    assert len(drawn(count, None)) == count


def test_shares_are_highest_for_the_fastest():
    assert models.shares(np.array([30.0, 10.0, 20.0])) == pytest.approx([1 / 6, 5 / 6, 1 / 2])
    assert models.shares(np.array([5.0, 5.0])) == pytest.approx([0.5, 0.5])


@given(st.lists(st.integers(0, 4), min_size=1, max_size=8), st.integers(1, 70))
def test_pairs_are_ordered_different_and_never_equal(target, limit):
    target = np.array(target)
    one, other = models.pairs(target, limit, np.random.default_rng(0))
    assert (target[one] != target[other]).all() and len(one) <= limit
    assert len(set(zip(one.tolist(), other.tolist(), strict=True))) == len(one)
    if limit >= len(target) * (len(target) - 1):
        expected = {(i, j) for i in range(len(target)) for j in range(len(target)) if target[i] != target[j]}
        assert set(zip(one.tolist(), other.tolist(), strict=True)) == expected


def test_the_judge_looks_at_held_out_graphs_with_an_order():
    judge = models._judge([np.array([1.0, 2.0, 3.0]), np.array([4.0, 4.0]), np.array([7.0, 6.0])])
    held_out = lightgbm.Dataset(np.zeros((7, 1)))
    held_out.used_indices = [0, 1, 2, 3, 4]
    # a larger prediction is a faster configuration: two of three pairs are right; the tied graph does not count
    assert judge(np.array([0.9, 0.1, 0.5, 0.0, 1.0]), held_out) == ("tau", pytest.approx(1 / 3), True)
    held_out.used_indices = [5, 6]
    assert judge(np.array([0.2, 0.8]), held_out) == ("tau", 1.0, True)
    held_out.used_indices = [3, 4]
    assert judge(np.array([0.2, 0.8]), held_out) == ("tau", 0.0, True)


@pytest.mark.parametrize("objective", ["lambdarank", "pointwise", "pairwise", "ridge"])
def test_a_member_ranks_a_graph_it_has_not_seen(objective):
    graphs = [learnable(seed, id=f"{letter}_0") for seed, letter in enumerate("abcd")]
    bag = models.train(objective, graphs, np.array([0, 1, 2, 1]), KNOBS, 0)
    assert len(bag.models) == 3
    fresh = learnable(9)
    score = bag.score(fresh, None, KNOBS)
    assert np.corrcoef(score, fresh.values[:, 0])[0, 1] > 0.9
    parts = [bag.score(fresh, fold, KNOBS) for fold in range(3)]
    np.testing.assert_allclose(score, np.mean(parts, axis=0), atol=1e-9)
    assert parts[0].mean() == pytest.approx(0, abs=1e-9) and parts[0].std() == pytest.approx(1)


@pytest.mark.parametrize("opponents", [7, 100])
def test_a_pairwise_score_is_the_mean_of_lost_comparisons(opponents, monkeypatch):
    knobs = Settings(**(vars(KNOBS) | {"opponents": opponents}))
    graph = learnable(1, rows=20)
    (booster,) = models.train("pairwise", [graph], np.array([0]), knobs, 0).models
    monkeypatch.setattr(models, "_CELLS", 100)  # several chunks
    found = models._score("pairwise", booster, graph, knobs)
    others = drawn(20, opponents)
    for row in range(20):
        wins = booster.predict(graph.against(np.full(len(others), row), others))
        assert found[row] == pytest.approx(-wins.mean())


def test_the_trees_are_counted_once_for_all_folds():
    graphs = [learnable(seed, id=f"{letter}_0") for seed, letter in enumerate("abcd")]
    bag = models.train("lambdarank", graphs, np.array([0, 1, 2, 3]), KNOBS, 0)
    assert {model.num_trees() for model in bag.models} == {bag.trees} and 1 <= bag.trees <= 30


def test_an_ensemble_scores_what_it_trained_on_out_of_fold():
    graphs = [learnable(seed, id=f"{letter}_0") for seed, letter in enumerate("abcd")]
    knobs = Settings(**(vars(KNOBS) | {"folds": 4, "objectives": ("ridge", "pointwise")}))
    ensemble = fit(graphs, knobs)
    assert isinstance(ensemble, Ensemble)
    for graph in graphs:
        fold = ensemble.folds[0]["train", graph.id]
        found = ensemble.scores(graph, 0)
        for bag in ensemble.bags[0]:
            np.testing.assert_array_equal(found[bag.objective], bag.score(graph, fold, knobs))
        np.testing.assert_allclose(combined(found), (found["ridge"] + found["pointwise"]) / 2)
    again = fit(graphs, knobs)
    np.testing.assert_array_equal(combined(again.scores(graphs[0], 0)), combined(ensemble.scores(graphs[0], 0)))
