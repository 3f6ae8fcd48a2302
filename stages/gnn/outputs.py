"""The stage's outputs: a network per seed is trained, and the graphs are scored by all of them."""

from __future__ import annotations

import shutil
from functools import partial
from pathlib import Path

import polars as pl
import torch

from stages.engine import elapsed_times, engine, files
from stages.gnn import tasks
from stages.gnn.settings import Settings
from stages.graphs.dataset import graph_ids
from stages.scoring import scores

MEMORY_KNOBS = "gnn.configurations or gnn.segment_nodes"  # what to lower where memory runs out


def write(collection: str, settings: Settings, executor: engine.Engine, data: str | Path, outputs: Path) -> None:
    """Trains the networks, scores the valid and test graphs, and writes the outputs.

    Args:
        collection: official name.
        settings: of the networks, with the number of seeds.
        executor: where the tasks run.
        data: the folder of all data.
        outputs: the folder of the outputs; it need not exist.

    Raises:
        InputError: training diverges, or memory runs out.
    """
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
    """Removes weights of further seeds, which an earlier run had: they do not belong to this run's scores."""
    for path in outputs.glob("weights-*.safetensors"):
        seed = path.stem.removeprefix("weights-")
        if seed.isdecimal() and int(seed) >= from_seed:
            path.unlink()
