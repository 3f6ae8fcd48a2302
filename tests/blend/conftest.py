"""Packed graphs for the tests of blending."""

import numpy as np
import pytest

from stages.graphs import dataset
from tests.support.blending import (
    CONFIGURATIONS,
    IDS,
    graph,
)


@pytest.fixture
def packed(monkeypatch):
    """Three valid graphs of two families and two test graphs in every collection; valid run times are known."""
    rng = np.random.default_rng(3)
    graphs = {
        split: [graph(name, rng.permutation(CONFIGURATIONS) + 1.0) for name in names] for split, names in IDS.items()
    }

    def manifest(folder):
        listed = {
            split: [{"id": each.id, "configurations": len(each.target)} for each in part]
            for split, part in graphs.items()
        }
        return {"graphs": listed}

    monkeypatch.setattr(dataset, "manifest", manifest)
    monkeypatch.setattr(dataset, "graphs", lambda data, collection, split: graphs[split])
    return graphs
