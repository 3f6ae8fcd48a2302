"""Blends the members' rankings of each collection, with weights chosen on the validation graphs.

The five rules of stages/blend/rules.py are computed from the same scores, so that what the weights bring can be seen.
What the choice of weights is worth is told by the nested evaluation of stages/blend/nested.py.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl

from stages.blend import member_scores, tables
from stages.blend.member_scores import SPLITS, MemberScores, Scores, combine
from stages.blend.result import BlendResult, Tables
from stages.blend.rules import RULES, SCALES
from stages.blend.weights import SHRINK, Weights, best
from stages.engine import checks, files
from stages.engine.errors import InputError
from stages.graphs import dataset
from stages.graphs.collection import ordered
from stages.scoring import eval_indices as protocol
from stages.scoring import scores


@checks.entry("blend", writes=True)
def run(
    *,
    collections: list[str],
    members: list[str],
    rule: str = "rank",
    eval_indices: str | Path | None = None,
    data: str | Path = "data",
) -> BlendResult:
    """Blends the members' scores by a rule and evaluates the choice of weights.

    Writes below DATA/blend:

    scores.parquet   scores of valid and test, member "blend": the place in the submitted order divided by c, no ties
    rules.parquet    the same for each of the five rules, which are the members' names here
    seeds.parquet    the blend of single seeds under the same weights, for the seeds that all members have
    weights.json     {collection: {"rule", "chosen": the best weights on valid, "weights": those used}}
    nested.csv       the frame `rules` of the result
    judged.json      {collection: {graph: configurations that its valid metric is of}}; empty without `eval_indices`.
                     The leaderboard follows it

    A member's seeds count together, as their mean on the rule's scale. The rule `rank` takes, of all weights on a grid
    of steps of 0.05, those with the best official metric on valid, and moves them half way toward equal ones (see
    `weights.SHRINK`). Nothing is fitted on test.

    Args:
        collections: names of collections.
        members: names of the stages whose scores are blended.
        rule: one of `rules.RULES`.
        eval_indices: folder of the official protocol's files, see stages/scoring/eval_indices.py. Valid metrics of
            layout collections, and so the choice of weights, are then of those configurations of each graph alone.
            Scores are still of all.
        data: the folder of the stages' outputs.

    Returns:
        The page's frames.

    Raises:
        InputError: an unknown collection, rule or member; scores of a member that are absent or do not fit the packed
            graphs (the message names the stage to run); `eval_indices` that do not fit them.
    """
    return blend(collections, members, rule, SHRINK, eval_indices, data)


def blend(
    collections: Sequence[str],
    members: Sequence[str],
    rule: str,
    shrink: float,
    eval_indices: str | Path | None,
    data: str | Path,
) -> BlendResult:
    """What `run` does, with the chosen weights moved toward equal ones by any amount `shrink` from 0 to 1."""
    _check(members, rule)
    parts = {
        collection: _blend_collection(collection, members, rule, shrink, eval_indices, Path(data))
        for collection in ordered(collections)
    }
    joined = tables.joined([part.tables for part in parts.values()])
    _write(parts, joined, Path(data) / "blend")
    return BlendResult(rule=rule, shrink=shrink, eval_indices=eval_indices, **vars(joined))


@dataclass(frozen=True, eq=False)
class _Part:
    """What one collection adds to the outputs.

    Attributes:
        record: its entry of weights.json.
        judged: its entry of judged.json; None without `eval_indices`.
        scores: name of a Parquet file -> its rows of this collection.
        tables: its part of the page's frames.
    """

    record: dict[str, object]
    judged: dict[str, list[int]] | None
    scores: dict[str, pl.DataFrame]
    tables: Tables


def _check(members: Sequence[str], rule: str) -> None:
    if not members or len(set(members)) != len(members):
        raise InputError(f"blend.members: {members} is no list of different stages that score; give [gnn, gbdt] or one")
    if rule not in RULES:
        raise InputError(f"blend.rule: {rule!r} is no rule; use one of {', '.join(RULES)}")


def _blend_collection(
    collection: str, members: Sequence[str], rule: str, shrink: float, eval_indices: str | Path | None, data: Path
) -> _Part:
    of_members = {member: member_scores.read(data, collection, member) for member in members}
    targets = {graph.id: graph.target for graph in dataset.graphs(data, collection, "valid")}
    judged = None
    if eval_indices is not None:
        configurations = {graph: len(target) for graph, target in targets.items()}
        judged = protocol.read(eval_indices, collection, configurations)
    scaled = member_scores.scaled(of_members, set(SCALES.values()))
    together = MemberScores(collection, scaled, targets, judged or {})
    weights = {name: together.weights(name, shrink) for name in SCALES}
    return _Part(
        record={
            "rule": rule,
            "chosen": _by_member(members, best(together.grid())),
            "weights": _by_member(members, weights[rule]),
        },
        judged=None if judged is None else {graph: indices.tolist() for graph, indices in judged.items()},
        scores=_blended_scores(together, of_members, rule, weights),
        tables=tables.of_collection(together, rule, shrink, weights),
    )


def _blended_scores(
    together: MemberScores, of_members: Mapping[str, pl.DataFrame], rule: str, weights: Mapping[str, Weights]
) -> dict[str, pl.DataFrame]:
    """Name of a Parquet file -> scores: of the blend, of each of the five rules, and of the blend of single seeds."""
    collection = together.collection
    by_file: dict[str, list[pl.DataFrame]] = {"scores": [], "rules": [], "seeds": []}
    for split in SPLITS:
        blended = {name: together.blended(split, name, weights[name]) for name in SCALES}
        by_file["scores"] += _frames(collection, split, "blend", -1, blended[rule])
        for name, places in blended.items():
            by_file["rules"] += _frames(collection, split, name, -1, places)
    scale = SCALES[rule]
    for seed, scaled in member_scores.single_seeds(of_members, scale).items():
        for split in SPLITS:
            places = combine(scaled[split, scale], weights[rule])
            by_file["seeds"] += _frames(collection, split, "blend", seed, places)
    empty = pl.DataFrame(schema={"collection": pl.String} | scores.SCHEMA)
    return {name: pl.concat(frames) if frames else empty for name, frames in by_file.items()}


def _frames(collection: str, split: str, member: str, seed: int, blended: Scores) -> list[pl.DataFrame]:
    return [
        scores.frame(split, graph, np.arange(len(places)), member, seed, places).select(
            pl.lit(collection).alias("collection"), pl.all()
        )
        for graph, places in blended.items()
    ]


def _write(parts: Mapping[str, _Part], joined: Tables, folder: Path) -> None:
    for name in ("scores", "rules", "seeds"):
        scores.write(pl.concat([part.scores[name] for part in parts.values()]), folder / f"{name}.parquet")
    dataset.write_json(folder / "weights.json", {collection: part.record for collection, part in parts.items()})
    judged = {collection: part.judged for collection, part in parts.items() if part.judged is not None}
    files.replace(folder / "judged.json", json.dumps(judged).encode())
    files.replace(folder / "nested.csv", joined.rules.write_csv(float_precision=6).encode())


def _by_member(members: Sequence[str], weights: Weights) -> dict[str, float]:
    return {member: round(weight, 6) for member, weight in zip(members, weights, strict=True)}
