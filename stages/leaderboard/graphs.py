"""Each graph by itself: its metrics, what it is like, and how siblings and unseen families fare."""

from pathlib import Path

import numpy as np
import polars as pl

from stages.graphs import dataset
from stages.graphs.collection import COLLECTIONS
from stages.leaderboard.board import Board
from stages.leaderboard.intervals import spread

#: counts of a graph in prune's manifest
COUNTS = ("nodes", "configurable", "configurations")
KEYS = {"split": pl.String, "collection": pl.String, "graph": pl.String}


def metrics(board: Board, described: pl.DataFrame | None) -> pl.DataFrame:
    """The metric of every member on every graph.

    Args:
        board: the metrics.
        described: programs.csv; None where there is none.

    Returns:
        A row for each graph: split, collection, graph, what programs.csv says of it, then a column for each member.
    """
    rows: dict[tuple[str, str, str], dict[str, object]] = {}
    for (split, collection, member), values in board.values.items():
        for graph, value in values.items():
            key = split, collection, graph
            row = rows.setdefault(key, dict(zip(KEYS, key, strict=True)))
            row[member] = None if np.isnan(value) else value
    columns = KEYS | dict.fromkeys(board.names(), pl.Float64)
    table = pl.DataFrame([{name: row.get(name) for name in columns} for row in rows.values()], schema=columns)
    if described is not None:
        programs = described.rename({"id": "graph"}).drop("ceiling", "times")
        table = table.join(programs, on=list(KEYS), how="left", maintain_order="left")
        table = table.select(*KEYS, *(name for name in programs.columns if name not in KEYS), *board.names())
    place = {name: number for number, name in enumerate(("valid", "test", *COLLECTIONS))}
    return table.sort(*(pl.col(name).replace_strict(place) for name in ("split", "collection")), "graph")


def kin(table: pl.DataFrame, members: list[str]) -> pl.DataFrame:
    """The mean metric on siblings of training programs and on families never trained on.

    Args:
        table: what `metrics` returns.
        members: whose columns are averaged.

    Returns:
        split, collection, kin, member, graphs, score, low and high (the 90% interval when graphs are drawn again within
        the group, the same ones for every member; null of a single graph). Empty where the kin of no graph is known.
    """
    schema = {"split": pl.String, "collection": pl.String, "kin": pl.String, "member": pl.String}
    schema |= {"graphs": pl.Int64} | dict.fromkeys(("score", "low", "high"), pl.Float64)
    if "kin" not in table.columns:
        return pl.DataFrame(schema=schema)
    rows = []
    groups = table.drop_nulls("kin").group_by(["split", "collection", "kin"], maintain_order=True)
    for key, group in groups:
        for member in members:
            values = group[member].drop_nulls().to_numpy()
            if len(values):
                rows.append((*key, member, len(values), float(values.mean()), *spread(":".join(key), values)))
    return pl.DataFrame(rows, schema=schema, orient="row")


def properties(board: Board, data: Path, table: pl.DataFrame) -> pl.DataFrame:
    """What each graph of the last split is like, which might make it odd, beside its metrics.

    Args:
        board: the run times.
        data: the folder of the stages' outputs.
        table: what `metrics` returns.

    Returns:
        collection, graph, spread (slowest / fastest configuration), nodes (after pruning), configurable,
        configurations, kin (null where programs.csv does not tell), then a column for each member.
    """
    split = board.splits[-1]
    members = [name for name in board.names() if name in table.columns]
    of_split = table.filter(split=split)
    kin_column = [name for name in ("kin",) if name in table.columns]
    scored = of_split.select("collection", "graph", *kin_column, *members)
    absent = [
        pl.lit(None, dtype).alias(name)
        for name, dtype in (("kin", pl.String), ("ceiling", pl.Float64))
        if name not in scored.columns
    ]
    counted = _counted(board, data, split)
    return counted.join(scored.with_columns(absent), on=["collection", "graph"], how="inner", maintain_order="left")


def _counted(board: Board, data: Path, split: str) -> pl.DataFrame:
    """The spread of the run times and the `COUNTS` of every graph of a split."""
    rows = []
    for collection in board.collections:
        for entry in dataset.manifest(dataset.prune_folder(data, collection))["graphs"][split]:
            target = board.targets[split, collection][entry["id"]]
            ratio = float(target.max() / target.min())
            rows.append((collection, entry["id"], ratio, *(entry.get(name) for name in COUNTS)))
    schema = {"collection": pl.String, "graph": pl.String, "spread": pl.Float64} | dict.fromkeys(COUNTS, pl.Int64)
    return pl.DataFrame(rows, schema=schema, orient="row")
