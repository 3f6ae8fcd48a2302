"""Scores and losses that the originals' own code gave, at full size, on the synthetic graph with the weights of `fill`.

`python -m benchmarks.parity FOLDER --keep FOLDER` writes them to result.npz.
"""

import numpy as np
import pytest
import torch

from benchmarks.parity.cases import CASES
from benchmarks.parity.compare import chosen_labels, trial
from benchmarks.parity.graphs import Graph, synthetic_layout, synthetic_tile
from stages.graphs.collection import is_tile

#: the first three scores, and the loss
ORIGINAL = {
    # VALUES
}
NAMED = {case.name: case for case in CASES}


@pytest.mark.parametrize("name", ORIGINAL)
def test_scores_and_loss_are_the_originals(name, tmp_path):
    case = NAMED[name]
    make = synthetic_tile if is_tile(case.collection) else synthetic_layout
    made = trial(case, Graph("synthetic", make(0), make(1)), tmp_path, wide=True)
    inputs = case.recipe.prepare(made.whole, made.fitted).inputs(made.indices)
    network = made.network.double().train(case.tensorflow)  # whose loss has a penalty in training; it drops nothing out
    network.start_step()
    scores = network(inputs.double())
    labels = torch.from_numpy(np.array(chosen_labels(made)))
    labels = labels.double() if labels.is_floating_point() else labels
    found = case.recipe.loss(scores[None], labels[None]) + network.penalty([inputs])
    *first, loss = ORIGINAL[name]
    # The originals' features are float32, and the official networks compute in it.
    np.testing.assert_allclose(scores[:3].detach(), first, rtol=1e-4, atol=1e-5)
    assert float(found) == pytest.approx(loss, rel=1e-4)


def test_every_recipe_has_values():
    assert {name for name in NAMED if "stretch" not in name} == set(ORIGINAL)
