"""What the leaderboard's page says in words, computed from the frames that its pictures show."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TypeVar

import numpy as np
import polars as pl

from stages.graphs.collection import COLLECTIONS
from stages.leaderboard.result import LeaderboardResult
from stages.reporting.words import against, counted, listed

#: tau below which a ranking follows the times loosely at best
ROUGH = 0.5
#: share of the best speed that is as good as finding the fastest
ENOUGH = 0.99
#: tau from which on a ranking is described so
FOLLOWS = (
    (0.75, "follows the times closely"),
    (ROUGH, "follows the times roughly"),
    (0.2, "follows the times loosely"),
    (-0.2, "hardly follows the times"),
)
UNKNOWN = "No run times are known, so it cannot be said what the ranking buys."

Row = Mapping[str, object]
T = TypeVar("T")


def ceiling(scores: pl.DataFrame) -> str:
    """What the ceiling is, from the result's `scores`; "" where the data have none, as simulated times have not."""
    if "ceiling" not in set(scores["member"]):
        return ""
    return (
        "`ceiling`, in the pictures the dashed line, is what one timing pass scores as a prediction of the other. It "
        "is no upper bound: perfect knowledge could score somewhat more."
    )


def standing(result: LeaderboardResult, split: str) -> str:
    """Where the blend stands in the mean of the collections: against the best baseline and the ceiling."""
    rows = mean_rows(result.scores, split)
    if "blend" not in rows:
        return f"No mean on {split}: not every collection has a score there."
    blend = rows["blend"]
    collections = counted(len(result.collections), "collection")
    parts = [f"On {split} blend scores {blend['score']:.3f} in the mean of {collections} ({interval(blend)})"]
    if others := baselines(rows, result.trained):
        best = max(others, key=lambda member: others[member]["score"])
        parts.append(f"{against(blend['score'], others[best]['score'])} the best baseline, {best}")
    if "ceiling" in rows:
        gap = rows["ceiling"]["score"] - blend["score"]
        side = "below" if gap >= 0 else "above"
        parts.append(f"{abs(gap):.3f} {side} what one timing pass scores as a prediction of the other")
    sentences = [", ".join(parts) + "."]
    if split == "valid":
        sentences.append(f"{chosen(result)} were chosen on these graphs, so this flatters it.")
    return " ".join(sentences)


def chosen(result: LeaderboardResult) -> str:
    """What was chosen on valid, to begin a sentence; only by the rule `rank` has the blend weights to choose."""
    return "Weights and epochs" if result.rule == "rank" else "Epochs"


def lead(versus: pl.DataFrame, split: str) -> str:
    """Which leads of the blend in the mean the graphs are enough to show, and where something else is ahead.

    Args:
        versus: the result's `versus`.
        split: the split that is told of.
    """
    of_mean = versus.filter(split=split, collection="mean")
    ahead, behind, unsure = _decided(of_mean, "member")
    sentences = []
    if ahead:
        sentences.append(
            f"In the mean, over the same resampled programs, blend is ahead of {listed(ahead)} in 95% of the draws."
        )
    if behind:
        sentences.append(f"It is behind {listed(behind)} in 95% of them.")
    if unsure:
        sentences.append(f"Against {listed(unsure)} these graphs do not settle it.")
    better = versus.filter((pl.col("split") == split) & (pl.col("lead") < 0) & (pl.col("collection") != "mean"))
    where = [
        f"{member} on {listed(rows['collection'].to_list())}"
        for (member,), rows in better.group_by(["member"], maintain_order=True)
    ]
    sentences.append(
        f"Ahead of blend in single collections: {'; '.join(where)}." if where else "No collection has a better member."
    )
    return " ".join(sentences)


def seeds(scores: pl.DataFrame, split: str) -> str:
    """How much a single seed's score moves, from the result's `scores`."""
    rows = [row for row in score_rows(scores, split).values() if row["seed_sd"] is not None]
    if not rows:
        return "Every member was trained with one seed: nothing is known of how much a score moves by chance."
    widest = max(rows, key=lambda row: row["seed_sd"])
    return (
        f"A single seed moves by up to {widest['seed_sd']:.3f} (sd of {widest['member']} on {widest['collection']}); "
        "differences smaller than that are chance."
    )


def rules(result: LeaderboardResult, split: str) -> str:
    """How the blend stands to other ways of blending the same members."""
    of_mean = result.rules.filter(split=split, collection="mean")
    others = of_mean.filter(pl.col("rule") != result.rule)
    if others.is_empty():
        return f"No mean on {split}: not every collection has a score there."
    best = max(others.iter_rows(named=True), key=lambda row: row["score"])
    ahead, behind, unsure = ([f"`{name}`" for name in names] for names in _decided(others, "rule"))
    sentences = [
        f"On {split} the blend (`{result.rule}`) is {against(best['lead'], 0)} the best other way, "
        f"`{best['rule']}`, in the mean of the collections."
    ]
    if ahead:
        sentences.append(f"It is ahead of {listed(ahead)} in 95% of the draws.")
    if behind:
        sentences.append(f"It is behind {listed(behind)} in 95% of the draws.")
    if unsure:
        sentences.append(f"The graphs do not tell it apart from {listed(unsure)}.")
    sentences.append(
        "Nothing was chosen here." if split == "test" else "The weights and the single member were chosen here."
    )
    return " ".join(sentences)


def kinship(kin: pl.DataFrame, split: str, member: str = "blend") -> str:
    """What families never trained on cost a member, from the result's `kin`."""
    rows = kin.filter(split=split, member=member).iter_rows(named=True)
    scores = {(row["collection"], row["kin"]): row["score"] for row in rows}
    both = [name for name in COLLECTIONS if (name, "sibling") in scores and (name, "unseen") in scores]
    if not both:
        return f"On {split} no collection has both siblings of training programs and families never trained on."
    costs = {name: scores[name, "sibling"] - scores[name, "unseen"] for name in both}
    mean = _less(sum(costs.values()) / len(costs))
    text = (
        f"Families never trained on score {mean} than siblings of training programs, averaged over "
        f"{counted(len(both), 'collection')}."
    )
    if len(both) == 1:
        return text
    least, *_, most = sorted(both, key=lambda name: costs[name])
    return f"{text} By collection it goes from {_less(costs[least])} on {least} to {_less(costs[most])} on {most}."


def examples(frame: pl.DataFrame) -> str:
    """How the best, the median and the worst graph are ranked, from the result's `examples`."""
    rows = {row["which"]: row for row in frame.unique("which", keep="first").iter_rows(named=True)}
    if not rows:
        return "No layout graph has known run times, so there is no example to show."
    best, median, worst = (
        f"it {_follows(row['score'])} in {row['collection']}:{row['graph']} (tau {row['score']:.2f})"
        for row in (rows["best"], rows["median"], rows["worst"])
    )
    split = rows["best"]["split"]
    if best == worst:
        return f"The ranking has one layout graph to show on {split}: {best}."
    return f"How the ranking fares on {split}: at best {best}; in the middle {median}; at worst {worst}."


def spread_of_taus(places: pl.DataFrame) -> str:
    """How the taus of the graphs in the pictures of places lie, by collection; from the result's `places`."""
    taus = places.unique(["collection", "graph"], keep="first", maintain_order=True)
    if taus.is_empty():
        return "No layout graph has known run times, so there is none to show."
    parts = [
        f"{collection} {rows['score'].min():.2f} to {rows['score'].max():.2f}, median {rows['score'].median():.2f}"
        for (collection,), rows in taus.group_by(["collection"], maintain_order=True)
    ]
    low = taus.filter(pl.col("score") < ROUGH).height
    return f"Tau by graph: {'; '.join(parts)}. {low} of {taus.height} graphs are below {ROUGH:g}."


def purchase(buys: pl.DataFrame, split: str, k: int = 5) -> str:
    """What timing only the first k configurations of the ranking gets, and k at random; from the result's `buys`."""
    rows = buys.filter(split=split, k=k)
    if rows.is_empty():
        return UNKNOWN
    means = dict(rows.group_by("member").agg(pl.col("closeness").mean()).iter_rows())
    return (
        f"Timing only the first {k} of the ranking reaches {100 * means['blend']:.1f}% of the best speed, "
        f"{k} at random {100 * means['random']:.1f}%."
    )


def budgets(buys: pl.DataFrame, trained: Sequence[str], split: str) -> str:
    """How many configurations must be timed to come near the fastest: by the ranking, at random, by a baseline.

    Args:
        buys: the result's `buys`.
        trained: the members that are blended.
        split: the split that is told of.
    """
    rows = buys.filter(split=split)
    if rows.is_empty():
        return UNKNOWN
    needed: dict[str, dict[str, int | None]] = {}
    for (collection, member), line in rows.group_by(["collection", "member"], maintain_order=True):
        needed.setdefault(collection, {})[member] = line.filter(pl.col("closeness") >= ENOUGH)["k"].min()
    parts = [f"{collection} {_needed(by_member, trained)}" for collection, by_member in needed.items()]
    as_few = [
        collection
        for collection, by_member in needed.items()
        if any(k and k <= by_member["blend"] for k in baselines(by_member, trained).values())
    ]
    last = " No baseline does with as few."
    if as_few:
        last = f" A baseline does with as few on {listed(as_few)}."
    return (
        f"Configurations to time on {split} until the mean reaches {ENOUGH:.0%} of the best speed, by the blend: "
        f"{'; '.join(parts)}.{last}"
    )


def files(result: LeaderboardResult) -> str:
    """Where the outputs lie."""
    return (
        f"`{result.submission}` is the submission. `{result.reports}/metrics.json` holds the scores, "
        f"`{Path(result.rules_file).with_name('graphs.csv')}` those of each graph, and `{result.rules_file}` those of "
        "other ways to blend."
    )


def score_rows(scores: pl.DataFrame, split: str) -> dict[tuple[str, str], Row]:
    """(collection or "mean", member) -> row of the result's `scores`."""
    return {(row["collection"], row["member"]): row for row in scores.filter(split=split).iter_rows(named=True)}


def mean_rows(scores: pl.DataFrame, split: str) -> dict[str, Row]:
    """member -> row of the mean of the collections, of the result's `scores`."""
    return {member: row for (collection, member), row in score_rows(scores, split).items() if collection == "mean"}


def baselines(by_member: Mapping[str, T], trained: Sequence[str]) -> dict[str, T]:
    """Of values by member those of baselines: of what is neither the blend, nor blended, nor the ceiling."""
    return {member: value for member, value in by_member.items() if member not in ("blend", "ceiling", *trained)}


def interval(row: Row) -> str:
    """The interval of a row of `scores`, and the number of graphs that it is of."""
    graphs = counted(row["graphs"], "graph")
    if row["low"] is None:
        return f"{graphs}, too few in a collection for an interval"
    return f"90% interval {row['low']:.3f} to {row['high']:.3f}, programs of {graphs} resampled"


def signed(row: Row) -> str:
    """The lead of a row of `versus`, with its interval."""
    shown = "" if row["low"] is None else f" (90% interval {row['low']:+.3f} to {row['high']:+.3f})"
    return f"{row['lead']:+.3f}{shown}"


def _decided(leads: pl.DataFrame, key: str) -> tuple[list[str], list[str], list[str]]:
    """What the blend is ahead of, what it is behind, and what its interval does not tell it apart from."""
    ahead = leads.filter(pl.col("low") > 0)[key].to_list()
    behind = leads.filter(pl.col("high") < 0)[key].to_list()
    return ahead, behind, [name for name in leads[key] if name not in (*ahead, *behind)]


def _needed(by_member: Mapping[str, int | None], trained: Sequence[str]) -> str:
    """'4 (random 8, ridge 8)': what the blend needs, chance, and the best other baseline."""
    others = {member: k for member, k in baselines(by_member, trained).items() if member != "random"}
    text = f"{by_member['blend']:,} (random {by_member['random']:,}"
    best = min(others, key=lambda member: (others[member] or np.inf, member), default=None)
    return text + (f", {best} {others[best]:,})" if best and others[best] else ")")


def _less(cost: float) -> str:
    """'0.100 less' or '0.100 more': how much lower a score is."""
    return f"{abs(cost):.3f} {'less' if cost >= 0 else 'more'}"


def _follows(tau: float) -> str:
    return next((text for bound, text in FOLLOWS if tau >= bound), "runs against the times")
