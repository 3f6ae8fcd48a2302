"""Tables of the reports: frames as HTML, numbers with their intervals, and values by collection."""

import html
import re
from collections.abc import Mapping, Sequence

import polars as pl

from stages.reporting import members

#: The space within an interval, so that a narrow table breaks a cell before the interval and not in it.
SPACE = "\N{NO-BREAK SPACE}"

#: letters that a table's columns can have together, on a phone and on a desktop; a column's padding takes `PADDING`
PHONE, DESKTOP = 43, 122
PADDING = {PHONE: 2, DESKTOP: 3}
#: letters of a name and its value, two of which a phone can show side by side
PAIR = 21
#: letters that a line of prose needs to be read with ease
PROSE = 20


def table(frame: pl.DataFrame, decimals: int = 3, words: Sequence[str] = ()) -> str:
    """The frame as an HTML table.

    Where a phone is too narrow for its columns, a row becomes a block there, in which each cell has its column's name.
    Where a desktop is, the table is set smaller.

    Args:
        frame: the table; a null becomes a dash, and text is escaped.
        decimals: digits of floats after the point.
        words: names of columns that hold prose.
    """
    rows = [[_cell(value, decimals) for value in values] for values in frame.iter_rows()]
    classes = [["words"] if name in words else [] for name in frame.columns]
    wide = _letters(frame.columns, rows, words)
    looks = ["dense"] if wide + PADDING[DESKTOP] * len(frame.columns) > DESKTOP else []
    named: list[str] = []
    if wide + PADDING[PHONE] * len(frame.columns) > PHONE:
        named = ["", *(f' data-name="{html.escape(name)}"' for name in frame.columns[1:])]
        pairs = [
            len(name) + len(text)
            for row in rows
            for name, text in zip(frame.columns[1:], row[1:], strict=True)
            if name not in words
        ]
        looks += ["blocks", "long"] if max(pairs, default=0) > PAIR else ["blocks"]
    head = _row("th", frame.columns, classes)
    body = "".join(_row("td", row, classes, named) for row in rows)
    return f"<table{_kind(looks)}><thead>{head}</thead><tbody>{body}</tbody></table>"


def by_collection(frame: pl.DataFrame, key: str, value: str, interval: bool = False) -> pl.DataFrame:
    """Arranges a column of a frame with a row for each `key` and a column for each collection.

    Args:
        frame: a row for each `key` and collection.
        key: name of the column whose values become rows. Members come in the order of the reports, other values in the
            frame's.
        value: name of the column of the cells, which `bracketed` writes.
        interval: whether a cell has the interval too.
    """
    cells = {(row[key], row["collection"]): bracketed(row, value, interval) for row in frame.iter_rows(named=True)}
    names = frame[key].unique(maintain_order=True).to_list()
    collections = frame["collection"].unique(maintain_order=True)
    rows = [
        [str(name), *(cells.get((name, collection)) for collection in collections)]
        for name in (members.in_order(names) if key == "member" else names)
    ]
    return pl.DataFrame(rows, schema=dict.fromkeys((key, *collections), pl.String), orient="row")


def bracketed(row: Mapping, value: str, interval: bool) -> str | None:
    """A cell: 'value', or 'value [low, high]' where the row has an interval.

    Args:
        row: has `value` and, for an interval, low and high.
        value: name of the column; a "lead" is written with its sign.
        interval: whether to write the interval.

    Returns:
        The cell; None where the value is null.
    """
    if row[value] is None:
        return None
    sign, decimals = ("+", 3) if value == "lead" else ("", 2)
    if not interval or row["low"] is None:
        return f"{row[value]:{sign}z.3f}"
    low, high = (f"{row[name]:{sign}z.{decimals}f}" for name in ("low", "high"))
    return f"{row[value]:{sign}z.3f} [{low},{SPACE}{high}]"


def _letters(head: Sequence[str], rows: Sequence[Sequence[str]], words: Sequence[str]) -> int:
    """How wide a table is at least, in letters: the longest parts of its columns that do not break, and of prose lines.

    Args:
        head: names of the columns.
        rows: their cells.
        words: names of columns that hold prose.
    """
    widths = []
    for texts in zip(head, *rows, strict=True):
        widest = max(len(part) for text in texts for part in re.split("(?<=[:_])| ", text))
        line = min(max(map(len, texts)), PROSE) if texts[0] in words else 0
        widths.append(max(widest, line))
    return sum(widths)


def _row(tag: str, texts: Sequence[str], classes: Sequence[list[str]], named: Sequence[str] = ()) -> str:
    """A row of a table; `named` holds the attributes by which cells have their columns' names."""
    attributes = [_kind(kinds) for kinds in classes]
    if named:
        attributes = [kind + name for kind, name in zip(attributes, named, strict=True)]
    cells = (f"<{tag}{given}>{_breakable(text)}</{tag}>" for text, given in zip(texts, attributes, strict=True))
    return f"<tr>{''.join(cells)}</tr>"


def _kind(classes: Sequence[str]) -> str:
    return f' class="{" ".join(classes)}"' if classes else ""


def _breakable(text: str) -> str:
    """Escapes text for HTML and lets a narrow table break it within names of collections, members and graphs."""
    return re.sub("[:_]", r"\g<0><wbr>", html.escape(text))


def _cell(value: object, decimals: int) -> str:
    if value is None:
        return "–"
    if isinstance(value, float):
        return f"{value:z.{decimals}f}"
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value)
