"""Blends the members' rankings, per collection, with weights chosen on the validation graphs.

Five ways to make one ranking of several are computed from the same scores, so that what the weights bring can be seen:

rank      mean of within-graph ranks, weights chosen on valid and moved toward equal
borda     mean of within-graph ranks, equal weights (a Borda count: every seed of a member is a voter)
minmax    mean of scores brought to [0, 1] within a graph, equal weights
zscore    mean of scores brought to mean 0 and deviation 1 within a graph, equal weights
single    the member that is best on valid, alone

The first four can be the blend (`rule`), the last is there to compare with.

A choice and its score on the same graphs flatter each other. The nested evaluation takes them apart: for each family of
programs among the valid graphs the choice is made anew without them, and they are scored by it. What it does not take
apart: a network's epochs were chosen on the same valid graphs.
"""

import itertools
import json
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import polars as pl

from stages import checks, files
from stages.errors import InputError
from stages.graphs import dataset
from stages.graphs.collection import slug
from stages.graphs.families import family
from stages.scoring import eval_indices, metrics, scores
from stages.scoring.metrics import collection_score, graph_scores
from stages.scoring.submission import order, ordered

SCALES = {"rank": "rank", "borda": "rank", "minmax": "minmax", "zscore": "zscore", "single": "rank"}
RULES = ("rank", "borda", "minmax", "zscore")  # what the blend can be
STEPS = 20  # the grid's step is 1/20 = 0.05: finer than what a few validation graphs can tell apart
SHRINKS = (0.0, 0.25, 0.5, 0.75, 1.0)  # toward equal weights, looked at beside the one that is used
SPLITS = ("valid", "test")
Scores = Mapping[str, np.ndarray]  # graph -> (c,), smaller is faster
Weights = tuple[float, ...]  # one for each member, none negative, their sum one


@dataclass
class Voices:
    """The members' scores of one collection. By (split, scale): member -> graph -> (c,), seeds together.

    targets: graph -> (c,) run times of the valid graphs; judged: graph -> (k,) configurations that its metric is of,
    all where a graph is not in it.
    """

    collection: str
    scaled: dict[tuple[str, str], dict[str, Scores]]
    targets: Scores
    judged: Mapping[str, np.ndarray] = field(default_factory=dict)
    _values: dict[tuple[str, Weights], dict[str, float]] = field(default_factory=dict)

    @property
    def members(self) -> list[str]:
        return list(self.scaled["valid", "rank"])

    @property
    def corners(self) -> dict[str, Weights]:
        """member -> the weights under which it stands alone."""
        return {name: tuple(float(name == other) for other in self.members) for name in self.members}

    @property
    def equal(self) -> Weights:
        return (1 / len(self.members),) * len(self.members)

    def blended(self, split: str, rule: str, weights: Weights) -> dict[str, np.ndarray]:
        """graph -> (c,) places in (0, 1], by the scale of the rule."""
        return combine(self.scaled[split, SCALES[rule]], weights)

    def values(self, rule: str, weights: Weights) -> dict[str, float]:
        """Official metric of every valid graph, NaN where it is undefined."""
        key = SCALES[rule], weights
        if key not in self._values:
            blended, targets = (
                eval_indices.only(part, self.judged) for part in (self.blended("valid", rule, weights), self.targets)
            )
            self._values[key] = graph_scores(self.collection, blended, targets)
        return self._values[key]

    def score(self, rule: str, weights: Weights, graphs: Iterable[str] | None = None) -> float:
        """Mean of `values` over `graphs`, of which there may be none (NaN); over all valid graphs without them."""
        values = self.values(rule, weights)
        return collection_score(values if graphs is None else [values[graph] for graph in graphs])

    def grid(self, graphs: Iterable[str] | None = None) -> dict[Weights, float]:
        """The score of ranks under every weights of the grid."""
        graphs = None if graphs is None else list(graphs)
        return {point: self.score("rank", point, graphs) for point in simplex(len(self.members))}

    def weights(self, rule: str, shrink: float, graphs: Iterable[str] | None = None) -> Weights:
        """What the rule weighs the members by, chosen (if it chooses) on `graphs`, else on all valid graphs."""
        if rule == "rank":
            return shrunk(best(self.grid(graphs)), shrink)
        if rule == "single":
            return best({corner: self.score(rule, corner, graphs) for corner in self.corners.values()})
        return self.equal

    def families(self) -> dict[str, list[str]]:
        """Families of the valid graphs whose metric is defined."""
        found: dict[str, list[str]] = {}
        for graph, value in self.values("rank", self.equal).items():
            if not np.isnan(value):
                found.setdefault(family(graph), []).append(graph)
        return found

    def nested(self, rule: str, shrink: float) -> dict[str, float]:
        """Metric of each valid graph under weights chosen on the graphs of other families.

        Empty where there are fewer than two families: nothing is left to choose on.
        """
        families = self.families()
        result = {}
        for name, graphs in families.items() if len(families) > 1 else ():
            others = [graph for other, part in families.items() if other != name for graph in part]
            values = self.values(rule, self.weights(rule, shrink, others))
            result |= {graph: values[graph] for graph in graphs}
        return result


@checks.entry("blend", writes=True)
def run(
    *,
    collections: list[str],
    members: list[str],
    rule: str = "rank",
    shrink: float = 0.5,
    eval_indices: str | Path | None = None,
    data: str | Path = "data",
) -> dict[str, pl.DataFrame | str | float]:
    """Blends the `members` (names of stages that score) by `rule` and evaluates the choice; writes below DATA/blend:

    scores.parquet   valid and test, member "blend"; a score is the place in the submitted order divided by c, no ties
    rules.parquet    the same of each of the five ways, as members of their names
    seeds.parquet    the blend of single seeds, under the same weights, of the seeds that all members have
    weights.json     {collection: {"rule", "chosen": best weights on valid, "weights": those used}}
    nested.csv       the frame `rules` below
    judged.json      {collection: {graph: configurations that its valid metric is of}}, where `eval_indices` is given

    A member's seeds count together, as the mean over them on the rule's scale. Weights of rule rank: of all on the
    simplex, in steps of 0.05, those with the best official metric on valid, then shrink * equal + (1 - shrink) *
    chosen, because a handful of graphs overfits even one weight. Nothing is fitted on test.

    eval_indices: folder of the official protocol's files, see stages/scoring/eval_indices.py. Valid metrics of layout
    collections, and so the choice of weights, are then of those configurations of each graph alone; scores are still of
    all. The leaderboard follows judged.json.

    Returns `rule`, `shrink`, `eval_indices` and frames:
    weights        collection, member, valid (metric of the member alone), chosen, shrunk, used
    grid           collection, weight of each member, valid
    blend          collection, valid
    rules          collection, rule, graphs, families, valid, nested, better, worse: graphs that the nested choice ranks
                   better or worse than equal weights do; also of collection "mean", over those with a nested score
    shrinks        collection (and "mean"), shrink, nested
    disagreement   collection, graph, first, second (two members), first_score, second_score, blend, tau (between
                   the two members' rankings); of valid graphs
    Raises InputError for an unknown collection, rule or member, a shrink outside [0, 1], a member whose scores are
    absent or do not fit the packed graphs (it names the stage to run), and `eval_indices` that do not fit them.
    """
    collections = ordered(collections)
    _check(members, rule, shrink)
    record, judged, written, rows = {}, {}, defaultdict(list), defaultdict(list)
    for collection in collections:
        tables = {member: _table(data, collection, member) for member in members}
        targets = {graph.id: graph.target for graph in dataset.graphs(data, collection, "valid")}
        if eval_indices is not None:
            counts = {graph: len(target) for graph, target in targets.items()}
            judged[collection] = eval_indices.read(eval_indices, collection, counts)
        voices = Voices(collection, _scaled(tables, set(SCALES.values())), targets, judged.get(collection, {}))
        weights = {name: voices.weights(name, shrink) for name in SCALES}
        record[collection] = {
            "rule": rule,
            "chosen": _rounded(members, best(voices.grid())),
            "weights": _rounded(members, weights[rule]),
        }
        for name, frames in _written(voices, tables, rule, weights).items():
            written[name] += frames
        for name, part in _rows(voices, rule, shrink, weights).items():
            rows[name] += part
    folder = Path(data) / "blend"
    for name, frames in written.items():
        table = pl.concat(frames) if frames else pl.DataFrame(schema={"collection": pl.String} | scores.SCHEMA)
        scores.write(table, folder / f"{name}.parquet")
    dataset.write_json(folder / "weights.json", record)
    listed = {name: {graph: places.tolist() for graph, places in part.items()} for name, part in judged.items()}
    files.replace(folder / "judged.json", json.dumps(listed).encode())
    found = _frames(rows, members)
    files.replace(folder / "nested.csv", found["rules"].write_csv(float_precision=6).encode())
    return {"rule": rule, "shrink": shrink, "eval_indices": eval_indices} | found


def simplex(members: int, steps: int = STEPS) -> list[Weights]:
    """All weights of `members` members that are multiples of 1/steps, none negative, and sum to one."""
    counts = (combination for combination in itertools.product(range(steps + 1), repeat=members - 1))
    return [
        tuple(part / steps for part in (*combination, steps - sum(combination)))
        for combination in counts
        if sum(combination) <= steps
    ]


def best(tried: Mapping[Weights, float]) -> Weights:
    """The weights with the highest metric; of equals, and where the metric is undefined, those nearest to equal."""
    known = {point: -np.inf if np.isnan(value) else round(value, 12) for point, value in tried.items()}
    return max(known, key=lambda point: (known[point], -_uneven(point)))


def shrunk(weights: Weights, shrink: float) -> Weights:
    """shrink * equal + (1 - shrink) * weights."""
    return tuple(shrink / len(weights) + (1 - shrink) * weight for weight in weights)


def combine(members: Mapping[str, Scores], weights: Weights) -> dict[str, np.ndarray]:
    """graph -> (c,) place in the order of the weighted mean of the members' scores, in (0, 1], without ties."""
    first, *_ = members.values()
    return {graph: _places(_weighted(members, graph, weights)) for graph in first}


def _check(members: list[str], rule: str, shrink: float) -> None:
    if not members or len(set(members)) != len(members):
        raise InputError(f"blend.members: {members} is no list of different stages that score; give [gnn, gbdt] or one")
    if rule not in RULES:
        raise InputError(f"blend.rule: {rule!r} is no rule; use one of {', '.join(RULES)}")
    if not 0 <= shrink <= 1:
        raise InputError(f"blend.shrink: {shrink} is not between 0 (the weights chosen on valid) and 1 (equal weights)")


def _weighted(members: Mapping[str, Scores], graph: str, weights: Weights) -> np.ndarray:
    return sum(weight * score[graph] for weight, score in zip(weights, members.values(), strict=True))


def _places(mean: np.ndarray) -> np.ndarray:
    # Rounded first: sums that are equal on paper must tie, whatever the order of addition did to their last bit.
    places = np.empty(len(mean))
    places[order(np.round(mean, 12))] = np.arange(1, len(mean) + 1) / len(mean)
    return places


def _uneven(weights: Weights) -> float:
    return round(sum((weight - 1 / len(weights)) ** 2 for weight in weights), 12)


def _table(data: str, collection: str, member: str) -> pl.DataFrame:
    """A member's scores of exactly the valid and test graphs of the manifest."""
    path = Path(data) / member / slug(collection) / "scores.parquet"
    again = f"run the {member} stage for {collection}"
    if not path.is_file():
        raise InputError(f"{path}: not there; {again}, or leave {member} out of blend.members")
    table = scores.read(path).filter(pl.col("split").is_in(SPLITS), pl.col("member") == member)
    manifest = dataset.manifest(dataset.prune_folder(data, collection))
    for split in SPLITS:
        expected = {graph["id"]: graph["configurations"] for graph in manifest["graphs"][split]}
        part = scores.by_graph(scores.ranking(table.filter(pl.col("split") == split)), str(path))
        found = {graph: len(score) for graph, score in part.items()}
        if found != expected:
            graph = min(found.items() ^ expected.items())[0]
            raise InputError(f"{path}: scores of {split} graph {graph} do not fit the packed graphs; {again}")
    return table


def _scaled(tables: Mapping[str, pl.DataFrame], scales: Iterable[str]) -> dict[tuple[str, str], dict[str, Scores]]:
    """(split, scale) -> member -> graph -> (c,), each member's seeds together."""
    result: dict[tuple[str, str], dict[str, Scores]] = {}
    for scale, (member, table) in itertools.product(sorted(scales), tables.items()):
        together = scores.together(table, scale)
        for split in SPLITS:
            part = scores.by_graph(together.filter(pl.col("split") == split), member)
            result.setdefault((split, scale), {})[member] = part
    return result


def _single(tables: Mapping[str, pl.DataFrame], scale: str) -> dict[int, dict]:
    """seed -> `_scaled` of that seed alone, for the seeds by which every member scores every graph."""
    seeds = [
        set(part["seed"])
        for table in tables.values()
        for part in table.partition_by("split", "graph", maintain_order=True)
    ]
    return {
        seed: _scaled({member: table.filter(pl.col("seed") == seed) for member, table in tables.items()}, [scale])
        for seed in sorted(set.intersection(*seeds) if seeds else ())
    }


def _written(voices: Voices, tables: Mapping, rule: str, weights: Mapping[str, Weights]) -> dict[str, list]:
    """Name of a file -> frames of its scores: of the blend, of each of the five ways, of single seeds."""
    result: dict[str, list] = {"scores": [], "rules": [], "seeds": []}
    for split in SPLITS:
        blended = {name: voices.blended(split, name, weights[name]) for name in SCALES}
        result["scores"] += _places_frames(voices.collection, split, "blend", -1, blended[rule])
        for name, places in blended.items():
            result["rules"] += _places_frames(voices.collection, split, name, -1, places)
    for seed, scaled in _single(tables, SCALES[rule]).items():
        for split in SPLITS:
            places = combine(scaled[split, SCALES[rule]], weights[rule])
            result["seeds"] += _places_frames(voices.collection, split, "blend", seed, places)
    return result


def _places_frames(collection: str, split: str, member: str, seed: int, blended: Scores) -> list[pl.DataFrame]:
    return [
        scores.frame(split, graph, np.arange(len(places)), member, seed, places).select(
            pl.lit(collection).alias("collection"), pl.all()
        )
        for graph, places in blended.items()
    ]


def _rows(voices: Voices, rule: str, shrink: float, weights: Mapping[str, Weights]) -> dict[str, list[tuple]]:
    """The rows of one collection of every frame that `run` returns."""
    name, grid = voices.collection, voices.grid()
    alone = [grid[corner] for corner in voices.corners.values()]
    each = zip(voices.members, alone, best(grid), weights["rank"], weights[rule], strict=True)
    return {
        "weights": [(name, *row) for row in each],
        "grid": [(name, *point, value) for point, value in grid.items()],
        "blend": [(name, voices.score(rule, weights[rule]))],
        "rules": _rules(voices, weights, shrink),
        "shrinks": [(name, amount, _mean_of(voices.nested("rank", amount))) for amount in sorted({*SHRINKS, shrink})],
        "disagreement": _disagreement(voices, voices.values(rule, weights[rule])),
    }


def _rules(voices: Voices, weights: Mapping[str, Weights], shrink: float) -> list[tuple]:
    families = voices.families()
    graphs = sum(map(len, families.values()))
    equal = voices.nested("borda", shrink)
    rows = []
    for rule in SCALES:
        nested = voices.nested(rule, shrink)
        leads = np.array([round(value - equal[graph], 12) for graph, value in nested.items()])
        counts = int((leads > 0).sum()), int((leads < 0).sum())
        valid = _known(voices.score(rule, weights[rule]))
        rows.append((voices.collection, rule, graphs, len(families), valid, _mean_of(nested), *counts))
    return rows


def _disagreement(voices: Voices, blend: Mapping[str, float]) -> list[tuple]:
    values = {member: voices.values("single", corner) for member, corner in voices.corners.items()}
    ranked = {member: eval_indices.only(part, voices.judged) for member, part in voices.scaled["valid", "rank"].items()}
    return [
        (voices.collection, graph, first, second, one, other, blend[graph], _known(tau))
        for graph, first, second, one, other, tau in metrics.disagreement(ranked, values)
    ]


def _known(value: float) -> float | None:
    return None if np.isnan(value) else value


def _mean_of(values: Mapping[str, float]) -> float | None:
    return _known(collection_score(values))


def _rounded(members: list[str], weights: Weights) -> dict[str, float]:
    return {member: round(weight, 6) for member, weight in zip(members, weights, strict=True)}


def _frames(rows: Mapping[str, list], members: list[str]) -> dict[str, pl.DataFrame]:
    text, real, whole = pl.String, pl.Float64, pl.Int64
    schemas = {
        "weights": {"collection": text, "member": text} | dict.fromkeys(("valid", "chosen", "shrunk", "used"), real),
        "grid": {"collection": text} | dict.fromkeys((*members, "valid"), real),
        "blend": {"collection": text, "valid": real},
        "rules": {"collection": text, "rule": text, "graphs": whole, "families": whole}
        | {"valid": real, "nested": real, "better": whole, "worse": whole},
        "shrinks": {"collection": text, "shrink": real, "nested": real},
        "disagreement": dict.fromkeys(("collection", "graph", "first", "second"), text)
        | dict.fromkeys(("first_score", "second_score", "blend", "tau"), real),
    }
    frames = {name: pl.DataFrame(rows[name], schema=schema, orient="row") for name, schema in schemas.items()}
    means = {
        "rules": [
            pl.col("graphs", "families").sum(),
            pl.col("valid", "nested").mean(),
            pl.col("better", "worse").sum(),
        ],
        "shrinks": [pl.col("nested").mean()],
    }
    for name, columns in means.items():
        by = {"rules": "rule", "shrinks": "shrink"}[name]
        mean = frames[name].drop_nulls("nested").group_by(by, maintain_order=True).agg(columns)
        mean = mean.select(pl.lit("mean").alias("collection"), pl.all()).select(frames[name].columns)
        frames[name] = pl.concat([frames[name], mean])
    return frames
