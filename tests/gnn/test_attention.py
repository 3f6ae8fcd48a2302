"""What attention looks at."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from safetensors.torch import save

from stages.gnn.attention import attention
from stages.gnn.batch import join
from stages.gnn.network import build
from stages.gnn.prepared_graph import prepare
from stages.graphs.dataset import model_graphs
from tests.support import networks
from tests.support.graphs import LAYOUT, sample, write_data


def test_the_gates_are_those_of_the_attention_by_hand(tmp_path):
    """The whole graph as one batch of a dense network, whose states need no looking up."""
    write_data(tmp_path, LAYOUT, {"train": [sample(LAYOUT)], "valid": [sample(LAYOUT, seed=1)]})
    (graph,) = model_graphs(tmp_path, LAYOUT, "valid")
    chosen = networks.settings(width=8, layers=2, dropout=0.0, gst="full")
    static = prepare(graph, chosen.view(LAYOUT))
    torch.manual_seed(0)
    network = build(LAYOUT, static, chosen).eval()
    found = attention(LAYOUT, chosen, save(dict(network.named_parameters())), static)
    assert found.height and found["rank"].n_unique() == len(np.unique(graph.target))
    dense = prepare(graph, replace(chosen.view(LAYOUT), shared=False))
    batch = join([dense], [np.arange(graph.configurations)])
    seen = []
    network.blocks[-1].attention.register_forward_hook(lambda module, given, result: seen.append((given[0], given[1])))
    network.states(batch)
    x, layer = seen[0]
    gates = torch.zeros(len(x))
    for node in layer.node.unique():
        mine = layer.node == node
        share = torch.softmax(x[mine] / network.blocks[-1].attention.temperature, dim=0) * graph.configurations
        gates[mine] = (x[mine].abs() * share).sum(1) / x[mine].abs().sum(1)
    dense, shown = gates.detach().numpy(), found["gate"].to_numpy()
    assert np.abs(shown[:, None] - dense[None]).min(axis=1).max() < 1e-4
    assert shown.mean() == pytest.approx(1, abs=0.2) and shown.std() > 0.1
