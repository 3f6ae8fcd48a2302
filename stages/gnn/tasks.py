"""The stage's tasks, which run on any core or machine: a seed is trained, a graph is scored by all seeds.

What this module imports is the code that shapes a score, see `identity.CODE`. No page is below it.
"""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import polars as pl
from safetensors.torch import load, save

from stages.gnn import identity
from stages.gnn.checkpoint import Checkpoint
from stages.gnn.device import device_of
from stages.gnn.inference import generator, predict
from stages.gnn.memory import Caches
from stages.gnn.network import build
from stages.gnn.prepared_graph import prepare
from stages.gnn.settings import Settings
from stages.gnn.training import Training, deterministic
from stages.graphs.collection import slug
from stages.graphs.dataset import ModelGraph, model_graph, model_graphs
from stages.scoring import scores

#: modules that AdamW loads at its first step, which takes as long as torch: workers have them once for all
PRELOAD = ("torch._dynamo",)
WATCHED = 1000  # configurations of a valid graph that choose the epoch: the official protocol has so many a graph
SCORED = ("valid", "test")


@dataclass(frozen=True)
class TrainedSeed:
    """One seed's training. curve: rows of `CURVE`; weights: safetensors bytes; seconds: of the processor."""

    curve: list[dict]
    weights: bytes
    seconds: float


def train_seed(seed: int, *, collection: str, settings: Settings, device: str, data: str) -> TrainedSeed:
    """Trains one seed, or goes on from its checkpoint, which may be that of a finished training."""
    device = device_of(device)
    most = {"train": settings.pool, "valid": WATCHED}
    graphs = {
        split: [some_configurations(graph, count) for graph in model_graphs(data, collection, split)]
        for split, count in most.items()
    }
    training_identity = identity.of_training(collection, seed, settings, device, [*graphs["train"], *graphs["valid"]])
    checkpoint = Checkpoint(checkpoints(data, collection) / f"{seed}.safetensors", training_identity)
    view, caches = settings.view(collection), Caches()
    train, watched = ([prepare(graph, view, data, caches) for graph in part] for part in graphs.values())
    with deterministic(seed), _on_sigterm(checkpoint.ask):
        network = build(collection, train[0], settings).to(device)
        training = Training(network, train, watched, settings, collection, seed)
        checkpoint.restore(training)
        curve = training.run(lambda: checkpoint.after_step(training))
    # A tensor is stored once, under its first name.
    weights = {name: tensor.detach().cpu().contiguous() for name, tensor in network.named_parameters()}
    return TrainedSeed(curve, save(weights), checkpoint.seconds)


def score_graph(
    task: tuple[str, str], *, collection: str, settings: Settings, device: str, data: str, weights: list[bytes]
) -> list[pl.DataFrame]:
    """Scores of one graph, a split and an id, by the network of each seed; its states are found once for all."""
    split, id = task
    device = device_of(device)
    prepared = prepare(model_graph(data, collection, split, id), settings.view(collection), data)
    frames = []
    for seed, content in enumerate(weights):
        with deterministic(seed):
            network = build(collection, prepared, settings)
            network.load_state_dict(load(content), strict=False)  # of a tensor with two names it has the first
            score = predict(network.to(device), prepared, permutations=settings.permutations)
        frames.append(scores.frame(split, id, prepared.graph.config_index, "gnn", seed, score))
    return frames


def score_table(frames: list[list[pl.DataFrame]], seeds: int) -> pl.DataFrame:
    """The scores of all graphs, seed by seed.

    Args:
        frames: of each graph, what `score_graph` returns.
        seeds: their number.
    """
    ordered = [of_graph[seed] for seed in range(seeds) for of_graph in frames]
    return pl.concat(ordered) if ordered else pl.DataFrame(schema=scores.SCHEMA)


def some_configurations(graph: ModelGraph, most: int) -> ModelGraph:
    """A graph with `most` of its configurations, drawn ones, in memory; the graph itself where it has no more.

    The draw is the same in every run, in every epoch and of every seed.
    """
    count = graph.configurations
    if count <= most:
        return graph
    rows = np.sort(generator(graph).choice(count, most, replace=False))
    taken = {
        name: None if (array := getattr(graph, name)) is None else array[rows]
        for name in ("codes", "tile_config", "layout_config", "target", "config_index")
    }
    return replace(graph, **taken, packed=graph.packed.taking(rows))


def checkpoints(data: str | Path, collection: str) -> Path:
    """Folder of one checkpoint per seed, and of what was left of one that was not written to its end."""
    return Path(data, "checkpoints", "gnn", slug(collection))


@contextlib.contextmanager
def _on_sigterm(handler: Callable) -> Iterator[None]:
    """Calls the handler on SIGTERM, where this thread may say so."""
    try:
        before = signal.signal(signal.SIGTERM, handler)
    except ValueError:  # only a process's main thread may
        yield
        return
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
