"""Graphs by themselves: siblings and unseen families."""

import polars as pl
import pytest

from stages.leaderboard import graphs, report_tables


def test_kin_by_hand():
    table = pl.DataFrame(
        {
            "split": ["test"] * 4,
            "collection": ["layout:xla:random"] * 4,
            "graph": ["a", "b", "c", "d"],
            "kin": ["sibling", "sibling", "unseen", None],
            "blend": [0.2, 0.8, 0.4, 0.9],
            "gnn": [None, 0.6, None, 0.9],
        }
    )
    rows = graphs.kin(table, ["blend", "gnn"])
    keys = ("kin", "member", "graphs", "score", "low", "high")
    assert rows.select(keys).rows() == [
        ("sibling", "blend", 2, 0.5, 0.2, 0.8),
        ("sibling", "gnn", 1, 0.6, None, None),
        ("unseen", "blend", 1, 0.4, None, None),
    ]
    assert report_tables.kin(rows).rows() == [
        ("layout:xla:random", "sibling", "2", "0.500 [0.20,\N{NO-BREAK SPACE}0.80]", "0.600"),
        ("layout:xla:random", "unseen", "1", "0.400", None),
    ]


def test_siblings_and_unseen_families_stand_apart(board):
    result, _ = board
    kin = result.kin.filter((pl.col("split") == "test") & (pl.col("member") == "blend"))
    assert set(kin["kin"]) == {"sibling", "unseen"} and set(kin["graphs"]) == {2}
    row = kin.filter((pl.col("collection") == "layout:nlp:random") & (pl.col("kin") == "unseen"))["score"][0]
    unseen = result.graphs.filter((pl.col("collection") == "layout:nlp:random") & (pl.col("kin") == "unseen"))
    assert row == pytest.approx(unseen.filter(pl.col("split") == "test")["blend"].mean())
