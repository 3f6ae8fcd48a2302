"""Networks and trainings that several tests of the graph network look at."""

import os
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from stages import gnn
from stages.gnn.batch import join
from stages.gnn.network import build
from stages.gnn.prepared_graph import prepare
from stages.gnn.settings import Settings
from stages.gnn.training import Training
from stages.graphs import npz
from stages.graphs.collection import SPLITS, folder
from tests.support.graphs import (
    LAYOUT,
    TINY,
    TINY_SEGMENTS,
    model_graph,
    prepared,
)

#: The knobs that a test does not name: they stay, whatever params.yaml has.
DEFAULTS = {
    "seeds": 3,
    "width": 64,
    "layers": 2,
    "graph": "pruned",
    "direction": "both",
    "messages": "sage",
    "facts": True,
    "overridden": False,
    "copies": True,
    "norm": "layer",
    "channel_attention": False,
    "cross_attention": True,
    "readout": "sum",
    "fusion": "late",
    "loss": "hinge",
    "margin": 1.0,
    "pool": 1000,
    "configurations": 64,
    "sampling": "uniform",
    "graphs": 1,
    "epochs": 40,
    "patience": 10,
    "learning_rate": 0.001,
    "weight_decay": 0.01,
    "dropout": 0.3,
    "average": 0.0,
    "gst": "full",
    "partition": "contiguous",
    "segment_nodes": 128,
    "segments": 1,
    "keep": 0.5,
    "finetune": 20,
    "permutations": 1,
}


def settings(**changes):
    return Settings(**DEFAULTS | changes)


def run(*, collection, data, **changes):
    """The stage with `DEFAULTS`, and `changes` over them."""
    return gnn.run(collection=collection, knobs=DEFAULTS | changes, data=data)


SEGMENTS = TINY | TINY_SEGMENTS | {"gst": "gst"}

SMOOTH = TINY | TINY_SEGMENTS | {"dropout": 0.0, "loss": "logistic"}


class Recorder(Training):
    """Keeps the gradients of a step and takes none."""

    def _descend(self, loss, module):
        parameters = list(module.parameters())
        found = torch.autograd.grad(loss, parameters, allow_unused=True, retain_graph=True)
        self.gradients = [torch.zeros_like(p) if g is None else g for g, p in zip(found, parameters, strict=True)]


def recorder(members, chosen):
    statics = prepared(members, chosen)
    torch.manual_seed(3)
    network = build(LAYOUT, statics[0], chosen)
    found = Recorder(network, statics, [], chosen, LAYOUT, 0)
    if found.history is not None:
        found._refresh()
    return found, network, statics


REAL = os.environ.get("TPUGRAPHS_DIR")

WAYS = ("both", "producers", "consumers")


def double(statics, chosen, segments=None):
    return join(statics, chosen, segments).to(torch.float64)


def dense(statics):
    """The same graphs, every node with a state of its own in every configuration."""
    return [prepare(static.graph, replace(static.view, shared=False)) for static in statics]


def real_graphs(collection):
    """Every real graph of a collection with all of its configurations, pruned to one step."""
    folders = [folder(Path(REAL, "npz_all"), collection, split) for split in SPLITS]
    files = [file for place in folders for file in sorted(place.glob("*.npz"))]
    if not files:
        pytest.skip(f"no real graph of {collection}")
    return [model_graph(collection, npz.read(file, collection), file.stem, hops=1) for file in files]
