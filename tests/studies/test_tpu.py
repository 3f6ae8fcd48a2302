"""The trees on real TPU measurements; the files are there only where TPUGRAPHS_DIR says."""

import os
from dataclasses import replace
from pathlib import Path

import polars as pl
import pytest

from stages.engine.errors import InputError
from stages.graphs.collection import COLLECTIONS
from stages.studies import tpu
from tests.support.pipeline import CHOSEN

PROJECT = Path(__file__).parents[2]
REAL = os.environ.get("TPUGRAPHS_DIR")
real = pytest.mark.skipif(not REAL, reason="TPUGRAPHS_DIR is not set")
SMALL = {"seeds": 1, "folds": 2, "trees": 5, "pairs": 40}


def test_a_folder_without_the_files_is_the_users_error(tmp_path, monkeypatch):
    with pytest.raises(InputError, match="pb/op_tuning_data.pb: not there; name the folder"):
        tpu.folder(tmp_path)
    monkeypatch.delenv("TPUGRAPHS_DIR", raising=False)
    with pytest.raises(InputError, match="TPUGRAPHS_DIR: is not set"):
        tpu.folder(None)


@pytest.mark.parametrize("collection", COLLECTIONS)
def test_the_settings_are_those_of_the_pipeline(collection):
    assert tpu.settings(collection).searched == collection.endswith(":default")


@real
def test_kernels_by_models_that_trained_on_the_others():
    table = tpu.kernels(Path(REAL), replace(tpu.settings(tpu.TILE), **SMALL))
    assert table["kernel"].n_unique() == 15
    assert table.group_by("member").len()["len"].to_list() == [15] * 5
    assert table.filter(member="gbdt")["configurations"].sum() == 752  # of 754 runs two failed
    assert (table["top1"] >= table["top5"] - 1e-12).all() and (table["top5"] >= 0).all()
    means = {row["member"]: row for row in tpu.means(table).iter_rows(named=True)}
    assert means["gbdt"]["top5"] < means["random"]["top5"]
    assert means["random"]["top1"] == pytest.approx(table.filter(pl.col("member") == "random")["top1"].mean())


@real
def test_kernels_by_models_that_saw_no_real_run(reproduced, tmp_path):
    """The pipeline's models rank every kernel; what is trained on nothing does not depend on them."""
    table = tpu.carried_over(Path(REAL), reproduced[0] / "data", PROJECT / tpu.TIME_MODEL)
    assert table["kernel"].n_unique() == 15
    members = {"blend", "gnn", "gbdt", "ridge", "estimate", "largest_tile", "random", "time_model"}
    assert set(table["member"]) == members
    assert (table["top1"] >= table["top5"] - 1e-12).all() and (table["top5"] >= 0).all()
    means = {row["member"]: row for row in tpu.means(table).iter_rows(named=True)}
    assert means["estimate"]["top1"] < 0.05 and means["estimate"]["top5"] < 0.01
    assert means["time_model"]["top1"] < 0.02 and means["time_model"]["top5"] == 0
    without = tpu.carried_over(Path(REAL), reproduced[0] / "data", tmp_path / "missing.csv")
    assert without.equals(table.filter(pl.col("member") != "time_model"))


@real
def test_estimates_of_other_runs_are_refused(reproduced, tmp_path):
    other = tmp_path / "other.csv"
    pl.read_csv(PROJECT / tpu.TIME_MODEL).filter(pl.col("run") > 0).write_csv(other)
    with pytest.raises(InputError, match="other.csv: is of other runs; make it anew"):
        tpu.carried_over(Path(REAL), reproduced[0] / "data", other)


def test_without_a_pipeline_run_a_line_says_so(tmp_path):
    with pytest.raises(InputError, match="holds no trained models; run make repro"):
        tpu.layouts_carried_over(tmp_path, tmp_path)


def test_the_report_holds_fractions_by_member():
    rows = [("k", 9, "gbdt", 0.5, 0.0), ("l", 9, "gbdt", 0.25, 0.1), ("k", 9, "random", 2.0, 1.0)]
    table = pl.DataFrame(rows, schema=tpu.SLOWDOWNS, orient="row")
    taus = pl.DataFrame([("unet3d", "gbdt", 0.25)], schema=["graph", "member", "tau"], orient="row")
    kernels = {"gbdt": {"first": 0.375, "five": 0.05}, "random": {"first": 2, "five": 1}}
    assert tpu.report(table, taus) == {"kernels": kernels, "unet3d": {"gbdt": 0.25}}


@real
def test_layouts_by_models_that_saw_no_real_run(reproduced):
    """All runs of both programs are ranked by all members."""
    table = tpu.layouts_carried_over(Path(REAL), reproduced[0] / "data", CHOSEN[1])
    members = {"blend", "gnn", "gbdt", "ridge", "copy_count", "row_major", "default", "estimate"}
    for graph in (tpu.TRAIN, tpu.VALID):
        one = table.filter(graph=graph)
        assert set(one["member"]) == members and one["tau"].fill_nan(0).is_between(-1, 1).all()


@real
def test_layouts_of_the_official_configurations():
    network = tpu.network() | {"epochs": 2, "finetune": 1, "seeds": 1, "width": 8}
    table = tpu.layouts(Path(REAL), replace(tpu.settings(tpu.LAYOUT), **SMALL), network)
    members = ["blend", "gnn", "gbdt", "ridge", "copy_count", "row_major"]
    assert table["member"].to_list()[:6] == members and table["tau"].is_between(-1, 1).all()
    taus = dict(table.iter_rows())
    assert taus["gbdt, ridge alone"] == pytest.approx(taus["ridge"])  # one graph: the same ridge
