"""What the blend stage returns: the frames that its page shows."""

from dataclasses import dataclass
from pathlib import Path

import polars as pl


@dataclass(frozen=True, eq=False)
class Tables:
    """The frames of the page. Every score is the official metric on valid, a mean over the collection's graphs.

    Attributes:
        weights: collection, member, valid (the score of the member alone), chosen (its weight in the choice that is
            best on valid), shrunk (that weight moved toward equal), used (its weight in the blend).
        grid: collection, a weight for each member (a column named as the member), valid.
        blend: collection, valid; the score of the blend.
        rules: collection, rule, graphs and families (of those that have a metric), valid, nested (the score when each
            family is judged by weights chosen without it), better and worse (graphs that the nested choice ranks better
            or worse than equal weights do). The collection "mean" is over the collections that have a nested score.
        shrinks: collection (and "mean"), shrink, nested; of the rule `rank`.
        disagreement: collection, graph, first and second (two members), first_score, second_score, blend, tau (Kendall
            tau-b between the two members' rankings); of valid graphs.
    """

    weights: pl.DataFrame
    grid: pl.DataFrame
    blend: pl.DataFrame
    rules: pl.DataFrame
    shrinks: pl.DataFrame
    disagreement: pl.DataFrame


@dataclass(frozen=True, eq=False)
class BlendResult(Tables):
    """The page's frames and what they were made with.

    Attributes:
        rule: the rule that makes the blend.
        shrink: how far the rule `rank` moves the chosen weights toward equal ones, from 0 to 1.
        eval_indices: folder of the official configurations by which layouts are judged on valid; None: by all.
    """

    rule: str
    shrink: float
    eval_indices: str | Path | None
