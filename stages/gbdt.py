"""Gradient-boosted trees that rank the configurations of a graph by their statistics.

Ideas: trees on handcrafted statistics from the 11th place of the TpuGraphs competition; the ranking objective is
LambdaRank (Burges 2010) as LightGBM has it, with gains linear in the rank, because Kendall's tau counts every pair.
"""

from __future__ import annotations

import json
import os
import time
from dataclasses import dataclass
from pathlib import Path

import lightgbm as lgb
import numpy as np
import polars as pl
from scipy.stats import rankdata
from tqdm import tqdm

from stages import dataset, files, metrics, scores
from stages.collection import slug
from stages.errors import InputError
from stages.statistics import describe, standardised, statistics

#: levels that the run times of a graph are graded into, slowest 0: LightGBM's own limit, without a table of gains
GRADES = 31
#: `lambdarank` compares the configurations of a graph; `pointwise` regresses on the share of slower configurations
OBJECTIVES = ("lambdarank", "pointwise")
#: pairs a valid graph is judged by while training, enough for a tau to three hundredths
PAIRS = 20_000
#: least and most of each whole number; the largest are LightGBM's own, for the leaves of a tree and the rows of a graph
#: that lambdarank takes
LIMITS = {
    "seeds": (1, None),
    "trees": (1, None),
    "leaves": (2, 131_072),
    "min_leaf": (0, None),
    "patience": (1, None),
    "configurations": (2, 10_000),
}
#: below this a second thread costs more than it does, and much more on a busy machine
ROWS_PER_THREAD = 20_000
#: seconds without a word; longer training shows after each seed how far it is, on standard error
SILENCE = 5
MEMBER = "gbdt"


@dataclass(frozen=True)
class _Table:
    """Statistics of a split. values (r, f); target (r,); group: rows of each graph, in their order."""

    names: list[str]
    values: np.ndarray
    target: np.ndarray
    group: list[int]

    @property
    def parts(self) -> list[slice]:
        ends = np.cumsum([0, *self.group]).tolist()
        return [slice(start, end) for start, end in zip(ends, ends[1:], strict=False)]


def run(
    *,
    collection: str,
    seeds: int = 3,
    objective: str = "lambdarank",
    trees: int = 300,
    leaves: int = 15,
    learning_rate: float = 0.05,
    min_leaf: int = 20,
    feature_fraction: float = 0.5,
    bagging_fraction: float = 0.8,
    patience: int = 50,
    configurations: int = 1000,
    data: str = "data",
) -> dict:
    """Trains LightGBM models on the train graphs of a collection and scores its valid and test graphs.

    One model for each of the seeds 0 .. seeds-1, at most `trees` trees of `leaves` leaves, as many as order the most
    pairs of the valid graphs rightly (none better for `patience` trees ends the training). A graph gives at most
    `configurations` rows to train or stop on; all are scored.

    Writes below DATA/gbdt/SLUG: scores.parquet, model-SEED.txt (LightGBM's text) and statistics.json (the columns).
    Returns {"collection", "valid": frame of graph, seed, score (the official metric), "gains": frame of column, gain
    (share, mean over the seeds), description, "trees": trees of each seed, "seconds": spent in training}.
    Raises InputError for an unknown objective or collection, a number out of range, or no train graph.
    """
    folder = Path(data, "gbdt", slug(collection))
    _check(
        objective,
        {"learning_rate": learning_rate, "feature_fraction": feature_fraction, "bagging_fraction": bagging_fraction},
        {
            "seeds": seeds,
            "trees": trees,
            "leaves": leaves,
            "min_leaf": min_leaf,
            "patience": patience,
            "configurations": configurations,
        },
    )
    train = _table(dataset.graphs(data, collection, "train"), configurations)
    if not train.group:
        raise InputError(
            f"{dataset.prune_folder(data, collection)}: has no train graph; run the prune stage on more data"
        )
    valid = _table(dataset.graphs(data, collection, "valid"), configurations)
    options = _options(objective, leaves, learning_rate, min_leaf, feature_fraction, bagging_fraction, train.group)
    begin = time.perf_counter()
    progress = tqdm(range(seeds), f"gbdt {collection}", mininterval=2, delay=SILENCE)
    boosters = [_train(train, valid, options | {"seed": seed}, trees, patience) for seed in progress]
    seconds = time.perf_counter() - begin
    frames, valid_scores = _scored(boosters, train.names, data, collection)
    gains = _gains(boosters, train.names)
    _write(folder, boosters, train.names)
    scores.write(pl.concat(frames) if frames else pl.DataFrame(schema=scores.SCHEMA), folder / "scores.parquet")
    return {
        "collection": collection,
        "valid": pl.DataFrame(valid_scores, schema=["graph", "seed", "score"], orient="row"),
        "gains": gains,
        "trees": [booster.num_trees() for booster in boosters],
        "seconds": seconds,
    }


def findings(result: dict) -> str:
    """What the numbers of `run`'s result say, a sentence for each picture."""
    valid, gains, trees = result["valid"], result["gains"], result["trees"]
    judged = (
        valid.filter(pl.col("score").is_not_nan()).group_by("graph", maintain_order=True).agg(pl.col("score").mean())
    )
    judged = judged.sort("score", "graph")
    text = f"The seeds stopped after {', '.join(map(str, trees))} trees. "
    if judged.height:
        worst, best = judged.row(0, named=True), judged.row(-1, named=True)
        text += (
            f"On the valid graphs the mean score of a seed is {judged['score'].mean():.3f}, from {worst['score']:.3f} "
            f"({worst['graph']}) to {best['score']:.3f} ({best['graph']}). They also chose the number of trees, which "
            "flatters it: the honest figure is that of the test graphs, on the leaderboard. "
        )
    else:
        text += "No valid graph has configurations of different run times. "
    top = gains.row(0, named=True)
    half = 1 + int((gains["gain"].cum_sum() < gains["gain"].sum() / 2).sum())
    return text + f"{half} of {gains.height} columns bring half of the gain, `{top['column']}` {top['gain']:.0%} of it."


def _check(objective: str, rates: dict[str, float], counts: dict[str, int]) -> None:
    """InputError for values that no training can use."""
    if objective not in OBJECTIVES:
        raise InputError(
            f"params.yaml, gbdt.objective: {objective!r} is none of {', '.join(OBJECTIVES)}; name one of them"
        )
    for name, count in counts.items():
        least, most = LIMITS[name]
        if count < least:
            raise InputError(f"params.yaml, gbdt.{name}: {count} is too small; give {least} or more")
        if most is not None and count > most:
            raise InputError(f"params.yaml, gbdt.{name}: {count} is too large; give {most} or less")
    for name, rate in rates.items():
        if not rate > 0:  # NaN fails this too
            raise InputError(f"params.yaml, gbdt.{name}: {rate} is too small; give more than 0")
        if name.endswith("_fraction") and rate > 1:
            raise InputError(f"params.yaml, gbdt.{name}: {rate} is too large; give a share, 1 or less")


def _features(graph: dataset.PackedGraph) -> tuple[list[str], np.ndarray]:
    """Statistics beside their within-graph z-scores: trees cannot take a mean over a graph by themselves."""
    names, values = statistics(graph)
    return names + [f"{name}_z" for name in names], np.concatenate([values, standardised(values)], axis=1)


def _table(graphs: list[dataset.PackedGraph], limit: int) -> _Table:
    names, values, targets = [], [], []
    for graph in graphs:
        names_, all_values = _features(graph)
        if names and names_ != names:
            raise InputError(f"{graph.id}: has other statistics than the graphs before it; run the prune stage again")
        names = names_
        rows = slice(None)
        if graph.configurations > limit:
            rows = np.sort(np.random.default_rng(graph.configurations).choice(graph.configurations, limit, False))
        values.append(all_values[rows])
        targets.append(graph.target[rows])
    stacked = np.concatenate(values) if values else np.zeros((0, 0))
    return _Table(names, stacked, np.concatenate([*targets, []]), [len(target) for target in targets])


def _options(
    objective: str,
    leaves: int,
    learning_rate: float,
    min_leaf: int,
    feature_fraction: float,
    bagging_fraction: float,
    group: list[int],
) -> dict:
    """LightGBM's parameters. The truncation at the largest graph keeps every pair of configurations in the loss."""
    rows = sum(group)
    ranking = {"lambdarank_truncation_level": max(group), "label_gain": list(range(GRADES))}
    return {
        "objective": "lambdarank" if objective == "lambdarank" else "regression",
        **(ranking if objective == "lambdarank" else {}),
        "metric": "None",
        "num_leaves": leaves,
        "learning_rate": learning_rate,
        "min_data_in_leaf": min_leaf,
        "feature_fraction": feature_fraction,
        "bagging_fraction": bagging_fraction,
        "bagging_freq": 1,
        "deterministic": True,
        "force_row_wise": True,
        "num_threads": min(os.cpu_count() or 1, 1 + rows // ROWS_PER_THREAD),
        "verbosity": -1,
    }


def _grades(table: _Table, objective: str) -> np.ndarray:
    """How fast each row is within its graph, (r,): share of slower configurations, in GRADES levels for lambdarank."""
    shares = np.zeros(len(table.target))
    for part in table.parts:
        rank = rankdata(table.target[part])
        shares[part] = 1 - (rank - 0.5) / len(rank)
    return np.floor(shares * GRADES) if objective == "lambdarank" else shares


def _train(train: _Table, valid: _Table, options: dict, trees: int, patience: int) -> lgb.Booster:
    params = {"verbosity": -1}
    labels = _grades(train, options["objective"])
    rows = lgb.Dataset(train.values, labels, group=train.group, feature_name=train.names, params=params)
    pairs = _pairs(valid)
    if not pairs:
        return lgb.train(options, rows, num_boost_round=trees)
    held_out = rows.create_valid(valid.values, group=valid.group, params=params)

    def ordered(prediction: np.ndarray, _) -> tuple[str, float, bool]:
        shares = [np.sign(prediction[faster] - prediction[slower]).mean() for faster, slower in pairs]
        return "tau", float(np.mean(shares)), True

    stop = lgb.early_stopping(patience, verbose=False)
    booster = lgb.train(options, rows, trees, valid_sets=[held_out], feval=ordered, callbacks=[stop])
    # Through the text: the trees after the best one are dropped, here as in the file.
    return lgb.Booster(model_str=booster.model_to_string(num_iteration=booster.best_iteration))


def _pairs(table: _Table) -> list[tuple[np.ndarray, np.ndarray]]:
    """Rows (p,) of a faster and of a slower configuration of each graph that has such: all pairs, or PAIRS of them."""
    pairs = []
    for part in table.parts:
        target = table.target[part]
        first, second = np.triu_indices(len(target), 1)
        if len(first) > PAIRS:
            chosen = np.random.default_rng(len(first)).choice(len(first), PAIRS, replace=False)
            first, second = first[chosen], second[chosen]
        differs = target[first] != target[second]
        first, second = first[differs], second[differs]
        if len(first):
            swap = target[first] > target[second]
            pairs.append((part.start + np.where(swap, second, first), part.start + np.where(swap, first, second)))
    return pairs


def _scored(boosters: list[lgb.Booster], names: list[str], data: str, collection: str) -> tuple[list, list]:
    """Frames of scores of every valid and test graph and seed, and (graph, seed, official metric) of the valid ones."""
    frames, judged = [], []
    for split in ("valid", "test"):
        for graph in dataset.graphs(data, collection, split):
            names_, values = _features(graph)
            if names_ != names:
                raise InputError(f"{graph.id}: has other statistics than the train graphs; run the prune stage again")
            for seed, booster in enumerate(boosters):
                score = -booster.predict(values)
                frames.append(scores.frame(split, graph.id, graph.config_index, MEMBER, seed, score))
                if split == "valid":
                    judged.append((graph.id, seed, metrics.graph_score(collection, score, graph.target)))
    return frames, judged


def _gains(boosters: list[lgb.Booster], names: list[str]) -> pl.DataFrame:
    """What each column contributes: its share of the loss that the splits take away, mean over the seeds."""
    gains = np.array([booster.feature_importance("gain") for booster in boosters])
    shares = (gains / np.maximum(gains.sum(axis=1, keepdims=True), np.finfo(float).tiny)).mean(axis=0)
    return pl.DataFrame({"column": names, "gain": shares, "description": [_described(name) for name in names]}).sort(
        "gain", "column", descending=[True, False]
    )


def _described(name: str) -> str:
    if name.endswith("_z"):
        return f"within-graph z-score: {describe(name.removesuffix('_z'))}"
    return describe(name)


def _write(folder: Path, boosters: list[lgb.Booster], names: list[str]) -> None:
    """Writes the models and the columns; models of earlier runs with more seeds go."""
    texts = {f"model-{seed}.txt": booster.model_to_string() for seed, booster in enumerate(boosters)}
    for stale in set(folder.glob("model-*.txt")) - {folder / name for name in texts}:
        stale.unlink()
    columns = json.dumps({name: _described(name) for name in names}, indent=1) + "\n"
    for name, text in {**texts, "statistics.json": columns}.items():
        files.replace(folder / name, text.encode())
