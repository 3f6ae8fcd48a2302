"""The table of the recipes: its sentences, its board, its picture."""

import polars as pl
import pytest

from stages.engine.errors import InputError
from stages.studies import recipe_table
from tests.support import pipeline

COLLECTION = pipeline.CHOSEN[1]


def rows(name, mean, sd=0.01, spent=60.0):
    return [
        (name, collection, "test", mean, sd, 3, spent, mean + 0.01) for collection in (COLLECTION, "tile:xla", "mean")
    ]


def table(*parts):
    return pl.DataFrame([row for part in parts for row in part], schema=recipe_table.SCHEMA, orient="row")


def test_sentences_name_what_is_best_and_what_it_costs():
    found = table(rows("ours", 0.7, spent=30), rows("first-place", 0.6), rows("gst-paper", 0.5))
    assert recipe_table.standing(found, "test") == (
        "On test, ours is best of 3 in the mean of the collections, 0.700; first-place follows with 0.600, further "
        "behind than single seeds move (0.010). ours trains in 0.50 of the time of first-place."
    )
    behind = recipe_table.standing(table(rows("ours", 0.6, spent=90), rows("first-place", 0.604)), "test")
    assert "no further behind than single seeds move" in behind and "ours is 0.004 behind it" in behind
    assert "ours trains in 1.50 of the time of first-place." in behind
    assert "best of 1 " in recipe_table.standing(table(rows("trees", 0.6)), "test")
    assert "No recipe has a mean on valid" in recipe_table.standing(found, "valid")
    assert recipe_table.cost(found, "test") == (
        "gst-paper trains longest, 1.0 processor minutes, and ours shortest, 0.5."
    )
    assert recipe_table.collections_won(found, "test") == (
        f"Best in each collection: ours on tile:xla (0.700), ours on {COLLECTION} (0.700)."
    )


def test_the_board_and_its_picture_stand_best_first():
    found = table(rows("first-place", 0.6), rows("ours", 0.7, sd=None, spent=30))
    board = recipe_table.board(found, "test")
    assert board.columns == ["recipe", "mean", "seeds together", "training, minutes", "tile:xla", COLLECTION]
    assert board["recipe"].to_list() == ["ours", "first-place"]
    assert board.row(1)[1].split() == ["0.600", "±", "0.010"] and board.row(0)[2:4] == (0.71, "0.5")
    score, time = recipe_table.picture(found, "test").axes
    assert [label.get_text() for label in score.get_yticklabels()] == ["ours", "first-place"]
    assert [bar.get_width() for bar in time.patches] == [0.5, 1.0]


def test_a_table_that_is_not_there_or_another_is_refused(tmp_path):
    with pytest.raises(InputError, match="make recipe NAME=ours"):
        recipe_table.read(tmp_path)
    (tmp_path / "reports").mkdir()
    (tmp_path / "reports" / "recipes.csv").write_text("a,b\n1,2\n")
    with pytest.raises(InputError, match="holds other columns"):
        recipe_table.read(tmp_path)
