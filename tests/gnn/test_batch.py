"""From graphs to batches: the joining of samples."""

import numpy as np
import pytest
import torch

from stages.gnn.batch import join
from stages.gnn.prepared_graph import prepare
from tests.support import networks
from tests.support.graphs import (
    LAYOUT,
    TILE,
    TINY,
    prepared,
    sample,
    untrained,
)
from tests.support.networks import SEGMENTS


def test_shorter_samples_are_padded_and_masked():
    statics = prepared([sample(LAYOUT, seed, configurations=9) for seed in range(2)], networks.settings(**TINY))
    batch = join(statics, [np.array([4, 1, 7]), np.array([2])])
    assert batch.mask.tolist() == [[True, True, True], [True, False, False]]
    assert batch.order[0].tolist() == statics[0].order[[4, 1, 7]].tolist()
    assert batch.order[1].tolist() == [statics[1].order[2]] * 3
    rows = batch.readout.matrix.to_dense().sum(dim=1).tolist()
    nodes = [len(static.states(0).levels[-1].nodes) for static in statics]
    assert rows == [nodes[0]] * 3 + [nodes[1], 0, 0]
    assert join(statics, [np.array([4, 1]), np.array([2, 0])]).mask is None


@pytest.mark.parametrize("collection", [LAYOUT, TILE])
def test_padding_changes_no_score(collection):
    """The same graphs beside one with more configurations; also when a batch of all was made, and kept, before."""
    chosen = networks.settings(**TINY)
    statics = prepared([sample(collection, seed, configurations=5 * seed + 4) for seed in range(2)], chosen)
    network = untrained(statics[0], chosen)
    every = [np.arange(4), np.arange(9)]
    for _ in range(2):
        alone = network(join(statics[:1], every[:1]).to(torch.float64))[0]
        beside = network(join(statics, every).to(torch.float64))[0]
        torch.testing.assert_close(beside[:4], alone, rtol=1e-10, atol=1e-12)


def test_a_batch_goes_to_another_type_as_a_whole():
    (static,) = prepared([sample(LAYOUT)], networks.settings(**TINY))
    batch = join([static], [np.arange(4)]).to(torch.float64)
    found = [batch.x, batch.columns, batch.scale, batch.readout.transposed, batch.layers[1].count]
    found += [batch.layers[0].messages.matrix, batch.copies.facts.matrix, batch.copies.readout.matrix]
    assert {part.dtype for part in found} == {torch.float64}
    assert {part.dtype for part in (batch.order, batch.graph, batch.layers[0].own)} == {torch.int64}
    assert batch.to(torch.float64) is batch and batch.to(torch.device("cpu")) is batch


@pytest.mark.parametrize("collection", [LAYOUT, TILE])
def test_batches_are_kept_for_all_configurations_alone(collection):
    """In this order: another sample, another order or other segments are another batch, with its own scores."""
    chosen = networks.settings(**SEGMENTS)
    (static,) = prepared([sample(collection)], chosen)
    every = np.arange(static.graph.configurations)
    kept = join([static], [every])
    assert join([static], [every.copy()]) is kept
    network = untrained(static, chosen).float()
    with torch.inference_mode():
        inferred = join([static], [every], [np.array([0])])
        assert torch.equal(network(kept), network(join([static], [every])))
    assert not inferred.x.is_inference()  # it may be trained on
    others = [(every[::-1], None), (every[:-1], None)]
    if collection == LAYOUT:
        others.append((every, [np.array([0])]))  # a kernel has no other segment
    for sample_, numbers in others:
        other = join([static], [sample_], numbers)
        assert other is not kept
        fresh = prepare(static.graph, static.view)
        assert torch.equal(network(other), network(join([fresh], [sample_], numbers)))
