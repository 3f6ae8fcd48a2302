"""What the blend's and the leaderboard's reports say in words, computed from the frames that their figures show."""

from collections.abc import Mapping

import polars as pl

from stages.collection import COLLECTIONS, is_tile

MODELS = ("blend", "gnn", "gbdt", "ceiling")


def headline(result: Mapping) -> str:
    """What was predicted, in one sentence."""
    counts = result["counts"]
    programs = sum(count["graphs"] for name, count in counts.items() if not is_tile(name))
    kernels = sum(count["graphs"] for name, count in counts.items() if is_tile(name))
    total = sum(count["configurations"] for count in counts.values())
    layouts = sum(1 for name in counts if not is_tile(name))
    parts = []
    if programs:
        parts.append(f"{_many(programs, 'test graph')} of {_many(layouts, 'layout collection')}")
    if kernels:
        parts.append(f"{_many(kernels, 'kernel')} of {' and '.join(name for name in counts if is_tile(name))}")
    text = f"Ranked, fastest first and without running one of them: {total:,} configurations of {' and '.join(parts)}."
    return " ".join([text, *result["notes"]])


def standing(result: Mapping, split: str) -> str:
    """Where the blend stands in the mean of the collections: against the best baseline and the ceiling."""
    rows = _scores(result, split)
    if ("mean", "blend") not in rows:
        return f"No mean on {split}: not every collection has a score there."
    blend = rows["mean", "blend"]
    collections = _many(len(result["collections"]), "collection")
    text = [f"On {split} blend scores {blend['score']:.3f} in the mean of {collections} ({_interval(blend)})"]
    members = {member: row for (name, member), row in rows.items() if name == "mean"}
    baselines = {member: row for member, row in members.items() if member not in MODELS}
    if baselines:
        best = max(baselines, key=lambda member: baselines[member]["score"])
        text.append(f"{_against(blend['score'], baselines[best]['score'])} the best baseline, {best}")
    if "ceiling" in members:
        gap = members["ceiling"]["score"] - blend["score"]
        text.append(
            f"{abs(gap):.3f} {'below' if gap >= 0 else 'above'} what one timing pass scores as a prediction of the"
            " other"
        )
    sentence = ", ".join(text) + "."
    if "ceiling" in members:
        sentence += " Perfect knowledge could score somewhat more than one pass."
    if split == "valid":
        sentence += " Weights and epochs were chosen on these graphs, so this flatters it."
    return sentence


def lead(result: Mapping, split: str) -> str:
    """Which leads of the blend in the mean the graphs are enough to show, and where something else is ahead."""
    rows = [row for row in result["versus"].iter_rows(named=True) if row["split"] == split]
    mean = [row for row in rows if row["collection"] == "mean"]
    ahead = [row["member"] for row in mean if row["low"] is not None and row["low"] > 0]
    behind = [row["member"] for row in mean if row["high"] is not None and row["high"] < 0]
    unsure = [row["member"] for row in mean if row["member"] not in (*ahead, *behind)]
    text = []
    if ahead:
        text.append(
            f"In the mean, over the same resampled programs, blend is ahead of {_list(ahead)} in 95% of the draws."
        )
    if behind:
        text.append(f"It is behind {_list(behind)} in 95% of them.")
    if unsure:
        text.append(f"Against {_list(unsure)} these graphs do not settle it.")
    where: dict[str, list[str]] = {}
    for row in rows:
        if row["lead"] < 0 and row["collection"] != "mean":
            where.setdefault(row["member"], []).append(row["collection"])
    better = "; ".join(f"{member} on {_list(names)}" for member, names in where.items())
    text.append(f"Ahead of blend in single collections: {better}." if better else "No collection has a better member.")
    return " ".join(text)


def seeds(result: Mapping, split: str) -> str:
    """How much a single seed's score moves."""
    rows = [row for row in _scores(result, split).values() if row["seed_sd"] is not None]
    if not rows:
        return "Every member was trained with one seed: nothing is known of how much a score moves by chance."
    widest = max(rows, key=lambda row: row["seed_sd"])
    return (
        f"A single seed moves by up to {widest['seed_sd']:.3f} (sd of {widest['member']} on {widest['collection']}); "
        "differences smaller than that are chance."
    )


def kinship(result: Mapping, split: str, member: str = "blend") -> str:
    """What families never trained on cost."""
    kin = result["kin"].filter((pl.col("split") == split) & (pl.col("member") == member))
    scores = {(row["collection"], row["kin"]): row["score"] for row in kin.iter_rows(named=True)}
    both = [name for name in COLLECTIONS if (name, "sibling") in scores and (name, "unseen") in scores]
    if not both:
        return f"On {split} no collection has both siblings of training programs and families never trained on."
    costs = {name: scores[name, "sibling"] - scores[name, "unseen"] for name in both}
    mean = sum(costs.values()) / len(costs)
    worst = max(costs, key=lambda name: costs[name])
    return (
        f"Families never trained on score {abs(mean):.3f} {'less' if mean >= 0 else 'more'} than siblings of training "
        f"programs, averaged over {_many(len(both), 'collection')}; the widest gap is {costs[worst]:+.3f}, on {worst}."
    )


def examples(result: Mapping) -> str:
    """How the best, median and worst ranked graphs compare."""
    rows = {row["which"]: row for row in result["examples"].unique("which", keep="first").iter_rows(named=True)}
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


def purchase(result: Mapping, split: str, k: int = 5) -> str:
    """What timing only the first k configurations of the ranking gets, against k drawn at random."""
    rows = result["buys"].filter((pl.col("split") == split) & (pl.col("k") == k))
    if rows.is_empty():
        return "No run times are known, so it cannot be said what the ranking buys."
    blend, random = rows["blend"].mean(), rows["random"].mean()
    weakest = rows.sort(pl.col("blend") - pl.col("random")).row(0, named=True)
    return (
        f"Timing only the first {k} of the ranking reaches {100 * blend:.1f}% of the best speed on {split}, "
        f"{k} at random {100 * random:.1f}%; the ranking buys least on {weakest['collection']} "
        f"({100 * weakest['blend']:.1f}% against {100 * weakest['random']:.1f}%)."
    )


def files(result: Mapping) -> str:
    """Where the outputs lie."""
    return (
        f"`{result['path']}` is the submission; `{result['reports']}/metrics.json` holds the scores and "
        f"`{result['reports']}/leaderboard.csv` those of each graph."
    )


def weights(result: Mapping[str, pl.DataFrame]) -> str:
    """What the choice of weights gained on valid, and that test is where to judge it."""
    totals = dict(result["blend"].iter_rows())
    alone = {
        name: part["valid"].max()
        for (name,), part in result["weights"].group_by(["collection"], maintain_order=True)
        if name in totals
    }
    helped = [name for name in totals if totals[name] > alone[name]]
    known = result["grid"].filter(pl.col("valid").is_not_nan())
    if known.is_empty():
        return "No valid graph has run times that differ: the members have equal weights."
    ranges = known.group_by("collection").agg((pl.col("valid").max() - pl.col("valid").min()).alias("range"))
    flattest = ranges.sort("range", "collection").row(0, named=True)
    ahead = f"on {_list(helped)}" if helped else "on no collection"
    return (
        f"On valid the blend is ahead of its better member {ahead}. The choice matters least on "
        f"{flattest['collection']}, where all weights lie within {flattest['range']:.3f}. The valid graphs chose the "
        "weights, so valid is optimistic; the honest figure is the leaderboard's on test."
    )


def _scores(result: Mapping, split: str) -> dict[tuple[str, str], dict]:
    rows = result["scores"].filter(pl.col("split") == split).iter_rows(named=True)
    return {(row["collection"], row["member"]): row for row in rows}


def _interval(row: Mapping) -> str:
    graphs = _many(row["graphs"], "graph")
    if row["low"] is None:
        return f"{graphs}, too few in a collection for an interval"
    return f"90% interval {row['low']:.3f} to {row['high']:.3f}, programs of {graphs} resampled"


def _follows(tau: float) -> str:
    bounds = (
        (0.75, "follows the times closely"),
        (0.5, "follows the times roughly"),
        (0.2, "follows the times loosely"),
    )
    found = (words for bound, words in bounds if tau >= bound)
    return next(found, "hardly follows the times" if tau > -0.2 else "runs against the times")


def _against(score: float, other: float) -> str:
    return f"{abs(score - other):.3f} {'above' if score >= other else 'below'}"


def _many(count: int, noun: str) -> str:
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def _list(names: list[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
