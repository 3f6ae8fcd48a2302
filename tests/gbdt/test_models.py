"""Members of the ensemble in small."""

import numpy as np
import pytest

from stages.gbdt import models
from stages.gbdt.feature_table import drawn
from stages.gbdt.settings import Settings
from tests.support.trees import KNOBS, learnable


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
    knobs = Settings(**vars(KNOBS) | {"opponents": opponents})
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
