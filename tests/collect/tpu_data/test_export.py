"""Hand-made records through the export and back through the reader of official files."""

import numpy as np
import polars as pl
import pytest

from stages.collect.programs.registry import PROGRAMS
from stages.collect.tpu_data import record_arrays
from stages.collect.tpu_data.export import export
from stages.collect.tpu_data.standing import Standing
from stages.collect.tpu_data.store import Store
from stages.engine.errors import InputError
from stages.graphs import npz
from stages.leaderboard.inputs import PROGRAM_COLUMNS
from stages.scoring.score import read_solution
from tests.support import tpu_records as made

RANDOM = "layout:xla:random"


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path / "records")


def file(sample, collection, split, identifier):
    return sample / "npz_all" / "npz" / collection.replace(":", "/") / split / f"{identifier}.npz"


def tables(sample):
    read = {name: pl.read_csv(sample / f"{name}.csv") for name in ("programs", "dropped")}
    return read["programs"], read["dropped"]


def test_configurations_keep_their_times_and_their_nodes(store, tmp_path):
    times = made.spread(36)
    made.write_program(store, made.TRAIN)
    made.write_layouts(store, made.TRAIN, times)
    export(store, tmp_path / "sample")
    arrays = npz.read(file(tmp_path / "sample", RANDOM, "train", made.TRAIN), RANDOM)
    assert arrays.node_config_ids.tolist() == [2, 3]  # the record names reshape.3 before dot.2
    assert arrays.edge_index.tolist() == [[2, 0], [2, 1], [3, 2]]
    number = (arrays.node_config_feat[:, 1, 0] * 6 + arrays.node_config_feat[:, 1, 1]).astype(int)
    assert sorted(number) == list(range(36))
    assert number.tolist() != list(range(36))  # the order of the search is not that of the file
    assert arrays.config_runtime.tolist() == np.rint(times[number]).astype(int).tolist()
    assert (arrays.node_config_feat[:, 0, 0] == number % 2).all()
    assert (arrays.node_config_feat[:, :, 2:] == -1).all()


def test_run_times_of_test_graphs_stand_in_the_solution_only(store, tmp_path):
    kernel = made.kernel("a kernel")
    made.write_program(store, made.TEST, (kernel,))
    made.write_layouts(store, made.TEST, made.spread(36))
    made.write_kernel(store, kernel, [100.0, 200, 300, 400, 500, 600, 700, 800])
    sample = tmp_path / "sample"
    export(store, sample)
    arrays = npz.read(file(sample, RANDOM, "test", made.TEST), RANDOM)
    assert not arrays.config_runtime.any()
    solution = read_solution(sample / "solution.csv")
    assert sorted(solution[f"{RANDOM}:{made.TEST}"]) == np.rint(made.spread(36)).tolist()
    tile = npz.read(file(sample, "tile:xla", "test", f"dot_{kernel.key}"), "tile:xla")
    assert not tile.config_runtime.any()
    assert (tile.config_runtime_normalizers == 1).all()
    bounds = tile.config_feat[:, 8]
    assert solution[f"tile:xla:dot_{kernel.key}"].tolist() == (bounds * 100 / 200).tolist()


def test_what_the_searches_found_too_little_of_is_dropped_and_named(store, tmp_path):
    for name, times in {made.TRAIN: made.spread(29), made.VALID: made.spread(40, 1.01)}.items():
        made.write_program(store, name)
        made.write_layouts(store, name, times, ("random",))
    made.write_program(store, made.TEST)
    made.write_layouts(store, made.TEST, made.spread(30, 1.03), ("random",))
    export(store, tmp_path / "sample")
    programs, dropped = tables(tmp_path / "sample")
    assert programs["id"].to_list() == [made.TEST]
    reasons = dict(dropped.select("id", "reason").iter_rows())
    assert reasons[made.TRAIN] == "29 distinct costs of 29 configurations, fewer than 30"
    assert reasons[made.VALID] == "slowest/fastest 1.010, below 1.02"
    assert not file(tmp_path / "sample", RANDOM, "train", made.TRAIN).exists()


def test_kernels_without_a_choice_are_dropped_and_named(store, tmp_path):
    few, flat, good = (made.kernel(text) for text in ("few", "flat", "good"))
    made.write_program(store, made.TRAIN, (few, flat, good))
    made.write_kernel(store, few, [100.0, 200, 300])
    made.write_kernel(store, flat, [100.0] * 8)
    made.write_kernel(store, good, [100.0] * 7 + [110])
    export(store, tmp_path / "sample")
    programs, dropped = tables(tmp_path / "sample")
    assert programs["id"].to_list() == [f"dot_{good.key}"]
    reasons = dict(dropped.select("id", "reason").iter_rows())
    assert reasons == {
        f"dot_{few.key}": "3 windows compile, fewer than 8",
        f"dot_{flat.key}": "slowest/fastest 1.000, below 1.02",
    }


def test_a_kernel_of_two_splits_stands_in_one(store, tmp_path):
    shared, own = made.kernel("shared"), made.kernel("own")
    made.write_program(store, made.TRAIN, (shared, own))
    made.write_program(store, made.TEST, (shared,))
    for size, kernel in ((64, shared), (32, own)):
        made.write_kernel(store, kernel, np.linspace(100, 800, 8), size)
    sample = tmp_path / "sample"
    export(store, sample)
    assert [path.stem for path in sample.rglob("test/*.npz")] == [f"dot_{shared.key}"]
    assert [path.stem for path in sample.rglob("train/*.npz")] == [f"dot_{own.key}"]
    programs, _ = tables(sample)
    assert dict(programs.select("id", "program").iter_rows())[f"dot_{shared.key}"] == made.TEST


def test_of_kernels_that_look_the_same_only_the_split_furthest_from_training_keeps_its_own(store, tmp_path):
    """Their texts differ in what the arrays of a graph do not say."""
    first, second, third = (made.kernel(name) for name in ("a", "b", "c"))
    for program, kernel in ((made.TRAIN, first), (made.VALID, second), (made.TEST, third)):
        made.write_program(store, program, (kernel,))
        made.write_kernel(store, kernel, np.linspace(100, 800, 8), 32 if kernel is third else 64)
    export(store, tmp_path / "sample")
    programs, dropped = tables(tmp_path / "sample")
    assert set(programs["id"]) == {f"dot_{second.key}", f"dot_{third.key}"}
    assert dropped.filter(id=f"dot_{first.key}")["reason"].to_list() == ["looks the same as a kernel of valid"]
    assert not list((tmp_path / "sample").rglob("train/*.npz"))
    export(store, tmp_path / "sample")
    assert tables(tmp_path / "sample")[0].equals(programs)


def test_a_family_that_is_not_trained_on_after_all_is_unseen(store, tmp_path):
    test, train = "impala_deep_b512_train", "alphazero_20x256_b256_bf16_forward"
    assert PROGRAMS[test].family == PROGRAMS[train].family
    for name, times in {test: made.spread(40), train: made.spread(40, 1.0)}.items():
        made.write_program(store, name)
        made.write_layouts(store, name, times, ("random",))
    export(store, tmp_path / "sample")
    assert tables(tmp_path / "sample")[0]["kin"].to_list() == ["unseen"]
    made.write_layouts(store, train, made.spread(40), ("random",))
    export(store, tmp_path / "sample")
    kin = dict(tables(tmp_path / "sample")[0].select("id", "kin").iter_rows())
    assert kin == {test: "sibling", train: "train"}


def test_programs_csv_says_how_good_the_compilers_own_choice_is(store, tmp_path):
    made.write_program(store, made.TRAIN)
    made.write_layouts(store, made.TRAIN, np.linspace(4000, 9000, 60), ("random",))
    export(store, tmp_path / "sample")
    row = tables(tmp_path / "sample")[0].row(0, named=True)
    expected = {"nodes": 4, "configurable": 2, "configurations": 60, "distinct": 60, "errors": 2, "asked": 60}
    assert {key: row[key] for key in expected} == expected
    assert row["own_over_fastest"] == pytest.approx(5000 / 4000)
    assert row["slowest_over_fastest"] == pytest.approx(9000 / 4000)
    assert PROGRAM_COLUMNS.keys() <= row.keys()


def test_programs_that_cannot_be_collected_are_named(store, tmp_path):
    made.write_program(store, made.TRAIN)
    made.write_layouts(store, made.TRAIN, made.spread(40))
    store.fail(made.TEST, "the compiler refuses it")
    export(store, tmp_path / "sample")
    row = tables(tmp_path / "sample")[1].row(0, named=True)
    assert (row["collection"], row["split"], row["id"], row["reason"]) == (
        "layout:xla", "test", made.TEST, "the compiler refuses it"
    )  # fmt: skip


def test_an_export_leaves_nothing_of_the_one_before_and_has_the_same_bytes(store, tmp_path):
    made.write_program(store, made.TRAIN)
    made.write_layouts(store, made.TRAIN, made.spread(40))
    sample = tmp_path / "sample"
    export(store, sample)
    first = {path.relative_to(sample): path.read_bytes() for path in sample.rglob("*") if path.is_file()}
    stale = file(sample, RANDOM, "train", "gone")
    stale.write_bytes(b"")
    export(store, sample)
    assert {path.relative_to(sample): path.read_bytes() for path in sample.rglob("*") if path.is_file()} == first
    assert not (tmp_path / "sample.part").exists()


def exported(folder):
    return {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture
def parts(tmp_path):
    """Two parts of a collection that share a kernel and overlap in nothing else, and the records of both together.

    The first has a training program and one that failed, the second a test program with the first's kernel.
    """
    shared, own, flat = made.kernel("shared"), made.kernel("own"), made.kernel("flat")
    first, second, both = (Store(tmp_path / name) for name in ("part 1", "part 2", "both"))
    for store in (first, both):
        made.write_program(store, made.TRAIN, (shared, own, flat))
        made.write_layouts(store, made.TRAIN, made.spread(40))
        for kernel in (shared, own):
            made.write_kernel(store, kernel, np.linspace(100, 800, 8))
        made.write_kernel(store, flat, [100.0] * 8)
        store.fail("vgg16_b32_train", "the compiler refuses it")
    for store in (second, both):
        made.write_program(store, made.TEST, (shared,))
        made.write_layouts(store, made.TEST, made.spread(50))
        made.write_program(store, made.VALID)
        made.write_layouts(store, made.VALID, made.spread(40, 1.001))
    return first, second, both


def test_a_data_set_grown_in_parts_has_the_bytes_of_one_made_at_once(parts, tmp_path):
    first, second, both = parts
    export(both, tmp_path / "whole")
    for part in (first, second):
        export(part, tmp_path / "grown")
    assert exported(tmp_path / "grown") == exported(tmp_path / "whole")
    shared = made.kernel("shared").key
    assert file(tmp_path / "grown", "tile:xla", "test", f"dot_{shared}").exists()
    assert not file(tmp_path / "grown", "tile:xla", "train", f"dot_{shared}").exists()


def test_what_stands_in_a_data_set_need_not_be_collected(parts, tmp_path):
    first, *_ = parts
    sample = tmp_path / "sample"
    assert not Standing.read(sample).holds(made.TRAIN, 1)
    export(first, sample)
    standing = Standing.read(sample)
    assert standing.holds(made.TRAIN, 40) and not standing.holds(made.TRAIN, 41)
    assert standing.holds("vgg16_b32_train", 1000)
    assert not standing.holds(made.TEST, 0)


def test_a_data_set_of_another_libtpu_is_not_mixed_with_this_ones(parts, tmp_path):
    first, second, _ = parts
    sample = tmp_path / "sample"
    export(first, sample)
    path = sample / "collected.csv"
    path.write_text(path.read_text().replace("0.0.42.1", "0.0.41"))
    before = exported(sample)
    with pytest.raises(InputError, match=r"collected.csv: was collected with libtpu 0.0.41, this is 0.0.42.1"):
        export(second, sample)
    assert exported(sample) == before


def test_the_readme_says_first_what_the_times_are(store, tmp_path):
    made.write_program(store, made.TRAIN)
    made.write_layouts(store, made.TRAIN, made.spread(40))
    export(store, tmp_path / "sample")
    text = (tmp_path / "sample" / "README.md").read_text()
    assert "static schedule of libtpu's compiler for TPU v3, simulated, not measured" in text.splitlines()[0]
    assert "0.0.42.1" in text and "Terms of Service" in text
    assert "| `layout:xla:random` | 1 | 0 | 0 (0 + 0) | 1 | 4 | 40.0 | 40 | 2.00 |" in text


def test_no_record_is_no_data_set(store, tmp_path):
    with pytest.raises(InputError, match="no usable record"):
        export(store, tmp_path / "sample")
    assert not (tmp_path / "sample").exists()


def test_arrays_differ_by_a_byte_a_type_or_a_key():
    arrays = {"a": np.arange(3), "b": np.zeros(2, np.float32)}
    assert record_arrays.same(arrays, {**arrays}) is None
    assert record_arrays.same(arrays, {**arrays, "a": np.array([0, 1, 3])}) == "a"
    assert record_arrays.same(arrays, {**arrays, "b": np.zeros(2, np.float64)}) == "b"
    assert record_arrays.same(arrays, {"a": np.arange(3)}) == "b"
