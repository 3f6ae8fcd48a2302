"""What cross-configuration attention looks at, on one graph."""

from __future__ import annotations

import numpy as np
import polars as pl
import torch
from safetensors.torch import load
from scipy.stats import rankdata

from stages.gnn.batch import join
from stages.gnn.network import build
from stages.gnn.prepared_graph import PreparedGraph
from stages.gnn.settings import Settings
from stages.graphs.opcodes import OPCODE_NUMBERS

CONFIGURATIONS = 64  # shown at most, from the fastest to the slowest
#: rank: of the configuration by true run time, 1 the fastest; gate: see `attention`
SCHEMA = {"graph": pl.String, "node": pl.Int64, "opcode": pl.String, "rank": pl.Float64, "gate": pl.Float64}
_OPCODE_NAMES = {number: name for name, number in OPCODE_NUMBERS.items()}


def attention(collection: str, settings: Settings, weights: bytes, prepared: PreparedGraph | None) -> pl.DataFrame:
    """The gates of a trained network's last attention, a row per node and configuration.

    A gate is what attention multiplies a node's state by in a configuration, k * softmax over the k configurations,
    here the mean over the channels, each weighted by how much passes: 1 where all configurations are treated alike.

    Args:
        collection: of the graph.
        settings: of the network.
        weights: of the network, as safetensors bytes.
        prepared: the graph; None gives no row.

    Returns:
        A frame of `SCHEMA`. Empty for a network without attention, and for a graph whose states are not found once.
    """
    empty = pl.DataFrame(schema=SCHEMA)
    if prepared is None or prepared.copies is None or not prepared.keeps_states:
        return empty
    if not settings.cross_attention or not settings.layers:
        return empty
    network = build(collection, prepared, settings).eval()
    network.load_state_dict(load(weights), strict=False)
    sample = _sample(prepared.graph.target)
    numbers = range(len(prepared.segments))
    return pl.concat([empty, *(_segment_gates(network, prepared, sample, number) for number in numbers)])


def _sample(target: np.ndarray) -> np.ndarray:
    """Configurations that are shown, ascending: evenly from the fastest to the slowest."""
    order = np.argsort(target, kind="stable")
    shown = np.unique(np.linspace(0, len(order) - 1, min(CONFIGURATIONS, len(order))).round().astype(int))
    return np.sort(order[shown])


def _segment_gates(network: torch.nn.Module, prepared: PreparedGraph, sample: np.ndarray, number: int) -> pl.DataFrame:
    """The rows of one segment."""
    graph = prepared.graph
    node, gate = _gates(network, prepared, sample, number)
    k, nodes = gate.shape
    columns = {
        "graph": [graph.id] * gate.size,
        "node": np.tile(node, k),
        "opcode": [_OPCODE_NAMES.get(int(code), "other") for code in graph.opcode[node]] * k,
        "rank": np.repeat(rankdata(graph.target[sample]), nodes),
        "gate": gate.ravel().astype(np.float64),
    }
    return pl.DataFrame(columns, schema=SCHEMA)


def _gates(
    network: torch.nn.Module, prepared: PreparedGraph, sample: np.ndarray, number: int
) -> tuple[np.ndarray, np.ndarray]:
    """Nodes (n,) of a segment, as numbered in the graph, and their gates (k, n) in the configurations of a sample."""
    batch = join([prepared], [sample], [np.array([number])])
    recorded = []

    def record(module, arguments, output):
        # A gate is not negative, and so the weighted mean is one of sums; a channel that is 0 says nothing.
        passing = arguments[0].abs().sum(dim=1).clamp_min(torch.finfo(torch.float32).tiny)
        recorded.append(output.abs().sum(dim=1) / passing)

    hook = network.blocks[-1].attention.register_forward_hook(record)
    try:
        with torch.inference_mode():
            network.states(batch)
    finally:
        hook.remove()
    matrix = batch.readout.matrix
    states = matrix.col_indices().long().view(len(sample), -1)
    index = batch.layers[-1].node[states[0]]
    nodes = prepared.segments[number].nodes[prepared.states(number).levels[-1].nodes[index.numpy()]]
    return nodes, recorded[0][states].numpy()
