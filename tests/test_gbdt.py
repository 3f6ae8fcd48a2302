import json
import shutil
from pathlib import Path

import lightgbm
import numpy as np
import polars as pl
import pytest
from samples import write_root

from stages import dataset, gbdt, metrics, prune, scores
from stages.errors import InputError

LAYOUT, TILE = "layout:xla:random", "tile:xla"
QUICK = {"seeds": 2, "trees": 40, "learning_rate": 0.2, "patience": 10, "min_leaf": 10}


def packed(path, change=None, **graphs):
    root = write_root(path, {"train": 8, "valid": 3, "test": 2} | graphs, configurations=24)
    for file in root.rglob("*.npz") if change else ():
        with np.load(file, allow_pickle=False) as arrays:
            changed = change(dict(arrays))
        np.savez(file, **changed)
    for collection in (LAYOUT, TILE):
        prune.run(collection=collection, root=str(root), data=str(path))
    return str(path)


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return packed(tmp_path_factory.mktemp("gbdt"))


def files(data, collection=LAYOUT):
    folder = Path(data, "gbdt", collection.replace(":", "-"))
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


@pytest.mark.parametrize("objective", gbdt.OBJECTIVES)
def test_it_learns_the_layouts_of_the_sample(data, objective):
    """Smaller is faster: a score of the wrong sign would be near -1."""
    result = gbdt.run(collection=LAYOUT, data=data, objective=objective, **QUICK)
    assert result["valid"].height == 3 * 2 and result["valid"]["score"].min() > 0.4
    assert result["gains"]["gain"].sum() == pytest.approx(1)
    assert result["gains"]["column"][0].startswith("inversions")
    assert "inversions" in gbdt.findings(result) and "also chose the number of trees" in gbdt.findings(result)


def test_it_learns_the_tiles_of_the_sample(data):
    result = gbdt.run(collection=TILE, data=data, **QUICK)
    assert result["valid"]["score"].mean() > 0.95


def test_what_it_writes(data):
    result = gbdt.run(collection=LAYOUT, data=data, **QUICK)
    written = files(data)
    assert set(written) == {"model-0.txt", "model-1.txt", "scores.parquet", "statistics.json"}
    table = scores.read(Path(data, "gbdt/layout-xla-random/scores.parquet"))
    assert table.height == (3 + 2) * 24 * 2 and set(table["split"]) == {"valid", "test"}
    assert set(table["member"]) == {"gbdt"} and set(table["seed"]) == {0, 1}
    assert (
        list(json.loads(written["statistics.json"]))
        == lightgbm.Booster(model_str=written["model-0.txt"].decode()).feature_name()
    )
    targets = {graph.id: graph.target for graph in dataset.graphs(data, LAYOUT, "valid")}
    again = metrics.graph_scores(LAYOUT, scores.by_graph(table.filter(split="valid", seed=1)), targets)
    shown = result["valid"].filter(pl.col("seed") == 1)
    assert dict(shown.select("graph", "score").iter_rows()) == again


def test_same_seed_same_bytes_and_fewer_seeds_leave_no_model(data):
    gbdt.run(collection=LAYOUT, data=data, **QUICK)
    first = files(data)
    shutil.rmtree(Path(data, "gbdt/layout-xla-random"))
    gbdt.run(collection=LAYOUT, data=data, **QUICK)
    assert files(data) == first
    gbdt.run(collection=LAYOUT, data=data, **(QUICK | {"seeds": 1}))
    assert set(files(data)) == {"model-0.txt", "scores.parquet", "statistics.json"}
    assert files(data)["model-0.txt"] == first["model-0.txt"] != first["model-1.txt"]


def test_run_times_of_test_are_not_looked_at(tmp_path, data):
    def labelled(arrays):
        if not arrays["config_runtime"].any():
            arrays["config_runtime"] = np.arange(len(arrays["config_runtime"]), 0, -1)
        return arrays

    gbdt.run(collection=LAYOUT, data=packed(tmp_path, labelled), **QUICK)
    gbdt.run(collection=LAYOUT, data=data, **QUICK)
    assert files(tmp_path) == files(data)


def test_only_long_training_shows_its_seeds_and_on_standard_error(data, monkeypatch, capsys):
    monkeypatch.setattr(gbdt, "SILENCE", 1e6)
    gbdt.run(collection=LAYOUT, data=data, **QUICK)
    assert capsys.readouterr() == ("", "")
    monkeypatch.setattr(gbdt, "SILENCE", 0)
    gbdt.run(collection=LAYOUT, data=data, **QUICK)
    shown = capsys.readouterr()
    assert shown.out == "" and f"gbdt {LAYOUT}" in shown.err and "2/2" in shown.err


def first_configuration(arrays):
    return {
        name: array[:1] if name.startswith(("config_", "node_config_feat")) else array for name, array in arrays.items()
    }


def tied(arrays):
    return arrays | {"config_runtime": np.full_like(arrays["config_runtime"], 5_000)}


@pytest.mark.parametrize("change", [first_configuration, tied])
@pytest.mark.parametrize("collection", [LAYOUT, TILE])
def test_graphs_without_an_order(tmp_path, change, collection):
    data = packed(tmp_path, change, train=3, valid=2, test=1)
    result = gbdt.run(collection=collection, data=data, **QUICK)
    table = scores.read(Path(data, "gbdt", collection.replace(":", "-"), "scores.parquet"))
    assert table["score"].is_finite().all()
    if collection == LAYOUT:
        assert result["valid"]["score"].is_nan().all()
        assert "No valid graph" in gbdt.findings(result) and "chose" not in gbdt.findings(result)


def without(data, split):
    """Takes the graphs of a split out of the manifest."""
    path = dataset.prune_folder(data, LAYOUT) / "manifest.json"
    manifest = json.loads(path.read_text())
    manifest["graphs"][split] = []
    path.write_text(json.dumps(manifest))


def test_no_valid_graph_trains_every_tree(tmp_path):
    data = packed(tmp_path)
    without(data, "valid")
    assert gbdt.run(collection=LAYOUT, data=data, **QUICK)["trees"] == [40, 40]


def test_no_train_graph_is_the_users_error(tmp_path):
    data = packed(tmp_path, train=1)
    without(data, "train")
    with pytest.raises(InputError, match="no train graph"):
        gbdt.run(collection=LAYOUT, data=data, **QUICK)


@pytest.mark.parametrize(
    ("wrong", "named"),
    [
        ({"objective": "guess"}, "gbdt.objective"),
        ({"seeds": 0}, "gbdt.seeds"),
        ({"configurations": 99_999}, "configurations: 99999 is too large"),
        ({"configurations": 1}, "configurations: 1 is too small"),
        ({"patience": 0}, "patience: 0 is too small"),
        ({"leaves": 1}, "leaves: 1 is too small"),
        ({"leaves": 131_073}, "leaves: 131073 is too large"),
        ({"min_leaf": -1}, "min_leaf: -1 is too small"),
        ({"learning_rate": 0.0}, "params.yaml, gbdt.learning_rate: 0.0 is too small"),
        ({"learning_rate": float("nan")}, "learning_rate: nan is too small"),
        ({"feature_fraction": 1.5}, "feature_fraction: 1.5 is too large"),
        ({"bagging_fraction": 0.0}, "bagging_fraction: 0.0 is too small"),
    ],
)
def test_parameters_out_of_range(data, wrong, named):
    with pytest.raises(InputError, match=named):
        gbdt.run(collection=LAYOUT, data=data, **(QUICK | wrong))


def test_rows_to_train_on_are_bounded_and_all_are_scored(tmp_path, data):
    few = gbdt.run(collection=LAYOUT, data=data, configurations=6, **(QUICK | {"min_leaf": 3}))
    table = scores.read(Path(data, "gbdt/layout-xla-random/scores.parquet"))
    assert table.height == (3 + 2) * 24 * 2
    assert few["valid"]["score"].mean() > 0.2


def test_pairs_name_the_faster_row_first():
    table = gbdt._Table(["a"], np.zeros((7, 1)), np.array([3.0, 1.0, 2.0, 9.0, 9.0, 8.0, 4.0]), [3, 2, 1, 1])
    ((faster, slower),) = gbdt._pairs(table)
    assert sorted(zip(faster.tolist(), slower.tolist(), strict=True)) == [(1, 0), (1, 2), (2, 0)]


def test_grades_are_highest_for_the_fastest():
    table = gbdt._Table(["a"], np.zeros((5, 1)), np.array([30.0, 10.0, 20.0, 5.0, 5.0]), [3, 2])
    assert gbdt._grades(table, "regression") == pytest.approx([1 / 6, 5 / 6, 1 / 2, 1 / 2, 1 / 2])
    assert gbdt._grades(table, "lambdarank").tolist() == [5, 25, 15, 15, 15]
