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


def test_a_table_that_is_too_wide_for_a_phone_is_blocks_there_whose_cells_have_their_columns_names():
    narrow = pl.DataFrame({"member": ["blend"], "a": [1], "b": [2], "c": [3], "d": [4], "e": [5]})
    assert tables.table(narrow).startswith("<table><thead>") and "data-name" not in tables.table(narrow)
    broken = pl.DataFrame({"a": ["layout:xla:random some words more of them"], "why": ["because it breaks at spaces"]})
    assert tables.table(broken).startswith("<table><thead>")
    frame = pl.DataFrame({"member": ["blend"], "b<": [2], "configurations of it": ["123_456_789"], "why": ["so " * 30]})
    frame = frame.with_columns(pl.lit("unbreakable").alias(name) for name in "xyz")
    shown = tables.table(frame, words=("why",))
    assert shown.startswith('<table class="blocks long">') and "<td>blend</td>" in shown
    assert '<td data-name="b&lt;">2</td>' in shown and '<td class="words" data-name="why">so so' in shown
    short = frame.drop("configurations of it")
    assert tables.table(short, words=("why",)).startswith('<table class="blocks">')


def test_prose_is_not_squeezed_into_a_column_of_single_words():
    frame = pl.DataFrame({"statistic": ["assigned_estimate"], "gain": ["22%"], "SHAP": ["16%"], "is": ["a b c " * 9]})
    assert tables.table(frame).startswith("<table><thead>")
    assert tables.table(frame, words=("is",)).startswith('<table class="blocks">')


def test_a_table_that_is_too_wide_for_a_desktop_is_set_smaller():
    frame = pl.DataFrame({"member": ["blend"]} | {f"unbreakable{number}": ["0.123"] for number in range(10)})
    assert tables.table(frame).startswith('<table class="dense blocks')


def test_numbers_have_separators_and_no_negative_zero():
    shown = tables.table(pl.DataFrame({"nodes": [43615], "kept": [True], "lead": [-0.0001], "id": ["12345"]}))
    assert shown.endswith("<tr><td>43,615</td><td>True</td><td>0.000</td><td>12345</td></tr></tbody></table>")
    row = {"lead": -0.0001, "low": -0.0002, "high": 0.0003}
    assert tables.bracketed(row, "lead", interval=True) == "+0.000 [+0.000,\N{NO-BREAK SPACE}+0.000]"
