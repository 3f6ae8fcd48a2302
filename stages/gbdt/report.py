"""What the stage's report says in words, computed from what `run` returns."""

from __future__ import annotations

from collections.abc import Mapping

import polars as pl

from stages.gbdt.stage import MEMBER


def findings(result: Mapping) -> str:
    """What the numbers of `run`'s result say, a sentence for each picture."""
    text = []
    valid = result["valid"].filter(pl.col("score").is_not_nan())
    judged = valid.group_by("graph", maintain_order=True).agg(pl.col("score").mean()).sort("score", "graph")
    if judged.height:
        worst, best = judged.row(0, named=True), judged.row(-1, named=True)
        text.append(
            f"On the valid graphs the mean score of a seed is {judged['score'].mean():.3f}, from {worst['score']:.3f} "
            f"({worst['graph']}) to {best['score']:.3f} ({best['graph']}), each by models that trained on no program "
            "of its family; the same graphs chose the number of trees, one for all folds."
        )
    else:
        text.append("No valid graph has configurations of different run times.")
    trees = result["trees"].filter(pl.col("trees") > 0).group_by("objective", maintain_order=True)
    counts = [f"{name} {part['trees'].min()} to {part['trees'].max()}" for (name,), part in trees]
    if counts:
        text.append(f"Trees of a model, over the seeds: {', '.join(counts)}.")
    train = result["objectives"].filter(split="train")
    if train.height > 1:
        alone = train.filter(pl.col("objective") != MEMBER).sort("score", "objective", descending=[True, False])
        best, together = alone.row(0, named=True), train.filter(objective=MEMBER).row(0, named=True)
        text.append(
            f"Out of fold on the train graphs the best objective is {best['objective']} with {best['score']:.3f}, all "
            f"together have {together['score']:.3f}."
        )
    gains = result["gains"]
    if gains.height and gains["gain"].sum() > 0:
        top = gains.row(0, named=True)
        half = 1 + int((gains["gain"].cum_sum() < gains["gain"].sum() / 2).sum())
        text.append(
            f"{half} of {gains.height} statistics bring half of the trees' gain, `{top['column']}` {top['gain']:.0%}."
        )
    return " ".join(text)
