"""What the front page says: its tables are the committed results, its commands and links are there, and it is short."""

import csv
import importlib.util
import io
import json
import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PAGES = sorted(
    path.relative_to(ROOT).as_posix()
    for folder in ("", "benchmarks", "data", "data/sample-cpu", "notebooks", "recipes", "tests/data")
    + tuple(f"stages/{name}" for name in ("engine", "gnn", "ranking", "tuning"))
    for path in (ROOT / folder).glob("*.md")
)


def committed(name):
    """A file's text in the last commit."""
    done = subprocess.run(["git", "show", f"HEAD:{name}"], cwd=ROOT, capture_output=True)
    if done.returncode:
        pytest.skip("there is no git clone to read what was committed")
    return done.stdout.decode()


def tables(text):
    """Each table of a Markdown text: {first cell of a row: {column: cell}}, without quotes."""
    found = []
    for block in re.findall(r"(?:^\|.*\n)+", text, flags=re.MULTILINE):
        head, _, *rows = ([cell.strip(" `*") for cell in line.strip("|").split("|")] for line in block.splitlines())
        found.append({row[0]: dict(zip(head[1:], row[1:], strict=True)) for row in rows})
    return found


def table(name, row):
    """The first table of a committed page that has a row of this name."""
    return next(each for each in tables(committed(name)) if row in each)


def test_the_score_table_is_that_of_metrics_json():
    metrics = json.loads(committed("reports/metrics.json"))["test"]
    shown = table("README.md", "blend")
    assert set(shown) == {member for scores in metrics.values() for member in scores}
    for member, row in shown.items():
        assert row == {name: f"{scores[member]:.3f}" if member in scores else "–" for name, scores in metrics.items()}


def test_the_table_of_real_kernels_is_that_of_real_tpu_json():
    kernels = json.loads(committed("reports/real-tpu.json"))["kernels"]
    shown = table("README.md", "first choice")
    for row, key in (("first choice", "first"), ("best of five", "five")):
        assert set(shown[row]) == set(kernels)
        for member, cell in shown[row].items():
            slowdown = kernels[member][key]
            assert cell == (f"{slowdown:.1%}" if slowdown >= 0.1 else f"{slowdown:.2%}")


def test_the_table_of_own_networks_is_that_of_the_report():
    rows = csv.DictReader(io.StringIO(committed("reports/own-networks.csv")))
    scores = {row["recipe"]: row for row in rows if (row["size"], row["split"]) == ("sample", "test")}
    shown = table("recipes/README.md", "gst-paper")
    for recipe, row in shown.items():
        if recipe != "blend":
            assert row == {column: f"{float(scores[recipe][column]):.3f}" for column in row}


def test_the_front_page_is_short():
    text = (ROOT / "README.md").read_text()
    assert len(text.split()) <= 1200
    assert max(map(len, text.splitlines())) <= 120


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_somewhere(page):
    for target in re.findall(r"\]\(([^)#]+?)\)", (ROOT / page).read_text()):
        assert target.startswith("http") or (ROOT / page).parent.joinpath(target).exists(), target


@pytest.mark.parametrize("page", PAGES)
def test_commands_are_there(page):
    text = (ROOT / page).read_text()
    targets = re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), flags=re.MULTILINE)
    for target in re.findall(r"(?:^|`)make ([a-z]+)", text, flags=re.MULTILINE):
        assert target in targets
    for module in re.findall(r"python -m ((?:stages|benchmarks)[a-z_.]*[a-z_])", text):
        assert importlib.util.find_spec(module), module
