"""Predicted and true places of the configurations of layout graphs, for the pictures of rankings."""

import numpy as np
import polars as pl
from scipy.stats import rankdata

from stages.graphs.collection import is_tile
from stages.leaderboard.board import Board

#: graphs of a collection and configurations of a graph that the pictures show at most
SHOWN_GRAPHS = 18
SHOWN_PLACES = 400

Ranked = tuple[float, str, str]  # the blend's metric, collection, graph
SCHEMA = {"split": pl.String, "collection": pl.String, "graph": pl.String}
SCHEMA |= {"score": pl.Float64, "predicted": pl.Float64, "true": pl.Float64}


def places(board: Board) -> pl.DataFrame:
    """Places in the layout graphs of the last split, collection by collection, the best graph first.

    Of a collection of more than `SHOWN_GRAPHS`, those at equal steps from the best to the worst.

    Returns:
        split, collection, graph, score (the blend's metric of the graph), predicted and true (places 1 to c of a
        configuration; 1 is the fastest).
    """
    split = board.splits[-1]
    best_first = _ranked(board, split)[::-1]
    shown = []
    for collection in board.collections:
        of_collection = [ranked for ranked in best_first if ranked[1] == collection]
        shown += [of_collection[step] for step in _steps(len(of_collection), SHOWN_GRAPHS)]
    return _places(board, split, shown)


def examples(board: Board) -> pl.DataFrame:
    """Places in the best, the median and the worst layout graph of the last split; `which` says which it is."""
    split = board.splits[-1]
    ranked = _ranked(board, split)
    if not ranked:
        return _places(board, split, []).select(pl.lit("").alias("which"), pl.all())
    chosen = {"best": ranked[-1], "median": ranked[len(ranked) // 2], "worst": ranked[0]}
    frames = [
        _places(board, split, [graph]).select(pl.lit(which).alias("which"), pl.all()) for which, graph in chosen.items()
    ]
    return pl.concat(frames)


def _ranked(board: Board, split: str) -> list[Ranked]:
    """The layout graphs of a split whose metric is defined, the worst first."""
    return sorted(
        (value, collection, graph)
        for collection in board.collections
        if not is_tile(collection)
        for graph, value in board.values.get((split, collection, "blend"), {}).items()
        if not np.isnan(value)
    )


def _places(board: Board, split: str, graphs: list[Ranked]) -> pl.DataFrame:
    frames = [pl.DataFrame(schema=SCHEMA)]
    for score, collection, graph in graphs:
        true = rankdata(board.targets[split, collection][graph])
        predicted = rankdata(board.members[split, collection, "blend"][graph])
        shown = np.argsort(true, kind="stable")[_steps(len(true), SHOWN_PLACES)]
        constants = {"split": split, "collection": collection, "graph": graph, "score": score}
        frame = pl.DataFrame({"predicted": predicted[shown], "true": true[shown]})
        frame = frame.with_columns(pl.lit(value).alias(name) for name, value in constants.items())
        frames.append(frame.select(pl.col(name).cast(dtype) for name, dtype in SCHEMA.items()))
    return pl.concat(frames)


def _steps(count: int, limit: int) -> np.ndarray:
    """Indices below `count`, `limit` at most, at equal steps from the first to the last."""
    if not count:
        return np.zeros(0, int)
    return np.unique(np.linspace(0, count - 1, limit).round().astype(int))
