"""What a ranking buys: how near the fastest one gets by timing only its first k configurations."""

from collections.abc import Mapping

import numpy as np
import polars as pl

from stages.leaderboard.board import Board
from stages.scoring.metrics import closeness, random_closeness

#: numbers of configurations timed that are looked at, from one to all
BUDGETS = 30


def closeness_by_budget(board: Board) -> pl.DataFrame:
    """The mean of fastest / fastest of the first k, by each member's ranking; of `random` the exact expectation.

    k goes from 1 to all configurations of the largest graph; smaller graphs are timed whole by then.

    Returns:
        split, collection, member, k, closeness.
    """
    rows = []
    for (split, collection), targets in board.targets.items():
        budgets = _budgets(targets)
        for member in board.names():
            if member == "ceiling" or (split, collection, member) not in board.members:
                continue
            total = np.zeros(len(budgets))
            for graph, target in targets.items():
                if member == "random":
                    total += [random_closeness(target, k) for k in budgets.tolist()]
                else:
                    by_budget = closeness(board.members[split, collection, member][graph], target)
                    total += by_budget[np.minimum(budgets, len(target)) - 1]
            mean = total / len(targets)
            pairs = zip(budgets.tolist(), mean.tolist(), strict=True)
            rows += [(split, collection, member, k, value) for k, value in pairs]
    schema = {"split": pl.String, "collection": pl.String, "member": pl.String, "k": pl.Int64, "closeness": pl.Float64}
    return pl.DataFrame(rows, schema=schema, orient="row")


def _budgets(targets: Mapping[str, np.ndarray]) -> np.ndarray:
    """Numbers of configurations in geometric steps, and five, which the competition has for tiles."""
    most = max(map(len, targets.values()), default=0)
    if not most:
        return np.zeros(0, int)
    return np.union1d(np.geomspace(1, most, BUDGETS).round().astype(int), [min(5, most)])
