"""The sentences of the leaderboard's page."""

from dataclasses import replace

import polars as pl
import pytest

from stages.leaderboard import words


def test_the_ceiling_is_explained_where_the_data_have_one(board):
    scores = board[0].scores
    assert "what one timing pass scores as a prediction of the other. It is no upper bound" in words.ceiling(scores)
    assert "what one timing pass scores as a prediction of the other" in words.standing(board[0], "test")
    simulated = replace(board[0], scores=scores.filter(pl.col("member") != "ceiling"))
    assert words.ceiling(simulated.scores) == "" and "timing pass" not in words.standing(simulated, "test")


@pytest.mark.parametrize(("rule", "chosen"), [("rank", " Weights and epochs were"), ("borda", " Epochs were")])
def test_weights_were_chosen_on_valid_only_by_the_rule_that_has_any(board, rule, chosen):
    assert chosen in words.standing(replace(board[0], rule=rule), "valid")


def test_kinship_says_where_unseen_families_cost_least_and_most():
    rows = [("a", "sibling", 0.5), ("a", "unseen", 0.7), ("b", "sibling", 0.6), ("b", "unseen", 0.5)]
    names = {"a": "layout:xla:random", "b": "layout:nlp:default"}
    kin = pl.DataFrame(rows, schema=["collection", "kin", "score"], orient="row")
    kin = kin.with_columns(pl.col("collection").replace(names), split=pl.lit("test"), member=pl.lit("blend"))
    assert words.kinship(kin, "test") == (
        "Families never trained on score 0.050 more than siblings of training programs, averaged over 2 collections. "
        "By collection it goes from 0.200 more on layout:xla:random to 0.100 less on layout:nlp:default."
    )
    one = kin.filter(pl.col("collection") == "layout:xla:random")
    assert words.kinship(one, "test").endswith("averaged over 1 collection.")


@pytest.mark.parametrize(
    ("taus", "phrases"),
    [
        ((0.9, 0.6, 0.3), ("at best it follows the times closely", "it follows the times roughly", "times loosely")),
        ((0.3, 0.1, -0.5), ("at best it follows the times loosely", "it hardly follows", "at worst it runs against")),
        ((0.4, 0.4, 0.4), ("one layout graph to show on test: it follows the times loosely in layout:xla:random:g",)),
    ],
)
def test_the_examples_are_described_by_their_tau(taus, phrases):
    frame = pl.DataFrame({"which": ["best", "median", "worst"], "score": taus}).with_columns(
        split=pl.lit("test"), collection=pl.lit("layout:xla:random"), graph=pl.lit("g")
    )
    text = words.examples(frame)
    assert all(phrase in text for phrase in phrases) and ("closely" in text) == (taus[0] >= 0.75)


def test_how_many_to_time_by_hand():
    rows = [("blend", 1, 0.5), ("blend", 4, 0.995), ("random", 1, 0.2), ("random", 4, 0.9), ("random", 8, 1.0)]
    rows += [("blend", 8, 1.0), ("ridge", 1, 0.5), ("ridge", 4, 0.98), ("ridge", 8, 1.0)]
    buys = pl.DataFrame(rows, schema=["member", "k", "closeness"], orient="row")
    buys = buys.with_columns(split=pl.lit("test"), collection=pl.lit("tile:xla"))
    text = words.budgets(buys, [], "test")
    assert "by the blend: tile:xla 4 (random 8, ridge 8)" in text and "No baseline does with as few" in text
