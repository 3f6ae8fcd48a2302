"""The committed data sets: whole, small, and what their tables say of them."""

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from stages.graphs import npz
from stages.graphs.collection import COLLECTIONS, SPLITS, folder, is_tile
from stages.leaderboard.inputs import PROGRAM_COLUMNS
from stages.scoring import score

DATA = Path(__file__).parents[2] / "data"
TPU, CPU = DATA / "sample", DATA / "sample-cpu"
TIMES = {TPU: "simulated from the TPU compiler's schedule", CPU: "measured on XLA:CPU"}
LARGEST = {TPU: 40 * 1000**2, CPU: 10 * 1000**2}  # bytes: a clone must stay small
#: by rule, of layout graphs and of all: distinct configurations or costs, slowest/fastest
LEAST_LAYOUTS = {TPU: 30, CPU: 40}
LEAST_SPREAD = {TPU: 1.02, CPU: 1.25}
LEAST_TAU = 0.85  # between two timing passes


@pytest.fixture(scope="module", params=[TPU, CPU], ids=lambda path: path.name)
def sample(request):
    assert (request.param / "programs.csv").is_file(), f"{request.param} is not in this checkout"
    return request.param


@pytest.fixture(scope="module")
def programs(sample):
    return pl.read_csv(sample / "programs.csv", schema_overrides=PROGRAM_COLUMNS)


@pytest.fixture(scope="module")
def graphs(sample):
    """(collection, split, id) -> the arrays of every npz file."""
    files = {
        (collection, split, file.stem): file
        for collection in COLLECTIONS
        for split in SPLITS
        for file in folder(sample / "npz_all", collection, split).glob("*.npz")
    }
    return {key: npz.read(file, key[0]) for key, file in files.items()}


@pytest.fixture(scope="module")
def solution(sample):
    return score.read_solution(sample / "solution.csv")


@pytest.mark.parametrize("collection", COLLECTIONS)
def test_the_files_pass_the_validator_of_real_ones(sample, collection):
    assert npz.summary(sample / "npz_all", collection).startswith(f"{collection}: train ")


def test_it_is_small(sample):
    assert sum(file.stat().st_size for file in sample.rglob("*") if file.is_file()) <= LARGEST[sample]


def test_the_readme_says_in_its_first_paragraph_what_the_times_are(sample):
    first = (sample / "README.md").read_text().split("\n\n#" if sample == TPU else "\n\nThe files")[0]
    assert ("simulated, not measured" if sample == TPU else "These are XLA:CPU times") in first


def test_every_graph_says_what_its_times_are(sample, programs):
    assert programs["times"].unique().to_list() == [TIMES[sample]]


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
    assert programs.columns[: len(PROGRAM_COLUMNS)] == list(PROGRAM_COLUMNS)
    assert sorted(described) == sorted(exported)


def test_every_layout_graph_has_enough_distinct_configurations(sample, graphs):
    distinct = {
        key: len({layouts.tobytes() for layouts in arrays.node_config_feat})
        for key, arrays in graphs.items()
        if not is_tile(key[0])
    }
    assert distinct and {key: count for key, count in distinct.items() if count < LEAST_LAYOUTS[sample]} == {}


def test_every_graph_has_times_worth_predicting(sample, programs):
    assert programs["slowest_over_fastest"].min() >= LEAST_SPREAD[sample]
    assert programs["slowest_over_fastest"].null_count() == 0


@pytest.mark.parametrize("collection", COLLECTIONS)
def test_kin_says_whether_a_family_was_trained_on(programs, collection):
    rows = programs.filter(pl.col("collection") == collection)
    trained = set(rows.filter(pl.col("split") == "train")["family"])
    for row in rows.iter_rows(named=True):
        held_out = "sibling" if row["family"] in trained else "unseen"
        assert row["kin"] == ("train" if row["split"] == "train" else held_out), row["id"]


@pytest.mark.parametrize("sample", [TPU], indirect=True, ids=["tpu"])
def test_no_kernel_stands_in_two_splits(graphs):
    """Not even under two names: the arrays of a kernel are those of no other."""
    splits: dict[bytes, set[str]] = {}
    for (collection, split, _), arrays in graphs.items():
        if is_tile(collection):
            whole = b"".join(np.asarray(part).tobytes() for part in (arrays.node_feat, arrays.node_opcode))
            splits.setdefault(whole + arrays.edge_index.tobytes(), set()).add(split)
    assert splits and all(len(found) == 1 for found in splits.values())


@pytest.mark.parametrize("sample", [TPU], indirect=True, ids=["tpu"])
def test_distinct_times_are_those_of_the_files(graphs, programs, solution):
    rows = {(row["collection"], row["split"], row["id"]): row for row in programs.iter_rows(named=True)}
    for (collection, split, graph), arrays in graphs.items():
        times = solution[f"{collection}:{graph}"] if split == "test" else arrays.config_runtime
        assert rows[collection, split, graph]["distinct"] == len(np.unique(times)), graph


@pytest.fixture(scope="module")
def minima(sample):
    """ID -> (c,) the smaller of both passes; the rows of a graph must be its configurations in order."""
    result = {}
    for (graph,), rows in pl.read_parquet(sample / "passes.parquet").group_by(["graph"], maintain_order=True):
        assert rows["configuration"].to_list() == list(range(rows.height)), graph
        result[graph] = rows.select(pl.min_horizontal("first_ns", "second_ns")).to_series().to_numpy()
    return result


@pytest.mark.parametrize("sample", [CPU], indirect=True, ids=["cpu"])
def test_measured_times_repeat(programs):
    assert programs["repeatability"].min() >= LEAST_TAU and programs["repeatability"].null_count() == 0


@pytest.mark.parametrize("sample", [CPU], indirect=True, ids=["cpu"])
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
