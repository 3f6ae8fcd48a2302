"""Training of one network on the graphs of one collection."""

import copy
import sys
import time
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from stages.collection import is_tile
from stages.errors import InputError
from stages.gnn.batch import Batch, Static, join, select
from stages.gnn.inference import predict
from stages.gnn.loss import pairwise_hinge
from stages.gnn.network import LayoutNetwork, TileNetwork
from stages.metrics import collection_score, kendall

PRINT_SECONDS = 2
CLIP = 1.0
WATCHED = 1000  # configurations of a valid graph that choose the epoch: the official protocol has so many a graph
TOP = 10


@dataclass(frozen=True)
class Settings:
    """The knobs of the stage, as in params.yaml."""

    width: int
    layers: int
    cross_attention: bool
    configurations: int
    graphs: int
    epochs: int
    patience: int
    learning_rate: float
    weight_decay: float
    dropout: float
    margin: float


@contextmanager
def deterministic(seed: int) -> Iterator[None]:
    """Same seed, same machine: same bits. Sums depend on the number of threads, which is one: the cores train seeds."""
    before = torch.are_deterministic_algorithms_enabled(), torch.get_num_threads()
    filled = torch.utils.deterministic.fill_uninitialized_memory
    torch.use_deterministic_algorithms(True)
    torch.utils.deterministic.fill_uninitialized_memory = False  # a tenth of a step; nothing here reads such memory
    torch.set_num_threads(1)
    torch.manual_seed(seed)
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before[0])
        torch.utils.deterministic.fill_uninitialized_memory = filled
        torch.set_num_threads(before[1])


def build(collection: str, static: Static, settings: Settings) -> nn.Module:
    """An untrained network for graphs with the columns of this one."""
    shape = settings.width, settings.layers, settings.dropout
    if is_tile(collection):
        return TileNetwork(static.x.shape[1], static.graph.tile_config.shape[1], *shape)
    return LayoutNetwork(static.x.shape[1], *shape, settings.cross_attention)


def fit(
    network: nn.Module, train: list[Static], valid: list[Static], settings: Settings, collection: str, seed: int
) -> list[dict]:
    """Trains a network in place and leaves the weights of the best epoch in it.

    AdamW, learning rate on a cosine to zero, gradients clipped to norm 1; an epoch visits every training graph once,
    in a new order. The best epoch has the best validation metric (`quality`), on at most `WATCHED` configurations of
    each valid graph, the same in every epoch and of every seed: TpuGraphs has up to 100,040 of one. `patience` epochs
    without a better one end the training. Where validation says nothing (no graph that can be ranked) the last epoch
    stays. A line every few epochs goes to stderr, because when it comes is the clock's choice: the console shows it,
    the report, which has the same bytes every time, leaves it out.

    Returns the training curve: dicts of seed, epoch (from 1), loss, valid. Raises InputError where the loss or a score
    is no number.
    """
    rng = np.random.default_rng(seed)
    valid = [watched(static) for static in valid]
    optimizer = torch.optim.AdamW(network.parameters(), lr=settings.learning_rate, weight_decay=settings.weight_decay)
    steps = settings.epochs * -(-len(train) // settings.graphs)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    curve, best, best_epoch, best_weights, printed = [], np.nan, 0, None, 0.0
    for epoch in range(1, settings.epochs + 1):
        network.train()
        batches = _batches(train, settings, rng)
        loss = float(np.mean([_step(network, batch, optimizer, schedule, settings.margin) for batch in batches]))
        predictions = [predict(network, static) for static in valid]
        if not np.isfinite(loss) or not all(np.isfinite(scores).all() for scores in predictions):
            raise InputError(
                f"gnn, {collection}: seed {seed} diverged in epoch {epoch} (loss {loss}); "
                f"lower gnn.learning_rate, now {settings.learning_rate:g}, and train again"
            )
        value = quality(predictions, valid)
        curve.append({"seed": seed, "epoch": epoch, "loss": loss, "valid": value})
        if value > best or (np.isnan(best) and not np.isnan(value)):
            best, best_epoch, best_weights = value, epoch, copy.deepcopy(network.state_dict())
        last = epoch == settings.epochs or (best_epoch and epoch - best_epoch >= settings.patience)
        if last or time.monotonic() - printed >= PRINT_SECONDS:
            printed = time.monotonic()
            print(_line(collection, curve[-1], settings.epochs, best), file=sys.stderr, flush=True)
        if last:
            break
    if best_weights is not None:
        network.load_state_dict(best_weights)
    return curve


def watched(static: Static) -> Static:
    """The graph with the configurations that choose the epoch: all, or `WATCHED` drawn with a seed from its id."""
    if static.graph.configurations <= WATCHED:
        return static
    rng = np.random.default_rng(zlib.crc32(static.graph.id.encode()))
    return select(static, _sample(static.graph.configurations, WATCHED, rng))


def quality(predictions: list[np.ndarray], statics: list[Static]) -> float:
    """Validation metric, larger is better: mean over the graphs that can be ranked; NaN where there are none.

    Layout: Kendall tau-b. Tile: 2 - mean of the predicted ten / mean of the best ten; the official best of five is too
    noisy to choose an epoch by (first-place solution).
    """
    pairs = zip(predictions, statics, strict=True)
    return collection_score(_graph_quality(scores, static) for scores, static in pairs)


def smoothed_slowdown(score: np.ndarray, target: np.ndarray, top: int = TOP) -> float:
    """2 - mean target of the `top` first by score (stable) / mean of the `top` smallest targets; at most 1."""
    chosen = target[np.argsort(score, kind="stable")[:top]]
    return 2 - float(chosen.mean() / np.sort(target)[:top].mean())


def _graph_quality(scores: np.ndarray, static: Static) -> float:
    target = np.asarray(static.graph.target)
    if static.own is not None:
        return kendall(scores, target)
    return smoothed_slowdown(scores, target) if len(np.unique(target)) > 1 else float("nan")


def _batches(train: list[Static], settings: Settings, rng: np.random.Generator) -> Iterator[Batch]:
    """An epoch: every graph once, `graphs` at a time, with `configurations` of each (all, where it has fewer)."""
    order = rng.permutation(len(train))
    for start in range(0, len(train), settings.graphs):
        chosen = [train[i] for i in order[start : start + settings.graphs]]
        yield join(chosen, [_sample(static.graph.configurations, settings.configurations, rng) for static in chosen])


def _sample(count: int, wanted: int, rng: np.random.Generator) -> np.ndarray:
    """Indices in ascending order: reading them from a memory-mapped file is then one pass."""
    return np.arange(count) if count <= wanted else np.sort(rng.choice(count, wanted, replace=False))


def _step(network: nn.Module, batch: Batch, optimizer, schedule, margin: float) -> float:
    batch = batch.to(next(network.parameters()).device)
    loss = pairwise_hinge(network(batch), batch.order, margin, batch.mask)
    optimizer.zero_grad()
    loss.backward()
    nn.utils.clip_grad_norm_(network.parameters(), CLIP)
    optimizer.step()
    schedule.step()
    return float(loss.detach())


def _line(collection: str, row: dict, epochs: int, best: float) -> str:
    name = "top-10" if is_tile(collection) else "tau"
    return (
        f"{collection} seed {row['seed']} epoch {row['epoch']}/{epochs} loss {row['loss']:.2f} "
        f"valid {name} {row['valid']:.3f} (best {best:.3f})"
    )
