"""Intervals over graphs: how far a score moves when the programs are drawn again."""

import zlib

import numpy as np

from stages.leaderboard.board import Board, Key

#: draws of the programs
RESAMPLES = 2000

Interval = tuple[float | None, float | None]  # low, high


def resamples(board: Board) -> dict[Key, np.ndarray]:
    """The score of every member on programs drawn with replacement.

    All members see the same draws, so that differences between them are paired. So do the collections of one source:
    layout:xla:random and layout:xla:default hold the same programs, and drawn apart they would feign twice as many. A
    drawn program that one of them lacks is absent there. The draws are seeded by the names: they are the same on every
    machine.

    Returns:
        (split, collection or "mean", member) -> scores (2000,), one for each draw.
    """
    programs: dict[tuple[str, str], set[str]] = {}
    for (split, collection), targets in board.targets.items():
        programs.setdefault((split, _source(collection)), set()).update(targets)
    result = {}
    for (split, collection, member), values in board.values.items():
        source = _source(collection)
        array = np.array([values.get(program, np.nan) for program in sorted(programs[split, source])])
        result[split, collection, member] = _means(array, seed=f"{split}:{source}")
    for split in board.splits:
        for member in board.names():
            parts = [board.source(split, collection, member) for collection in board.collections]
            if None not in parts:
                pairs = zip(board.collections, parts, strict=True)
                result[split, "mean", member] = np.mean([result[split, name, part] for name, part in pairs], axis=0)
    return result


def interval(board: Board, key: Key, drawn: np.ndarray) -> Interval:
    """The 90% interval of draws (2000,).

    Returns:
        Their 5th and 95th percentile; (None, None) where a collection has one graph, for its draws are all alike.
    """
    if board.fewest_graphs(*key) < 2:
        return None, None
    return _percentiles(drawn)


def spread(name: str, values: np.ndarray) -> Interval:
    """The 90% interval of the mean of values (g,) when the graphs are drawn again.

    Args:
        name: seeds the draws, so that members which are compared see the same ones.
        values: a metric for each graph.

    Returns:
        5th and 95th percentile; (None, None) of a single graph.
    """
    if len(values) < 2:
        return None, None
    return _percentiles(values[_draws(name, len(values))].mean(axis=1))


def _source(collection: str) -> str:
    """Where a collection's programs come from: layout:xla of layout:xla:random. Tiles are kernels of their own."""
    return ":".join(collection.split(":")[:2])


def _draws(seed: str, graphs: int) -> np.ndarray:
    """Indices (2000, graphs) of graphs, drawn with replacement."""
    return np.random.default_rng(zlib.crc32(seed.encode())).integers(0, graphs, (RESAMPLES, graphs))


def _means(values: np.ndarray, seed: str) -> np.ndarray:
    """Means (2000,) of values (g,) drawn again, over those that are not NaN."""
    drawn = values[_draws(seed, len(values))]
    defined = ~np.isnan(drawn)
    counts = defined.sum(axis=1)
    sums = np.where(defined, drawn, 0.0).sum(axis=1)
    # A draw of nothing but undefined or absent graphs says nothing: the mean stands for it.
    return np.where(counts > 0, sums / np.maximum(counts, 1), np.nanmean(values))


def _percentiles(drawn: np.ndarray) -> Interval:
    low, high = np.percentile(drawn, [5, 95])
    return float(low), float(high)
