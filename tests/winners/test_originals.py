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
    "first-place layout:*:default": (-0.1060787, -0.05951714, -0.1333229, 0.3911152),
    "first-place layout:*:random": (0.3175428, 0.3636785, 0.3147967, 0.4207281),
    "first-place tile": (-0.1731003, 0.01417165, -0.01603349, 0.4218759),
    "sixth-place layout": (0.1608737, -0.02878064, 0.7261013, 0.8609979),
    "sixth-place layout:xla:default, GIN": (-0.4641921, 0.9861133, -0.01644478, 1.063082),
    "sixth-place tile": (0.2556119, -0.2358286, 0.09014469, 6.032023),
    "second-place layout:nlp:*": (0.1564791, 0.1580879, 0.1605039, 15.11454),
    "second-place layout:xla:*": (0.005260296, 0.005154836, 0.005355101, 1.923873),
    "second-place tile": (-17.35156, -23.40262, -33.77587, 7.602229),
    "third-place layout": (7.745754, 7.745418, 7.745481, 120.0001),
    "third-place tile": (1.272343, 1.276982, 1.339399, -0.2082079),
    "fifth-place layout": (4.911751, 5.245217, 5.357915, 0.5105946),
    "fifth-place tile steps of the layout network": (-1.569282, -1.581491, -1.626039, 0.07924547),
    "fifth-place tile": (-1.290369, -1.296498, -1.293538, 0.04416368),
    "fourteenth-place layout:xla:*": (-0.04023038, -0.04223219, -0.04305851, 10.60141),
    "fourteenth-place layout:nlp:*, pairs": (-0.227874, -0.2260534, -0.226134, 0.9991886),
    "gst-paper layout": (0.02563752, 0.02567292, 0.0255909, 49.59007),
    "official layout": (-1.235156, -1.79394, -0.678691, 32.5464),
    "official tile": (-1.11265, -1.062687, -1.320341, 15.67169),
}
#: the next three scores of the third place's layouts less the first
DIFFERENCES = (-0.00033607, -0.00027286, 0.00017168)
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


def test_the_third_places_configurations_differ_as_the_originals(tmp_path):
    """Their scores lie close together, and what is common to them says little of the configurations."""
    case = NAMED["third-place layout"]
    made = trial(case, Graph("synthetic", synthetic_layout(0), synthetic_layout(1)), tmp_path, wide=True)
    inputs = case.recipe.prepare(made.whole, made.fitted).inputs(made.indices)
    with torch.no_grad():
        scores = made.network.double().eval()(inputs.double()).numpy()
    np.testing.assert_allclose(scores[1:4] - scores[0], DIFFERENCES, rtol=1e-2)


def test_every_recipe_has_values():
    assert {name for name in NAMED if "stretch" not in name} == set(ORIGINAL)
