"""The results of the faults as a page of Markdown."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Mapping, Sequence

LONGEST = 300  # characters of a message in the table; the results have the whole message
EARLIER = "made with earlier code"


def page(results: Mapping, parameters: Mapping, order: Sequence[str] = ()) -> str:
    """Writes the page: an introduction and the table.

    Args:
        results: as `table`.
        parameters: of the pipeline's runs.
        order: as `table`.
    """
    return f"""\
# What breaks, and what the run after it makes of it

By `python -m benchmarks.faults`, which says what each fault is: on the sample with `{parameters}`,
those of Ray on the tests' tiny data. "What it says" is all of the console but progress; "same bytes after": the next
`make repro` ended with the dvc.lock, and the bytes of every output, of a run that nothing disturbed. A row
"{EARLIER}" was measured before the code or the sample changed, and is not measured again yet.

{table(results, order)}
"""


def table(results: Mapping, order: Sequence[str] = ()) -> str:
    """The results as a table of Markdown.

    Args:
        results: identity, of the present code and data; kills, a list of rows; rows, name -> row. The `identity` of a
            row is that of the code and data with which it was measured.
        order: names of rows in the order of the table; other rows follow, sorted by name.
    """
    lines = ["| fault | where | what it says | same bytes after |", "|---|---|---|---|"]
    lines += _kills(results)
    ranks = {name: rank for rank, name in enumerate(order)}
    for name in sorted(results["rows"], key=lambda name: (ranks.get(name, len(ranks)), name)):
        lines.append(_line(results["rows"][name], results.get("identity")))
    return "\n".join(lines)


def _kills(results: Mapping) -> Iterable[str]:
    """A line for the kills of the present code, and one for those of earlier code."""
    identity = results.get("identity")
    current = [row for row in results["kills"] if row.get("identity") == identity]
    earlier = [row for row in results["kills"] if row.get("identity") != identity]
    for rows, mark in ((current, ""), (earlier, f"; {EARLIER}")):
        if rows:
            same = sum(bool(row["same"]) for row in rows)
            stages = ", ".join(sorted({row["where"].partition("@")[0] for row in rows}))
            where = f"{len(rows)} random moments, in {stages}"
            yield f"| kill -9 of `make repro` | {where} | – | {same} of {len(rows)}{mark} |"


def _line(row: Mapping, identity: str | None) -> str:
    """The line of a fault."""
    mark = "" if row.get("identity") == identity else f"; {EARLIER}"
    if "left_out" in row:
        return f"| {row['fault']} | {row['where']} | left out: {row['left_out']} | –{mark} |"
    where = row["where"]
    if "room" in row:
        where += f", room for {row['room']:.0%}"
    if "limit" in row:
        where += f", {row['limit'] / 2**20:.0f} MiB"
    words = []
    if row["status"] == 0:
        words.append("goes on to its end")
    if row["message"]:
        words.append(row["message"])
    message = textwrap.shorten("; ".join(words), LONGEST, placeholder=" …").replace("|", "\\|")
    verdict = "yes" if row["same"] else "NO"
    faults = [name for name in ("orphans", "half_written") if row[name]]
    if not row["clear"]:
        faults.append("not clear")
    if faults:
        verdict += f"; {', '.join(faults)}"
    return f"| {row['fault']} | {where} | {message} | {verdict}{mark} |"
