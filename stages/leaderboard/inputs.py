"""What the leaderboard reads: the blend's record, the solution, programs.csv, run times, and every member's scores."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl

from stages.engine.errors import InputError
from stages.graphs import dataset
from stages.graphs.collection import slug
from stages.leaderboard.board import Board
from stages.scoring import baselines, scores
from stages.scoring.metrics import collection_score, graph_scores
from stages.scoring.score import read_solution

#: columns of programs.csv
PROGRAM_COLUMNS = {
    "collection": pl.String,
    "split": pl.String,
    "id": pl.String,
    "family": pl.String,
    "kin": pl.String,
    "nodes": pl.Int64,
    "configurable": pl.Int64,
    "configurations": pl.Int64,
    "slowest_over_fastest": pl.Float64,
    "repeatability": pl.Float64,
    "ceiling": pl.Float64,
    "times": pl.String,
}


@dataclass(frozen=True)
class Record:
    """What the blend stage wrote of a collection: the members that it blended, and the rule by which it did."""

    members: list[str]
    rule: str


def record(data: Path, collections: list[str]) -> Record:
    """The blend's record; members and rule are the same in all collections.

    Raises:
        InputError: weights.json is absent, damaged, or lacks one of the collections.
    """
    path = data / "blend" / "weights.json"
    try:
        by_collection = json.loads(path.read_text())
        missing = [collection for collection in collections if collection not in by_collection]
    except (OSError, ValueError) as fault:
        raise InputError(f"{path}: not there or damaged; run the blend stage for {collections[0]}") from fault
    if missing:
        raise InputError(f"{path}: holds no {missing[0]}; run the blend stage with it")
    first = by_collection[collections[0]]
    return Record(members=list(first["weights"]), rule=first["rule"])


def judged(data: Path) -> dict[str, dict[str, np.ndarray]]:
    """collection -> graph -> indices (k,) of the configurations that its valid metric is of.

    Raises:
        InputError: the blend's judged.json is absent or damaged.
    """
    path = data / "blend" / "judged.json"
    try:
        listed = json.loads(path.read_text())
    except (OSError, ValueError) as fault:
        raise InputError(f"{path}: not there or damaged; run the blend stage again") from fault
    return {
        collection: {graph: np.array(indices) for graph, indices in graphs.items()}
        for collection, graphs in listed.items()
    }


def solution(path: str | Path | None, expected: Mapping[str, int], notes: list[str]) -> dict[str, np.ndarray]:
    """The run times of the test graphs.

    Args:
        path: the CSV; None where there is none.
        expected: ID -> number of configurations of every test graph.
        notes: gets a line where there are no run times.

    Returns:
        ID -> run times (c,). Empty where the file is not there or is of other graphs.

    Raises:
        InputError: a graph has another number of run times than configurations.
    """
    if path is None or not Path(path).exists():
        notes.append(f"No run times of the test graphs ({path or 'solution: null'}): there are no test scores.")
        return {}
    runtimes = read_solution(path)
    of_test = {identifier: runtimes[identifier] for identifier in expected if identifier in runtimes}
    if not of_test:
        notes.append(f"{path} holds the run times of other graphs: there are no test scores.")
        return {}
    for identifier, configurations in expected.items():
        if len(of_test.get(identifier, ())) != configurations:
            raise InputError(
                f"{path}: {len(of_test.get(identifier, ()))} run times of {identifier}, which has {configurations} "
                "configurations; give the solution of these graphs, or solution: null"
            )
    return of_test


def programs(path: str | Path | None, expected: Mapping[str, int], notes: list[str]) -> pl.DataFrame | None:
    """What programs.csv says of each graph.

    Args:
        path: the CSV; None where there is none.
        expected: ID -> number of configurations of every test graph.
        notes: gets a line where nothing is known of the graphs.

    Returns:
        The columns `PROGRAM_COLUMNS`; None where the file is not there or is of other graphs.

    Raises:
        InputError: the file has other columns.
    """
    if path is None or not Path(path).exists():
        notes.append(f"No description of the graphs ({path or 'programs: null'}): no ceiling, no kin.")
        return None
    try:
        table = pl.read_csv(path, schema_overrides=PROGRAM_COLUMNS, null_values=["", "nan", "NaN"])
        table = table.select(pl.col(name).cast(dtype) for name, dtype in PROGRAM_COLUMNS.items())
    except (pl.exceptions.PolarsError, OSError) as fault:
        raise InputError(f"{path}: not a CSV with the columns {','.join(PROGRAM_COLUMNS)}") from fault
    test = table.filter(pl.col("split") == "test")
    if not expected.keys() & {f"{row['collection']}:{row['id']}" for row in test.iter_rows(named=True)}:
        notes.append(f"{path} describes other graphs: no ceiling, no kin.")
        return None
    return table


def fill_targets(board: Board, data: Path, collection: str, truth: Mapping[str, np.ndarray]) -> None:
    """Puts the run times of a collection's valid graphs on the board, and those of its test graphs if there are any."""
    valid = {graph.id: np.asarray(graph.target) for graph in dataset.graphs(data, collection, "valid")}
    board.targets["valid", collection] = board.only("valid", collection, valid)
    if truth:
        test = dataset.graphs(data, collection, "test")
        board.targets["test", collection] = {graph.id: truth[f"{collection}:{graph.id}"] for graph in test}


def fill_members(board: Board, data: Path, collection: str) -> None:
    """Puts every member's scores of a collection on the board, and the metric of each single seed.

    Raises:
        InputError: a member's file is absent or lacks a split; the message names the stage to run.
    """
    trained = [
        _read(data / member / slug(collection) / "scores.parquet", member, collection) for member in board.trained
    ]
    for table in (*trained, blended(data, "scores", collection), baselines.table(data, collection)):
        for (split, member), of_member in table.group_by(["split", "member"], maintain_order=True):
            by_graph = scores.by_graph(scores.ranking(of_member), f"{collection}: {member}")
            board.members[split, collection, member] = board.only(split, collection, by_graph)
    for table in (*trained, blended(data, "seeds", collection)):
        _fill_seeds(board, collection, table)
    for split in ("valid", "test"):
        if (split, collection, "blend") not in board.members:
            path = data / "blend" / "scores.parquet"
            raise InputError(f"{path}: no {split} scores of {collection}; run the blend stage with {collection}")


def fill_values(board: Board, described: pl.DataFrame | None) -> None:
    """Puts the metric of every member on the board where it is defined, and the ceiling that programs.csv has."""
    for (split, collection, member), by_graph in board.members.items():
        if (split, collection) in board.targets:
            values = graph_scores(collection, by_graph, board.targets[split, collection])
            if not np.isnan(collection_score(values)):
                board.values[split, collection, member] = values
    if described is None:
        return
    for (split, collection), targets in board.targets.items():
        rows = described.filter((pl.col("split") == split) & (pl.col("collection") == collection))
        by_id = dict(rows.select("id", "ceiling").iter_rows())
        ceilings = {graph: by_id.get(graph) for graph in targets}
        if any(value is not None for value in ceilings.values()):
            board.values[split, collection, "ceiling"] = {
                graph: np.nan if value is None else value for graph, value in ceilings.items()
            }


def blended(data: Path, name: str, collection: str) -> pl.DataFrame:
    """What a Parquet file of the blend stage, such as "scores", holds of one collection.

    Raises:
        InputError: the file is absent or has no column `collection`.
    """
    path = data / "blend" / f"{name}.parquet"
    table = _read(path, "blend", collection)
    if "collection" not in table.columns:
        raise InputError(f"{path}: no column collection; run the blend stage again")
    return table.filter(pl.col("collection") == collection).drop("collection")


def _fill_seeds(board: Board, collection: str, table: pl.DataFrame) -> None:
    for (split, member, seed), single in table.group_by(["split", "member", "seed"], maintain_order=True):
        targets = board.targets.get((split, collection))
        if targets is not None:
            by_graph = board.only(split, collection, scores.by_graph(single, f"{collection}: {member}"))
            values = graph_scores(collection, by_graph, targets)
            board.seeds.setdefault((split, collection, member), {})[seed] = collection_score(values)


def _read(path: Path, stage: str, collection: str) -> pl.DataFrame:
    if not path.is_file():
        raise InputError(f"{path}: not there; run the {stage} stage for {collection}")
    return scores.read(path)
