"""The gnn stage: trains a network per seed on one collection and scores its valid and test graphs."""

from __future__ import annotations

import contextlib
import shutil
import signal
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import polars as pl
import torch
from safetensors.torch import load, save

from stages import checks, files
from stages.engine import elapsed_times, engine
from stages.errors import InputError
from stages.gnn.attention import attention
from stages.gnn.batch import Memory, Static, partitioned, prepare
from stages.gnn.checkpoint import Checkpoint, identity
from stages.gnn.graph_view import View
from stages.gnn.inference import drawn, predict
from stages.gnn.settings import Settings
from stages.gnn.training import Training, build, deterministic
from stages.graphs.collection import is_tile, slug
from stages.graphs.dataset import ModelGraph, graph_ids, manifest, model_graph, model_graphs, prune_folder
from stages.scoring import scores
from stages.scoring.metrics import graph_score

WATCHED = 1000  # configurations of a valid graph that choose the epoch: the official protocol has so many a graph
Trained = tuple[list[dict], bytes, float]  # curve, weights, processor seconds of one seed
SCORED = ("valid", "test")
LOWER = "gnn.configurations or gnn.segment_nodes"  # where memory runs out


@checks.entry("gnn", writes=True)
def run(*, collection: str, seeds: int = 3, data: str | Path = "data", **knobs) -> dict:
    """Trains `seeds` networks on the collection's train graphs; scores all configurations of valid and test.

    TpuGraphs has up to 100,040 configurations of a graph. Of a train graph at most `pool` take part, of a valid one
    `WATCHED` choose the epoch: drawn ones, the same in every run, in every epoch and of every seed.

    knobs: the fields of `Settings`, explained in params.yaml. Reads data/prune and data/pad; writes below
    data/gnn/SLUG: scores.parquet (member "gnn", seeds 0, 1, ...), weights-SEED.safetensors and curves.csv (seed, part,
    epoch, loss, valid); weights of further seeds, left by an earlier run, are removed. A run that was cut short goes on
    from its checkpoints in data/checkpoints/gnn/SLUG, with the same result. How long the training took lies in
    data/seconds.

    Returns {"curves": frame as curves.csv; "valid": frame of graph, nodes, configurations, mean and sd over seeds of
    the official metric and `all`, that of the seeds' mean rank; "metric": its name; "watched": the metric that chooses
    the epoch; "segments": frame of train graph, nodes and segments; "sharing": frame of what shared states save, see
    `_sharing`; "attention": frame of what attention passes on the valid graph of the median metric, see `attention`;
    "collection"; "settings"}.

    Raises InputError for parameters out of range, no train graph, and training that diverges.
    """
    settings = Settings(**knobs)
    if seeds < 1:
        raise InputError(f"params.yaml, gnn.seeds: is {seeds}; give at least 1")
    place = engine.configured()
    if place.workers > settings.graphs:
        raise InputError(
            f"params.yaml, engine.workers: is {place.workers}, and a step has {settings.graphs} graphs to deal out to "
            "them; lower it, or raise gnn.graphs"
        )
    if place.kind == "local":
        _device(settings.device)
    listed = manifest(prune_folder(data, collection))["graphs"]
    if not listed["train"]:
        raise InputError(
            f"{prune_folder(data, collection)}/manifest.json: lists no train graph; give {collection} some"
        )
    folder = Path(data, "gnn", slug(collection))
    folder.mkdir(parents=True, exist_ok=True)
    known = {"collection": collection, "settings": settings, "data": data}
    gpu = settings.device != "cpu"
    # A core to each seed and one thread in it, not all cores to each step: on steps of milliseconds threads wait for
    # one another more than they save. So no sum depends on the number of cores either. On a GPU one after the other.
    knobs = {"memory_knob": LOWER, "gpu": gpu, "parallel": 1 if gpu and torch.cuda.is_available() else None}
    for seed in range(seeds) if place.workers > 1 else ():  # they leave a finished training's checkpoint
        place.worker_group(partial(_train, **known), seed, _checkpoints(data, collection) / f"team-{seed}", gpu=gpu)
    results = list(place.ordered(partial(_train, **known), range(seeds), **knobs))
    weights = [content for _, content, _ in results]
    graphs = [(split, id) for split in SCORED for id in graph_ids(data, collection, split)]
    scored = list(place.ordered(partial(_score, **known, weights=weights), graphs, **knobs))
    frames = [frames[seed] for seed in range(seeds) for frames in scored]
    table = pl.concat(frames) if frames else pl.DataFrame(schema=scores.SCHEMA)
    curves = pl.DataFrame([row for curve, *_ in results for row in curve])
    for seed, content in enumerate(weights):
        files.replace(folder / f"weights-{seed}.safetensors", content)
    _remove_weights(folder, from_seed=seeds)
    scores.write(table, folder / "scores.parquet")
    elapsed_times.write(data, "gnn", collection, sum(spent for *_, spent in results))
    files.replace(folder / "curves.csv", curves.write_csv().encode())
    for path in _checkpoints(data, collection).glob("*"):  # also of seeds that an interrupted run had more of
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    valid = model_graphs(data, collection, "valid")
    view, memory = settings.view(collection), Memory()
    statics, judged = [prepare(graph, view, data, memory) for graph in valid], _valid_table(table, valid)
    ranked = judged.drop_nans("all")["graph"].to_list()
    middle = (
        next((static for static in statics if static.graph.id == ranked[len(ranked) // 2]), None) if ranked else None
    )
    return {
        "collection": collection,
        "curves": curves,
        "valid": judged,
        "metric": "slowdown score" if is_tile(collection) else "Kendall tau-b",
        "watched": "top-10 slowdown score" if is_tile(collection) else "Kendall tau-b",
        "segments": _segments(model_graphs(data, collection, "train"), view),
        "sharing": _sharing(statics),
        "attention": attention(collection, settings, weights[0], middle),
        "settings": settings,
    }


def _device(name: str) -> str:
    """Where to train: "auto" is CUDA where there is some."""
    if name == "cuda" and not torch.cuda.is_available():
        raise InputError("params.yaml, gnn.device: is 'cuda', and torch finds no CUDA device here; take 'auto'")
    return ("cuda" if torch.cuda.is_available() else "cpu") if name == "auto" else name


def _train(seed: int, *, collection: str, settings: Settings, data: str) -> Trained:
    """Trains one seed, or finds that it is trained: curve, weights as safetensors bytes, processor seconds."""
    settings = replace(settings, device=_device(settings.device))
    parts = {"train": settings.pool, "valid": WATCHED}
    graphs = [[some(graph, most) for graph in model_graphs(data, collection, split)] for split, most in parts.items()]
    known = identity(collection, seed, settings, [graph for part in graphs for graph in part])
    checkpoint = Checkpoint(_checkpoints(data, collection) / f"{seed}.safetensors", known)
    view, memory = settings.view(collection), Memory()
    train, watched = ([prepare(graph, view, data, memory) for graph in part] for part in graphs)
    with deterministic(seed), _on_sigterm(checkpoint.ask):
        network = build(collection, train[0], settings).to(settings.device)
        training = Training(network, train, watched, settings, collection, seed)
        checkpoint.restore(training)
        curve = training.run(lambda: checkpoint.after_step(training))
    # A tensor is stored once, under its first name.
    weights = {name: tensor.detach().cpu().contiguous() for name, tensor in network.named_parameters()}
    return curve, save(weights), checkpoint.seconds


def _score(
    task: tuple[str, str], *, collection: str, settings: Settings, data: str, weights: list[bytes]
) -> list[pl.DataFrame]:
    """Scores of one graph, a split and an id, by the network of each seed; its states are found once for all."""
    settings = replace(settings, device=_device(settings.device))
    static = prepare(model_graph(data, collection, *task), settings.view(collection), data)
    frames = []
    for seed, content in enumerate(weights):
        with deterministic(seed):
            network = build(collection, static, settings)
            network.load_state_dict(load(content), strict=False)  # of a tensor with two names it has the first
            found = predict(network.to(settings.device), static, permutations=settings.permutations)
        frames.append(scores.frame(task[0], task[1], static.graph.config_index, "gnn", seed, found))
    return frames


def some(graph: ModelGraph, most: int) -> ModelGraph:
    """A graph with `most` of its configurations, drawn ones, in memory; itself where it has no more."""
    count = graph.configurations
    if count <= most:
        return graph
    rows = np.sort(drawn(graph).choice(count, most, replace=False))
    taken = {
        name: None if (array := getattr(graph, name)) is None else array[rows]
        for name in ("codes", "tile_config", "target", "config_index")
    }
    packed = {
        name: None if (array := getattr(graph.packed, name)) is None else array[rows]
        for name in ("codes", "config_feat", "normalizer", "runtime", "config_index")
    }
    return replace(graph, **taken, packed=replace(graph.packed, **packed))


def _checkpoints(data: str, collection: str) -> Path:
    """Folder of one file per seed, and of what was left of one that was not written to its end."""
    return Path(data, "checkpoints", "gnn", slug(collection))


@contextlib.contextmanager
def _on_sigterm(handler: Callable):
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


def _segments(train: list[ModelGraph], view: View) -> pl.DataFrame:
    rows = [(graph.id, len(graph.x), len(partitioned(graph, view))) for graph in train]
    return pl.DataFrame(rows, schema=["graph", "nodes", "segments"], orient="row")


def _sharing(valid: list[Static]) -> pl.DataFrame:
    """Per valid graph whose states are found once: nodes, configurations, segments, and distinct states of each level
    as a share of nodes x configurations."""
    rows = []
    for static in valid:
        graph, count = static.graph, len(static.segments)
        if not static.keeps or graph.config_nodes is None:
            continue
        sizes = np.sum([[level.size for level in static.whole(part).levels] for part in range(count)], axis=0)
        cells = static.nodes * graph.configurations
        shares = {f"level {level}": size / cells for level, size in enumerate(sizes.tolist())}
        row = {"graph": graph.id, "nodes": static.nodes, "configurations": graph.configurations, "segments": count}
        rows.append(row | shares)
    return pl.DataFrame(rows)


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
