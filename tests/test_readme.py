"""The README's score table is that of the committed results, whatever a run on this machine wrote."""

import json
import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


def committed(name):
    """A file's text in the last commit."""
    done = subprocess.run(["git", "show", f"HEAD:{name}"], cwd=ROOT, capture_output=True)
    if done.returncode:
        pytest.skip("there is no git clone to read what was committed")
    return done.stdout.decode()


def tables():
    """{split: {member: {column: text}}} of the tables under the headings `### test` and `### valid`."""
    found = {}
    for split, text in re.findall(r"### (test|valid)\b.*?\n(\|.*?)\n\n", committed("README.md"), flags=re.DOTALL):
        head, _, *rows = ([cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines())
        found[split] = {row[0].strip("`*"): dict(zip(head[1:], row[1:], strict=True)) for row in rows}
    return found


@pytest.mark.parametrize("split", ["test", "valid"])
def test_the_score_table_is_that_of_metrics_json(split):
    metrics = json.loads(committed("reports/metrics.json"))[split]
    table = tables()[split]
    assert set(table) == {member for scores in metrics.values() for member in scores}
    for member, row in table.items():
        shown = {column.strip("`"): text.strip("*") for column, text in row.items()}
        assert shown == {name: f"{scores[member]:.3f}" if member in scores else "–" for name, scores in metrics.items()}
