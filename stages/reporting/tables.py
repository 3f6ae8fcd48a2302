"""Tables of the reports: frames as HTML, numbers with their intervals, and values by collection."""

import html
import re
from collections.abc import Mapping, Sequence

import polars as pl

from stages.reporting import members

#: The space within an interval, so that a narrow table breaks a cell before the interval and not in it.
SPACE = "\N{NO-BREAK SPACE}"

#: columns of a table that a phone can show side by side
NARROW = 4


def table(frame: pl.DataFrame, decimals: int = 3, words: Sequence[str] = ()) -> str:
    """The frame as an HTML table.

    On a phone a row of a table of more than `NARROW` columns becomes a block, in which each cell has its column's name.

    Args:
        frame: the table; a null becomes a dash, and text is escaped.
        decimals: digits of floats after the point.
        words: names of columns that hold prose.
    """
    classes = [' class="words"' if name in words else "" for name in frame.columns]
    head = _row("th", frame.columns, classes)
    wide = len(frame.columns) > NARROW
    if wide:
        named = [f' data-name="{html.escape(name)}"' for name in frame.columns[1:]]
        classes = [classes[0], *(kind + name for kind, name in zip(classes[1:], named, strict=True))]
    body = "".join(_row("td", [_cell(value, decimals) for value in values], classes) for values in frame.iter_rows())
    kind = ' class="wide"' if wide else ""
    return f"<table{kind}><thead>{head}</thead><tbody>{body}</tbody></table>"


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
        return f"{row[value]:{sign}.3f}"
    low, high = (f"{row[name]:{sign}.{decimals}f}" for name in ("low", "high"))
    return f"{row[value]:{sign}.3f} [{low},{SPACE}{high}]"


def _row(tag: str, texts: Sequence[str], classes: Sequence[str]) -> str:
    cells = (f"<{tag}{kind}>{_breakable(text)}</{tag}>" for text, kind in zip(texts, classes, strict=True))
    return f"<tr>{''.join(cells)}</tr>"


def _breakable(text: str) -> str:
    """Escapes text for HTML and lets a narrow table break it within names of collections, members and graphs."""
    return re.sub("[:_]", r"\g<0><wbr>", html.escape(text))


def _cell(value: object, decimals: int) -> str:
    if value is None:
        return "–"
    return f"{value:.{decimals}f}" if isinstance(value, float) else str(value)
