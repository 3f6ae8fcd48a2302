"""The pictures and sentences of the blend's page, made from what the stage returns."""

import matplotlib
import numpy as np
import polars as pl
from matplotlib.figure import Figure

from stages.blend.result import BlendResult
from stages.reporting import figures, members
from stages.reporting.colours import BLUE, VERMILION
from stages.reporting.words import counted, listed


@matplotlib.rc_context(figures.STYLE)
def weight_lines(result: BlendResult, label: str = "", narrow: bool = False) -> Figure:
    """The score on valid by the weight of a member. Circle: chosen on valid; square: after moving toward equal.

    Of two members the second's line would be the first's mirrored, and is left out. Of more members, the others'
    weights are the best ones for the weight shown.
    """
    grid = result.grid
    names = grid.columns[1:-1] if len(grid.columns) > 4 else grid.columns[1:2]
    collections = grid["collection"].unique(maintain_order=True).to_list()
    of_rank = result.rules.filter(rule="rank")
    shrunk_scores = dict(of_rank.select("collection", pl.col("valid").fill_null(np.nan)).iter_rows())
    figure, panels = figures.panels(len(collections), columns=3, height=2.5, label=label, narrow=narrow)
    for panel, collection in zip(panels, collections, strict=True):
        for name in names:
            line = grid.filter(collection=collection).group_by(name).agg(pl.col("valid").max()).sort(name)
            weights = result.weights.filter(collection=collection, member=name).row(0, named=True)
            panel.plot(line[name], line["valid"], color=members.colour(name), label=name)
            panel.plot(weights["chosen"], line["valid"].max(), "o", color=VERMILION, label="best on valid")
            panel.plot(weights["shrunk"], shrunk_scores[collection], "s", color=BLUE, label="shrunk")
        panel.set_title(collection)
        panel.set_xlabel(f"weight of {names[0]}" if len(names) == 1 else "weight")
        panel.set_ylabel("score on valid")
        panel.set_xlim(-0.05, 1.05)
    handles, texts = panels[0].get_legend_handles_labels()
    each_once = dict(zip(texts, handles, strict=True))
    panels[0].legend(each_once.values(), each_once.keys())
    return figure


@matplotlib.rc_context(figures.STYLE)
def choice_dots(rules: pl.DataFrame, label: str = "", narrow: bool = False) -> Figure:
    """The lead of chosen over equal weights on valid, a row for each collection; from the result's `rules`.

    One dot is judged on the families that the choice left out, the other on the graphs that chose. A collection whose
    valid graphs are all of one family lacks the first.
    """
    collections = rules["collection"].unique(maintain_order=True).to_list()
    figure, (panel,) = figures.panels(1, columns=1, height=0.9 + 0.35 * len(collections), label=label, narrow=narrow)
    heights = np.arange(len(collections))[::-1]
    kinds = (
        ("judged on families left out", "nested", BLUE, "o", 0.12),
        ("judged on the graphs that chose", "valid", VERMILION, "D", -0.12),
    )
    for text, column, colour, marker, shift in kinds:
        scores = rules.pivot("rule", index="collection", values=column, maintain_order=True)
        leads = scores.select(pl.col("rank") - pl.col("borda")).to_series().fill_null(np.nan)
        panel.hlines(heights + shift, 0, leads, color=colour, linewidth=1)
        panel.plot(leads, heights + shift, marker, color=colour, label=text)
    panel.axvline(0, color="black", linewidth=0.8)
    panel.set_yticks(heights, collections)
    panel.set_xlabel("lead over equal weights on valid")
    panel.margins(x=0.05, y=0.1)
    figure.legend(loc="outside upper left", ncols=1 if narrow else 2)
    return figure


def finding(result: BlendResult) -> str:
    """The page's one finding: where the blend is ahead of its better member on valid."""
    scores = _scores(result)
    if not scores:
        return "No valid graph has run times that differ: the members have equal weights."
    names = result.weights["member"].unique(maintain_order=True).to_list()
    if len(names) == 1:
        return f"{names[0]} is the only member: the blend is its ranking."
    best_alone = dict(result.weights.group_by("collection").agg(pl.col("valid").max()).iter_rows())
    ahead = [collection for collection in scores if round(scores[collection] - best_alone[collection], 12) > 0]
    return f"On valid the blend is ahead of its better member on {listed(ahead) if ahead else 'no collection'}."


def gain(result: BlendResult) -> str:
    """Where the weights matter least, and that test is where to judge the blend."""
    if not _scores(result):
        return "Nothing tells which weights are better."
    if result.weights["member"].n_unique() == 1:
        return "There are no weights to choose; the honest figure is the leaderboard's on test."
    flattest = _flattest(result.grid)
    judged = "" if result.eval_indices is None else "Layouts are judged by the official configurations alone. "
    chosen = "The valid graphs chose the weights, so valid is optimistic"
    if result.rule != "rank":
        chosen = f"Weights by `{result.rule}` are equal, whatever valid would choose"
    return (
        f"{judged}The choice matters least on {flattest['collection']}, where all weights score within "
        f"{flattest['range']:.3f}. {chosen}; the honest figure is the leaderboard's on test."
    )


def _scores(result: BlendResult) -> dict[str, float]:
    """The blend's score on valid of each collection where it has one."""
    return {collection: score for collection, score in result.blend.iter_rows() if not np.isnan(score)}


def choice(result: BlendResult) -> str:
    """What choosing weights is worth: chosen on other families against equal ones, and how far the choice flatters."""
    if result.weights["member"].n_unique() == 1:
        return "With one member no choice is judged."
    of_rank = {row["collection"]: row for row in result.rules.filter(rule="rank").iter_rows(named=True)}
    without = [name for name, row in of_rank.items() if row["nested"] is None]
    gaps = (
        f" There is none for {listed(without)}, whose valid graphs are of fewer than two families." if without else ""
    )
    if "mean" not in of_rank:
        return f"There is no nested evaluation.{gaps}"
    chosen = of_rank["mean"]
    equal = result.rules.filter(rule="borda", collection="mean").row(0, named=True)
    same = chosen["graphs"] - chosen["better"] - chosen["worse"]
    return (
        f"Judged on families that they were not chosen on, chosen weights score {chosen['nested']:.3f} in the mean of "
        f"{counted(len(of_rank) - 1 - len(without), 'collection')}. Equal weights score {equal['nested']:.3f}, so the "
        f"choice is worth {chosen['nested'] - equal['nested']:+.3f}. Of {counted(chosen['graphs'], 'graph')} it ranks "
        f"{chosen['better']} better, {chosen['worse']} worse and {same} the same. Judged on the graphs that chose them "
        f"the weights score {chosen['valid']:.3f}, which flatters them by {chosen['valid'] - chosen['nested']:+.3f}."
        f"{gaps}"
    )


def preferred(result: BlendResult) -> str:
    """Which rule and which amount of shrinking the nested evaluation prefers, beside those that are used."""
    nested = dict(result.rules.filter(collection="mean").select("rule", "nested").iter_rows())
    if not nested:
        return "Without a nested evaluation nothing can be said for one rule or another."
    usable = {rule: score for rule, score in nested.items() if rule != "single"}
    best = max(usable, key=lambda rule: usable[rule])
    used = (
        "it is the one that is used" if best == result.rule else f"`{result.rule}` is used ({usable[result.rule]:.3f})"
    )
    return (
        f"By the nested score `{best}` is the best rule ({usable[best]:.3f}), and {used}. The best single member "
        f"scores {nested['single']:.3f}. {_preferred_shrink(result)}"
    )


def shrinks(result: BlendResult) -> pl.DataFrame:
    """The nested scores by the amount of shrinking, which is a text as a reader would write it."""
    return result.shrinks.with_columns(
        shrink=pl.Series([f"{shrink:g}" for shrink in result.shrinks["shrink"]], dtype=pl.String)
    )


def _preferred_shrink(result: BlendResult) -> str:
    nested = dict(result.shrinks.filter(collection="mean").select("shrink", "nested").iter_rows())
    if len({round(score, 12) for score in nested.values()}) == 1:
        return "How far the weights are moved toward equal makes no difference."
    best = max(nested, key=lambda shrink: nested[shrink])
    widest = max(nested.values()) - min(nested.values())
    return (
        f"Of the amounts by which weights are moved toward equal, {best:g} is best, and {result.shrink:g} is used. All "
        f"of them score within {widest:.3f}."
    )


def _flattest(grid: pl.DataFrame) -> dict:
    """The collection in which the score depends least on the weights, and the `range` of its scores."""
    defined = grid.filter(pl.col("valid").is_not_nan())
    ranges = defined.group_by("collection").agg((pl.col("valid").max() - pl.col("valid").min()).alias("range"))
    return ranges.sort("range", "collection").row(0, named=True)
