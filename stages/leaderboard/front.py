"""The first screen of the leaderboard's page, and the links to all other pages."""

import html

import numpy as np
import polars as pl

from stages.graphs.collection import is_tile, slug
from stages.leaderboard import words
from stages.leaderboard.result import LeaderboardResult
from stages.reporting.words import counted, listed

#: stage with a page for each collection -> what the page shows
PER_COLLECTION = {
    "configuration": "what one is, drawn",
    "prune": "what is kept of a program",
    "pad": "features for the network",
    "gnn": "training, attention",
    "gbdt": "what the trees look at",
}
#: what to read first, of one collection: stage -> what its page tells
STORY = {
    "configuration": "what a configuration is",
    "prune": "what is kept of a program",
    "gnn": "what the network learns",
    "gbdt": "what the trees learn",
}
#: pages that there is one of. `make repro` makes all but the first after the pipeline: they show no result of it
SINGLE = {
    "blend": "weights and rules of blending",
    "collect": "what the models learn from, and how well its times are known",
    "times": "where the time of a run went; memory of a training step",
    "recipes": "the winners' solutions on the same data, beside this one",
    "ablation": "what each choice is worth: pruning, padding, attention, segments, statistics, rules",
}


def headline(result: LeaderboardResult) -> str:
    """What was predicted, in one sentence, and the result's notes."""
    counts = result.counts
    layouts = [count for name, count in counts.items() if not is_tile(name)]
    tiles = {name: count for name, count in counts.items() if is_tile(name)}
    parts = []
    if programs := sum(count.graphs for count in layouts):
        parts.append(f"{counted(programs, 'test graph')} of {counted(len(layouts), 'layout collection')}")
    if kernels := sum(count.graphs for count in tiles.values()):
        parts.append(f"{counted(kernels, 'kernel')} of {' and '.join(tiles)}")
    total = sum(count.configurations for count in counts.values())
    text = f"Ranked, fastest first and without running one of them: {total:,} configurations of {' and '.join(parts)}."
    return " ".join([text, *result.notes])


def answers(result: LeaderboardResult) -> str:
    """The first screen as HTML: what was predicted, how well, against what, and whether to believe it."""
    split = result.splits[-1]
    predicted = html.escape(headline(result)) + (
        " A configuration is one way for the compiler to lay out all tensors of a program in memory, or to tile a "
        "kernel. Which one is fast is found by timing it, or guessed here."
    )
    by_question = {
        "What was predicted?": predicted,
        "How well?": _how_well(result, split),
        "Against what?": _against_what(result, split),
        "May I believe it?": _belief(result, split),
    }
    sections = "".join(f"<section><h2>{title}</h2><p>{text}</p></section>" for title, text in by_question.items())
    return f'<div class="answers">{sections}</div>'


def links(result: LeaderboardResult) -> str:
    """Links to every other page as HTML; those of a collection are there where the pipeline has been run on it."""
    layouts = [name for name in result.collections if not is_tile(name)]
    first = slug((layouts or list(result.collections))[0])
    story = " → ".join(f'<a href="{stage}-{first}.html">{text}</a>' for stage, text in STORY.items())
    story += ' → <a href="blend.html">how both are blended</a> → the scores below'
    begin = f'<p class="pages">New here? Read {story}.</p>'
    lines = []
    for stage, text in PER_COLLECTION.items():
        of_stage = " · ".join(f'<a href="{stage}-{slug(name)}.html">{name}</a>' for name in result.collections)
        lines.append(f"<dt>{stage}</dt><dd>{of_stage} – {text}</dd>")
    lines += [f'<dt>{name}</dt><dd><a href="{name}.html">{text}</a></dd>' for name, text in SINGLE.items()]
    return f'{begin}<dl class="pages">{"".join(lines)}</dl>'


def _how_well(result: LeaderboardResult, split: str) -> str:
    rows = words.score_rows(result.scores, split)
    if ("mean", "blend") not in rows:
        return html.escape(words.standing(result, split))
    blend = rows["mean", "blend"]
    scored = [name for name in result.collections if (name, "blend") in rows]
    by_metric = {
        "Kendall's tau-b on layouts": [name for name in scored if not is_tile(name)],
        "1 − slowdown of the best of five tiles": [name for name in scored if is_tile(name)],
    }
    means = [
        f"{metric} {np.mean([rows[name, 'blend']['score'] for name in names]):.3f}"
        for metric, names in by_metric.items()
        if names
    ]
    return (
        f"<strong>{blend['score']:.3f}</strong> of 1 on {split}, mean of {counted(len(scored), 'collection')} "
        f"({words.interval(blend)}): {', '.join(means)}. {words.purchase(result.buys, split)}"
    )


def _against_what(result: LeaderboardResult, split: str) -> str:
    rows = words.mean_rows(result.scores, split)
    baselines = words.baselines(rows, result.trained)
    if "blend" not in rows or not baselines:
        return "There is no mean to compare."
    best = max(baselines, key=lambda name: baselines[name]["score"])
    (lead,) = result.versus.filter(split=split, collection="mean", member=best).iter_rows(named=True)
    blended = [f"{name} {rows[name]['score']:.3f}" for name in result.trained if name in rows]
    random = f"chance has {rows['random']['score']:.3f}" if "random" in rows else "the others have less"
    sentences = [
        f"The best of {counted(len(baselines), 'baseline')}, {best}, has "
        f"<strong>{baselines[best]['score']:.3f}</strong>, so the lead is {words.signed(lead)}; {random}.",
        f"The models blended have {listed(blended)}." if blended else "",
    ]
    if "ceiling" in rows:
        ceiling = rows["ceiling"]["score"]
        sentences.append(f"One timing pass as a prediction of the other, the ceiling, has {ceiling:.3f}.")
    return " ".join(filter(None, sentences))


def _belief(result: LeaderboardResult, split: str) -> str:
    sentences = [f"<strong>Run times: {result.label}.</strong>"] if result.label else []
    sentences.append(
        "No run time of these graphs was used for anything but these scores."
        if split == "test"
        else f"{words.chosen(result)} were chosen on these graphs, which flatters; the test run times are hidden."
    )
    kin = result.kin.filter(split=split, member="blend")
    means = dict(kin.group_by("kin").agg(pl.col("score").mean()).iter_rows())
    if {"sibling", "unseen"} <= set(means):
        unseen = kin.filter(kin="unseen")["graphs"].sum()
        sentences.append(
            f"Families never trained on, {counted(unseen, 'graph')}, score {means['unseen']:.3f}; siblings of trained "
            f"ones score {means['sibling']:.3f}."
        )
    behind = result.versus.filter((pl.col("split") == split) & (pl.col("lead") < 0) & (pl.col("collection") != "mean"))
    if behind.height:
        where = sorted(set(behind["collection"]))
        sentences.append(f"Something else is ahead of the blend on {listed(where)}.")
    sentences.append("Not covered: any other machine or compiler than that of these times, programs larger than these.")
    return " ".join(sentences)
