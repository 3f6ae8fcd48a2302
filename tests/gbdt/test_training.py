"""The training on packed graphs: what it learns, writes and leaves alone."""

import json
import shutil
from pathlib import Path

import lightgbm
import numpy as np
import polars as pl
import pytest

from stages.engine.errors import InputError
from stages.gbdt import models, report, training
from stages.gbdt.settings import OBJECTIVES
from stages.graphs import dataset
from stages.graphs.families import family
from stages.scoring import metrics, scores
from tests.support import trees
from tests.support.trees import LAYOUT, QUICK, TILE, files, forget, packed, scored

OTHERS = {"scores.parquet", "trees.json", "metrics.parquet", "statistics.json", "parameters.json"}


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_each_objective_learns_the_layouts(data, objective):
    """Smaller is faster: a score of the wrong sign would be near -1."""
    result = trees.run(collection=LAYOUT, data=data, objectives=[objective], **QUICK)
    assert result.valid.height == 4 * 2 and result.valid["score"].mean() > 0.5
    if objective == "ridge":
        assert result.gains.is_empty() and result.trees["trees"].to_list() == [0, 0]
    else:
        assert result.gains["gain"].sum() == pytest.approx(1)
        assert result.gains["column"].head(3).str.contains("inversions|distance").any()
        assert set(result.trees["trees"]) <= set(range(1, 13))


def test_together_they_learn_the_tiles(data):
    result = trees.run(collection=TILE, data=data, **QUICK)
    assert result.valid["score"].mean() > 0.95


def test_what_it_writes_and_returns(data):
    result = trees.run(collection=LAYOUT, data=data, **QUICK)
    written = files(data)
    boosters = {f"models/{name}-{seed}-{fold}.txt" for name in OBJECTIVES[:3] for seed in (0, 1) for fold in range(3)}
    ridges = {f"models/ridge-{seed}-{fold}.json" for seed in (0, 1) for fold in range(3)}
    assert set(written) == boosters | ridges | OTHERS
    table = scored(data)
    assert table.height == (4 + 2) * 20 * 2 and set(table["split"]) == {"valid", "test"}
    assert set(table["member"]) == {"gbdt"} and set(table["seed"]) == {0, 1}
    columns = set(json.loads(written["statistics.json"]))
    for name in ("lambdarank", "pairwise"):
        booster = lightgbm.Booster(model_str=written[f"models/{name}-0-0.txt"].decode())
        assert set(booster.feature_name()) <= columns
    targets = {graph.id: graph.target for graph in dataset.graphs(data, LAYOUT, "valid")}
    again = metrics.graph_scores(LAYOUT, scores.by_graph(table.filter(split="valid", seed=1)), targets)
    shown = result.valid.filter(pl.col("seed") == 1)
    assert dict(shown.select("graph", "score").iter_rows()) == again
    objectives = result.objectives
    assert objectives.filter(split="valid")["objective"].to_list() == [*OBJECTIVES, "gbdt"]
    assert objectives["graphs"].to_list() == [6] * 5 + [4] * 5
    valid = objectives.row(by_predicate=(pl.col("split") == "valid") & (pl.col("objective") == "gbdt"), named=True)
    assert valid["score"] == pytest.approx(result.valid["score"].mean())
    table = report.objectives(result)
    assert table.columns == ["objective", "train, 6 graphs", "valid, 4 graphs"]
    assert table["objective"].to_list() == [*OBJECTIVES, "gbdt"]
    assert table.row(-1)[2].startswith(f"{valid['score']:.3f}\N{NO-BREAK SPACE}±")
    text = report.findings(result)
    assert f"is {result.valid['score'].mean():.3f}" in text and "no program of its family" in text
    assert f"`{result.gains['column'][0]}`" in report.looked_at(result)


def test_same_seed_same_bytes_and_earlier_models_go(data):
    trees.run(collection=LAYOUT, data=data, **QUICK)
    first = files(data)
    shutil.rmtree(Path(data, "gbdt/layout-xla-random"))
    forget(data)
    trees.run(collection=LAYOUT, data=data, **QUICK)
    assert files(data) == first
    trees.run(collection=LAYOUT, data=data, objectives=["pointwise"], **(QUICK | {"seeds": 1}))
    second = files(data)
    boosters = {f"models/pointwise-0-{fold}.txt" for fold in range(3)}
    assert set(second) == boosters | OTHERS
    assert all(second[name] == first[name] for name in boosters)


def test_run_times_of_test_are_not_looked_at(tmp_path, data):
    def labelled(arrays, _):
        if not arrays["config_runtime"].any():
            arrays["config_runtime"] = np.arange(len(arrays["config_runtime"]), 0, -1)
        return arrays

    trees.run(collection=LAYOUT, data=packed(tmp_path, labelled), **QUICK)
    trees.run(collection=LAYOUT, data=data, **QUICK)
    assert files(tmp_path) == files(data)


def test_a_valid_graph_is_scored_by_models_that_saw_none_of_its_family(tmp_path, data):
    """Other run times of a family, its train graphs' too, leave its own scores as they are and change the others'.

    One tree: how many there are is chosen for all folds together, and so by every family.
    """

    def slower(arrays, id):
        return arrays | ({"config_runtime": arrays["config_runtime"][::-1]} if family(id) == "unet" else {})

    knobs = QUICK | {"trees": 1, "folds": 4}
    trees.run(collection=LAYOUT, data=packed(tmp_path, slower, collections=[LAYOUT]), **knobs)
    trees.run(collection=LAYOUT, data=data, **knobs)
    for graph in sorted(set(scored(data)["graph"])):
        one, other = (scored(folder).filter(graph=graph)["score"].to_list() for folder in (data, tmp_path))
        assert (one == other) == graph.startswith("unet2_valid"), graph


def test_only_long_training_shows_how_far_it_is_and_on_standard_error(data, monkeypatch, capsys):
    for silence in (1e6, 0):
        monkeypatch.setattr(training, "SILENCE", silence)
        forget(data)
        trees.run(collection=LAYOUT, data=data, objectives=["ridge"], **QUICK)
        shown = capsys.readouterr()
        assert shown.out == "" and (f"gbdt {LAYOUT}" in shown.err and "2/2" in shown.err) == (silence == 0)


def first_configuration(arrays, _):
    return {
        name: array[:1] if name.startswith(("config_", "node_config_feat")) else array for name, array in arrays.items()
    }


def tied(arrays, _):
    return arrays | {"config_runtime": np.full_like(arrays["config_runtime"], 5_000 * arrays["config_runtime"].any())}


@pytest.mark.parametrize("change", [first_configuration, tied])
@pytest.mark.parametrize("collection", [LAYOUT, TILE])
def test_graphs_without_an_order(tmp_path, change, collection):
    data = packed(tmp_path, change, train=3, valid=2, test=1)
    result = trees.run(collection=collection, data=data, **QUICK)
    assert scored(data, collection)["score"].is_finite().all()
    if collection == LAYOUT:
        assert result.valid["score"].is_nan().all()
        assert "No valid graph" in report.findings(result)


def test_one_graph_without_an_order_among_others(tmp_path):
    def some(arrays, id):
        return tied(arrays, id) if id.startswith("bert") else arrays

    result = trees.run(collection=LAYOUT, data=packed(tmp_path, some, collections=[LAYOUT]), **QUICK)
    known = result.valid.filter(pl.col("score").is_not_nan())
    assert known["graph"].n_unique() == 3 and known["score"].mean() > 0.4


def without(data, *splits):
    """Takes the graphs of splits out of the manifest."""
    path = dataset.prune_folder(data, LAYOUT) / "manifest.json"
    manifest = json.loads(path.read_text())
    manifest["graphs"] |= {split: [] for split in splits}
    path.write_text(json.dumps(manifest))


def test_no_valid_graph_stops_on_the_folds_of_train(tmp_path):
    data = packed(tmp_path, collections=[LAYOUT])
    without(data, "valid")
    result = trees.run(collection=LAYOUT, data=data, **QUICK)
    assert set(scored(data)["split"]) == {"test"} and result.valid.is_empty()
    assert result.objectives["graphs"].to_list() == [6] * 5
    assert "No valid graph" in report.findings(result)


def test_one_graph_alone_has_nothing_to_hold_out(tmp_path, monkeypatch):
    data = packed(tmp_path, collections=[LAYOUT], train=1)
    without(data, "valid")
    monkeypatch.setattr(models, "TREES_ALONE", 7)
    result = trees.run(collection=LAYOUT, data=data, **QUICK)
    assert result.trees.filter(pl.col("objective") != "ridge")["trees"].to_list() == [7] * 6
    assert scored(data).height == 2 * 20 * 2


def test_one_family_is_parted_into_its_graphs(tmp_path):
    data = packed(tmp_path, families=["bert"], collections=[LAYOUT], train=3, valid=1)
    result = trees.run(collection=LAYOUT, data=data, **QUICK)
    assert len([name for name in files(data) if name.startswith("models/ridge-0")]) == 3
    assert result.valid["score"].mean() > 0.3


def test_no_test_graph_leaves_the_valid_scores(tmp_path):
    data = packed(tmp_path, collections=[LAYOUT])
    without(data, "test")
    trees.run(collection=LAYOUT, data=data, **QUICK)
    assert set(scored(data)["split"]) == {"valid"}


def test_no_train_graph_is_the_users_error(tmp_path):
    data = packed(tmp_path, collections=[LAYOUT])
    without(data, "train")
    with pytest.raises(InputError, match="no train graph"):
        trees.run(collection=LAYOUT, data=data, **QUICK)


def test_rows_to_train_on_are_bounded_and_all_are_scored(tmp_path):
    data = packed(tmp_path, collections=[LAYOUT])
    few = trees.run(collection=LAYOUT, data=data, configurations=6, opponents=5, **(QUICK | {"min_leaf": 3}))
    assert scored(data).height == (4 + 2) * 20 * 2
    assert few.valid["score"].mean() > 0.2


def test_how_often_a_layout_was_tried_is_a_column_only_where_asked_for(data):
    for searched in (False, True):
        trees.run(collection=LAYOUT, data=data, searched=searched, objectives=["ridge"], **QUICK)
        assert ("occurrence_z" in json.loads(files(data)["statistics.json"])) == searched
