"""The stage: trains the ensemble on a collection and scores its valid and test graphs."""

from __future__ import annotations

import json
import time
from functools import partial
from pathlib import Path

import lightgbm as lgb
import numpy as np
import polars as pl
from tqdm import tqdm

from stages import checks, files
from stages.engine import elapsed_times as spent
from stages.engine import engine
from stages.errors import InputError
from stages.gbdt.ensemble import Ensemble, combined, fit
from stages.gbdt.feature_table import Sheet, described, labelled, statistic, whole
from stages.gbdt.settings import Settings
from stages.graphs import dataset
from stages.graphs.collection import slug
from stages.scoring import metrics, scores
from stages.statistics import describe

#: seconds without a word; longer training shows how far it is, on standard error
SILENCE = 5
MEMBER = "gbdt"
SCORED = ("valid", "test")
IN_MEMORY = 4  # graphs with all of their configurations at a time, on one machine
LOWER = "gbdt.configurations"  # where memory runs out
#: members whose trees see a configuration at a time
BY_ROW = ("lambdarank", "pointwise")


@checks.entry("gbdt", writes=True)
def run(*, collection: str, data: str | Path = "data", **knobs) -> dict:
    """Trains every member on the train and valid graphs of a collection and scores its valid and test graphs.

    knobs: as in `Settings`. With each of the seeds 0 .. seeds-1 the program families are dealt into folds, and each
    member is trained once for each fold on the graphs of the others. A valid graph is scored OUT OF FOLD, by the models
    that trained on none of its family, a test graph by the mean over all; a seed's score is the mean of its members',
    brought to one scale within the graph. A graph gives at most `configurations` rows and `pairs` pairs to training;
    all are scored.

    Writes below DATA/gbdt/SLUG: scores.parquet, models/OBJECTIVE-SEED-FOLD.txt (LightGBM's text; a ridge as .json) and
    statistics.json (what each column measures); how long the training took lies in DATA/seconds. Returns {"collection",
    "valid": frame of graph, seed, score (the official metric, out of fold), "objectives": frame of objective, graphs
    (train, valid), score, sd: out of fold, mean over the graphs, mean and deviation over the seeds; "gains": frame of
    column (a statistic), gain (share of the trees' gain, mean over the models), shap and slower (see `_shap`),
    description; "trees": frame of objective, seed, trees; "graphs": number trained on; "seconds": spent in training}.
    Raises InputError for an unknown objective or collection, a number out of range, or no train graph.
    """
    folder = Path(data, "gbdt", slug(collection))
    settings = Settings(**knobs)
    known = labelled(data, collection, settings)
    if not any(sheet.split == "train" for sheet in known):
        raise InputError(
            f"{dataset.prune_folder(data, collection)}: has no train graph; run the prune stage on more data"
        )
    begin, processor = time.perf_counter(), time.process_time()
    ensemble = fit(known, settings, lambda work, total: tqdm(work, f"gbdt {collection}", total, delay=SILENCE))
    seconds, processor = time.perf_counter() - begin, time.process_time() - processor
    train = {(sheet.split, sheet.id): sheet for sheet in known if sheet.split == "train"}
    graphs = [*train, *((split, id) for split in SCORED for id in dataset.graph_ids(data, collection, split))]
    score = partial(_scored, ensemble=ensemble, collection=collection, data=data, train=train, names=known[0].names)
    place, knobs = engine.configured(), {"memory_knob": LOWER, "parallel": IN_MEMORY, "threads": True}
    found = list(place.ordered(score, graphs, **knobs))
    frames, judged = [frame for frames, _ in found for frame in frames], [row for _, rows in found for row in rows]
    _write(folder, ensemble, known[0])
    scores.write(pl.concat(frames) if frames else pl.DataFrame(schema=scores.SCHEMA), folder / "scores.parquet")
    if place.kind == "local":  # else the work was done in other processes
        spent.write(data, "gbdt", collection, processor)
    schema = {"split": pl.String, "graph": pl.String, "seed": pl.Int64, "objective": pl.String, "score": pl.Float64}
    table = pl.DataFrame(judged, schema=schema, orient="row")
    return {
        "collection": collection,
        "valid": table.filter(split="valid", objective=MEMBER).select("graph", "seed", "score"),
        "objectives": _objectives(table, settings),
        "gains": _gains(ensemble, [sheet for sheet in known if sheet.split == "valid"]),
        "trees": pl.DataFrame(
            [(bag.objective, seed, bag.trees) for seed, bags in enumerate(ensemble.bags) for bag in bags],
            schema=["objective", "seed", "trees"],
            orient="row",
        ),
        "graphs": len(known),
        "seconds": seconds,
    }


def _scored(
    task: tuple[str, str],
    *,
    ensemble: Ensemble,
    collection: str,
    data: str,
    train: dict[tuple[str, str], Sheet],
    names: list[str],
) -> tuple[list[pl.DataFrame], list[tuple]]:
    """Frames of the scores of each seed, none of a train graph, and every member's metric, none of a test graph.

    task: split and id of the graph; train: the train graphs, as they were trained on; names: of their columns.
    """
    split, id = task
    rated = train.get(task) or whole(data, collection, split, id, ensemble.settings)
    if rated.names != names:
        raise InputError(f"{id}: has other statistics than the train graphs; run the prune stage again")
    frames, judged = [], []
    for seed in range(ensemble.settings.seeds):
        members = ensemble.scores(rated, seed)
        members |= {MEMBER: combined(members)}
        if split != "test":
            judged += [
                (split, id, seed, name, metrics.graph_score(collection, score, rated.target))
                for name, score in members.items()
            ]
        if split != "train":
            frames.append(scores.frame(split, id, rated.config_index, MEMBER, seed, members[MEMBER]))
    return frames, judged


def _objectives(judged: pl.DataFrame, settings: Settings) -> pl.DataFrame:
    """Out-of-fold metric of each member: mean over the graphs where it is defined, then mean and sd over the seeds."""
    order = {name: place for place, name in enumerate((*settings.objectives, MEMBER))}
    seeds = (
        judged.filter(pl.col("score").is_not_nan())
        .group_by("split", "objective", "seed", maintain_order=True)
        .agg(pl.col("score").mean(), pl.len().alias("graphs"))
    )
    return (
        seeds.group_by("split", "objective", maintain_order=True)
        .agg(pl.col("graphs").first(), pl.col("score").mean(), pl.col("score").std(ddof=0).alias("sd"))
        .sort("split", pl.col("objective").replace_strict(order, return_dtype=pl.Int64))
    )


def _gains(ensemble: Ensemble, valid: list[Sheet]) -> pl.DataFrame:
    """What each statistic contributes: its share of the loss that the splits take away, mean over the tree models, and
    what `_shap` says of it."""
    shares: dict[str, float] = {}
    boosters = [
        model for bags in ensemble.bags for bag in bags for model in bag.models if isinstance(model, lgb.Booster)
    ]
    for booster in boosters:
        gains = booster.feature_importance("gain")
        total = max(gains.sum(), np.finfo(float).tiny)
        for feature, gain in zip(booster.feature_name(), gains.tolist(), strict=True):
            name = statistic(feature)
            shares[name] = shares.get(name, 0.0) + gain / total / len(boosters)
    moved = _shap(ensemble, valid)
    rows = [(name, share, *moved.get(name, (None, None)), describe(name)) for name, share in shares.items()]
    schema = {"column": pl.String} | dict.fromkeys(("gain", "shap", "slower"), pl.Float64) | {"description": pl.String}
    return pl.DataFrame(rows, schema=schema, orient="row").sort("gain", "column", descending=[True, False])


def _shap(ensemble: Ensemble, valid: list[Sheet]) -> dict[str, tuple[float, float]]:
    """statistic -> (share, slower), from SHAP values (Lundberg et al. 2020) as LightGBM computes them.

    share: of how far a statistic moves the configurations of a valid graph apart, mean over the graphs and the models
    that trained on none of its family: its SHAP values, with those of its z-score, less their mean over the graph,
    which ranks nothing; the mean of their sizes. slower: -1 .. 1, the correlation of the statistic with what it adds
    to the predicted time. A pairwise classifier's rows are pairs, a ridge has no trees: neither takes part.
    """
    moved: dict[str, list[tuple[float, float]]] = {}
    for sheet in valid:
        places: dict[str, list[int]] = {}
        for place, feature in enumerate(sheet.feature_names):
            places.setdefault(statistic(feature), []).append(place)
        values = sheet.features(slice(None))
        for folds, bags in zip(ensemble.folds, ensemble.bags, strict=True):
            for bag in bags:
                model = bag.models[folds.get((sheet.split, sheet.id), 0)]
                if bag.objective not in BY_ROW or not isinstance(model, lgb.Booster):
                    continue
                found = -model.predict(values, pred_contrib=True, num_threads=1)  # it predicts how fast
                sums = {name: found[:, columns].sum(axis=1) for name, columns in places.items()}
                away = {name: part - part.mean() for name, part in sums.items()}
                total = max(sum(np.abs(part).mean() for part in away.values()), np.finfo(float).tiny)
                for name, part in away.items():
                    goes = _correlation(values[:, places[name][0]], part)
                    moved.setdefault(name, []).append((np.abs(part).mean() / total, goes))
    return {name: _weighted(np.array(pairs)) for name, pairs in moved.items()}


def _correlation(first: np.ndarray, second: np.ndarray) -> float:
    """Pearson's; 0 where one of them does not vary."""
    if np.ptp(first) == 0 or np.ptp(second) == 0:
        return 0.0
    return float(np.corrcoef(first, second)[0, 1])


def _weighted(pairs: np.ndarray) -> tuple[float, float]:
    """Mean of the shares (r, 0) and of the correlations (r, 1), each counting as much as its share."""
    total = pairs[:, 0].sum()
    return float(pairs[:, 0].mean()), float((pairs[:, 0] * pairs[:, 1]).sum() / total) if total else 0.0


def _write(folder: Path, ensemble: Ensemble, sheet: Sheet) -> None:
    """Writes the models and what their columns measure; models of earlier runs go."""
    texts = {}
    for seed, bags in enumerate(ensemble.bags):
        for bag in bags:
            for fold, model in enumerate(bag.models):
                name = f"{bag.objective}-{seed}-{fold}"
                if isinstance(model, lgb.Booster):
                    texts[f"{name}.txt"] = model.model_to_string()
                else:
                    weights = dict(zip(model.names, model.weights.tolist(), strict=True))
                    texts[f"{name}.json"] = json.dumps(weights, indent=1) + "\n"
    for stale in set((folder / "models").glob("*")) - {folder / "models" / name for name in texts}:
        stale.unlink()
    for name, text in texts.items():
        files.replace(folder / "models" / name, text.encode())
    columns = {name: described(name) for name in (*sheet.feature_names, *sheet.pair_names)}
    files.replace(folder / "statistics.json", (json.dumps(columns, indent=1) + "\n").encode())
