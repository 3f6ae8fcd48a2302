"""What a step draws."""

import numpy as np
import pytest

from stages.gnn import sampling
from stages.gnn.settings import CHOICES
from tests.support import networks
from tests.support.graphs import (
    LAYOUT,
    TINY,
    prepared,
    sample,
)


@pytest.mark.parametrize("method", CHOICES["sampling"])
def test_a_sample_is_distinct_and_ascending_and_reaches_every_configuration(method):
    chosen = networks.settings(**TINY | {"sampling": method})
    few, many = prepared([sample(LAYOUT, 0, configurations=6), sample(LAYOUT, 1, configurations=20)], chosen)
    rng = np.random.default_rng(0)
    assert sampling.sample(few, chosen, rng).tolist() == list(range(6))
    draws = [sampling.sample(many, chosen, rng) for _ in range(200)]
    assert all(len(draw) == 6 and (np.diff(draw) > 0).all() for draw in draws)
    count = np.bincount(np.concatenate(draws), minlength=20)
    assert count.min() > 30  # 60 are expected of each, but for stretches of three or four
    ends = [0, 3, 6, 10, 13, 16, 20]
    ranking = np.argsort(many.graph.target, kind="stable").argsort()
    stretches = np.array([np.histogram(ranking[draw], ends)[0] for draw in draws])
    assert (stretches == 1).all() == (method == "spread")
