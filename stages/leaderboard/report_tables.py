"""The tables of the leaderboard's page that show more than a value by collection."""

import polars as pl

from stages.reporting import members
from stages.reporting.tables import SPACE, bracketed


def kin(frame: pl.DataFrame) -> pl.DataFrame:
    """The score of every member on siblings and on unseen families, a row for each collection and group.

    Args:
        frame: the result's `kin`, of one split.

    Returns:
        collection, kin, graphs, then a column for each member: 'score', the blend's 'score [low, high]'.
    """
    names = members.in_order(frame["member"])
    rows = []
    for (collection,), of_collection in frame.group_by(["collection"], maintain_order=True):
        for (group,), of_group in of_collection.sort("kin", maintain_order=True).group_by("kin", maintain_order=True):
            cells = {
                row["member"]: bracketed(row, "score", interval=row["member"] == "blend")
                for row in of_group.iter_rows(named=True)
            }
            rows.append([collection, group, str(of_group["graphs"].max()), *(cells.get(name) for name in names)])
    return pl.DataFrame(rows, schema=dict.fromkeys(("collection", "kin", "graphs", *names), pl.String), orient="row")


def seeds(scores: pl.DataFrame, split: str) -> pl.DataFrame:
    """The scores of single seeds, a row for each member that was trained with several, a column for each collection.

    Args:
        scores: the result's `scores`.
        split: the split that is shown.

    Returns:
        member, seeds (their number), then a column for each collection: 'mean ± standard deviation'.
    """
    several = scores.filter((pl.col("split") == split) & pl.col("seed_sd").is_not_null())
    cells = {
        (row["member"], row["collection"]): f"{row['seed_mean']:.3f}{SPACE}±{SPACE}{row['seed_sd']:.3f}"
        for row in several.iter_rows(named=True)
    }
    collections = several["collection"].unique(maintain_order=True)
    numbers = dict(several.select("member", "seeds").iter_rows())
    rows = [
        [member, str(numbers[member]), *(cells.get((member, collection)) for collection in collections)]
        for member in members.in_order(numbers)
    ]
    return pl.DataFrame(rows, schema=dict.fromkeys(("member", "seeds", *collections), pl.String), orient="row")
