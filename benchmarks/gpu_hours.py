"""Hours of a full run on the competition's data with one GPU, from the rates that benchmarks/gpu.py measured.

The sizes are the published ones (`synthesize.sizes`). A pruned graph has `NODES_EACH` nodes for each configurable one,
as the made-up graph that was measured has. The seconds of a step lie between those measured with few and with many
configurations, by nodes x configurations of the step, and never below the least measured. Scoring takes all
configurations of valid and test, and its seconds grow with nodes x configurations. Of ours it is `first inference`,
which also finds the states, and validation after every epoch is in the training; epochs, configurations and networks
are those of params.yaml, width and the whole pruned graph in a step those that were measured, more than there. `hours`
are those of all `networks`, one after the other, hours_training and hours_scoring those of one. Not counted: prune,
pad, the trees, and validation of the first place, which does not say how often it validates. Its network for tiles was
not measured.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from benchmarks import synthesize
from benchmarks.scale import PROJECT
from stages.engine import params
from stages.gnn.tasks import WATCHED
from stages.graphs.collection import COLLECTIONS, is_tile

NODES_EACH = 2882 / 848  # nodes of a pruned graph for each configurable one
HOUR = 3600
#: of the first place, as recipes/first-place.yaml tells: epochs by source, configurations of a step by search, networks
EPOCHS = {"xla": 750, "nlp": 1000}
CONFIGURATIONS = {"default": 64, "random": 128}
NETWORKS = 20


@dataclass(frozen=True)
class Rates:
    """What a network takes on the device.

    steps: seconds of a step by its nodes x configurations; scored: nodes x configurations of the graph that was scored;
    inference: seconds of scoring it, first: the same of a graph that was not looked at before.
    """

    steps: Mapping[float, float]
    scored: float
    inference: float
    first: float

    def step(self, cells: float) -> float:
        """Seconds of a step on so many nodes x configurations."""
        sizes = sorted(self.steps)
        if cells > sizes[-1]:
            return self.steps[sizes[-1]] * cells / sizes[-1]
        return float(np.interp(cells, sizes, [self.steps[size] for size in sizes]))


def rates(rows: Iterable[Mapping], graph: str, network: str) -> Rates | None:
    """The rates of a network on a graph of benchmarks/gpu.py; None where they were not measured."""
    measured: dict[str, dict[float, float]] = {"step": {}, "inference": {}, "first inference": {}}
    for row in rows:
        if (row["part"], row.get("graph"), row.get("network")) == ("speed", graph, network) and row.get("fits"):
            if row["work"] in measured:
                measured[row["work"]][row["nodes"] * row["configurations"]] = row["seconds"]
    if not measured["step"] or not measured["inference"]:
        return None
    cells, seconds = max(measured["inference"].items())
    return Rates(measured["step"], cells, seconds, measured["first inference"].get(cells, seconds))


def layout_hours(
    graphs: Iterable[synthesize.Size], rates: Rates, epochs: int, configurations: int, watched: int
) -> tuple[int, float, float]:
    """Steps, hours of training and hours of scoring of one network on a layout collection.

    Args:
        graphs: of the collection, of all splits.
        rates: of the network on pruned graphs.
        epochs: a step for each training graph in each.
        configurations: of a step, at most.
        watched: configurations of each validation graph that are scored after every epoch.
    """
    cells = lambda size, most: NODES_EACH * size.configurable * min(most, size.configurations)  # noqa: E731
    train = [size for size in graphs if size.split == "train"]
    others = [size for size in graphs if size.split != "train"]
    trained = epochs * sum(rates.step(cells(size, configurations)) for size in train)
    watched_cells = sum(cells(size, watched) for size in others if size.split == "valid")
    validated = epochs * rates.inference * watched_cells / rates.scored
    scored = rates.first * sum(cells(size, size.configurations) for size in others) / rates.scored
    return epochs * len(train), (trained + validated) / HOUR, scored / HOUR


def full_run(rows: list[dict], graph: str, tile: str) -> Iterator[dict]:
    """Rows of network, collection, steps, hours_training, hours_scoring, networks and, of all networks, hours.

    Args:
        rows: what was measured so far.
        graph: the pruned graph whose rates are taken for layouts.
        tile: the kernel whose rates are taken for tiles.
    """
    every = synthesize.sizes()
    sizes = {name: [size for size in every if size.collection == name] for name in COLLECTIONS}
    totals: dict[str, float] = {}
    for network in ("ours", "first place"):
        for collection in COLLECTIONS:
            rate = rates(rows, tile if is_tile(collection) else graph, network)
            if rate is None:
                continue
            knobs, networks = params.section(PROJECT / "params.yaml", "gnn", collection), NETWORKS
            if is_tile(collection):
                estimate = _tile_hours(sizes[collection], rate, knobs["epochs"], knobs["graphs"])
                networks = knobs["seeds"]
            elif network == "ours":
                estimate = layout_hours(sizes[collection], rate, knobs["epochs"], knobs["configurations"], WATCHED)
                networks = knobs["seeds"]
            else:
                _, source, search = collection.split(":")
                estimate = layout_hours(sizes[collection], rate, EPOCHS[source], CONFIGURATIONS[search], 0)
            steps, training, scoring = estimate
            hours = networks * (training + scoring)
            totals[network] = totals.get(network, 0.0) + hours
            row = {"network": network, "collection": collection, "steps": steps, "networks": networks, "hours": hours}
            yield row | {"hours_training": training, "hours_scoring": scoring}
    for network, hours in totals.items():
        yield {"network": network, "collection": "all", "hours": hours}


def _tile_hours(graphs: list[synthesize.Size], rates: Rates, epochs: int, kernels: int) -> tuple[int, float, float]:
    """The same of a tile collection, whose steps have so many kernels.

    A kernel is small, so a call takes the same time for each of them, however many tiles it has.
    """
    counts = {split: sum(size.split == split for size in graphs) for split in ("train", "valid", "test")}
    steps = epochs * -(-counts["train"] // kernels)
    validated = epochs * rates.inference * counts["valid"]
    scored = rates.first * (counts["valid"] + counts["test"])
    return steps, (steps * min(rates.steps.values()) + validated) / HOUR, scored / HOUR
