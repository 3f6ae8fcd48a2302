"""Intervals over graphs: the draws, and what is paired."""

import numpy as np
import pytest

from stages.leaderboard import metrics as leaderboard_metrics
from stages.leaderboard.intervals import resamples
from tests.support.ranking import (
    board_of,
)


def test_an_interval_of_two_graphs_by_hand():
    # Of two graphs a quarter of the draws is the one twice, a quarter the other: the percentiles are the two values.
    scored = board_of({"layout:xla:random": {"a": 0.2, "b": 0.8}})
    row = leaderboard_metrics.scores(scored, resamples(scored)).row(0, named=True)
    assert (row["score"], row["low"], row["high"], row["graphs"]) == (0.5, 0.2, 0.8, 2)


def test_both_searches_of_a_source_see_the_same_draws():
    one = dict(zip("abcdefgh", np.linspace(-1, 1, 8), strict=True))
    opposite = {graph: -value for graph, value in reversed(one.items())}
    scored = board_of({"layout:xla:random": one, "layout:xla:default": opposite})
    drawn = resamples(scored)
    assert drawn["test", "layout:xla:random", "blend"].std() > 0.1
    assert np.abs(drawn["test", "mean", "blend"]).max() < 1e-12


def test_other_sources_are_drawn_apart():
    values = dict(zip("abcdefgh", np.linspace(-1, 1, 8), strict=True))
    names = ("tile:xla", "layout:xla:random", "layout:nlp:random")
    drawn = resamples(board_of(dict.fromkeys(names, values)))
    correlations = np.corrcoef([drawn["test", name, "blend"] for name in names])
    assert np.abs(correlations - np.eye(3)).max() < 0.1


def test_a_program_that_one_search_lacks_is_absent_there():
    scored = board_of({"layout:xla:random": {"a": 1.0, "b": 1.0}, "layout:xla:default": {"a": 0.0, "b": 0.0, "c": 1.0}})
    drawn = resamples(scored)
    assert set(drawn["test", "layout:xla:random", "blend"]) == {1.0}
    assert sorted(set(drawn["test", "layout:xla:default", "blend"])) == pytest.approx([0, 1 / 3, 2 / 3, 1])
