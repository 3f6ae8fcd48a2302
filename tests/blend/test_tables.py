"""The frames of the blend's page."""

import numpy as np
import polars as pl
import pytest

from stages.blend import report, weights
from stages.graphs import dataset
from stages.reporting import disagreement
from stages.scoring import scores
from tests.support.blending import (
    COLLECTION,
    MEMBERS,
    OPPOSED,
    SLUG,
    TARGET,
    TARGETS,
    graph,
    member,
    run,
    run_shrunk,
)


def test_the_table_of_rules_by_hand(tmp_path, packed):
    packed["valid"][:] = [graph(name, TARGET) for name in TARGETS]
    packed["test"].clear()
    for name, part in OPPOSED.items():
        frames = [scores.frame("valid", each, np.arange(4), name, 0, score) for each, score in part.items()]
        scores.write(pl.concat(frames), tmp_path / name / SLUG / "scores.parquet")
    result = run_shrunk(tmp_path, 0.0)
    rows = {row["rule"]: row for row in result.rules.filter(collection=COLLECTION).iter_rows(named=True)}
    assert list(rows) == ["rank", "borda", "minmax", "zscore", "single"]
    assert {(row["graphs"], row["families"]) for row in rows.values()} == {(4, 2)}
    assert rows["rank"]["valid"] == pytest.approx(1 / 2) and rows["rank"]["nested"] == pytest.approx(-1)
    assert (rows["rank"]["better"], rows["rank"]["worse"]) == (0, 4)
    assert rows["borda"]["valid"] == rows["borda"]["nested"] == pytest.approx(1 / 3)
    assert rows["single"]["nested"] == pytest.approx(-1)
    assert result.rules.filter(collection="mean")["nested"].to_list() == [row["nested"] for row in rows.values()]
    shrinks = result.shrinks.filter(collection=COLLECTION)
    assert shrinks["shrink"].to_list() == list(weights.SHRINKS)
    assert shrinks["nested"].to_list() == pytest.approx([-1, -1, -1, -1, 1 / 3])
    assert report.choice(result) == (
        "Judged on families that they were not chosen on, chosen weights score -1.000 in the mean of 1 collection. "
        "Equal weights score 0.333, so the choice is worth -1.333. Of 4 graphs it ranks 0 better, 4 worse and 0 the "
        "same. Judged on the graphs that chose them the weights score 0.500, which flatters them by +1.500."
    )
    text = report.preferred(result)
    assert "`borda` is the best rule (0.333), and `rank` is used (-1.000)" in text
    assert "Of the amounts by which weights are moved toward equal, 1 is best, and 0 is used." in text
    assert text.endswith("All of them score within 1.333.")
    sentences = disagreement.sentences(result.disagreement)
    assert "gnn is ahead on 3 and gbdt on 1; the blend is above both on 0 and below both on 0." in sentences
    assert result.disagreement["tau"].to_list() == pytest.approx([-1] * 4)


def test_the_mean_leaves_out_collections_without_a_nested_score(tmp_path, packed, monkeypatch):
    one = {"valid": packed["valid"][:1], "test": packed["test"]}
    monkeypatch.setattr(dataset, "graphs", lambda data, name, split: (one if "tile" in name else packed)[split])
    for name in MEMBERS:
        member(tmp_path, name, packed, noise=3.0)
        member(tmp_path, name, packed, noise=3.0, slug="tile-xla")
    result = run(tmp_path, collections=["tile:xla", COLLECTION])
    own = result.rules.filter(collection=COLLECTION).drop("collection")
    assert result.rules.filter(collection="mean").drop("collection").equals(own)
    assert "There is none for tile:xla, whose valid graphs are of fewer" in report.choice(result)
