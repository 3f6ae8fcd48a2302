"""Tables and pictures of the reports, from small frames."""

import base64
import re

import numpy as np
import polars as pl
import pytest

from stages.reporting import figures

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


def test_a_picture_says_what_it_shows():
    shown = figures.picture(figures.disagreement(DISAGREEMENT), 'a "quoted" <b>')
    assert shown.startswith('<img alt="a &quot;quoted&quot; &lt;b&gt;" src="data:image/svg+xml;base64,')
    drawn = base64.b64decode(re.search(r"base64,([^\"]+)", shown)[1]).decode()
    assert drawn == figures.svg(figures.disagreement(DISAGREEMENT)) and drawn.count("<svg") == 1


def test_a_wide_table_keeps_the_frames_order_and_the_members_that_of_the_report():
    assert figures.wide(RULES, "rule", "nested").rows() == [("rank", "0.700", None), ("borda", "0.800", None)]
    members = RULES.rename({"rule": "member"}).with_columns(member=pl.Series(["ridge", "blend"] * 2))
    shown = figures.wide(members, "member", "valid")
    assert shown.columns == ["member", "tile:xla", "layout:xla:random"]
    assert shown["member"].to_list() == ["blend", "ridge"]


def test_a_panel_for_each_collection_and_a_dot_for_each_graph():
    *panels, last = figures.disagreement(DISAGREEMENT).axes
    assert [panel.get_title(loc="left") for panel in panels] == ["tile:xla", "layout:xla:random"]
    dots = [
        {line.get_label(): line.get_xydata().tolist() for line in panel.lines if line.get_label().startswith("blend")}
        for panel in panels
    ]
    assert dots[0] == {"blend above both": [[0.5, 0.4]], "blend between": [[1.0, 1.0]], "blend below both": []}
    assert dots[1] == {"blend above both": [], "blend between": [[-0.2, 0.3]], "blend below both": []}
    assert [line.get_xdata().tolist() for line in last.lines if line.get_marker() == "o"] == [[0.1], [-0.4]]


def test_the_lead_of_the_choice_over_equal_weights():
    (panel,) = figures.choice_dots(RULES).axes
    assert [text.get_text() for text in panel.get_yticklabels()] == ["tile:xla", "layout:xla:random"]
    drawn = {line.get_label(): line.get_xdata() for line in panel.lines if line.get_label().startswith("judged")}
    assert drawn["judged on families left out"][0] == pytest.approx(-0.1)
    assert drawn["judged on the graphs that chose"][0] == pytest.approx(0.1)
    assert all(np.isnan(leads[1]) for leads in drawn.values())  # a collection without a score has a row without dots
    assert figures.svg(figures.choice_dots(RULES)) == figures.svg(figures.choice_dots(RULES))


def test_names_in_a_table_may_break_and_numbers_do_not():
    shown = figures.table(pl.DataFrame({"layout:xla": ["row_major"], "lead": ["-0.5 [-1.0,\N{NO-BREAK SPACE}0.0]"]}))
    assert "<th>layout:<wbr>xla</th>" in shown and "<td>row_<wbr>major</td>" in shown
    assert "<td>-0.5 [-1.0,\N{NO-BREAK SPACE}0.0]</td>" in shown


def test_a_responsive_picture_has_a_narrow_drawing_and_a_wide_one():
    shown = figures.responsive(figures.disagreement, "dots", DISAGREEMENT)
    source, image = re.findall(r"base64,([^\"]+)", shown)
    assert base64.b64decode(image).decode() == figures.svg(figures.disagreement(DISAGREEMENT))
    widths = [float(re.search(r'width="([\d.]+)pt"', base64.b64decode(part).decode())[1]) for part in (source, image)]
    assert widths == [pytest.approx(72 * figures.NARROW), pytest.approx(72 * figures.WIDE)]


def test_all_dots_of_a_grid_of_places_are_drawn():
    places = pl.DataFrame(
        {"collection": "layout:xla:random", "graph": ["a"] * 2 + ["b"] * 2, "score": [1.0] * 2 + [0.5] * 2}
    )
    places = places.with_columns(true=pl.Series([1.0, 2.0, 1.0, 2.0]), predicted=pl.Series([1.0, 2.0, 2.0, 1.0]))
    figure = figures.rank_grid(places)
    drawn = [panel.lines[1].get_xydata()[::3].tolist() for panel in figure.axes]
    assert drawn == [[[1.0, 1.0], [2.0, 2.0]], [[1.0, 2.0], [2.0, 1.0]]]
    panel = re.search(r'<g id="axes_1">.*?<g id="axes_2">', figures.svg(figure), re.DOTALL)[0]
    assert re.search(r"M ([\d.]+) ([\d.]+) \s*L \1 \2 ", panel)  # a line of no length, which its round ends make a dot


def test_words_in_a_table_are_set_as_prose():
    shown = figures.table(pl.DataFrame({"n": [1], "odd": ["a & b"]}), words=("odd",))
    assert (
        '<th class="words">odd</th>' in shown and '<td class="words">a &amp; b</td>' in shown and "<td>1</td>" in shown
    )
