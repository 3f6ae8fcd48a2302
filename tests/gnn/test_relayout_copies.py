"""Relayout copies as features of states."""

import numpy as np
import pytest

from stages.gnn.prepared_graph import prepare
from stages.statistics.layout import layout_statistics
from tests.support import networks
from tests.support.graphs import (
    LAYOUT,
    TINY,
    sample,
)


@pytest.mark.parametrize("seed", range(4))
def test_the_facts_of_copies_are_those_of_the_trees_statistics(seed):
    """Summed over the copies between nodes, and over those inside, they are the counts of the statistics."""
    graph = sample(LAYOUT, seed, nodes=20, configurable=10, configurations=12)
    moves = prepare(graph, networks.settings(**TINY).view(LAYOUT)).copies
    names, values = layout_statistics(graph.packed)
    counted = dict(zip(names, values.T, strict=True))
    between, inside = np.zeros((12, 2)), np.zeros((12, 2))  # it happens, its minor dimension moves
    for number, (asks, makes) in enumerate(moves.between):
        codes = graph.codes[:, asks].astype(int), graph.codes[:, makes].astype(int)
        between += moves.copy_columns(np.full(12, number), *codes)[:, :2]
    kinds = ("fixed", "transpose", "reshape", "reduce")
    for place in range(10):
        columns = moves.state_columns(np.full(12, place), graph.codes[:, place].astype(int))
        inside += columns[:, -3 * len(kinds) :].reshape(12, -1, 3)[..., :2].sum(axis=1)
    np.testing.assert_array_equal(between[:, 0], counted["copies_direct"] + counted["copies_indirect"])
    np.testing.assert_array_equal(inside[:, 0], sum(counted[f"copies_{kind}"] for kind in kinds))
    np.testing.assert_array_equal((between + inside)[:, 1], counted["copies_minor"])
    assert between.std() > 0 and inside.std() > 0
