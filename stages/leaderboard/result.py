"""What the leaderboard stage returns, for its page."""

from dataclasses import dataclass

import polars as pl


@dataclass(frozen=True, eq=False)
class LeaderboardResult:
    """The frames that the page shows, and what its sentences name.

    Attributes:
        scores: as `metrics.scores` returns it; a row for each split, collection (and "mean") and member.
        versus: as `metrics.versus` returns it: the blend's lead over each other member.
        rules: as `metrics.rules` returns it: what other rules of blending score.
        disagreement: as `metrics.disagreement` returns it: every two members, graph by graph.
        graphs: as `graphs.metrics` returns it: the metric of every member on every graph.
        kin: as `graphs.kin` returns it: siblings of training programs and unseen families.
        properties: as `graphs.properties` returns it: what the graphs of the last split are like.
        buys: as `budgets.closeness_by_budget` returns it: how near the fastest by timing the first k.
        places: as `places.places` returns it: predicted and true places of configurations.
        examples: as `places.examples` returns it: those of the best, the median and the worst graph.
        counts: collection -> what the submission ranks.
        collections: official names, in official order.
        trained: the members that are blended.
        rule: the rule that blends them.
        splits: those whose run times are known: valid, then test.
        notes: sentences on what is absent or unusual.
        label: what the numbers were measured on, or "" where that is not known.
        submission: path of the submission.
        rules_file: path of the CSV of `rules`.
        reports: folder of metrics.json.
    """

    scores: pl.DataFrame
    versus: pl.DataFrame
    rules: pl.DataFrame
    disagreement: pl.DataFrame
    graphs: pl.DataFrame
    kin: pl.DataFrame
    properties: pl.DataFrame
    buys: pl.DataFrame
    places: pl.DataFrame
    examples: pl.DataFrame
    counts: dict[str, "Counts"]
    collections: list[str]
    trained: list[str]
    rule: str
    splits: list[str]
    notes: list[str]
    label: str
    submission: str
    rules_file: str
    reports: str


@dataclass
class Counts:
    """How many graphs and configurations of a collection the submission ranks."""

    graphs: int = 0
    configurations: int = 0
