"""What cross-configuration attention looks at, on one graph."""

from __future__ import annotations

import numpy as np
import polars as pl
import torch
from safetensors.torch import load
from scipy.stats import rankdata

from stages.gnn.batch import Static, join
from stages.gnn.settings import Settings
from stages.gnn.training import build
from stages.graphs.opcodes import OPCODE_NAMES

CONFIGURATIONS = 64  # shown at most, from the fastest to the slowest
SCHEMA = {"graph": pl.String, "node": pl.Int64, "opcode": pl.String, "place": pl.Float64, "gate": pl.Float64}


def attention(collection: str, settings: Settings, weights: bytes, static: Static | None) -> pl.DataFrame:
    """The gates of a trained network's last attention: a row per node and configuration, `SCHEMA`.

    A gate is what attention multiplies a node's state by in a configuration, k * softmax over the k configurations,
    here the mean over the channels, each weighted by how much passes: 1 where all configurations are treated alike.
    place: of the configuration by true run time, 1 the fastest. weights: of the network, as safetensors bytes. Empty
    for a network without attention, for None and for a graph whose states are not found once.
    """
    found = pl.DataFrame(schema=SCHEMA)
    if not (settings.cross_attention and settings.layers and static and static.moves is not None and static.keeps):
        return found
    network = build(collection, static, settings)
    network.load_state_dict(load(weights), strict=False)
    target = static.graph.target
    order = np.argsort(target, kind="stable")
    shown = np.unique(np.linspace(0, len(order) - 1, min(CONFIGURATIONS, len(order))).round().astype(int))
    sample = np.sort(order[shown])
    frames = [found]
    for number in range(len(static.segments)):
        node, gate = _gates(network.eval(), static, sample, number)
        k, nodes = gate.shape
        frames.append(
            pl.DataFrame(
                {
                    "graph": [static.graph.id] * gate.size,
                    "node": np.tile(node, k),
                    "opcode": [OPCODE_NAMES.get(int(code), "other") for code in static.graph.opcode[node]] * k,
                    "place": np.repeat(rankdata(target[sample]), nodes),
                    "gate": gate.ravel().astype(np.float64),
                },
                schema=SCHEMA,
            )
        )
    return pl.concat(frames)


def _gates(network: torch.nn.Module, static: Static, sample: np.ndarray, segment: int) -> tuple[np.ndarray, np.ndarray]:
    """Nodes (n,) of a segment, as numbered in the graph, and their gates (k, n) in the configurations of a sample."""
    batch = join([static], [sample], [np.array([segment])])
    seen = []

    def keep(module, given, passed):
        # A gate is not negative, and so the weighted mean is one of sums; a channel that is 0 says nothing.
        seen.append(passed.abs().sum(dim=1) / given[0].abs().sum(dim=1).clamp_min(torch.finfo(torch.float32).tiny))

    hook = network.blocks[-1].attention.register_forward_hook(keep)
    try:
        with torch.inference_mode():
            network.states(batch)
    finally:
        hook.remove()
    matrix = batch.readout.matrix
    states = matrix.col_indices().long().view(len(sample), -1)
    place = batch.layers[-1].node[states[0]]
    nodes = static.segments[segment].nodes[static.whole(segment).levels[-1].nodes[place.numpy()]]
    return nodes, seen[0][states].numpy()
