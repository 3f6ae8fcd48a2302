"""The board: run times, scores and metrics of every member, by split and collection."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from stages.graphs.collection import is_tile
from stages.scoring import eval_indices
from stages.scoring.metrics import collection_score

#: the baseline whose tile score a layout baseline takes in the mean of the collections
TILE_STAND_IN = "largest_tile"

SplitCollection = tuple[str, str]  # split, collection
Key = tuple[str, str, str]  # split, collection, member


@dataclass
class Board:
    """What is known of the graphs and of the members that rank them.

    Attributes:
        collections: official names, in official order.
        trained: the members that are blended.
        targets: (split, collection) -> graph -> run times (c,), for the splits whose run times are known.
        members: (split, collection, member) -> graph -> scores (c,), smaller is faster.
        values: (split, collection, member) -> graph -> official metric; NaN where it is undefined.
        seeds: (split, collection, member) -> seed -> score of that seed alone.
        judged: collection -> graph -> indices (k,) of the configurations that the valid metrics are of, where the blend
            stage was given the official ones. Targets and members hold those alone.
    """

    collections: list[str]
    trained: list[str] = field(default_factory=list)
    targets: dict[SplitCollection, dict[str, np.ndarray]] = field(default_factory=dict)
    members: dict[Key, dict[str, np.ndarray]] = field(default_factory=dict)
    values: dict[Key, dict[str, float]] = field(default_factory=dict)
    seeds: dict[Key, dict[int, float]] = field(default_factory=dict)
    judged: Mapping[str, Mapping[str, np.ndarray]] = field(default_factory=dict)

    @property
    def splits(self) -> list[str]:
        """The splits with known run times: valid, then test."""
        return [split for split in ("valid", "test") if any(key[0] == split for key in self.targets)]

    def names(self) -> list[str]:
        """The members that have a metric, in the order of the report: blend, what it blends, baselines, ceiling."""
        scored = {member for _, _, member in self.values}
        first = [name for name in ("blend", *self.trained) if name in scored]
        return first + sorted(scored - {*first, "ceiling"}) + (["ceiling"] if "ceiling" in scored else [])

    def only(self, split: str, collection: str, values: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        """graph -> values (c,), of valid graphs at the `judged` configurations alone."""
        return eval_indices.only(values, self.judged.get(collection, {})) if split == "valid" else values

    def source(self, split: str, collection: str, member: str) -> str | None:
        """The member whose score stands for `member` in the mean of the collections; None where there is none."""
        if (split, collection, member) in self.values:
            return member
        stands_in = is_tile(collection) and member not in ("blend", *self.trained, "ceiling")
        return TILE_STAND_IN if stands_in and (split, collection, TILE_STAND_IN) in self.values else None

    def score(self, split: str, collection: str, member: str) -> float:
        """The mean of the metric over a collection's graphs; of the collection "mean", the mean over collections."""
        return float(np.mean([collection_score(values) for values in self._of(split, collection, member)]))

    def graphs(self, split: str, collection: str, member: str) -> int:
        """How many graphs have a metric; of the collection "mean", in all collections together."""
        return sum(_defined(values) for values in self._of(split, collection, member))

    def fewest_graphs(self, split: str, collection: str, member: str) -> int:
        """How many graphs have a metric; of the collection "mean", in the collection that has the fewest."""
        return min(_defined(values) for values in self._of(split, collection, member))

    def seed_scores(self, split: str, collection: str, member: str) -> list[float]:
        """The score of each single seed; for "mean", of the seeds that every collection was trained with."""
        if collection != "mean":
            return list(self.seeds.get((split, collection, member), {}).values())
        by_collection = [self.seeds.get((split, name, member), {}) for name in self.collections]
        common = set.intersection(*map(set, by_collection))
        return [float(np.mean([seeds[seed] for seeds in by_collection])) for seed in sorted(common)]

    def _of(self, split: str, collection: str, member: str) -> list[dict[str, float]]:
        """The metrics of the one collection; for "mean", those that stand for the member in each."""
        if collection != "mean":
            return [self.values[split, collection, member]]
        return [self.values[split, name, self.source(split, name, member)] for name in self.collections]


def _defined(values: Mapping[str, float]) -> int:
    return int(np.sum(~np.isnan(list(values.values()))))
