"""Scores of all configurations of a graph."""

from __future__ import annotations

import zlib

import numpy as np
import torch
from torch import nn

from stages.gnn.batch import join
from stages.gnn.prepared_graph import PreparedGraph
from stages.graphs.dataset import ModelGraph

CHUNK = 2048  # configurations scored, and attended to, at a time
CELLS = 2**21  # nodes x configurations at a time


def chunk_size(nodes: int) -> int:
    """Configurations of a graph of so many nodes that are scored at a time: `CHUNK`, fewer for large graphs."""
    return max(32, min(CHUNK, CELLS // max(1, nodes)))


def predict(
    network: nn.Module, prepared: PreparedGraph, sample: np.ndarray | None = None, permutations: int = 1
) -> np.ndarray:
    """(c,) float64 scores of the configurations of a graph, all or a sample of them; smaller is faster.

    Cross-configuration attention compares the configurations of a chunk. Where one chunk holds all, their order does
    not matter; else chunks of equal size are drawn with a seed from the graph's id, so that they are always the same,
    and drawn anew for each of `permutations`, over which the scores are averaged (first-place solution). Segments are
    scored one after the other, so that memory does not grow with the graph.

    Args:
        network: trained, on the device that scores.
        prepared: the graph.
        sample: (c,) configurations; all by default.
        permutations: draws of the chunks.
    """
    configurations = np.arange(prepared.graph.configurations) if sample is None else sample
    count, rng = len(configurations), generator(prepared.graph)
    scores = np.zeros(count)
    rounds = permutations if count > chunk_size(prepared.nodes) else 1
    network.eval()
    with torch.inference_mode():
        for _ in range(rounds):
            for indices in chunks(prepared, count, rng):
                scores[indices] += _scores(network, prepared, configurations[indices]) / rounds
    return scores


def embeddings(network: nn.Module, prepared: PreparedGraph, sample: np.ndarray, segment: int) -> torch.Tensor:
    """(k, width) what a segment adds to its graph, before the head, in these configurations."""
    batch = join([prepared], [sample], [np.array([segment])]).to(next(network.parameters()).device)
    return network.embeddings(network.states(batch), batch)[0]


def generator(graph: ModelGraph) -> np.random.Generator:
    """Random numbers that are the same for a graph in every run and of every seed."""
    return np.random.default_rng(zlib.crc32(graph.id.encode()))


def chunks(
    prepared: PreparedGraph, count: int | None = None, rng: np.random.Generator | None = None
) -> list[np.ndarray]:
    """The chunks that `predict` takes.

    Args:
        prepared: the graph.
        count: of the configurations to be scored; by default all.
        rng: what chunks are drawn from if there are several; by default `generator` anew.

    Returns:
        0 ... count - 1 in chunks of about equal size, each ascending.
    """
    count = prepared.graph.configurations if count is None else count
    pieces = -(-count // chunk_size(prepared.nodes))
    order = np.arange(count) if pieces == 1 else (rng or generator(prepared.graph)).permutation(count)
    return [np.sort(indices) for indices in np.array_split(order, pieces)]


def _scores(network: nn.Module, prepared: PreparedGraph, sample: np.ndarray) -> np.ndarray:
    device = next(network.parameters()).device
    total = np.zeros(len(sample))
    for segment in range(len(prepared.segments)):
        batch = join([prepared], [sample], [np.array([segment])]).to(device)
        total += network.scores(network.states(batch), batch, whole=segment == 0)[0].double().cpu().numpy()
    return total
