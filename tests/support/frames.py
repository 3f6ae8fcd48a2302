"""Small frames of rules and of members that disagree, for pictures and tables."""

import polars as pl

RULES = pl.DataFrame(
    {
        "collection": ["tile:xla", "tile:xla", "layout:xla:random", "layout:xla:random"],
        "rule": ["rank", "borda"] * 2,
        "valid": [0.9, 0.8, None, None],
        "nested": [0.7, 0.8, None, None],
    }
)


DISAGREEMENT = pl.DataFrame(
    {
        "collection": ["tile:xla"] * 2 + ["layout:xla:random"],
        "graph": ["a", "b", "c"],
        "first": ["gnn"] * 3,
        "second": ["gbdt"] * 3,
        "first_score": [0.5, 1.0, -0.2],
        "second_score": [0.4, 1.0, 0.3],
        "blend": [0.6, 1.0, 0.1],
        "tau": [0.1, None, -0.4],
    }
)
