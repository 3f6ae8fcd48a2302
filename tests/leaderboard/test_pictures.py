"""Every picture and sentence of the page, with and without its parts."""

import re

import polars as pl
import pytest

from stages.leaderboard import pictures, report_tables, words
from stages.reporting import figures, tables
from tests.support import samples
from tests.support.ranking import (
    all_told,
    make,
    page,
)


def test_every_figure_and_sentence_can_be_made(board):
    drawings, sentences = page(board[0])
    assert len(drawings) == 5 and all_told(sentences)
    assert all(figures.svg(drawing).count("<svg") == 1 for drawing in drawings)


@pytest.mark.parametrize(
    ("parts", "count"), [({"programs": None}, 4), ({"solution": None}, 5), ({"collections": ["tile:xla"]}, 4)]
)
def test_figures_and_sentences_without_a_part(run, parts, count):
    result = run(**parts)
    last = result.splits[-1]
    drawings, sentences = page(result)
    assert len(drawings) == count and all_told(sentences)
    shown = tables.table(tables.by_collection(result.scores.filter(split=last), "member", "score", interval=True))
    assert shown.index("<td>blend") < shown.index("<td>gnn") < shown.index("<td>random")
    assert report_tables.seeds(result.scores, last)["member"].to_list() == ["blend", "gnn", "gbdt"]


@pytest.fixture(scope="session")
def lonely(tmp_path_factory):
    """A folder as `made` with one valid and one test graph in each collection."""
    path = tmp_path_factory.mktemp("lonely")
    samples.write_root(path, {"train": 2, "valid": 1, "test": 1})
    return make(path)


@pytest.mark.parametrize("test", [True, False])
def test_one_graph_in_each_collection_has_a_score_but_no_interval(run, lonely, test):
    result = run(lonely, **({} if test else {"solution": None}))
    last = result.splits[-1]
    assert last == ("test" if test else "valid")
    assert result.scores["low"].null_count() == result.scores.height
    assert result.versus["high"].null_count() == result.versus.height > 0
    assert result.kin["low"].null_count() == result.kin.height
    assert all("nan" not in figures.svg(drawing) for drawing in page(result)[0])
    for frame, row, value in (
        (result.scores, "member", "score"),
        (result.versus, "member", "lead"),
        (result.rules, "rule", "lead"),
    ):
        shown = tables.by_collection(frame.filter(split=last), row, value, interval="low" in frame.columns)
        assert "[" not in tables.table(shown)
    assert "5 graphs, too few in a collection for an interval" in words.standing(result, last)
    assert "ahead of gnn" not in words.lead(result.versus, last) and "do not settle it" in words.lead(
        result.versus, last
    )


def test_the_legend_of_the_budgets_names_what_can_be_told_apart(board):
    legend = pictures.budget_lines(board[0].buys, "test").legends[0]
    assert [text.get_text() for text in legend.get_texts()] == ["blend", "gnn", "gbdt", "baselines", "random"]


def test_all_dots_of_a_grid_of_places_are_drawn():
    places = pl.DataFrame(
        {"collection": "layout:xla:random", "graph": ["a"] * 2 + ["b"] * 2, "score": [1.0] * 2 + [0.5] * 2}
    )
    places = places.with_columns(true=pl.Series([1.0, 2.0, 1.0, 2.0]), predicted=pl.Series([1.0, 2.0, 2.0, 1.0]))
    figure = pictures.rank_grid(places)
    drawn = [panel.lines[1].get_xydata()[::3].tolist() for panel in figure.axes]
    assert drawn == [[[1.0, 1.0], [2.0, 2.0]], [[1.0, 2.0], [2.0, 1.0]]]
    panel = re.search(r'<g id="axes_1">.*?<g id="axes_2">', figures.svg(figure), re.DOTALL)[0]
    assert re.search(r"M ([\d.]+) ([\d.]+) \s*L \1 \2 ", panel)  # a line of no length, which its round ends make a dot
