"""Blends the members' rankings, per collection, with weights chosen on the validation graphs."""

import itertools
from pathlib import Path

import numpy as np
import polars as pl

from stages import dataset, scores
from stages.collection import slug
from stages.errors import InputError
from stages.metrics import collection_score, graph_scores
from stages.submission import order, ordered

MEMBERS = ("gnn", "gbdt")
STEPS = 20  # the grid's step is 1/20 = 0.05: finer than what a few validation graphs can tell apart


def run(*, collections: list, shrink: float = 0.5, data: str = "data") -> dict[str, pl.DataFrame]:
    """Writes data/blend/scores.parquet (valid and test, member "blend") and data/blend/weights.json.

    A member's ranking is the mean over its seeds of within-graph ranks. Of all weights on the simplex, in steps of
    0.05, those with the best official metric on valid are chosen, then moved toward equal weights:
    shrink * equal + (1 - shrink) * chosen, because a handful of graphs overfits even one weight. So the metric on valid
    is optimistic; nothing is fitted on test, where the leaderboard takes the honest figure. A blended score is the
    configuration's place in the submitted order divided by c, so it has no ties.

    Returns frames: `weights` (collection, member, chosen, weight, valid: metric of the member alone), `grid`
    (collection, weight of the first member, valid), `blend` (collection, valid).
    Raises InputError for an unknown collection, a shrink outside [0, 1] and a member whose scores are absent or do not
    fit the packed graphs; it names the stage to run.
    """
    collections = ordered(collections)
    if not 0 <= shrink <= 1:
        raise InputError(f"shrink: {shrink} is not between 0 (the weights chosen on valid) and 1 (equal weights)")
    blended, weights, grid, totals, record = [], [], [], [], {}
    for collection in collections:
        members = {
            split: {member: _member(data, collection, split, member) for member in MEMBERS}
            for split in ("valid", "test")
        }
        targets = {graph.id: graph.target for graph in dataset.graphs(data, collection, "valid")}
        tried = _try(collection, members["valid"], targets)
        chosen = best(tried)
        used = tuple(shrink / len(MEMBERS) + (1 - shrink) * weight for weight in chosen)
        for split in members:
            blended += _frames(collection, split, combine(members[split], used))
        valid = collection_score(graph_scores(collection, combine(members["valid"], used), targets))
        totals.append((collection, valid))
        grid += [(collection, point[0], value) for point, value in tried.items()]
        alone = [tried[tuple(map(float, row))] for row in np.eye(len(MEMBERS))]
        weights += list(zip(itertools.repeat(collection), MEMBERS, chosen, used, alone))
        record[collection] = {
            "chosen": dict(zip(MEMBERS, chosen, strict=True)),
            "weights": dict(zip(MEMBERS, [round(weight, 6) for weight in used], strict=True)),
        }
    folder = Path(data) / "blend"
    scores.write(pl.concat(blended), folder / "scores.parquet")
    dataset.write_json(folder / "weights.json", record)
    return {
        "weights": pl.DataFrame(weights, schema=["collection", "member", "chosen", "weight", "valid"], orient="row"),
        "grid": pl.DataFrame(grid, schema=["collection", MEMBERS[0], "valid"], orient="row"),
        "blend": pl.DataFrame(totals, schema=["collection", "valid"], orient="row"),
    }


def simplex(members: int, steps: int = STEPS) -> list[tuple[float, ...]]:
    """All weights of `members` members that are multiples of 1/steps, none negative, and sum to one."""
    counts = (combination for combination in itertools.product(range(steps + 1), repeat=members - 1))
    return [
        tuple(part / steps for part in (*combination, steps - sum(combination)))
        for combination in counts
        if sum(combination) <= steps
    ]


def best(tried: dict[tuple[float, ...], float]) -> tuple[float, ...]:
    """The weights with the highest metric; of equals, and where the metric is undefined, those nearest to equal."""
    known = {point: -np.inf if np.isnan(value) else round(value, 12) for point, value in tried.items()}
    return max(known, key=lambda point: (known[point], -_uneven(point)))


def combine(members: dict[str, dict[str, np.ndarray]], weights: tuple[float, ...]) -> dict[str, np.ndarray]:
    """graph -> (c,) place in the order of the weighted mean of the members' ranks, in (0, 1], without ties."""
    first, *_ = members.values()
    return {graph: _places(_mean(members, graph, weights)) for graph in first}


def _try(collection: str, members: dict, targets: dict[str, np.ndarray]) -> dict[tuple[float, ...], float]:
    return {
        point: collection_score(graph_scores(collection, combine(members, point), targets))
        for point in simplex(len(members))
    }


def _mean(members: dict, graph: str, weights: tuple[float, ...]) -> np.ndarray:
    return sum(weight * ranks[graph] for weight, ranks in zip(weights, members.values(), strict=True))


def _places(mean: np.ndarray) -> np.ndarray:
    # Rounded first: sums that are equal on paper must tie, whatever the order of addition did to their last bit.
    places = np.empty(len(mean))
    places[order(np.round(mean, 12))] = np.arange(1, len(mean) + 1) / len(mean)
    return places


def _uneven(weights: tuple[float, ...]) -> float:
    return round(sum((weight - 1 / len(weights)) ** 2 for weight in weights), 12)


def _member(data: str, collection: str, split: str, member: str) -> dict[str, np.ndarray]:
    """graph -> (c,) ranks of a member, for exactly the graphs of the manifest."""
    path = Path(data) / member / slug(collection) / "scores.parquet"
    again = f"run the {member} stage for {collection}"
    if not path.is_file():
        raise InputError(f"{path}: not there; {again}")
    table = scores.read(path).filter((pl.col("split") == split) & (pl.col("member") == member))
    ranks = scores.by_graph(scores.ranking(table), str(path))
    manifest = dataset.manifest(dataset.prune_folder(data, collection))
    expected = {graph["id"]: graph["configurations"] for graph in manifest["graphs"][split]}
    found = {graph: len(score) for graph, score in ranks.items()}
    if found != expected:
        graph = min(found.items() ^ expected.items())[0]
        raise InputError(f"{path}: scores of {split} graph {graph} do not fit the packed graphs; {again}")
    return ranks


def _frames(collection: str, split: str, blended: dict[str, np.ndarray]) -> list[pl.DataFrame]:
    return [
        scores.frame(split, graph, np.arange(len(score)), "blend", -1, score).select(
            pl.lit(collection).alias("collection"), pl.all()
        )
        for graph, score in blended.items()
    ]
