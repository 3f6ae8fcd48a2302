"""The metric that chooses the epoch."""

import numpy as np
import pytest

from stages.gnn.validation import quality, smoothed_slowdown
from tests.support import networks
from tests.support.graphs import (
    LAYOUT,
    TILE,
    prepared,
    sample,
)


def test_smoothed_slowdown_by_hand():
    target = np.array([4.0, 1.0, 2.0, 3.0])
    assert smoothed_slowdown(np.array([9.0, 1, 2, 3]), target, top=2) == pytest.approx(1)
    assert smoothed_slowdown(np.array([0.0, 1, 2, 3]), target, top=2) == pytest.approx(2 - 2.5 / 1.5)


@pytest.mark.parametrize("collection", [LAYOUT, TILE])
def test_quality_is_the_mean_over_the_graphs(collection):
    graphs = [sample(collection, seed, configurations=count) for seed, count in enumerate((4, 12))]
    statics = prepared(graphs, networks.settings())
    scores = [np.arange(4.0), np.arange(12.0)]
    pairs = zip(scores, statics, strict=True)
    expected = np.mean([_metric(collection, score, static.graph.target) for score, static in pairs])
    assert quality(scores, statics) == pytest.approx(expected)


def _metric(collection, scores, target):
    if collection == TILE:
        return smoothed_slowdown(scores, target)
    signs = np.sign(target[:, None] - target) * np.sign(scores[:, None] - scores)
    return signs.sum() / np.sqrt((np.sign(target[:, None] - target) ** 2).sum() * len(scores) * (len(scores) - 1))
