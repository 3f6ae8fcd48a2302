"""What is odd about the best and the worst graphs."""

import polars as pl

from stages.leaderboard import oddities


def odd_graphs():
    return pl.DataFrame(
        {
            "collection": ["layout:xla:random"] * 9,
            "graph": list("abcdefghi"),
            "blend": [0.9, 0.8, 0.7, 0.6, 0.55, 0.5, 0.4, 0.3, 0.2],
            "ridge": [0.1] * 8 + [0.3],
            "kin": ["sibling"] * 8 + ["unseen"],
            "spread": [9.0, 8.0, 7.0, 6.0, 5.0, 4.0, 3.0, 2.0, 1.5],
            "nodes": [50] * 9,
            "configurable": [5, 6, 7, 8, 1, 9, 10, 11, 12],
            "ceiling": [None] * 9,
        },
        schema_overrides={"ceiling": pl.Float64},
    )


def test_what_is_odd_by_hand():
    table = oddities.table(odd_graphs())
    assert (
        table["graph"].to_list() == ["a", "b", "h", "i"] and table["ranked"].to_list() == ["best"] * 2 + ["worst"] * 2
    )
    odd = dict(table.select("graph", "odd").iter_rows())
    assert odd["a"] == "widest run times of 9 (9.00)"
    assert odd["i"] == "family never trained on, a baseline is ahead, most configurable nodes of 9 (12)"
    assert odd["b"] in ("2nd widest run times of 9 (8.00)", "nothing stands out")
    text = oddities.sentences(odd_graphs())
    assert "slowest / fastest configuration (Spearman's rank correlation +1.00" in text
    assert "Of the 2 worst graphs in the table 1 are of families never trained on, of the 2 best 0." in text
