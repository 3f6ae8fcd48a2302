"""The scores of the members, the leads of the blend, and other rules."""

import json

import numpy as np
import polars as pl
import pytest

from stages.graphs.collection import COLLECTIONS
from stages.leaderboard import metrics as leaderboard_metrics
from stages.leaderboard import report_tables
from stages.leaderboard.intervals import resamples
from stages.reporting import disagreement, tables
from stages.scoring import metrics, score, scores
from tests.support.ranking import (
    MEMBERS,
    board_of,
    written,
)


def test_metrics_name_every_split_collection_and_member(board):
    _, tmp_path = board
    by_split = written(tmp_path)
    learned = {"blend", "gnn", "gbdt", "ceiling", "random", "ridge"}
    assert set(by_split) == {"valid", "test"}
    for split in by_split.values():
        assert set(split) == {*COLLECTIONS, "mean"}
        assert set(split["tile:xla"]) == learned | {"largest_tile"}
        assert all(set(split[name]) == learned | {"copy_count", "row_major"} for name in COLLECTIONS[1:])
        assert set(split["mean"]) == learned | {"copy_count", "row_major"}
    text = (tmp_path / "reports" / "metrics.json").read_text()
    assert text == json.dumps(by_split, indent=2, sort_keys=True) + "\n"


def test_the_mean_is_of_five_and_layout_baselines_take_largest_tile_on_tile(board):
    _, tmp_path = board
    test = written(tmp_path)["test"]
    for member, tile in (("blend", "blend"), ("ridge", "ridge"), ("copy_count", "largest_tile")):
        parts = [test["tile:xla"][tile]] + [test[name][member] for name in COLLECTIONS[1:]]
        assert test["mean"][member] == pytest.approx(np.mean(parts), abs=2e-6)
    assert test["mean"]["ceiling"] == pytest.approx(0.95)


def test_intervals_hold_the_score_and_seeds_their_spread(board):
    rows = board[0].scores
    assert rows.filter((pl.col("low") > pl.col("score")) | (pl.col("high") < pl.col("score"))).is_empty()
    one = rows.filter((pl.col("collection") == "tile:xla") & (pl.col("split") == "test"))
    assert one["graphs"].to_list() == [4] * one.height
    learned = rows.filter(pl.col("member").is_in(["blend", "gnn", "gbdt"]))
    assert set(learned["seeds"]) == {3} and learned["seed_sd"].min() > 0
    assert set(rows.filter(~pl.col("member").is_in(["blend", "gnn", "gbdt"]))["seeds"]) == {None}


def test_the_lead_is_the_difference_of_the_scores_within_its_interval(board):
    result, _ = board
    rows = result.scores.filter((pl.col("split") == "test") & (pl.col("collection") == "mean"))
    score_of = dict(rows.select("member", "score").iter_rows())
    versus = result.versus.filter((pl.col("split") == "test") & (pl.col("collection") == "mean"))
    assert sorted(versus["member"]) == sorted(score_of.keys() - {"blend", "ceiling"})
    for row in versus.iter_rows(named=True):
        assert row["lead"] == pytest.approx(score_of["blend"] - score_of[row["member"]])
        assert row["low"] <= row["lead"] <= row["high"]


def test_the_lead_is_paired_over_the_same_draws():
    blended = {"layout:xla:random": {"a": 0.2, "b": 0.8}}
    behind = {"layout:xla:random": {"a": 0.1, "b": 0.7}}
    mixed = {"layout:xla:random": {"a": 0.4, "b": 0.4}}
    scored = board_of(blended, gnn=behind, gbdt=mixed)
    rows = leaderboard_metrics.versus(scored, resamples(scored)).filter(collection="layout:xla:random")
    leads = {row["member"]: (row["lead"], row["low"], row["high"]) for row in rows.iter_rows(named=True)}
    # What is hard about a program falls on both: behind by a tenth on each is behind by a tenth in every draw.
    assert leads["gnn"] == pytest.approx((0.1, 0.1, 0.1))
    assert leads["gbdt"] == pytest.approx((0.1, -0.2, 0.4))
    shown = tables.by_collection(rows, "member", "lead", interval=True)
    assert shown.rows() == [
        ("gnn", "+0.100 [+0.100,\N{NO-BREAK SPACE}+0.100]"),
        ("gbdt", "+0.100 [-0.200,\N{NO-BREAK SPACE}+0.400]"),
    ]


def test_seeds_by_hand():
    values = {"layout:xla:random": {"a": 0.2, "b": 0.8}, "tile:xla": {"k": 0.9, "l": 0.7}}
    scored = board_of(values, gnn=values)
    scored.seeds["test", "layout:xla:random", "gnn"] = {0: 0.5, 1: 0.7}
    scored.seeds["test", "tile:xla", "gnn"] = {1: 0.9, 2: 0.8}
    rows = leaderboard_metrics.scores(scored, resamples(scored)).filter(member="gnn")
    by_collection = {
        row["collection"]: (row["seeds"], row["seed_mean"], row["seed_sd"]) for row in rows.iter_rows(named=True)
    }
    # Of two values the standard deviation is their distance over the root of two; seed 1 alone is in both collections.
    assert by_collection["layout:xla:random"] == (2, pytest.approx(0.6), pytest.approx(0.2 / 2**0.5))
    assert by_collection["mean"] == (1, pytest.approx((0.7 + 0.9) / 2), None)
    assert report_tables.seeds(rows, "test").rows()[0][:3] == (
        "gnn",
        "2",
        "0.600\N{NO-BREAK SPACE}±\N{NO-BREAK SPACE}0.141",
    )


def test_single_seeds_of_the_blend_are_scored_as_blended(board, made):
    row = board[0].scores.filter(split="test", collection="layout:nlp:random", member="blend").row(0, named=True)
    truth = score.read_solution(made / "solution.csv")
    table = scores.read(made / "data" / "blend" / "seeds.parquet").filter(split="test", collection="layout:nlp:random")
    means = []
    for (_,), single in table.drop("collection").sort("seed").group_by(["seed"], maintain_order=True):
        ranked = scores.by_graph(single)
        means.append(np.mean([metrics.kendall(ranked[name], truth[f"layout:nlp:random:{name}"]) for name in ranked]))
    assert row["seed_mean"] == pytest.approx(np.mean(means)) and row["seed_sd"] == pytest.approx(np.std(means, ddof=1))


def test_other_rules_are_scored_and_the_used_one_is_the_blend(board, made):
    result, _ = board
    rules = result.rules
    assert set(rules["rule"]) == {"rank", "borda", "minmax", "zscore", "single"} and result.rule == "rank"
    assert set(rules["collection"]) == {*COLLECTIONS, "mean"} and set(rules["split"]) == {"valid", "test"}
    used = rules.filter(rule="rank")
    assert set(used["lead"]) == set(used["low"]) == set(used["high"]) == {0.0}
    truth = score.read_solution(made / "solution.csv")
    ranked = scores.read(made / "data" / "blend" / "rules.parquet").filter(
        split="test", collection="layout:nlp:random", member="minmax"
    )
    values = [
        metrics.kendall(each, truth[f"layout:nlp:random:{name}"])
        for name, each in scores.by_graph(ranked.drop("collection")).items()
    ]
    row = rules.filter(split="test", collection="layout:nlp:random", rule="minmax").row(0, named=True)
    assert row["score"] == pytest.approx(np.mean(values))
    blended = result.scores.filter(split="test", collection="layout:nlp:random", member="blend")["score"][0]
    assert row["lead"] == pytest.approx(blended - row["score"])
    assert pl.read_csv(result.rules_file).height == rules.height


def test_no_rule_is_in_the_metrics(board):
    _, tmp_path = board
    assert not {"rank", "borda", "minmax", "zscore", "single"} & set(written(tmp_path)["test"]["mean"])


def test_two_members_disagree_graph_by_graph(board, made):
    result, _ = board
    rows = result.disagreement.filter(split="test", collection="tile:xla")
    assert rows["graph"].to_list() == [f"test_{number}" for number in range(4)]
    of_tiles = result.graphs.filter(split="test", collection="tile:xla")
    assert rows["first_score"].to_list() == of_tiles["gnn"].to_list()
    assert rows["second_score"].to_list() == of_tiles["gbdt"].to_list()
    ranked = [
        scores.by_graph(
            scores.ranking(scores.read(made / "data" / name / "tile-xla" / "scores.parquet")).filter(split="test")
        )
        for name in MEMBERS
    ]
    assert rows["tau"][2] == pytest.approx(metrics.kendall(ranked[0]["test_2"], ranked[1]["test_2"]))
    above = sum(row["blend"] > max(row["first_score"], row["second_score"]) for row in rows.iter_rows(named=True))
    assert f"the blend is above both on {above} and" in disagreement.sentences(rows)
