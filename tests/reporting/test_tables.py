"""Tables of the reports, from small frames."""

import polars as pl

from stages.reporting import tables
from tests.support.frames import RULES


def test_a_wide_table_keeps_the_frames_order_and_the_members_that_of_the_report():
    assert tables.by_collection(RULES, "rule", "nested").rows() == [("rank", "0.700", None), ("borda", "0.800", None)]
    members = RULES.rename({"rule": "member"}).with_columns(member=pl.Series(["ridge", "blend"] * 2))
    shown = tables.by_collection(members, "member", "valid")
    assert shown.columns == ["member", "tile:xla", "layout:xla:random"]
    assert shown["member"].to_list() == ["blend", "ridge"]


def test_names_in_a_table_may_break_and_numbers_do_not():
    shown = tables.table(pl.DataFrame({"layout:xla": ["row_major"], "lead": ["-0.5 [-1.0,\N{NO-BREAK SPACE}0.0]"]}))
    assert "<th>layout:<wbr>xla</th>" in shown and "<td>row_<wbr>major</td>" in shown
    assert "<td>-0.5 [-1.0,\N{NO-BREAK SPACE}0.0]</td>" in shown


def test_words_in_a_table_are_set_as_prose():
    shown = tables.table(pl.DataFrame({"n": [1], "odd": ["a & b"]}), words=("odd",))
    assert (
        '<th class="words">odd</th>' in shown and '<td class="words">a &amp; b</td>' in shown and "<td>1</td>" in shown
    )


def test_tables_escape_text_and_dash_what_is_absent():
    shown = tables.table(pl.DataFrame({"a<b": ["x&y", None], "v": [0.12345, 2.0]}))
    assert (
        "<th>a&lt;b</th>" in shown and "<td>x&amp;y</td><td>0.123</td>" in shown and "<td>–</td><td>2.000</td>" in shown
    )


def test_cells_of_a_wide_table_have_their_columns_names():
    frame = pl.DataFrame({"member": ["blend"], "a": [1], "b": [2], "c<": [3], "why": ["so"]})
    shown = tables.table(frame, words=("why",))
    assert shown.startswith('<table class="wide">') and "<td>blend</td>" in shown
    assert '<td data-name="c&lt;">3</td>' in shown and '<td class="words" data-name="why">so</td>' in shown
    assert "data-name" not in tables.table(frame.drop("why")) and "wide" not in tables.table(frame.drop("why"))
