"""The competition's official metrics, per graph and per collection. A score: SMALLER IS FASTER."""

import itertools
from collections.abc import Iterable, Mapping

import numpy as np
from scipy.stats import kendalltau, nhypergeom

from stages.engine.errors import InputError
from stages.graphs.collection import is_tile

TOP = 5  # configurations of a tile graph that the official metric looks at


def kendall(score: np.ndarray, runtime: np.ndarray) -> float:
    """Kendall tau-b between predicted scores (c,) and runtimes (c,), as the official `layout_evaluate.py` computes it.

    NaN where the runtimes order nothing (one configuration, or all tied): such a graph is left out of means. A score
    that ties everything although the runtimes differ is 0.0, what a random order gets on average, and not NaN: a model
    must not gain by having its undecided graphs left out. Runtimes stay int64 or float64, float32 would merge some.
    """
    score, runtime = np.asarray(score), np.asarray(runtime)
    if score.shape != runtime.shape:
        raise ValueError(f"{score.shape} scores for {runtime.shape} runtimes")
    if not np.any(runtime != runtime[:1]):
        return float("nan")
    if not np.any(score != score[:1]):
        return 0.0
    return float(kendalltau(score, runtime).statistic)


def slowdown_score(score: np.ndarray, target: np.ndarray, k: int = TOP) -> float:
    """1 - slowdown = 2 - (best target among the k smallest scores) / (best target of all); official for tiles, k = 5.

    score, target: (c,), target = runtime / normalizer > 0. Equal scores are taken in the order of their index, as a
    submission lists them. 1.0 means that the fastest configuration is among the k.
    """
    score, target = np.asarray(score), np.asarray(target, dtype=np.float64)
    if score.shape != target.shape:
        raise ValueError(f"{score.shape} scores for {target.shape} targets")
    return float(2.0 - _best_of_top(score, target, k) / target.min())


def graph_score(collection: str, score: np.ndarray, target: np.ndarray) -> float:
    """The official metric of one graph: slowdown score of the top 5 (tile), Kendall tau-b (layout)."""
    return slowdown_score(score, target) if is_tile(collection) else kendall(score, target)


def graph_scores(
    collection: str, scores: Mapping[str, np.ndarray], targets: Mapping[str, np.ndarray]
) -> dict[str, float]:
    """Official metric of every graph in `targets` (graph -> (c,)), in its order; NaN where it is undefined.

    Raises InputError where `scores` lacks a graph or counts its configurations otherwise.
    """
    result = {}
    for graph, target in targets.items():
        if graph not in scores:
            raise InputError(f"{collection}: no scores for graph {graph}; run the stage that scores it again")
        if len(scores[graph]) != len(target):
            raise InputError(
                f"{collection}:{graph}: {len(scores[graph])} scores for {len(target)} configurations; "
                "run the stage that scores it again"
            )
        result[graph] = graph_score(collection, scores[graph], target)
    return result


def collection_score(values: Mapping[str, float] | Iterable[float]) -> float:
    """Mean over the graphs whose metric is defined; NaN where there is none."""
    array = np.array(list(values.values() if isinstance(values, Mapping) else values), dtype=np.float64)
    array = array[~np.isnan(array)]
    return float(array.mean()) if array.size else float("nan")


def agreement(first: np.ndarray, second: np.ndarray) -> float:
    """Kendall tau-b between the scores (c,) of two members; NaN where one of them orders nothing."""
    first = np.asarray(first)
    return kendall(first, second) if np.any(first != first[:1]) else float("nan")


def disagreement(
    scores: Mapping[str, Mapping[str, np.ndarray]], values: Mapping[str, Mapping[str, float]]
) -> list[tuple[str, str, str, float, float, float]]:
    """(graph, first, second, metric of first, metric of second, `agreement` of the two), for every two members.

    scores: member -> graph -> (c,); values: member -> graph -> metric. Graphs whose metric is undefined are left out.
    """
    return [
        (graph, first, second, value, values[second][graph], agreement(scores[first][graph], scores[second][graph]))
        for first, second in itertools.combinations(scores, 2)
        for graph, value in values[first].items()
        if not np.isnan(value)
    ]


def closeness(score: np.ndarray, target: np.ndarray) -> np.ndarray:
    """(c,) fastest target of all / fastest among the 1 ... c smallest scores: 1.0 when timing those finds the fastest.

    Equal scores are taken in the order of their index.
    """
    ordered = np.asarray(target, dtype=np.float64)[np.argsort(score, kind="stable")]
    return ordered.min() / np.minimum.accumulate(ordered)


def random_closeness(target: np.ndarray, k: int) -> float:
    """Expected `closeness` of k configurations drawn at random without replacement; nothing is sampled."""
    odds, fastest = _fastest_of_drawn(target, k)
    return float((odds * fastest[0] / fastest).sum())


def random_best(target: np.ndarray, k: int) -> float:
    """Expected smallest of k targets (c,) drawn at random without replacement; nothing is sampled."""
    odds, fastest = _fastest_of_drawn(target, k)
    return float(odds @ fastest)


def _fastest_of_drawn(target: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    """Odds that each of the c-k+1 fastest targets (c,) is the fastest of k drawn without replacement; these targets.

    The number of faster ones that are passed over before the first drawn one is negative hypergeometric: the i-th
    fastest is it with probability C(c-1-i, k-1) / C(c, k).
    """
    ordered = np.sort(np.asarray(target, dtype=np.float64))
    count = len(ordered)
    k = min(k, count)
    passed_over = np.arange(count - k + 1)
    return nhypergeom.pmf(passed_over, count, count - k, 1), ordered[: count - k + 1]


def _best_of_top(score: np.ndarray, target: np.ndarray, k: int) -> float:
    return float(target[np.argsort(score, kind="stable")[:k]].min())
