"""The shipped sample in data/sample: whole, small, and what its tables say of it."""

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from stages.graphs import npz
from stages.graphs.collection import COLLECTIONS, SPLITS, folder, is_tile
from stages.leaderboard.inputs import PROGRAM_COLUMNS
from stages.scoring import score

SAMPLE = Path(__file__).parents[2] / "data" / "sample"
ROOT = SAMPLE / "npz_all"
LARGEST = 10 * 1000**2  # bytes: a clone must stay small
MINIMUM_LAYOUTS = 40
MINIMUM_SPREAD = 1.25
MINIMUM_TAU = 0.85

pytestmark = pytest.mark.skipif(
    not (SAMPLE / "programs.csv").exists(), reason="data/sample/programs.csv is not there: the sample is not measured"
)


@pytest.fixture(scope="module")
def programs():
    return pl.read_csv(SAMPLE / "programs.csv", schema_overrides=PROGRAM_COLUMNS)


@pytest.fixture(scope="module")
def graphs():
    """(collection, split, id) -> the arrays of every npz file."""
    files = {
        (collection, split, file.stem): file
        for collection in COLLECTIONS
        for split in SPLITS
        for file in folder(ROOT, collection, split).glob("*.npz")
    }
    return {key: npz.read(file, key[0]) for key, file in files.items()}


@pytest.fixture(scope="module")
def minima():
    """ID -> (c,) the smaller of both passes; the rows of a graph must be its configurations in order."""
    result = {}
    for (graph,), rows in pl.read_parquet(SAMPLE / "passes.parquet").group_by(["graph"], maintain_order=True):
        assert rows["configuration"].to_list() == list(range(rows.height)), graph
        result[graph] = rows.select(pl.min_horizontal("first_ns", "second_ns")).to_series().to_numpy()
    return result


@pytest.fixture(scope="module")
def solution():
    return score.read_solution(SAMPLE / "solution.csv")


@pytest.mark.parametrize("collection", COLLECTIONS)
def test_the_files_pass_the_validator_of_real_ones(collection):
    assert npz.summary(ROOT, collection).startswith(f"{collection}: train ")


def test_it_is_small():
    assert sum(file.stat().st_size for file in SAMPLE.rglob("*") if file.is_file()) <= LARGEST


def test_test_files_hide_the_run_times(graphs):
    test = {key: arrays for key, arrays in graphs.items() if key[1] == "test"}
    assert [key for key, arrays in test.items() if arrays.config_runtime.any()] == []
    tiles = {key: arrays for key, arrays in test.items() if is_tile(key[0])}
    assert tiles and [key for key, arrays in tiles.items() if (arrays.config_runtime_normalizers != 1).any()] == []


def test_other_files_hold_the_run_times(graphs):
    timed = {key: arrays for key, arrays in graphs.items() if key[1] != "test"}
    assert timed and [key for key, arrays in timed.items() if not arrays.config_runtime.all()] == []


def test_the_solution_is_of_exactly_the_test_graphs(graphs, solution):
    expected = {
        f"{collection}:{graph}": len(arrays.config_runtime)
        for (collection, split, graph), arrays in graphs.items()
        if split == "test"
    }
    assert {identifier: len(runtimes) for identifier, runtimes in solution.items()} == expected


def test_programs_csv_describes_exactly_the_files(graphs, programs):
    described = programs.select("collection", "split", "id", "nodes", "configurable", "configurations").rows()
    exported = [
        (*key, len(arrays.node_opcode), len(getattr(arrays, "node_config_ids", ())), len(arrays.config_runtime))
        for key, arrays in graphs.items()
    ]
    assert programs.columns == list(PROGRAM_COLUMNS)
    assert sorted(described) == sorted(exported)


def test_every_layout_graph_has_enough_distinct_configurations(graphs):
    distinct = {
        key: len({layouts.tobytes() for layouts in arrays.node_config_feat})
        for key, arrays in graphs.items()
        if not is_tile(key[0])
    }
    assert distinct and {key: count for key, count in distinct.items() if count < MINIMUM_LAYOUTS} == {}


def test_every_graph_has_times_worth_predicting(programs):
    enough = (pl.col("slowest_over_fastest") >= MINIMUM_SPREAD) & (pl.col("repeatability") >= MINIMUM_TAU)
    assert programs.select("slowest_over_fastest", "repeatability").null_count().row(0) == (0, 0)
    assert programs.filter(~enough).rows() == []


def test_the_run_times_are_the_minima_of_both_passes(graphs, minima, solution):
    assert set(minima) == {f"{collection}:{graph}" for collection, _, graph in graphs}
    for (collection, split, graph), arrays in graphs.items():
        times = minima[f"{collection}:{graph}"]
        if split != "test":
            np.testing.assert_array_equal(arrays.config_runtime, times, err_msg=graph)
        elif is_tile(collection):
            # Divided by a normaliser that the file hides, and rounded to nine digits: known up to that factor.
            ratios = times / solution[f"{collection}:{graph}"]
            np.testing.assert_allclose(ratios, np.rint(np.median(ratios)), rtol=1e-8, err_msg=graph)
        else:
            np.testing.assert_array_equal(solution[f"{collection}:{graph}"], times, err_msg=graph)


@pytest.mark.parametrize("collection", COLLECTIONS)
def test_kin_says_whether_a_family_was_trained_on(programs, collection):
    rows = programs.filter(pl.col("collection") == collection)
    trained = set(rows.filter(pl.col("split") == "train")["family"])
    for row in rows.iter_rows(named=True):
        held_out = "sibling" if row["family"] in trained else "unseen"
        assert row["kin"] == ("train" if row["split"] == "train" else held_out), row["id"]
