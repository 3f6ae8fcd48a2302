"""Models on disk, in small."""

import lightgbm
import numpy as np

from stages.gbdt import model_files
from stages.gbdt.ensemble import combined, fit
from stages.gbdt.settings import Settings
from stages.scoring import baselines
from tests.support.trees import KNOBS, learnable, table


def test_an_ensemble_that_is_read_scores_as_the_one_that_was_written(tmp_path):
    graphs = [learnable(seed, id=f"{letter}_0") for seed, letter in enumerate("abcd")]
    settings = Settings(**vars(KNOBS) | {"seeds": 2, "folds": 3})
    ensemble = fit(graphs, settings)
    model_files.write(tmp_path, ensemble)
    again = model_files.read(tmp_path, settings, [(graph.split, graph.id) for graph in graphs])
    assert again.folds == ensemble.folds
    for seed in range(2):
        assert [bag.trees for bag in again.bags[seed]] == [bag.trees for bag in ensemble.bags[seed]]
        for graph in (*graphs, learnable(9)):
            np.testing.assert_array_equal(combined(again.scores(graph, seed)), combined(ensemble.scores(graph, seed)))


def test_models_that_learnt_nothing_are_read_too(tmp_path):
    """Of two graphs one orders nothing: the model that would train on it alone is undecided."""
    graphs = [learnable(0, id="a_0"), table(np.ones((4, 3)), np.ones(4), id="b_0")]
    settings = Settings(**vars(KNOBS) | {"objectives": ("pairwise",)})
    ensemble = fit(graphs, settings)
    model_files.write(tmp_path, ensemble)
    (bag,) = model_files.read(tmp_path, settings, [("train", "a_0"), ("train", "b_0")]).bags[0]
    kinds = {type(model) for model in bag.models}
    assert kinds == {lightgbm.Booster, baselines.Ridge} == {type(model) for model in ensemble.bags[0][0].models}
    fold = ensemble.folds[0]["train", "a_0"]
    assert not bag.score(graphs[0], fold, settings).any()
