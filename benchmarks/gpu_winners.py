"""Measures the winners' networks on one CUDA device, at full size.

python -m benchmarks.gpu_winners            four minutes at most on a GPU; writes reports/gpu.json, key "winners"
python -m benchmarks.gpu_winners --quick    tiny sizes, to see that it runs

Without a CUDA device it runs on the CPU with tiny sizes. Then, and with --quick, results are written only if --out is
given. Each row is written as soon as it is measured; `make recipe` tells hours on a GPU by them.

Rows: part "winners", network (`solutions.rate_name`), precision, nodes, configurations, cells (nodes x configurations
that a training step computes, by which `stages.winners.training.needs` tells hours) and:

work "step"       seconds and peak bytes of a graph's part of a training step, in the solution's precision, with the
                  optimiser's step; on a tile kernel or a pruned graph, and on a part of it, for the line between them
work "inference"  the same of scoring so many configurations, in float32
work "agreement"  scores of one network, the device's against the CPU's: largest_difference, spread and tau

Layout graphs are cut as each solution cuts them, so nodes differ. A network that fails becomes a row with `error`.
"""

from __future__ import annotations

import argparse
import os
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from benchmarks import synthesize
from benchmarks.gpu_place import FULL, QUICK, RESULTS, Place, difference, report
from stages.graphs.collection import SPLITS, folder, is_tile
from stages.graphs.dataset import PackedGraph
from stages.winners.parts import Training
from stages.winners.training import NAMES, needs, scoring, solutions
from stages.winners.training.graphs import Source
from stages.winners.training.solutions import Model
from stages.winners.training.trainer import Part, Trainer

LAYOUT, TILE = "layout:xla:default", "tile:xla"
#: of collections whose networks differ by more than the length of their training
COLLECTIONS = (TILE, LAYOUT, "layout:xla:random", "layout:nlp:default")
OWN = 256  # place.sizes.width from which networks have their own widths
SMALLER = 0.25  # share of the configurations, or of the tiles, in the second step and scoring that are measured


def rows(place: Place) -> Iterator[dict]:
    """Rows of all networks."""
    root, place = place.data / "winners", replace(place, sizes=replace(place.sizes, repeat=10, patience=1.0))
    seen: set[str] = set()
    for name in NAMES:
        for model in solutions.models(name, "full", COLLECTIONS):
            if (network := solutions.rate_name(model)) in seen:
                continue
            seen.add(network)
            try:
                yield from of_network(place, network, model, graph(place, root, model))
            except (RuntimeError, ValueError, TypeError) as error:
                yield {
                    "part": "winners",
                    "network": network,
                    "error": f"{type(error).__name__}: {error}".splitlines()[0],
                }


def graph(place: Place, root: Path, model: Model) -> PackedGraph:
    """The made-up graph, cut as the model's solution cuts it, or the made-up kernel."""
    collection = model.streams[0].collections[0]
    tile = is_tile(collection)
    source = Source(root, TILE if tile else LAYOUT, model.settings.pruning, root / "packed")
    if not folder(root, source.collection, SPLITS[0]).is_dir():
        for split in SPLITS:
            nodes, configurable, configurations = (*place.sizes.kernel[:1], 2, place.sizes.kernel[1])
            if not tile:
                nodes, configurable, configurations = place.sizes.pruned
            size = synthesize.Size(source.collection, split, "synthetic", nodes, configurable, configurations, seed=0)
            if tile or split == "train":
                synthesize.write_file(root, size)
            else:  # so large a file is needed once
                few = replace(size, nodes=60, configurable=5, configurations=4)
                synthesize.write_file(root, few)
    source.pack(workers=1)
    (size,) = [size for size in source.survey() if size.split == "train"]
    return replace(source.one(size), collection=collection)


def sized(settings: Training, width: int) -> Training:
    """The settings, no wider than that."""
    widths = {name: getattr(settings, name, None) for name in ("width", "first_width", "token_width")}
    changes = {name: min(value, width) for name, value in widths.items() if value is not None}
    if hasattr(settings, "widths"):
        changes["widths"] = tuple(min(value, 2 * width) for value in settings.widths)
    return replace(settings, **changes)


def of_network(place: Place, network: str, model: Model, whole: PackedGraph) -> Iterator[dict]:
    """The rows of a network on this graph."""
    settings = model.settings if place.sizes.width >= OWN else sized(model.settings, place.sizes.width)
    row = {"part": "winners", "network": network, "precision": settings.precision, "nodes": whole.nodes}
    trainer = training(model, settings, whole, place.device)
    recipe, wanted = model.recipe, trainer.streams[0].configurations or whole.configurations
    count = min(wanted, whole.configurations)
    for share in (1.0, SMALLER):
        taken = max(2, round(share * count))
        step = place.attempt(lambda taken=taken: one_step(trainer, np.arange(taken)))
        size = needs.cells(settings, whole.nodes, taken)
        yield row | {"work": "step", "configurations": taken, "cells": size} | step
    chunk = min(scoring.chunk(settings, whole.nodes, place.device), whole.configurations)
    for share in (1.0, SMALLER):
        part = whole.taking(np.arange(max(2, round(share * chunk))))
        prepared = recipe.prepare(part, trainer.fitted)
        score = place.attempt(lambda prepared=prepared: scoring.predict(trainer.network, prepared, settings))
        size = needs.scored_cells(settings, whole.nodes, part.configurations)
        yield row | {"work": "inference", "configurations": part.configurations, "cells": size} | score
    few = recipe.prepare(whole.taking(np.arange(min(8, whole.configurations))), trainer.fitted)
    on_device = scoring.predict(trainer.network, few, settings)
    on_cpu = scoring.predict(trainer.network.cpu(), few, settings)
    yield row | {"work": "agreement", "configurations": len(on_cpu)} | difference(on_cpu, on_device)


def training(model: Model, settings: Training, whole: PackedGraph, device: torch.device) -> Trainer:
    """A training on one graph, with weights made on the CPU: the same everywhere."""
    torch.manual_seed(0)
    fitted = model.recipe.fit([whole])
    network = model.recipe.build(settings, fitted).to(device)
    part = Part(model.recipe, [whole], 1, settings.configurations)
    return Trainer(model.name, network, [part], [], settings, fitted, seed=0)


def one_step(trainer: Trainer, indices: np.ndarray) -> float:
    """A step on these configurations of the one graph; returns its loss."""
    return trainer.step(0, [(0, indices)])


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="tiny sizes, to see that it runs")
    parser.add_argument("--out", metavar="FILE", help=f"file of results, {RESULTS} on a GPU without --quick")
    options = parser.parse_args(arguments)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    full = device.type == "cuda" and not options.quick
    out = options.out or (RESULTS if full else None)
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # before cuBLAS starts, as a training has it
    torch.use_deterministic_algorithms(True, warn_only=True)
    with tempfile.TemporaryDirectory() as data:
        report("gpu_winners", rows(Place(FULL if full else QUICK, device, Path(data))), [], device, out)


if __name__ == "__main__":
    main()
