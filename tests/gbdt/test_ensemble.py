"""The members together, in small."""

import numpy as np

from stages.gbdt.ensemble import Ensemble, combined, fit
from stages.gbdt.settings import Settings
from tests.support.trees import KNOBS, learnable


def test_an_ensemble_scores_what_it_trained_on_out_of_fold():
    graphs = [learnable(seed, id=f"{letter}_0") for seed, letter in enumerate("abcd")]
    knobs = Settings(**vars(KNOBS) | {"folds": 4, "objectives": ("ridge", "pointwise")})
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
