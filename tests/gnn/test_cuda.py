"""The network on a CUDA device against the same network on the CPU."""

import numpy as np
import pytest
import torch

from stages.gnn.batch import Batch, join
from stages.gnn.inference import predict
from stages.gnn.loss import pairwise_hinge
from stages.gnn.network import build
from stages.gnn.settings import Settings
from stages.gnn.training import Training, deterministic
from tests.support import graphs, networks
from tests.support.graphs import LAYOUT, TILE

pytestmark = [
    pytest.mark.cuda,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device"),
]
NETWORKS = [
    pytest.param(LAYOUT, {}, id="layout"),
    pytest.param(LAYOUT, {"messages": "gatv2"}, id="gatv2"),
    pytest.param(LAYOUT, {"messages": "gcn"}, id="gcn"),
    pytest.param(LAYOUT, {"norm": "instance", "channel_attention": True}, id="instance norm"),
    pytest.param(LAYOUT, {"readout": "max"}, id="maximum"),
    pytest.param(LAYOUT, {"overridden": True, "direction": "consumers"}, id="overridden"),
    pytest.param(TILE, {}, id="tile"),
    pytest.param(TILE, {"fusion": "early"}, id="early fusion"),
]


def batch_of(collection: str, settings: Settings) -> tuple[torch.nn.Module, Batch]:
    """An untrained network and a batch of two graphs, in double precision."""
    prepared = graphs.prepared([graphs.sample(collection, seed, configurations=6 + seed) for seed in (0, 1)], settings)
    batch = join(prepared, [np.arange(each.graph.configurations) for each in prepared])
    return graphs.untrained(prepared[0], settings), batch.to(torch.float64)


def scores_and_gradients(network: torch.nn.Module, batch: Batch) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
    network.zero_grad()
    score = network(batch)
    pairwise_hinge(score, batch.order, 1.0, batch.mask).backward()
    gradients = {name: weight.grad for name, weight in network.named_parameters() if weight.grad is not None}
    return score.detach().cpu(), {name: gradient.detach().cpu().clone() for name, gradient in gradients.items()}


@pytest.mark.parametrize("strict", [False, True], ids=["free", "deterministic"])
@pytest.mark.parametrize("collection, knobs", NETWORKS)
def test_scores_and_gradients_are_those_of_the_cpu(collection, knobs, strict):
    network, batch = batch_of(collection, networks.settings(**{"width": 8, **knobs}))
    expected, gradients = scores_and_gradients(network, batch)
    network.to("cuda")
    if strict:  # as the stage trains
        with deterministic(0):
            score, moved = scores_and_gradients(network, batch.to(torch.device("cuda")))
    else:
        score, moved = scores_and_gradients(network, batch.to(torch.device("cuda")))
    torch.testing.assert_close(score, expected, rtol=1e-9, atol=1e-9)
    assert moved.keys() == gradients.keys()
    for name, gradient in gradients.items():
        torch.testing.assert_close(moved[name], gradient, rtol=1e-8, atol=1e-9, msg=lambda text, name=name: name + text)


@pytest.mark.parametrize("collection", [LAYOUT, TILE])
def test_predictions_are_those_of_the_cpu_to_the_rounding_of_float32(collection):
    settings = networks.settings(width=16)
    prepared = graphs.prepared([graphs.sample(collection, configurations=30)], settings)[0]
    torch.manual_seed(0)
    network = build(collection, prepared, settings)
    expected = predict(network, prepared)
    np.testing.assert_allclose(predict(network.to("cuda"), prepared), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("gst", ["full", "gst", "gst+efd"])
def test_a_training_in_bfloat16_stays_near_that_of_the_cpu(gst):
    """Masks of dropout are drawn on the device, so there are none here."""
    knobs = graphs.TINY | graphs.TINY_SEGMENTS | {"dropout": 0.0, "gst": gst, "epochs": 3, "learning_rate": 0.001}
    settings, curves = networks.settings(**knobs), {}
    for device in ("cpu", "cuda"):
        prepared = graphs.prepared([graphs.sample(LAYOUT, seed) for seed in range(3)], settings)
        with deterministic(0):
            network = build(LAYOUT, prepared[0], settings).to(device)
            curves[device] = Training(network, prepared[:2], prepared[2:], settings, LAYOUT, seed=0).run()
    losses = {device: [row["loss"] for row in curve] for device, curve in curves.items()}
    steps = min(map(len, losses.values()))  # a different valid metric may end a training earlier
    np.testing.assert_allclose(losses["cuda"][:steps], losses["cpu"][:steps], rtol=0.05, atol=0.05)
