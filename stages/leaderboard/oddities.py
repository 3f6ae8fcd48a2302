"""What is odd about the graphs that are ranked best and worst, and with which property the score goes up or down."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import polars as pl
from scipy.stats import rankdata

from stages.graphs.collection import COLLECTIONS, is_tile
from stages.reporting.words import counted
from stages.scoring.baselines import LAYOUT_COLUMNS, TILE_COLUMNS

#: baselines that a graph's best one is taken of
BASELINES = tuple(dict.fromkeys(("random", "ridge", *LAYOUT_COLUMNS, *TILE_COLUMNS)))
#: what the column of words says of a family that nothing was trained on
UNSEEN = "family never trained on"


@dataclass(frozen=True)
class Property:
    """What a graph is like: the title of its axis, and what the graphs with the least and with the most of it have."""

    title: str
    least: str
    most: str


#: column of the result's `properties` -> its words
PROPERTIES = {
    "spread": Property("slowest / fastest configuration", "closest run times", "widest run times"),
    "nodes": Property("nodes after pruning", "fewest nodes", "most nodes"),
    "configurable": Property("configurable nodes", "fewest configurable nodes", "most configurable nodes"),
    "ceiling": Property("tau between two timing passes", "noisiest timings", "steadiest timings"),
}


def layouts(properties: pl.DataFrame) -> pl.DataFrame:
    """The layout graphs whose metric is defined, of the result's `properties`."""
    tiles = [name for name in COLLECTIONS if is_tile(name)]
    return properties.filter(~pl.col("collection").is_in(tiles)).drop_nulls("blend")


def table(properties: pl.DataFrame, each: int = 2) -> pl.DataFrame:
    """The best and the worst graphs of every collection, and what is odd about them in words.

    Odd are a family that nothing was trained on, a baseline that is ahead, and a property by which a graph is among
    the outermost eighth of its collection's graphs.

    Args:
        properties: the result's `properties`.
        each: how many of the best and of the worst are shown at most.

    Returns:
        collection, ranked (best or worst), graph, blend, best baseline (their metrics), odd.
    """
    rows = []
    for (collection,), graphs in properties.drop_nulls("blend").group_by(["collection"], maintain_order=True):
        best_first = graphs.sort("blend", "graph", descending=[True, False])
        worst = best_first.tail(min(each, best_first.height // 2))
        best = best_first.head(min(each, best_first.height - worst.height))
        for which, shown in (("best", best), ("worst", worst)):
            for row in shown.iter_rows(named=True):
                baseline = max((row[name] for name in BASELINES if row.get(name) is not None), default=None)
                odd = _oddity(row, graphs, baseline)
                rows.append((collection, which, row["graph"], row["blend"], baseline, odd))
    schema = {"collection": pl.String, "ranked": pl.String, "graph": pl.String, "blend": pl.Float64}
    return pl.DataFrame(rows, schema=schema | {"best baseline": pl.Float64, "odd": pl.String}, orient="row")


def sentences(properties: pl.DataFrame) -> str:
    """With which property of a layout graph the score goes up or down, and how unseen families fare.

    Args:
        properties: the result's `properties`.
    """
    return f"{_correlation(layouts(properties))} {_unseen(table(properties))}"


def _correlation(graphs: pl.DataFrame) -> str:
    correlations = {}
    for name in PROPERTIES:
        rows = graphs.drop_nulls(name)
        if rows.height > 2 and rows[name].n_unique() > 1 and rows["blend"].n_unique() > 1:
            correlations[name] = float(np.corrcoef(rankdata(rows[name]), rankdata(rows["blend"]))[0, 1])
    if not correlations:
        return "There are too few layout graphs to see what the score goes with."
    strongest = max(correlations, key=lambda name: abs(correlations[name]))
    others = [f"{PROPERTIES[name].title} {value:+.2f}" for name, value in correlations.items() if name != strongest]
    return (
        f"Over {counted(graphs.height, 'layout graph')} the score goes most with {PROPERTIES[strongest].title} "
        f"(Spearman's rank correlation {correlations[strongest]:+.2f}"
        + (f"; {', '.join(others)})." if others else ").")
    )


def _unseen(shown: pl.DataFrame) -> str:
    worst, best = (
        shown.filter(pl.col("ranked") == which)["odd"].str.contains(UNSEEN, literal=True) for which in ("worst", "best")
    )
    return (
        f"Of the {len(worst)} worst graphs in the table {worst.sum()} are of families never trained on, of the "
        f"{len(best)} best {best.sum()}."
    )


def _oddity(row: Mapping, graphs: pl.DataFrame, baseline: float | None) -> str:
    """What is odd about one of the graphs of a collection; `baseline` is the best baseline's metric on it."""
    odd = [UNSEEN] if row["kin"] == "unseen" else []
    if baseline is not None and baseline > row["blend"]:
        odd.append("a baseline is ahead")
    if extreme := _extreme(row, graphs):
        odd.append(extreme)
    return ", ".join(odd) or "nothing stands out"


def _extreme(row: Mapping, graphs: pl.DataFrame) -> str | None:
    """The property by which a graph stands outermost among the graphs; None where it is in the inner three quarters."""
    ranks = []
    for name, words in PROPERTIES.items():
        values = graphs[name].drop_nulls()
        if row[name] is not None and values.n_unique() > 1:
            below, above = (values < row[name]).sum(), (values > row[name]).sum()
            ranks.append((min(below, above), name, words.most if below > above else words.least))
    if not ranks:
        return None
    rank, name, end = min(ranks)
    if rank > graphs.height // 8:
        return None
    value = f"{row[name]:.2f}" if isinstance(row[name], float) else f"{row[name]:,}"
    return f"{end if rank == 0 else f'{_ordinal(rank + 1)} {end}'} of {graphs.height} ({value})"


def _ordinal(number: int) -> str:
    suffix = "th" if number % 100 in (11, 12, 13) else {1: "st", 2: "nd", 3: "rd"}.get(number % 10, "th")
    return f"{number}{suffix}"
