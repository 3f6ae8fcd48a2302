"""The gnn stage: trains a network per seed on one collection and scores its valid and test graphs.

What was trained is kept below data/trained under the identity of all that decides it, pages left out: where only the
page is another, or DVC has removed the outputs, nothing is trained anew.
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import polars as pl
import torch

from stages.engine import checks, elapsed_times, engine, files, kept
from stages.engine.errors import InputError
from stages.gnn import identity, tasks
from stages.gnn.attention import attention
from stages.gnn.memory import Caches
from stages.gnn.prepared_graph import PreparedGraph, partitioned, prepare
from stages.gnn.settings import Settings
from stages.graphs.collection import SPLITS, is_tile, slug
from stages.graphs.dataset import ModelGraph, graph_ids, manifest, model_graphs, prune_folder
from stages.scoring import scores
from stages.scoring.metrics import graph_score

MEMORY_KNOBS = "gnn.configurations or gnn.segment_nodes"  # what to lower where memory runs out
CURVE = {"seed": pl.Int64, "part": pl.String, "epoch": pl.Int64, "loss": pl.Float64, "valid": pl.Float64}


@dataclass(frozen=True)
class Result:
    """What the page shows of a collection's networks.

    collection: its name. settings: of the networks. metric: the official metric's name; watched: that of the metric
    which chooses the epoch. curves: `CURVE`, a row per seed and epoch. valid: a row per valid graph, worst first:
    graph, nodes, configurations, mean and sd over seeds of the official metric, and `all`, that of the seeds' mean
    rank. segments: a row per train graph: graph, nodes, segments. sharing: what shared states save, see
    `sharing_table`. attention: what attention passes on the valid graph of the median metric, see `attention.SCHEMA`.
    """

    collection: str
    settings: Settings
    metric: str
    watched: str
    curves: pl.DataFrame
    valid: pl.DataFrame
    segments: pl.DataFrame
    sharing: pl.DataFrame
    attention: pl.DataFrame


@checks.entry("gnn", writes=True)
def run(*, collection: str, knobs: Settings, data: str | Path = "data") -> Result:
    """Trains `seeds` networks on the collection's train graphs; scores all configurations of valid and test.

    TpuGraphs has up to 100,040 configurations of a graph. Of a train graph at most `pool` take part, of a valid one
    `tasks.WATCHED` choose the epoch.

    Reads data/prune and data/pad; writes below data/gnn/SLUG: scores.parquet (member "gnn", seeds 0, 1, ...),
    weights-SEED.safetensors and curves.csv (`CURVE`). Weights of further seeds, left by an earlier run, are removed. A
    run that was cut short goes on from its checkpoints in data/checkpoints/gnn/SLUG, with the same result. A finished
    result is kept in data/trained/gnn/SLUG and comes back from there. How long the training took lies in data/seconds.

    Args:
        collection: official name.
        knobs: a mapping of those that are not to be as in params.yaml; `checks.entry` makes `Settings` of it.
        data: the folder of all data.

    Returns:
        What the page shows, read back from the outputs and the graphs.

    Raises:
        InputError: for parameters out of range, no train graph, and training that diverges.
    """
    executor = engine.configured()
    _check(collection, knobs, executor, data)
    outputs, trained = (Path(data, *folder, "gnn", slug(collection)) for folder in ((), ("trained",)))
    # On a cluster each machine chooses for itself what "auto" is.
    device = tasks.device_of(executor.device) if executor.kind == "local" else executor.device
    of_result = identity.of_result(collection, knobs, device, data, SPLITS)
    if not kept.restored(outputs, trained, of_result):
        _train_and_score(collection, knobs, executor, data, outputs)
        kept.keep(outputs, trained, of_result)
    return _result(collection, knobs, data, outputs)


def _check(collection: str, settings: Settings, executor: engine.Engine, data: str | Path) -> None:
    """Raises InputError for what `run` cannot begin with."""
    if executor.workers > settings.graphs:
        raise InputError(
            f"params.yaml, engine.workers: is {executor.workers}, and a step has {settings.graphs} graphs to deal out "
            "to them; lower it, or raise gnn.graphs"
        )
    if executor.kind == "local":
        tasks.device_of(executor.device)
    folder = prune_folder(data, collection)
    if not manifest(folder)["graphs"]["train"]:
        raise InputError(f"{folder}/manifest.json: lists no train graph; give {collection} some")


def _train_and_score(
    collection: str, settings: Settings, executor: engine.Engine, data: str | Path, outputs: Path
) -> None:
    """Writes the outputs."""
    outputs.mkdir(parents=True, exist_ok=True)
    shared = {"collection": collection, "settings": settings, "device": executor.device, "data": data}
    folder = tasks.checkpoints(data, collection)
    gpu = executor.device != "cpu"
    # A core to each seed and one thread in it, not all cores to each step: on steps of milliseconds threads wait for
    # one another more than they save. So no sum depends on the number of cores either. On a GPU one after the other.
    options = {"memory_knob": MEMORY_KNOBS, "gpu": gpu, "parallel": 1 if gpu and torch.cuda.is_available() else None}
    train = partial(tasks.train_seed, **shared)
    if executor.workers > 1:  # they leave the checkpoint of a finished training
        for seed in range(settings.seeds):
            executor.worker_group(train, seed, folder / f"workers-{seed}", gpu=gpu)
    results = list(executor.ordered(train, range(settings.seeds), **options))
    weights = [result.weights for result in results]
    graphs = [(split, id) for split in tasks.SCORED for id in graph_ids(data, collection, split)]
    frames = list(executor.ordered(partial(tasks.score_graph, **shared, weights=weights), graphs, **options))
    for seed, content in enumerate(weights):
        files.replace(outputs / f"weights-{seed}.safetensors", content)
    _remove_weights(outputs, from_seed=settings.seeds)
    scores.write(tasks.score_table(frames, settings.seeds), outputs / "scores.parquet")
    elapsed_times.write(data, "gnn", collection, sum(result.seconds for result in results))
    curves = pl.DataFrame([row for result in results for row in result.curve])
    files.replace(outputs / "curves.csv", curves.write_csv().encode())
    for path in folder.glob("*"):  # also of seeds that an interrupted run had more of
        shutil.rmtree(path) if path.is_dir() else path.unlink()


def _remove_weights(outputs: Path, from_seed: int) -> None:
    """Removes weights of seeds that an earlier run had more of: beside this run's scores they would be another's."""
    for path in outputs.glob("weights-*.safetensors"):
        seed = path.stem.removeprefix("weights-")
        if seed.isdecimal() and int(seed) >= from_seed:
            path.unlink()


def _result(collection: str, settings: Settings, data: str | Path, outputs: Path) -> Result:
    """What the page shows, from the outputs and the graphs."""
    view, caches = settings.view(collection), Caches()
    graphs = model_graphs(data, collection, "valid")
    valid = valid_table(scores.read(outputs / "scores.parquet"), graphs)
    prepared = [] if is_tile(collection) else [prepare(graph, view, data, caches) for graph in graphs]
    weights = (outputs / "weights-0.safetensors").read_bytes()
    return Result(
        collection=collection,
        settings=settings,
        metric="slowdown score" if is_tile(collection) else "Kendall tau-b",
        watched="top-10 slowdown score" if is_tile(collection) else "Kendall tau-b",
        curves=pl.read_csv(outputs / "curves.csv", schema=CURVE),
        valid=valid,
        segments=segment_table(model_graphs(data, collection, "train"), settings, collection),
        sharing=sharing_table(prepared),
        attention=attention(collection, settings, weights, _median(valid, prepared)),
    )


def _median(valid: pl.DataFrame, prepared: list[PreparedGraph]) -> PreparedGraph | None:
    """The graph of the median metric; None where none can be ranked."""
    ranked = valid.drop_nans("all")["graph"].to_list()
    by_id = {each.graph.id: each for each in prepared}
    return by_id.get(ranked[len(ranked) // 2]) if ranked else None


def segment_table(train: list[ModelGraph], settings: Settings, collection: str) -> pl.DataFrame:
    """A row per train graph: graph, nodes, segments."""
    view = settings.view(collection)
    rows = [(graph.id, len(graph.x), len(partitioned(graph, view))) for graph in train]
    return pl.DataFrame(rows, schema=["graph", "nodes", "segments"], orient="row")


def sharing_table(prepared: list[PreparedGraph]) -> pl.DataFrame:
    """A row per layout graph whose states are found once: graph, nodes, configurations, segments, and the distinct
    states of each level as a share of nodes x configurations."""
    rows = []
    for each in prepared:
        if not each.keeps_states or each.graph.config_nodes is None:
            continue
        segments, configurations = len(each.segments), each.graph.configurations
        sizes = np.sum([[level.size for level in each.states(number).levels] for number in range(segments)], axis=0)
        cells = each.nodes * configurations
        row = {"graph": each.graph.id, "nodes": each.nodes, "configurations": configurations, "segments": segments}
        rows.append(row | {f"level {level}": size / cells for level, size in enumerate(sizes.tolist())})
    return pl.DataFrame(rows)


def valid_table(table: pl.DataFrame, valid: list[ModelGraph]) -> pl.DataFrame:
    """A row per valid graph, worst first: the official metric, its mean and sd over seeds, and that of their mean rank.

    Args:
        table: scores of all seeds.
        valid: the graphs, with their run times.
    """
    rows = []
    for graph in valid:
        own = table.filter(pl.col("split") == "valid", pl.col("graph") == graph.id)
        by_seed = [
            graph_score(graph.collection, part["score"].to_numpy(), graph.target)
            for part in own.partition_by("seed", maintain_order=True)
        ]
        together = scores.ranking(own).sort("configuration")["score"].to_numpy()
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
