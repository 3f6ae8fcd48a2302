"""What the blend's and the leaderboard's reports say in words, computed from the frames that their figures show."""

import html
from collections.abc import Mapping

import numpy as np
import polars as pl
from scipy.stats import rankdata

from stages.graphs.collection import COLLECTIONS, is_tile, slug
from stages.reporting.figures import PROPERTIES

PER_COLLECTION = {
    "configuration": "what one is, drawn",
    "prune": "what is kept of a program",
    "pad": "features for the network",
    "gnn": "training, attention",
    "gbdt": "what the trees look at",
}
SINGLE = {
    "blend": "weights and rules of blending",
    "collect": "what was measured, and how well",
    "times": "where the time of a run went; memory of a training step",
    "recipes": "the winners' solutions on the same data, beside this one",
    "ablation": "what each choice is worth: pruning, padding, attention, segments, statistics, rules",
}  # `make repro` makes all but the first after the pipeline: they show what is no result of it
BASELINES = ("ridge", "copy_count", "row_major", "largest_tile", "random")
#: what a graph with the least and with the most of a property has
ENDS = {
    "spread": ("closest run times", "widest run times"),
    "nodes": ("fewest nodes", "most nodes"),
    "configurable": ("fewest configurable nodes", "most configurable nodes"),
    "ceiling": ("noisiest timings", "steadiest timings"),
}
ROUGH = 0.5  # tau below which a ranking follows the times loosely at best
ENOUGH = 0.99  # of the best speed, which is as good as finding the fastest


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


def front(result: Mapping) -> str:
    """The page's first screen as HTML: what was predicted, how well, against what, and whether to believe it."""
    split = result["splits"][-1]
    predicted = html.escape(headline(result)) + (
        " A configuration is one way for the compiler to lay out all tensors of a program in memory, or to tile a "
        "kernel; which one is fast is found by timing it, or guessed here."
    )
    answers = {
        "What was predicted?": predicted,
        "How well?": _well(result, split),
        "Against what?": _opponents(result, split),
        "May I believe it?": _belief(result, split),
    }
    shown = "".join(f"<section><h2>{title}</h2><p>{text}</p></section>" for title, text in answers.items())
    return f'<div class="answers">{shown}</div>'


def pages(result: Mapping) -> str:
    """Links to every other page as HTML; those of a collection are there where the pipeline has been run on it."""
    lines = []
    for stage, text in PER_COLLECTION.items():
        links = " · ".join(f'<a href="{stage}-{slug(name)}.html">{name}</a>' for name in result["collections"])
        lines.append(f"<dt>{stage}</dt><dd>{links} – {text}</dd>")
    lines += [f'<dt>{name}</dt><dd><a href="{name}.html">{text}</a></dd>' for name, text in SINGLE.items()]
    return f'<dl class="pages">{"".join(lines)}</dl>'


def _well(result: Mapping, split: str) -> str:
    rows = _scores(result, split)
    if ("mean", "blend") not in rows:
        return html.escape(standing(result, split))
    blend = rows["mean", "blend"]
    parts = [name for name in result["collections"] if (name, "blend") in rows]
    kinds = (
        ("Kendall's tau-b on layouts", [name for name in parts if not is_tile(name)]),
        ("1 − slowdown of the best of five tiles", [name for name in parts if is_tile(name)]),
    )
    means = [
        f"{title} {np.mean([rows[name, 'blend']['score'] for name in names]):.3f}" for title, names in kinds if names
    ]
    return (
        f"<strong>{blend['score']:.3f}</strong> of 1 on {split}, mean of {_many(len(parts), 'collection')} "
        f"({_interval(blend)}): {', '.join(means)}. {purchase(result, split)}"
    )


def _opponents(result: Mapping, split: str) -> str:
    rows = {member: row for (name, member), row in _scores(result, split).items() if name == "mean"}
    baselines = {name: row for name, row in rows.items() if name not in ("blend", "ceiling", *result["trained"])}
    if "blend" not in rows or not baselines:
        return "There is no mean to compare."
    leads = {row["member"]: row for row in _leads(result, split) if row["collection"] == "mean"}
    best = max(baselines, key=lambda name: baselines[name]["score"])
    text = (
        f"The best of {_many(len(baselines), 'baseline')}, {best}, has <strong>{baselines[best]['score']:.3f}</strong>"
    )
    text += f", so the lead is {_signed(leads[best])}; "
    text += f"chance has {rows['random']['score']:.3f}. " if "random" in rows else "the others have less. "
    members = [f"{name} {rows[name]['score']:.3f}" for name in result["trained"] if name in rows]
    text += f"The models blended have {_list(members)}. " if members else ""
    if "ceiling" in rows:
        text += f"One timing pass as a prediction of the other, the ceiling, has {rows['ceiling']['score']:.3f}."
    return text


def _belief(result: Mapping, split: str) -> str:
    text = [f"<strong>{result['label'][:1].upper()}{result['label'][1:]}.</strong>"] if result["label"] else []
    text.append(
        "No run time of these graphs was used for anything but these scores."
        if split == "test"
        else "Weights and epochs were chosen on these graphs, which flatters; the test run times are hidden."
    )
    kin = result["kin"].filter(split=split, member="blend")
    groups = dict(kin.group_by("kin").agg(pl.col("score").mean()).iter_rows())
    if {"sibling", "unseen"} <= set(groups):
        count = kin.filter(kin="unseen")["graphs"].sum()
        text.append(
            f"Families never trained on, {_many(count, 'graph')}, score {groups['unseen']:.3f}, siblings of trained "
            f"ones {groups['sibling']:.3f}."
        )
    where = sorted({row["collection"] for row in _leads(result, split) if row["lead"] < 0} - {"mean"})
    text.append(f"Something else is ahead of the blend on {_list(where)}." if where else "")
    text.append("Not covered: any other machine or compiler than the one measured, programs larger than these.")
    return " ".join(filter(None, text))


def standing(result: Mapping, split: str) -> str:
    """Where the blend stands in the mean of the collections: against the best baseline and the ceiling."""
    rows = _scores(result, split)
    if ("mean", "blend") not in rows:
        return f"No mean on {split}: not every collection has a score there."
    blend = rows["mean", "blend"]
    collections = _many(len(result["collections"]), "collection")
    text = [f"On {split} blend scores {blend['score']:.3f} in the mean of {collections} ({_interval(blend)})"]
    members = {member: row for (name, member), row in rows.items() if name == "mean"}
    models = ("blend", "ceiling", *result["trained"])
    baselines = {member: row for member, row in members.items() if member not in models}
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
    rows = _leads(result, split)
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
    """What timing only the first k configurations of the ranking gets, against the best baseline's and k at random."""
    rows = result["buys"].filter(pl.col("split") == split, pl.col("k") == k)
    if rows.is_empty():
        return "No run times are known, so it cannot be said what the ranking buys."
    means = {member: part["closeness"].mean() for (member,), part in rows.group_by(["member"], maintain_order=True)}
    return (
        f"Timing only the first {k} of the ranking reaches {100 * means['blend']:.1f}% of the best speed, "
        f"{k} at random {100 * means['random']:.1f}%."
    )


def budgets(result: Mapping, split: str) -> str:
    """How many configurations must be timed to come near the fastest: by the ranking, at random, by a baseline."""
    rows = result["buys"].filter(split=split)
    if rows.is_empty():
        return "No run times are known, so it cannot be said what the ranking buys."
    needed: dict[str, dict[str, int | None]] = {}
    for (name, member), part in rows.group_by(["collection", "member"], maintain_order=True):
        needed.setdefault(name, {})[member] = part.filter(pl.col("closeness") >= ENOUGH)["k"].min()
    text = []
    for name, members in needed.items():
        least = {member: k for member, k in members.items() if member not in ("blend", "random", *result["trained"])}
        best = min(least, key=lambda member: (least[member] or np.inf, member)) if least else None
        text.append(
            f"{name} {members['blend']:,} (random {members['random']:,}"
            + (f", {best} {least[best]:,})" if best and least[best] else ")")
        )
    close = [
        name
        for name, members in needed.items()
        if any(k and k <= members["blend"] for m, k in members.items() if m not in ("blend", *result["trained"]))
    ]
    last = (
        f" A baseline needs as few on {_list(close)}: there the ranking as a whole is better than its, the first "
        "places are not."
        if close
        else " No baseline does with as few."
    )
    return (
        f"Configurations to time on {split} until the mean reaches {ENOUGH:.0%} of the best speed, by the blend: "
        f"{'; '.join(text)}.{last}"
    )


def spread_of_places(result: Mapping) -> str:
    """How the taus of the graphs in the pictures of places lie, by collection, in words."""
    taus = result["places"].unique(["collection", "graph"], keep="first", maintain_order=True)
    if taus.is_empty():
        return "No layout graph has known run times, so there is none to show."
    parts = [
        f"{name} {part['score'].min():.2f} to {part['score'].max():.2f}, median {part['score'].median():.2f}"
        for (name,), part in taus.group_by(["collection"], maintain_order=True)
    ]
    far = taus.filter(pl.col("score") < ROUGH).height
    return f"Tau by graph: {'; '.join(parts)}. {far} of {taus.height} graphs are below {ROUGH:g}."


def layouts(graphs: pl.DataFrame) -> pl.DataFrame:
    """The layout graphs of the leaderboard's `odd` whose metric is defined."""
    tiles = [name for name in COLLECTIONS if is_tile(name)]
    return graphs.filter(~pl.col("collection").is_in(tiles)).drop_nulls("blend")


def odd(result: Mapping, each: int = 2) -> pl.DataFrame:
    """The best and the worst graphs of every collection, `each` at most, and what is odd about them in words.

    Odd are a family that nothing was trained on, a baseline that is ahead, and a property by which a graph is among
    the outermost eighth of its collection's graphs.
    """
    rows = []
    for (name,), part in result["odd"].drop_nulls("blend").group_by(["collection"], maintain_order=True):
        ordered = part.sort("blend", "graph", descending=[True, False])
        worst = ordered.tail(min(each, ordered.height // 2))
        for which, chosen in (("best", ordered.head(min(each, ordered.height - worst.height))), ("worst", worst)):
            for row in chosen.iter_rows(named=True):
                others = max((row[key] for key in BASELINES if row.get(key) is not None), default=None)
                rows.append((name, which, row["graph"], row["blend"], others, _oddity(row, part, others)))
    schema = {"collection": pl.String, "": pl.String, "graph": pl.String, "blend": pl.Float64}
    return pl.DataFrame(rows, schema=schema | {"best baseline": pl.Float64, "odd": pl.String}, orient="row")


def oddities(result: Mapping) -> str:
    """With which property of a layout graph the score goes up or down, and how unseen families fare, in words."""
    graphs = layouts(result["odd"])
    known = {name: graphs.drop_nulls(name) for name in PROPERTIES}
    found = {
        name: float(np.corrcoef(rankdata(part[name]), rankdata(part["blend"]))[0, 1])
        for name, part in known.items()
        if part.height > 2 and part[name].n_unique() > 1 and part["blend"].n_unique() > 1
    }
    text = []
    if found:
        most = max(found, key=lambda name: abs(found[name]))
        rest = [f"{PROPERTIES[name]} {value:+.2f}" for name, value in found.items() if name != most]
        text.append(
            f"Over {_many(graphs.height, 'layout graph')} the score goes most with {PROPERTIES[most]} (Spearman's rank "
            f"correlation {found[most]:+.2f}" + (f"; {', '.join(rest)})." if rest else ").")
        )
    else:
        text.append("There are too few layout graphs to see what the score goes with.")
    table = odd(result)
    worst, best = (
        table.filter(pl.col("") == which)["odd"].str.contains("never trained on") for which in ("worst", "best")
    )
    text.append(
        f"Of the {len(worst)} worst graphs in the table {worst.sum()} are of families never trained on, of the "
        f"{len(best)} best {best.sum()}."
    )
    return " ".join(text)


def _oddity(row: Mapping, group: pl.DataFrame, others: float | None) -> str:
    """What is odd about a graph among the graphs of its collection, in words; others: the best baseline's metric."""
    words = ["family never trained on"] if row["kin"] == "unseen" else []
    if others is not None and others > row["blend"]:
        words.append("a baseline is ahead")
    extremes = []
    for name, ends in ENDS.items():
        values = group[name].drop_nulls()
        if row[name] is not None and values.n_unique() > 1:
            below, above = (values < row[name]).sum(), (values > row[name]).sum()
            extremes.append((min(below, above), name, ends[below > above]))
    if extremes and (found := min(extremes))[0] <= group.height // 8:
        rank, name, end = found
        shown = f"{row[name]:.2f}" if isinstance(row[name], float) else f"{row[name]:,}"
        place = end if rank == 0 else f"{_ordinal(rank + 1)} {end}"
        words.append(f"{place} of {group.height} ({shown})")
    return ", ".join(words) or "nothing stands out"


def _ordinal(number: int) -> str:
    suffix = "th" if number % 100 in (11, 12, 13) else {1: "st", 2: "nd", 3: "rd"}.get(number % 10, "th")
    return f"{number}{suffix}"


def _leads(result: Mapping, split: str) -> list[dict]:
    return [row for row in result["versus"].iter_rows(named=True) if row["split"] == split]


def _signed(row: Mapping) -> str:
    interval = "" if row["low"] is None else f" (90% interval {row['low']:+.3f} to {row['high']:+.3f})"
    return f"{row['lead']:+.3f}{interval}"


def files(result: Mapping) -> str:
    """Where the outputs lie."""
    return (
        f"`{result['path']}` is the submission; `{result['reports']}/metrics.json` holds the scores, "
        f"`{result['reports']}/leaderboard.csv` those of each graph, `{result['others']}` those of other ways to blend."
    )


def rules(result: Mapping, split: str) -> str:
    """How the blend stands to other ways of blending the same members, in the leaderboard's `rules`."""
    rows = result["rules"].filter(split=split, collection="mean").iter_rows(named=True)
    others = {row["rule"]: row for row in rows if row["rule"] != result["rule"]}
    if not others:
        return f"No mean on {split}: not every collection has a score there."
    best = max(others.values(), key=lambda row: row["score"])
    ahead = [f"`{name}`" for name, row in others.items() if row["low"] is not None and row["low"] > 0]
    behind = [f"`{name}`" for name, row in others.items() if row["high"] is not None and row["high"] < 0]
    text = [
        f"On {split} the blend (`{result['rule']}`) is {_against(best['lead'], 0)} the best other way, "
        f"`{best['rule']}`, in the mean of the collections."
    ]
    if ahead:
        text.append(f"It is ahead of {_list(ahead)} in 95% of the draws.")
    if behind:
        text.append(f"It is behind {_list(behind)} in 95% of the draws.")
    if unsure := len(others) - len(ahead) - len(behind):
        text.append(f"The other {unsure} the graphs do not tell apart from it.")
    text.append(
        "Nothing was chosen here." if split == "test" else "The weights and the single member were chosen here."
    )
    return " ".join(text)


def weights(result: Mapping) -> str:
    """What the weights gained on valid over the better member, and that test is where to judge it."""
    totals = {name: value for name, value in result["blend"].iter_rows() if value == value}
    if not totals:
        return "No valid graph has run times that differ: the members have equal weights."
    members = result["weights"]["member"].unique(maintain_order=True).to_list()
    if len(members) == 1:
        return f"{members[0]} is the only member: the blend is its ranking, and there are no weights to choose."
    alone = dict(result["weights"].group_by("collection").agg(pl.col("valid").max()).iter_rows())
    helped = [name for name in totals if round(totals[name] - alone[name], 12) > 0]
    known = result["grid"].filter(pl.col("valid").is_not_nan())
    ranges = known.group_by("collection").agg((pl.col("valid").max() - pl.col("valid").min()).alias("range"))
    flattest = ranges.sort("range", "collection").row(0, named=True)
    ahead = f"on {_list(helped)}" if helped else "on no collection"
    chosen = "The valid graphs chose the weights, so valid is optimistic"
    if result["rule"] != "rank":
        chosen = f"Weights by `{result['rule']}` are equal, whatever valid would choose"
    judged = "" if result["eval_indices"] is None else "Layouts are judged by the official configurations alone. "
    return (
        f"{judged}On valid the blend is ahead of its better member {ahead}. The choice matters least on "
        f"{flattest['collection']}, where all weights lie within {flattest['range']:.3f}. {chosen}; the honest figure "
        "is the leaderboard's on test."
    )


def choice(result: Mapping) -> str:
    """What choosing weights is worth: chosen on other families against equal ones, and how far the choice flatters."""
    if result["weights"]["member"].n_unique() == 1:
        return "With one member there is nothing to choose."
    ranked = {row["collection"]: row for row in result["rules"].filter(rule="rank").iter_rows(named=True)}
    without = [name for name, row in ranked.items() if row["nested"] is None]
    gaps = f" There is none for {_list(without)}, whose valid graphs are of fewer than two families." if without else ""
    if "mean" not in ranked:
        return f"There is no nested evaluation.{gaps}"
    chosen = ranked["mean"]
    equal = result["rules"].filter(rule="borda", collection="mean").row(0, named=True)
    flattery = chosen["valid"] - chosen["nested"]
    return (
        f"Judged on families that they were not chosen on, chosen weights score {chosen['nested']:.3f} in the mean of "
        f"{_many(len(ranked) - 1 - len(without), 'collection')}, equal ones {equal['nested']:.3f}: the choice is worth "
        f"{chosen['nested'] - equal['nested']:+.3f}. Of {_many(chosen['graphs'], 'graph')} it ranks {chosen['better']} "
        f"better, {chosen['worse']} worse and {chosen['graphs'] - chosen['better'] - chosen['worse']} the same. Judged "
        f"on the graphs that chose them the weights score {chosen['valid']:.3f}, which flatters them by "
        f"{flattery:+.3f}.{gaps}"
    )


def preferred(result: Mapping) -> str:
    """Which rule and which shrink the nested evaluation prefers, beside those that are used."""
    rows = dict(result["rules"].filter(collection="mean").select("rule", "nested").iter_rows())
    if not rows:
        return "Without a nested evaluation nothing can be said for one rule or another."
    able = {rule: score for rule, score in rows.items() if rule != "single"}
    best = max(able, key=lambda rule: able[rule])
    shrinks = dict(result["shrinks"].filter(collection="mean").select("shrink", "nested").iter_rows())
    amount = max(shrinks, key=lambda shrink: shrinks[shrink])
    used = result["rule"]
    text = f"By the nested score `{best}` is the best rule ({able[best]:.3f})"
    text += ", and it is the one that is used" if best == used else f"; used is `{used}` ({able[used]:.3f})"
    text += f". The best single member scores {rows['single']:.3f}. "
    if len(set(round(score, 12) for score in shrinks.values())) == 1:
        return text + "How far the weights are moved toward equal makes no difference."
    widest = max(shrinks.values()) - min(shrinks.values())
    return text + (
        f"Of the amounts of shrinking {amount:g} is best; all lie within {widest:.3f}; {result['shrink']:g} is used."
    )


def disagreement(frame: pl.DataFrame) -> str:
    """How alike two members rank, which of them is ahead on how many graphs, and where the blend beats both."""
    if frame.is_empty():
        return "There are no two members that could disagree."
    text = []
    for (first, second), part in frame.group_by(["first", "second"], maintain_order=True):
        taus = part.drop_nulls("tau").group_by("collection", maintain_order=True).agg(pl.col("tau").mean())
        leads = (part["first_score"] - part["second_score"]).round(12)
        above = (part["blend"] - part.select(pl.max_horizontal("first_score", "second_score")).to_series()).round(12)
        if taus.height:
            ordered = taus.sort("tau", "collection")
            least, most = ordered.row(0), ordered.row(-1)
            text.append(
                f"The rankings of {first} and {second} agree most on {most[0]} (mean tau between them {most[1]:.2f})"
                + (f" and least on {least[0]} ({least[1]:.2f})." if taus.height > 1 else ".")
            )
        text.append(
            f"Of {_many(part.height, 'graph')} {first} is ahead on {(leads > 0).sum()} and {second} on "
            f"{(leads < 0).sum()}; the blend is above both on {(above > 0).sum()} and below both on "
            f"{_below(part)}."
        )
    return " ".join(text)


def _below(part: pl.DataFrame) -> int:
    worse = pl.min_horizontal("first_score", "second_score") - pl.col("blend")
    return part.select((worse.round(12) > 0).sum()).item()


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
        (ROUGH, "follows the times roughly"),
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
