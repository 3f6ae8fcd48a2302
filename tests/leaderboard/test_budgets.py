"""What a ranking buys, from one configuration to all."""

import numpy as np
import pytest


def test_what_each_ranking_buys_from_one_to_all(board):
    result, _ = board
    for (split, collection, member), rows in result.buys.group_by(["split", "collection", "member"]):
        values = rows.sort("k")["closeness"].to_numpy()
        assert (np.diff(values) >= -1e-12).all() and values[-1] == pytest.approx(1), (split, collection, member)
        assert rows["k"].min() == 1 and 5 in rows["k"].to_list() and rows["k"].max() == 8
    first = result.buys.filter(split="test", k=1)
    assert {"blend", "gnn", "gbdt", "random", "ridge"} <= set(first["member"]) and "ceiling" not in set(first["member"])
