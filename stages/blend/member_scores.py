"""The members' scores of one collection: read, brought to one scale, blended, and judged on the valid graphs."""

import itertools
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import polars as pl

from stages.blend.rules import SCALES
from stages.blend.weights import Weights, best, shrunk, simplex
from stages.engine.errors import InputError
from stages.graphs import dataset
from stages.graphs.collection import slug
from stages.scoring import eval_indices, scores
from stages.scoring.metrics import collection_score, graph_scores
from stages.scoring.submission import order

SPLITS = ("valid", "test")

#: graph -> scores (c,) of its configurations, smaller is faster
Scores = Mapping[str, np.ndarray]
#: (split, scale) -> member -> graph -> scores (c,)
ScaledScores = dict[tuple[str, str], dict[str, Scores]]


@dataclass
class MemberScores:
    """The members' scores of one collection, each member's seeds together, and what judges them.

    Attributes:
        collection: the collection's official name.
        scaled: (split, scale) -> member -> graph -> scores (c,), for every scale that a rule needs.
        targets: graph -> run times (c,) of the valid graphs.
        judged: graph -> indices (k,) of the configurations that its metric is of; a graph that is absent here is judged
            by all of its configurations.
    """

    collection: str
    scaled: ScaledScores
    targets: Scores
    judged: Mapping[str, np.ndarray] = field(default_factory=dict)
    _values: dict[tuple[str, Weights], dict[str, float]] = field(default_factory=dict)

    @property
    def members(self) -> list[str]:
        """The members' names, in the order of their weights."""
        return list(self.scaled["valid", "rank"])

    @property
    def corners(self) -> dict[str, Weights]:
        """member -> the weights under which it stands alone."""
        return {name: tuple(float(name == other) for other in self.members) for name in self.members}

    @property
    def equal(self) -> Weights:
        """Equal weights."""
        return (1 / len(self.members),) * len(self.members)

    def blended(self, split: str, rule: str, weights: Weights) -> dict[str, np.ndarray]:
        """The ranking that a rule and weights make, as `combine` returns it."""
        return combine(self.scaled[split, SCALES[rule]], weights)

    def values(self, rule: str, weights: Weights) -> dict[str, float]:
        """The official metric of every valid graph; NaN where it is undefined."""
        key = SCALES[rule], weights
        if key not in self._values:
            blended = eval_indices.only(self.blended("valid", rule, weights), self.judged)
            targets = eval_indices.only(self.targets, self.judged)
            self._values[key] = graph_scores(self.collection, blended, targets)
        return self._values[key]

    def score(self, rule: str, weights: Weights, graphs: Iterable[str] | None = None) -> float:
        """The mean of `values` over these graphs; NaN over none. Without `graphs`: over all valid graphs."""
        values = self.values(rule, weights)
        return collection_score(values if graphs is None else [values[graph] for graph in graphs])

    def grid(self, graphs: Iterable[str] | None = None) -> dict[Weights, float]:
        """The score of the mean of ranks under all weights of the grid; `graphs` as in `score`."""
        graphs = None if graphs is None else list(graphs)
        return {weights: self.score("rank", weights, graphs) for weights in simplex(len(self.members))}

    def weights(self, rule: str, shrink: float, graphs: Iterable[str] | None = None) -> Weights:
        """The weights that a rule gives the members.

        Args:
            rule: one of `rules.SCALES`.
            shrink: how far the rule `rank` moves its choice toward equal weights, from 0 to 1.
            graphs: the valid graphs on which a rule that chooses does so; None: all of them.
        """
        if rule == "rank":
            return shrunk(best(self.grid(graphs)), shrink)
        if rule == "single":
            return best({corner: self.score(rule, corner, graphs) for corner in self.corners.values()})
        return self.equal


def combine(members: Mapping[str, Scores], weights: Weights) -> dict[str, np.ndarray]:
    """The ranking by the weighted mean of the members' scores.

    Args:
        members: member -> graph -> scores (c,), all on one scale; every member has every graph.
        weights: one for each member, in their order.

    Returns:
        graph -> place (c,) in the order of the mean, divided by c: in (0, 1], no two alike.
    """
    first, *_ = members.values()
    return {graph: _relative_places(_weighted_mean(members, graph, weights)) for graph in first}


def read(data: str | Path, collection: str, member: str) -> pl.DataFrame:
    """A member's scores of exactly the valid and test graphs of prune's manifest, as `scores.read` has them.

    Raises:
        InputError: the member's file is absent, or its scores are of other graphs or configurations.
    """
    path = Path(data) / member / slug(collection) / "scores.parquet"
    remedy = f"run the {member} stage for {collection}"
    if not path.is_file():
        raise InputError(f"{path}: not there; {remedy}, or leave {member} out of blend.members")
    table = scores.read(path).filter(pl.col("split").is_in(SPLITS), pl.col("member") == member)
    manifest = dataset.manifest(dataset.prune_folder(data, collection))
    for split in SPLITS:
        packed = {graph["id"]: graph["configurations"] for graph in manifest["graphs"][split]}
        of_split = scores.by_graph(scores.ranking(table.filter(pl.col("split") == split)), str(path))
        scored = {graph: len(score) for graph, score in of_split.items()}
        if scored != packed:
            graph = min(scored.items() ^ packed.items())[0]
            raise InputError(f"{path}: scores of {split} graph {graph} do not fit the packed graphs; {remedy}")
    return table


def scaled(tables: Mapping[str, pl.DataFrame], scales: Iterable[str]) -> ScaledScores:
    """The members' scores on each of the scales, each member's seeds together.

    Args:
        tables: member -> its scores, as `read` returns them.
        scales: names of scales, as `scores.together` knows them.
    """
    result: ScaledScores = {}
    for scale, (member, table) in itertools.product(sorted(scales), tables.items()):
        together = scores.together(table, scale)
        for split in SPLITS:
            of_split = scores.by_graph(together.filter(pl.col("split") == split), member)
            result.setdefault((split, scale), {})[member] = of_split
    return result


def single_seeds(tables: Mapping[str, pl.DataFrame], scale: str) -> dict[int, ScaledScores]:
    """seed -> the `scaled` scores of that seed alone, for the seeds by which every member scores every graph."""
    seeds_of_graphs = [
        set(of_graph["seed"])
        for table in tables.values()
        for of_graph in table.partition_by("split", "graph", maintain_order=True)
    ]
    common = set.intersection(*seeds_of_graphs) if seeds_of_graphs else set()
    return {
        seed: scaled({member: table.filter(pl.col("seed") == seed) for member, table in tables.items()}, [scale])
        for seed in sorted(common)
    }


def _weighted_mean(members: Mapping[str, Scores], graph: str, weights: Weights) -> np.ndarray:
    return sum(weight * score[graph] for weight, score in zip(weights, members.values(), strict=True))


def _relative_places(mean: np.ndarray) -> np.ndarray:
    # Rounded first: sums that are equal on paper must tie, whatever the order of addition did to their last bit.
    places = np.empty(len(mean))
    places[order(np.round(mean, 12))] = np.arange(1, len(mean) + 1) / len(mean)
    return places
