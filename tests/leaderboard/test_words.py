"""The sentences of the leaderboard's page."""

import polars as pl
import pytest

from stages.leaderboard import words


def test_the_standing_says_what_the_ceiling_is(board):
    text = words.standing(board[0], "test")
    assert "what one timing pass scores as a prediction of the other. Perfect knowledge could score somewhat" in text


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
