"""Parameters that no training can use."""

import pytest

from stages.engine.errors import InputError
from tests.support import trees
from tests.support.trees import LAYOUT, QUICK


@pytest.mark.parametrize(
    ("wrong", "named"),
    [
        ({"objectives": ["guess"]}, "gbdt.objectives: 'guess' is none of lambdarank"),
        ({"objectives": []}, "gbdt.objectives: is empty"),
        ({"objectives": ["ridge", "ridge"]}, "gbdt.objectives: ridge is given twice"),
        ({"seeds": 0}, "gbdt.seeds: 0 is too small"),
        ({"folds": 1}, "gbdt.folds: 1 is too small"),
        ({"configurations": 99_999}, "configurations: 99999 is too large"),
        ({"configurations": 1}, "configurations: 1 is too small"),
        ({"patience": 0}, "patience: 0 is too small"),
        ({"leaves": 1}, "leaves: 1 is too small"),
        ({"leaves": 131_073}, "leaves: 131073 is too large"),
        ({"min_leaf": -1}, "min_leaf: -1 is too small"),
        ({"pairs": 0}, "pairs: 0 is too small"),
        ({"opponents": 0}, "opponents: 0 is too small"),
        ({"learning_rate": 0.0}, "params.yaml, gbdt.learning_rate: 0.0 is too small"),
        ({"learning_rate": float("nan")}, "learning_rate: nan is too small"),
        ({"feature_fraction": 1.5}, "feature_fraction: 1.5 is too large"),
        ({"bagging_fraction": 0.0}, "bagging_fraction: 0.0 is too small"),
    ],
)
def test_parameters_out_of_range(data, wrong, named):
    with pytest.raises(InputError, match=named):
        trees.run(collection=LAYOUT, data=data, **(QUICK | wrong))
