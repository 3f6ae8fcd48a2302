"""Scores of all configurations of a graph."""

import zlib

import numpy as np
import torch
from torch import nn

from stages.gnn.batch import Static, join

CHUNK = 512  # configurations scored, and attended to, at a time
STATES = 2**20  # nodes x configurations at a time: 256 MB a tensor at width 64


def chunk_size(nodes: int) -> int:
    """Configurations of a graph of so many nodes that are scored at a time: `CHUNK`, fewer for large graphs."""
    return max(32, min(CHUNK, STATES // max(1, nodes)))


def predict(network: nn.Module, static: Static) -> np.ndarray:
    """(c,) float64 scores of all configurations of a graph; smaller is faster.

    Cross-configuration attention compares the configurations of a chunk. Where one chunk holds all, their order does
    not matter; else chunks of equal size are drawn with a seed from the graph's id, so that they are always the same.
    """
    count, chunk = static.graph.configurations, chunk_size(static.nodes)
    order = np.arange(count)
    if count > chunk:
        order = np.random.default_rng(zlib.crc32(static.graph.id.encode())).permutation(count)
    device = next(network.parameters()).device
    scores = np.empty(count)
    network.eval()
    with torch.inference_mode():
        for indices in np.array_split(order, -(-count // chunk)):
            scores[indices] = network(join([static], [indices]).to(device))[0].double().cpu().numpy()
    return scores
