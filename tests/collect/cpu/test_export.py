"""Records become a data set in the official layout."""

import json

import numpy as np
import polars
import pytest

from stages.collect import record
from stages.collect.cpu import export as exporting
from stages.collect.cpu.jobs import planned
from stages.collect.hlo_text import MAX_RANK
from stages.engine.errors import InputError
from stages.hlo import hlo_pb2

FASTEST, STEP = 1_000_003, 100_000


F32 = 11


PROGRAM_COLUMNS = (
    "collection,split,id,family,kin,nodes,configurable,configurations,slowest_over_fastest,repeatability,ceiling,times"
)


def proto_of(*opcodes):
    """Bytes of a module with one computation: a chain of instructions over f32[32,64], named by opcode and number."""
    chain = []
    for number, opcode in enumerate(opcodes):
        instruction = hlo_pb2.HloInstructionProto(
            id=number, name=f"{opcode}.{number}", opcode=opcode, operand_ids=[number - 1] * bool(number)
        )
        instruction.shape.element_type = F32
        instruction.shape.dimensions[:] = [32, 64]
        instruction.shape.layout.minor_to_major[:] = [1, 0]
        chain.append(instruction)
    computation = hlo_pb2.HloComputationProto(id=1, name="main", root_id=len(chain) - 1, instructions=chain)
    module = hlo_pb2.HloModuleProto(name="m", computations=[computation])
    return np.frombuffer(hlo_pb2.HloProto(hlo_module=module).SerializeToString(), np.uint8)


def passes_of(count, step=STEP):
    """Pass 1 has the smaller times of even configurations, pass 2 of odd ones; the minimum is FASTEST + i * step."""
    best = FASTEST + step * np.arange(count)
    return np.stack([best + np.arange(count) % 2, best + (np.arange(count) + 1) % 2])


def write_layout(records, collection, identifier, split="train", count=12, passes=None):
    """Configuration i has i in its first entry, and node k of meta["nodes"] has 10 + k in the seventh."""
    _, source, name = collection.split(":")
    configurations = np.full((count, 2, 3, MAX_RANK), -1, np.int8)
    configurations[:, :, 0, 0] = np.arange(count)[:, None]
    configurations[:, :, 1, 0] = [10, 11]
    meta = {"id": identifier, "source": source, "search": name, "family": "f", "split": split, "kin": "train"}
    record.write(
        record.path(records, collection, identifier),
        meta | {"compile_s": 0.1, "tau": 0.9, "nodes": ["reshape.3", "dot.1"]},
        proto=proto_of("parameter", "dot", "add", "reshape"),
        configurations=configurations,
        passes=passes_of(count) if passes is None else passes,
    )


def write_tile(records, identifier, split="train", count=12):
    """Configuration i has i in its first entry; the untiled kernel takes 500_000 ns."""
    rows = np.zeros((count, 24), np.float32)
    rows[:, 0] = np.arange(count)
    record.write(
        record.path(records, "tile:xla", identifier),
        {"id": identifier, "family": "dot", "split": split, "kin": "unseen"},
        proto=proto_of("parameter", "dot"),
        config_feat=rows,
        passes=passes_of(count),
        untiled=np.array([500_001, 500_000]),
    )


def disagreeing(count=12):
    """Passes whose minima spread widely while their orders have little in common."""
    first = FASTEST + STEP * np.arange(count)
    return np.stack([first, np.roll(first, count // 2)])


@pytest.fixture(autouse=True)
def few_configurations_will_do(monkeypatch):
    monkeypatch.setattr(exporting, "MINIMUM_LAYOUTS", 12)


@pytest.fixture
def records(tmp_path):
    """One record of every kind that the export treats in its own way."""
    folder = tmp_path / "records"
    write_layout(folder, "layout:xla:random", "net_train")
    write_layout(folder, "layout:xla:random", "net_test", split="test")
    write_layout(folder, "layout:nlp:default", "bert_valid", split="valid")
    write_layout(folder, "layout:nlp:default", "flat", passes=passes_of(12, step=STEP // 10))
    write_layout(folder, "layout:xla:default", "noisy", passes=disagreeing())
    write_tile(folder, "dot_train")
    write_tile(folder, "dot_test", split="test")
    (folder / "failed.jsonl").write_text(json.dumps({"id": "giant", "reason": "Unmeasurable: too slow"}) + "\n")
    return folder


@pytest.fixture
def sample(records, tmp_path):
    exporting.export(records, tmp_path / "sample", planned)
    return tmp_path / "sample"


def exported(sample, path):
    with np.load(sample / "npz_all" / "npz" / path, allow_pickle=False) as file:
        return {key: file[key] for key in file.files}


def test_export_writes_the_usable_graphs_only(sample):
    files = sorted(str(path.relative_to(sample / "npz_all" / "npz")) for path in sample.rglob("*.npz"))
    assert files == [
        "layout/nlp/default/valid/bert_valid.npz",
        "layout/xla/random/test/net_test.npz",
        "layout/xla/random/train/net_train.npz",
        "tile/xla/test/dot_test.npz",
        "tile/xla/train/dot_train.npz",
    ]


def test_dropped_graphs_are_named_with_their_figures(sample):
    dropped = {line["id"]: line for line in polars.read_csv(sample / "dropped.csv").to_dicts()}
    assert set(dropped) == {"flat", "noisy", "giant"}
    flat, noisy = dropped["flat"], dropped["noisy"]
    assert flat["slowest_over_fastest"] == pytest.approx((FASTEST + 11 * STEP / 10) / FASTEST, abs=1e-4)
    assert (flat["collection"], flat["split"], flat["family"]) == ("layout:nlp:default", "train", "f")
    assert flat["repeatability"] == 1.0 and "slowest/fastest" in flat["reason"]
    assert noisy["repeatability"] == pytest.approx((30 - 36) / 66, abs=1e-4), "36 of the 66 pairs change their order"
    assert noisy["slowest_over_fastest"] == pytest.approx((FASTEST + 5 * STEP) / FASTEST, abs=1e-4)
    assert "tau" in noisy["reason"]
    assert dropped["giant"]["reason"] == "Unmeasurable: too slow"
    assert dropped["giant"]["repeatability"] is None


def test_training_configurations_are_shuffled_with_their_run_times(sample):
    keys = exported(sample, "layout/xla/random/train/net_train.npz")
    index = keys["node_config_feat"][:, 0, 0].astype(int)
    assert sorted(index) == list(range(12)) and index.tolist() != sorted(index)
    assert keys["config_runtime"].tolist() == (FASTEST + STEP * index).tolist()
    tile = exported(sample, "tile/xla/train/dot_train.npz")
    index = tile["config_feat"][:, 0].astype(int)
    assert sorted(index) == list(range(12)) and index.tolist() != sorted(index)
    assert tile["config_runtime"].tolist() == (FASTEST + STEP * index).tolist()
    assert (tile["config_runtime_normalizers"] == 500_000).all()


def test_configurable_nodes_come_in_the_order_of_their_ids(sample):
    keys = exported(sample, "layout/nlp/default/valid/bert_valid.npz")
    assert keys["node_config_ids"].tolist() == [1, 3]
    assert (keys["node_config_feat"][:, :, 6] == [11, 10]).all()
    assert (keys["node_config_feat"][:, :, 0] == keys["node_config_feat"][:, :1, 0]).all()


def test_keys_and_types_are_the_official_ones(sample):
    layout = exported(sample, "layout/xla/random/train/net_train.npz")
    assert {key: (array.dtype.name, array.shape) for key, array in layout.items()} == {
        "node_feat": ("float32", (4, 140)),
        "node_opcode": ("uint8", (4,)),
        "edge_index": ("int64", (3, 2)),
        "node_config_ids": ("int64", (2,)),
        "node_config_feat": ("float32", (12, 2, 18)),
        "node_splits": ("int64", (1, 2)),
        "config_runtime": ("int64", (12,)),
    }
    tile = exported(sample, "tile/xla/test/dot_test.npz")
    assert {key: (array.dtype.name, array.shape) for key, array in tile.items()} == {
        "node_feat": ("float32", (2, 140)),
        "node_opcode": ("uint8", (2,)),
        "edge_index": ("int64", (1, 2)),
        "config_feat": ("float32", (12, 24)),
        "config_runtime": ("int64", (12,)),
        "config_runtime_normalizers": ("int64", (12,)),
    }


def test_run_times_of_test_graphs_are_in_the_solution_alone(sample):
    layout = exported(sample, "layout/xla/random/test/net_test.npz")
    tile = exported(sample, "tile/xla/test/dot_test.npz")
    assert not layout["config_runtime"].any() and not tile["config_runtime"].any()
    assert (tile["config_runtime_normalizers"] == 1).all()
    solution = dict(polars.read_csv(sample / "solution.csv").iter_rows())
    assert list(solution) == ["layout:xla:random:net_test", "tile:xla:dot_test"]
    index = layout["node_config_feat"][:, 0, 0].astype(int)
    times = [int(text) for text in solution["layout:xla:random:net_test"].split(";")]
    assert times == (FASTEST + STEP * index).tolist()
    index = tile["config_feat"][:, 0].astype(int)
    ratios = [float(text) for text in solution["tile:xla:dot_test"].split(";")]
    assert ratios == pytest.approx((FASTEST + STEP * index) / 500_000, rel=1e-8)


def test_passes_are_in_the_order_of_the_npz_files(sample):
    table = polars.read_parquet(sample / "passes.parquet")
    assert table["graph"].n_unique() == 5 and len(table) == 60
    own = table.filter(polars.col("graph") == "layout:xla:random:net_train").sort("configuration")
    best = np.minimum(own["first_ns"].to_numpy(), own["second_ns"].to_numpy())
    assert best.tolist() == exported(sample, "layout/xla/random/train/net_train.npz")["config_runtime"].tolist()


def test_programs_table(sample):
    lines = (sample / "programs.csv").read_text().splitlines()
    assert lines[0] == PROGRAM_COLUMNS
    assert len(lines) == 6
    spread = round((FASTEST + 11 * STEP) / FASTEST, 4)
    times = "measured on XLA:CPU"
    assert f"layout:xla:random,test,net_test,f,sibling,4,2,12,{spread},1.0,1.0,{times}" in lines
    assert f"tile:xla,test,dot_test,dot,sibling,2,0,12,{spread},1.0,1.0,{times}" in lines, (
        "its kind is trained on after all"
    )
    # "flat", the one training graph of bert_valid's family in that collection, was dropped.
    assert f"layout:nlp:default,valid,bert_valid,f,unseen,4,2,12,{spread},1.0,1.0,{times}" in lines


def test_a_second_export_gives_the_same_bytes_and_removes_what_is_gone(records, sample):
    def contents():
        return {path.relative_to(sample): path.read_bytes() for path in sample.rglob("*") if path.is_file()}

    (sample / "README.md").write_text("kept")
    first = contents()
    exporting.export(records, sample, planned)
    assert contents() == first
    record.path(records, "tile:xla", "dot_train").unlink()
    exporting.export(records, sample, planned)
    assert set(first) - set(contents()) == {(sample / "npz_all/npz/tile/xla/train/dot_train.npz").relative_to(sample)}
    assert not list(sample.parent.glob("*.part"))


def test_export_of_graphs_that_are_all_usable_and_none_for_testing(tmp_path):
    write_layout(tmp_path / "records", "layout:xla:random", "net_train")
    exporting.export(tmp_path / "records", tmp_path / "sample", planned)
    assert len(polars.read_csv(tmp_path / "sample" / "programs.csv")) == 1
    assert (tmp_path / "sample" / "solution.csv").read_text() == "ID,Runtimes\n"
    assert len((tmp_path / "sample" / "dropped.csv").read_text().splitlines()) == 1


def test_export_leaves_out_a_layout_graph_of_few_configurations(tmp_path, monkeypatch):
    monkeypatch.setattr(exporting, "MINIMUM_LAYOUTS", 13)
    write_layout(tmp_path / "records", "layout:xla:random", "net_train")
    write_tile(tmp_path / "records", "dot_train")
    exporting.export(tmp_path / "records", tmp_path / "sample", planned)
    (dropped,) = polars.read_csv(tmp_path / "sample" / "dropped.csv").to_dicts()
    assert (dropped["id"], dropped["reason"]) == ("net_train", "fewer than 13 distinct configurations")


def test_export_without_a_record_keeps_what_was_there(tmp_path):
    (tmp_path / "sample").mkdir()
    (tmp_path / "sample" / "programs.csv").write_text("old")
    with pytest.raises(InputError, match="stages.collect"):
        exporting.export(tmp_path / "empty", tmp_path / "sample", planned)
    assert (tmp_path / "sample" / "programs.csv").read_text() == "old"
