"""Scores of all configurations, in chunks."""

import numpy as np
import pytest
import torch

from stages.gnn import inference
from stages.gnn.batch import join
from stages.gnn.inference import predict
from stages.graphs.collection import COLLECTIONS
from tests.support import networks
from tests.support.graphs import (
    LAYOUT,
    TINY,
    prepared,
    sample,
    untrained,
)
from tests.support.networks import REAL, SMOOTH, real_graphs, recorder


def test_chunks_of_embeddings_are_those_of_prediction(monkeypatch):
    """The table is filled with what the best network would add in the chunks it is scored in."""
    monkeypatch.setattr(inference, "chunk_size", lambda nodes: 3)
    chosen = networks.settings(**SMOOTH | {"gst": "gst+e"})
    found, network, statics = recorder([sample(LAYOUT, nodes=12, configurations=8)], chosen)
    table = torch.from_numpy(found.history.read(0, np.arange(8), np.arange(len(statics[0].segments))))
    with torch.no_grad():
        scores = (network.head(table)[:, 0] + network.of_assigned(join([statics[0]], [np.arange(8)]))[0]).numpy()
    np.testing.assert_allclose(scores, predict(network, statics[0]), rtol=1e-2, atol=1e-2)
    assert len({len(chunk) for chunk in inference.chunks(statics[0])}) == 2


@pytest.mark.skipif(not REAL, reason="TPUGRAPHS_DIR does not name a folder of real TpuGraphs files")
@pytest.mark.parametrize("collection", COLLECTIONS)
def test_an_untrained_network_ranks_every_configuration_of_every_real_graph(collection):
    for graph in real_graphs(collection):
        chosen = networks.settings(**TINY)
        (static,) = prepared([graph], chosen)
        score = predict(untrained(static, chosen).float(), static)
        assert score.shape == (graph.configurations,) and np.isfinite(score).all()
        configured = graph.codes if graph.tile_config is None else graph.tile_config
        distinct, which = np.unique(configured, axis=0, return_inverse=True)
        first = np.unique(which, return_index=True)[1]
        np.testing.assert_allclose(score, score[first][which.reshape(-1)], rtol=1e-5, atol=1e-6)  # equal ones tie
        assert len(np.unique(score)) > 1 or len(distinct) == 1


def test_chunks_are_the_same_in_every_run_and_cover_all(monkeypatch):
    monkeypatch.setattr(inference, "chunk_size", lambda nodes: 5)
    (static,) = prepared([sample(LAYOUT, configurations=13)], networks.settings(**TINY))
    network = untrained(static, networks.settings(**TINY)).float()
    first, second = predict(network, static), predict(network, static)
    assert np.array_equal(first, second) and np.isfinite(first).all()
    sizes = [len(chunk) for chunk in inference.chunks(static)]
    assert sizes == [5, 4, 4] and sorted(np.concatenate(inference.chunks(static)).tolist()) == list(range(13))
    without = networks.settings(**TINY | {"cross_attention": False})
    network = untrained(static, without).float()
    chunked = predict(network, static)
    monkeypatch.undo()
    np.testing.assert_allclose(chunked, predict(network, static), rtol=1e-4, atol=1e-6)


def test_several_permutations_average_what_the_chunks_compare(monkeypatch):
    monkeypatch.setattr(inference, "chunk_size", lambda nodes: 5)
    (static,) = prepared([sample(LAYOUT, configurations=13)], networks.settings(**TINY))
    network = untrained(static, networks.settings(**TINY)).float()
    whole = network(join([static], [np.arange(13)]))[0].detach().numpy()
    errors = [np.abs(predict(network, static, permutations=count) - whole).mean() for count in (1, 40)]
    assert 0 < errors[1] < errors[0]
    monkeypatch.undo()
    np.testing.assert_array_equal(predict(network, static, permutations=3), predict(network, static))


def test_some_configurations_score_as_a_batch_of_them_does():
    chosen = networks.settings(**TINY)
    (static,) = prepared([sample(LAYOUT, configurations=9)], chosen)
    network = untrained(static, chosen).float()
    some = np.array([1, 4, 7])
    expected = network(join([static], [some]))[0].detach().numpy()
    np.testing.assert_allclose(predict(network, static, some), expected, rtol=1e-6)
