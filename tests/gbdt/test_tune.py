"""The search for hyper-parameters, at sizes of a second; it needs what requirements-dev.txt names."""

import numpy as np
import polars as pl
import pytest

from stages.gbdt import tune
from stages.gbdt.feature_table import labelled
from stages.prune import stage as prune
from tests.support.samples import write_root

LAYOUT = "layout:nlp:random"
SMALL = {"folds": 2, "trees": 4, "objectives": ["pointwise", "ridge"]}


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    path = tmp_path_factory.mktemp("tune")
    root = write_root(path, {"train": 3, "valid": 2, "test": 1}, configurations=12)
    prune.run(collection=LAYOUT, root=str(root), data=str(path))
    return str(path)


def test_trials_begin_with_the_parameters_and_are_judged_out_of_fold(data):
    found = tune.search([LAYOUT], 4, data, **SMALL)
    assert sorted(found["trial"]) == [0, 1, 2, 3] and (np.diff(found["score"]) <= 0).all()
    settings = tune._settings("params.yaml", LAYOUT, SMALL)
    first = found.row(by_predicate=pl.col("trial") == 0, named=True)
    assert {name: first[name] for name in tune.TUNED} == {name: getattr(settings, name) for name in tune.TUNED}
    graphs = labelled(data, LAYOUT, settings)
    assert {sheet.split for sheet in graphs} == {"train", "valid"} and settings.seeds == 1
    assert first["score"] == first[LAYOUT] == tune.judged(LAYOUT, graphs, settings)
    assert found.equals(tune.search([LAYOUT], 4, data, **SMALL))
