"""The metrics of the members: their scores with intervals, the blend's leads, other rules, and metrics.json."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import polars as pl

from stages.leaderboard import inputs
from stages.leaderboard.board import Board, Key
from stages.leaderboard.intervals import interval, resamples
from stages.scoring import metrics
from stages.scoring import scores as scores_file

KEYS = {"split": pl.String, "collection": pl.String, "member": pl.String}


def scores(board: Board, drawn: Mapping[Key, np.ndarray]) -> pl.DataFrame:
    """The score of every member in every collection and their "mean".

    Args:
        board: the metrics of the graphs.
        drawn: what `resamples` makes of the board.

    Returns:
        split, collection, member, score, low and high (its 90% interval), graphs, seeds, seed_mean and seed_sd (of the
        scores of single seeds).
    """
    keys = [(split, name, member) for split in board.splits for name in _with_mean(board) for member in board.names()]
    rows = [(*key, *_score(board, key, drawn[key])) for key in keys if key in drawn]
    schema = KEYS | dict.fromkeys(("score", "low", "high"), pl.Float64)
    schema |= dict.fromkeys(("graphs", "seeds"), pl.Int64) | dict.fromkeys(("seed_mean", "seed_sd"), pl.Float64)
    return pl.DataFrame(rows, schema=schema, orient="row")


def versus(board: Board, drawn: Mapping[Key, np.ndarray]) -> pl.DataFrame:
    """The blend's lead over each other member, paired over the same draws of the programs.

    Args:
        board, drawn: as in `scores`.

    Returns:
        split, collection, member, lead, low and high (its 90% interval).
    """
    rows = []
    for (split, collection, member), other in drawn.items():
        if member not in ("blend", "ceiling") and (split, collection, "blend") in drawn:
            low, high = interval(board, (split, collection, member), drawn[split, collection, "blend"] - other)
            lead = board.score(split, collection, "blend") - board.score(split, collection, member)
            rows.append((split, collection, member, lead, low, high))
    return pl.DataFrame(rows, schema=KEYS | dict.fromkeys(("lead", "low", "high"), pl.Float64), orient="row")


def rules(board: Board, data: Path) -> pl.DataFrame:
    """What other rules make of the same members, with the blend's lead over each.

    Returns:
        split, collection, rule, score, lead, low and high (of the lead).
    """
    of_rules = _board_of_rules(board, data)
    drawn = resamples(of_rules)
    leads = versus(of_rules, drawn)
    keys = list(KEYS)
    joined = scores(of_rules, drawn).select(*keys, "score").join(leads, on=keys, how="inner", maintain_order="left")
    return joined.rename({"member": "rule"})


def disagreement(board: Board) -> pl.DataFrame:
    """How every two trained members disagree on each graph.

    Returns:
        split, collection, graph, first and second (two members), first_score, second_score and blend (their official
        metrics), tau (Kendall tau-b between the two members' rankings).
    """
    schema = dict.fromkeys(("split", "collection", "graph", "first", "second"), pl.String)
    schema |= dict.fromkeys(("first_score", "second_score", "blend", "tau"), pl.Float64)
    rows = []
    for split, collection in board.targets:
        if (split, collection, "blend") in board.values:
            ranked = {member: board.members[split, collection, member] for member in board.trained}
            values = {member: board.values[split, collection, member] for member in board.trained}
            blend = board.values[split, collection, "blend"]
            rows += [
                (split, collection, graph, *pair, blend[graph], tau)
                for graph, *pair, tau in metrics.disagreement(ranked, values)
            ]
    return pl.DataFrame(rows, schema=schema, orient="row").with_columns(pl.col("tau").fill_nan(None))


def nested(table: pl.DataFrame) -> dict[str, dict[str, dict[str, float]]]:
    """The content of metrics.json, from what `scores` returns: {split: {collection or "mean": {member: score}}}.

    A score has six decimals.
    """
    result: dict = {}
    for split, collection, member, value in table.select("split", "collection", "member", "score").iter_rows():
        result.setdefault(split, {}).setdefault(collection, {})[member] = round(value, 6)
    return result


def _with_mean(board: Board) -> list[str]:
    return [*board.collections, "mean"]


def _score(board: Board, key: Key, drawn: np.ndarray) -> tuple:
    """The columns of `scores` after its keys."""
    seeds = board.seed_scores(*key)
    mean = float(np.mean(seeds)) if seeds else None
    deviation = float(np.std(seeds, ddof=1)) if len(seeds) > 1 else None
    low, high = interval(board, key, drawn)
    return board.score(*key), low, high, board.graphs(*key), len(seeds) or None, mean, deviation


def _board_of_rules(board: Board, data: Path) -> Board:
    """A board whose members are the rules of blending, and the blend."""
    tables = {collection: inputs.blended(data, "rules", collection) for collection in board.collections}
    in_order = (rule for table in tables.values() for rule in table["member"].unique(maintain_order=True))
    of_rules = Board(board.collections, list(dict.fromkeys(in_order)), board.targets)
    for collection, table in tables.items():
        for (split, rule), of_rule in table.group_by(["split", "member"], maintain_order=True):
            by_graph = scores_file.by_graph(of_rule, f"{collection}: {rule}")
            of_rules.members[split, collection, rule] = board.only(split, collection, by_graph)
        for split in ("valid", "test"):
            of_rules.members[split, collection, "blend"] = board.members[split, collection, "blend"]
    inputs.fill_values(of_rules, None)
    return of_rules
