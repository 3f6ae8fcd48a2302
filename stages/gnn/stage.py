"""The gnn stage: trains a network per seed on one collection and scores its valid and test graphs."""

import os
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import polars as pl
from safetensors.torch import save
from torch import nn

from stages import files, scores
from stages.collection import is_tile, slug
from stages.dataset import ModelGraph, manifest, model_graphs, prune_folder
from stages.errors import InputError
from stages.gnn.batch import Static, prepare
from stages.gnn.inference import predict
from stages.gnn.training import Settings, build, deterministic, fit
from stages.metrics import graph_score

Trained = tuple[list[dict], pl.DataFrame, bytes]  # curve, scores, weights of one seed
SCORED = ("valid", "test")


def run(
    *,
    collection: str,
    seeds: int = 3,
    width: int = 64,
    layers: int = 2,
    cross_attention: bool = True,
    configurations: int = 32,
    graphs: int = 1,
    epochs: int = 40,
    patience: int = 10,
    learning_rate: float = 0.001,
    weight_decay: float = 0.01,
    dropout: float = 0.3,
    margin: float = 1.0,
    data: str = "data",
) -> dict:
    """Trains `seeds` networks on the collection's train graphs; scores all configurations of valid and test.

    `graphs` graphs with `configurations` sampled configurations each make a training step; `cross_attention` is for
    layouts only, a tile's network has none. Reads data/prune and
    data/pad; writes below data/gnn/SLUG: scores.parquet (member "gnn", seeds 0, 1, ...), weights-SEED.safetensors and
    curves.csv (seed, epoch, loss, valid); weights of further seeds, left by an earlier run, are removed.

    Returns {"curves": frame as curves.csv; "valid": frame of graph, nodes, configurations, mean and sd over seeds of
    the official metric and `all`, that of the seeds' mean rank; "metric": its name; "watched": the metric that chooses
    the epoch; "train": number of graphs; "seconds": training and scoring}.

    Raises InputError for parameters out of range, no train graph, and training that diverges.
    """
    settings = Settings(
        width, layers, cross_attention, configurations, graphs, epochs, patience, learning_rate, weight_decay, dropout,
        margin,
    )  # fmt: skip
    _check(settings, seeds)
    start = time.monotonic()
    listed = manifest(prune_folder(data, collection))["graphs"]
    if not listed["train"]:
        raise InputError(
            f"{prune_folder(data, collection)}/manifest.json: lists no train graph; give {collection} some"
        )
    folder = Path(data, "gnn", slug(collection))
    folder.mkdir(parents=True, exist_ok=True)
    results = _train_all(seeds, partial(_train, collection=collection, settings=settings, data=data))
    curves = pl.DataFrame([row for curve, _, _ in results for row in curve])
    table = pl.concat([frame for _, frame, _ in results])
    for seed, (_, _, weights) in enumerate(results):
        files.replace(folder / f"weights-{seed}.safetensors", weights)
    _remove_weights(folder, from_seed=seeds)
    scores.write(table, folder / "scores.parquet")
    files.replace(folder / "curves.csv", curves.write_csv().encode())
    return {
        "curves": curves,
        "valid": _valid_table(table, model_graphs(data, collection, "valid")),
        "metric": "slowdown score" if is_tile(collection) else "Kendall tau-b",
        "watched": "top-10 slowdown score" if is_tile(collection) else "Kendall tau-b",
        "train": len(listed["train"]),
        "seconds": time.monotonic() - start,
    }


def _train_all(seeds: int, train: Callable[[int], Trained]) -> list[Trained]:
    """Every seed's result, as many at a time as there are cores.

    A core to each seed and one thread in it, not all cores to each step: on steps of milliseconds threads wait for one
    another more than they save. So no sum depends on the number of cores either.
    """
    workers = min(seeds, os.cpu_count() or 1)
    if workers == 1:
        return [train(seed) for seed in range(seeds)]
    context = get_context("forkserver")  # a plain fork of a process that has trained cannot train
    context.set_forkserver_preload([__name__])
    with ProcessPoolExecutor(workers, mp_context=context) as pool:
        return list(pool.map(train, range(seeds)))


def _train(seed: int, *, collection: str, settings: Settings, data: str) -> Trained:
    """Trains one seed: its curve, its scores of valid and test graphs, its weights as safetensors bytes."""
    train, *scored = (
        [prepare(graph) for graph in model_graphs(data, collection, split)] for split in ("train", *SCORED)
    )
    with deterministic(seed):
        network = build(collection, train[0], settings)
        curve = fit(network, train, scored[0], settings, collection, seed)
        frames = [_scores(network, static, seed) for statics in scored for static in statics]
    # The layout vocabulary is one table under two names; a tensor is stored once, under the first.
    weights = {name: tensor.detach().cpu().contiguous() for name, tensor in network.named_parameters()}
    return curve, pl.concat(frames) if frames else pl.DataFrame(schema=scores.SCHEMA), save(weights)


def _check(settings: Settings, seeds: int) -> None:
    """InputError for values that no training can use."""
    least = {"width": 1, "layers": 0, "configurations": 2, "graphs": 1, "epochs": 1, "patience": 1}
    values = {name: getattr(settings, name) for name in least} | {"seeds": seeds}
    for name, value in values.items():
        if value < (minimum := least.get(name, 1)):
            raise InputError(f"params.yaml, gnn.{name}: is {value}; give at least {minimum}")
    if settings.cross_attention and settings.width % 2:
        raise InputError(f"params.yaml, gnn.width: is {settings.width}; cross attention halves it, give an even number")
    if not 0 <= settings.dropout < 1:
        raise InputError(f"params.yaml, gnn.dropout: is {settings.dropout}; give a share from 0 to below 1")
    if settings.learning_rate <= 0:
        raise InputError(f"params.yaml, gnn.learning_rate: is {settings.learning_rate}; give a positive number")
    for name in ("weight_decay", "margin"):
        if getattr(settings, name) < 0:
            raise InputError(f"params.yaml, gnn.{name}: is {getattr(settings, name)}; give 0 or more")


def _scores(network: nn.Module, static: Static, seed: int) -> pl.DataFrame:
    graph = static.graph
    return scores.frame(graph.split, graph.id, graph.config_index, "gnn", seed, predict(network, static))


def _valid_table(table: pl.DataFrame, valid: list[ModelGraph]) -> pl.DataFrame:
    """Per valid graph the official metric: mean and sd over seeds, and of the seeds' mean rank; worst graph first."""
    rows = []
    for graph in valid:
        mine = table.filter(pl.col("split") == "valid", pl.col("graph") == graph.id)
        seeds = [part["score"].to_numpy() for part in mine.partition_by("seed", maintain_order=True)]
        together = scores.ranking(mine).sort("configuration")["score"].to_numpy()
        by_seed = [graph_score(graph.collection, score, graph.target) for score in seeds]
        rows.append(
            {
                "graph": graph.id,
                "nodes": len(graph.x),
                "configurations": graph.configurations,
                "mean": float(np.mean(by_seed)),
                "sd": float(np.std(by_seed)),
                "all": graph_score(graph.collection, together, graph.target),
            }
        )
    schema = {"graph": pl.String, "nodes": pl.Int64, "configurations": pl.Int64}
    schema |= dict.fromkeys(("mean", "sd", "all"), pl.Float64)
    return pl.DataFrame(rows, schema=schema).sort("all", "graph")


def _remove_weights(folder: Path, from_seed: int) -> None:
    """Removes weights of seeds that an earlier run had more of: beside this run's scores they would be another's."""
    for path in folder.glob("weights-*.safetensors"):
        seed = path.stem.removeprefix("weights-")
        if seed.isdecimal() and int(seed) >= from_seed:
            path.unlink()
