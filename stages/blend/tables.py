"""The frames that the blend's page shows: made for one collection, then joined."""

from collections.abc import Mapping, Sequence
from dataclasses import fields

import numpy as np
import polars as pl

from stages.blend.member_scores import MemberScores
from stages.blend.nested import families, nested
from stages.blend.result import Tables
from stages.blend.rules import SCALES
from stages.blend.weights import SHRINKS, Weights, best
from stages.scoring import eval_indices, metrics
from stages.scoring.metrics import collection_score

TEXT, REAL, WHOLE = pl.String, pl.Float64, pl.Int64


def of_collection(member_scores: MemberScores, rule: str, shrink: float, weights: Mapping[str, Weights]) -> Tables:
    """The frames of one collection.

    Args:
        member_scores: the members' scores.
        rule: the rule that makes the blend.
        shrink: how far the rule `rank` moves its choice toward equal weights.
        weights: rule -> the weights that it gives the members, for each of the five rules.
    """
    grid = member_scores.grid()
    return Tables(
        weights=_weights(member_scores, grid, weights["rank"], weights[rule]),
        grid=_grid(member_scores, grid),
        blend=_frame(
            [(member_scores.collection, member_scores.score(rule, weights[rule]))], {"collection": TEXT, "valid": REAL}
        ),
        rules=_rules(member_scores, weights, shrink),
        shrinks=_shrinks(member_scores, shrink),
        disagreement=_disagreement(member_scores, member_scores.values(rule, weights[rule])),
    )


def joined(parts: Sequence[Tables]) -> Tables:
    """The frames of several collections below one another; `rules` and `shrinks` also have rows of their mean."""
    frames = {field.name: pl.concat([getattr(part, field.name) for part in parts]) for field in fields(Tables)}
    counts, means = ("graphs", "families", "better", "worse"), ("valid", "nested")
    frames["rules"] = _with_mean(frames["rules"], "rule", pl.col(counts).sum(), pl.col(means).mean())
    frames["shrinks"] = _with_mean(frames["shrinks"], "shrink", pl.col("nested").mean())
    return Tables(**frames)


def _weights(
    member_scores: MemberScores, grid: Mapping[Weights, float], shrunk: Weights, used: Weights
) -> pl.DataFrame:
    alone = [grid[corner] for corner in member_scores.corners.values()]
    of_members = zip(member_scores.members, alone, best(grid), shrunk, used, strict=True)
    schema = {"collection": TEXT, "member": TEXT} | dict.fromkeys(("valid", "chosen", "shrunk", "used"), REAL)
    return _frame([(member_scores.collection, *row) for row in of_members], schema)


def _grid(member_scores: MemberScores, grid: Mapping[Weights, float]) -> pl.DataFrame:
    schema = {"collection": TEXT} | dict.fromkeys((*member_scores.members, "valid"), REAL)
    return _frame([(member_scores.collection, *weights, score) for weights, score in grid.items()], schema)


def _rules(member_scores: MemberScores, weights: Mapping[str, Weights], shrink: float) -> pl.DataFrame:
    of_families = families(member_scores)
    graphs = sum(map(len, of_families.values()))
    equal = nested(member_scores, "borda", shrink)
    rows = []
    for rule in SCALES:
        values = nested(member_scores, rule, shrink)
        leads = np.array([round(value - equal[graph], 12) for graph, value in values.items()])
        valid = _none_if_nan(member_scores.score(rule, weights[rule]))
        better, worse = int((leads > 0).sum()), int((leads < 0).sum())
        mean = _none_if_nan(collection_score(values))
        rows.append((member_scores.collection, rule, graphs, len(of_families), valid, mean, better, worse))
    schema = {"collection": TEXT, "rule": TEXT, "graphs": WHOLE, "families": WHOLE}
    return _frame(rows, schema | {"valid": REAL, "nested": REAL, "better": WHOLE, "worse": WHOLE})


def _shrinks(member_scores: MemberScores, shrink: float) -> pl.DataFrame:
    rows = [
        (member_scores.collection, amount, _none_if_nan(collection_score(nested(member_scores, "rank", amount))))
        for amount in sorted({*SHRINKS, shrink})
    ]
    return _frame(rows, {"collection": TEXT, "shrink": REAL, "nested": REAL})


def _disagreement(member_scores: MemberScores, blend: Mapping[str, float]) -> pl.DataFrame:
    values = {member: member_scores.values("single", corner) for member, corner in member_scores.corners.items()}
    ranked = {
        member: eval_indices.only(of_graphs, member_scores.judged)
        for member, of_graphs in member_scores.scaled["valid", "rank"].items()
    }
    rows = [
        (member_scores.collection, graph, first, second, first_score, second_score, blend[graph], _none_if_nan(tau))
        for graph, first, second, first_score, second_score, tau in metrics.disagreement(ranked, values)
    ]
    schema = dict.fromkeys(("collection", "graph", "first", "second"), TEXT)
    return _frame(rows, schema | dict.fromkeys(("first_score", "second_score", "blend", "tau"), REAL))


def _with_mean(frame: pl.DataFrame, key: str, *columns: pl.Expr) -> pl.DataFrame:
    """The frame and, below it, a row for each `key` of the collections that have a nested score, named "mean"."""
    mean = frame.drop_nulls("nested").group_by(key, maintain_order=True).agg(columns)
    mean = mean.select(pl.lit("mean").alias("collection"), pl.all()).select(frame.columns)
    return pl.concat([frame, mean])


def _frame(rows: list[tuple], schema: Mapping[str, pl.DataType]) -> pl.DataFrame:
    return pl.DataFrame(rows, schema=schema, orient="row")


def _none_if_nan(value: float) -> float | None:
    return None if np.isnan(value) else value
