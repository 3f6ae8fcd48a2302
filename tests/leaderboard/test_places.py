"""Predicted and true places of configurations."""

import numpy as np

from stages.leaderboard import pictures, places
from stages.leaderboard.board import Board


def test_an_examples_picture_has_some_of_very_many_configurations(monkeypatch):
    name, count = "layout:xla:random", 101
    true = np.random.default_rng(0).permutation(count) + 1.0
    scored = Board(
        [name],
        targets={("test", name): {"a": true}},
        members={("test", name, "blend"): {"a": 2 * true}},
        values={("test", name, "blend"): {"a": 1.0}},
    )
    monkeypatch.setattr(places, "SHOWN_PLACES", 11)
    frame = places.examples(scored).filter(which="best")
    assert frame["true"].to_list() == frame["predicted"].to_list() == [1.0 + 10 * step for step in range(11)]
    panel, *_ = pictures.rank_scatter(frame).axes
    assert list(panel.get_lines()[0].get_xdata()) == [1, count]
    monkeypatch.setattr(places, "SHOWN_PLACES", count)
    assert places.examples(scored).filter(which="best")["true"].to_list() == sorted(true)
