"""The gnn stage: trains a network per seed on one collection and scores its valid and test graphs.

What was trained and what the page's tables hold is kept below data/trained, under the identity of all that decides it.
The code that draws the page is not part of it. Where only the page has changed, or DVC has removed the outputs, nothing
is trained or computed again.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import polars as pl

from stages.engine import checks, engine, kept
from stages.engine.errors import InputError
from stages.gnn import identity
from stages.gnn.device import device_of
from stages.gnn.settings import Settings
from stages.graphs.collection import SPLITS, is_tile, slug
from stages.graphs.dataset import manifest, prune_folder

CURVE = {"seed": pl.Int64, "part": pl.String, "epoch": pl.Int64, "loss": pl.Float64, "valid": pl.Float64}


@dataclass(frozen=True)
class Result:
    """What the page shows of a collection's networks.

    Attributes:
        collection: official name.
        settings: of the networks.
        metric: name of the official metric.
        watched: name of the metric that chooses the epoch.
        curves: `CURVE`, a row per seed and epoch.
        valid: a row per valid graph, worst first; see `page_tables.valid_table`.
        segments: a row per train graph: graph, nodes, segments.
        sharing: what shared states save; see `page_tables.sharing_table`.
        attention: what attention passes on the valid graph of the median metric; see `attention.SCHEMA`.
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
    result is kept in data/trained/gnn/SLUG, the tables of its page in data/trained/gnn-page/SLUG; both come back from
    there. How long the training took lies in data/seconds.

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
    device = device_of(executor.device) if executor.kind == "local" else executor.device
    of_result = identity.of_result(collection, knobs, device, data, SPLITS)
    # Where only the page is another, nothing is imported that trains or computes: that alone takes seconds.
    if not kept.restored(outputs, trained, of_result):
        from stages.gnn.outputs import write

        write(collection, knobs, executor, data, outputs)
        kept.keep(outputs, trained, of_result)

    def page_tables() -> dict[str, pl.DataFrame]:
        from stages.gnn.page_tables import tables

        return tables(collection, knobs, data, outputs)

    return Result(
        collection=collection,
        settings=knobs,
        metric="slowdown score" if is_tile(collection) else "Kendall tau-b",
        watched="top-10 slowdown score" if is_tile(collection) else "Kendall tau-b",
        curves=pl.read_csv(outputs / "curves.csv", schema=CURVE),
        **kept.tables(Path(data, "trained", "gnn-page", slug(collection)), identity.of_page(of_result), page_tables),
    )


def _check(collection: str, settings: Settings, executor: engine.Engine, data: str | Path) -> None:
    """Raises InputError for what `run` cannot begin with."""
    if executor.workers > settings.graphs:
        raise InputError(
            f"params.yaml, engine.workers: is {executor.workers}, and a step has {settings.graphs} graphs to deal out "
            "to them; lower it, or raise gnn.graphs"
        )
    if executor.kind == "local":
        device_of(executor.device)
    folder = prune_folder(data, collection)
    if not manifest(folder)["graphs"]["train"]:
        raise InputError(f"{folder}/manifest.json: lists no train graph; give {collection} some")
