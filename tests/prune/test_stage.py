import contextlib
import errno
import json
import os
import subprocess
import sys
import tempfile
import time
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stages.errors import InputError
from stages.graphs import dataset, npz
from stages.graphs.collection import COLLECTIONS, is_tile
from stages.graphs.tensors import ROOT
from stages.prune import stage as prune
from tests.support.samples import layout_arrays, save, tile_arrays, write_layout, write_root, write_tile

REAL = os.environ.get("TPUGRAPHS_DIR")
REAL_FILES = sorted(Path(REAL, "npz_all").rglob("*.npz")) if REAL else []
LAYOUT = "layout:xla:random"


def arrays_of(nodes, edges, ids, layouts=None, runtime=None, splits=None):
    """A graph whose node i has i in every feature column but the root's, so that a node can be told after pruning."""
    layouts = np.full((1, len(ids), 18), -1) if layouts is None else layouts
    features = np.repeat(np.arange(nodes, dtype=np.float32)[:, None], 140, 1)
    features[:, ROOT] = 0
    return npz.LayoutArrays(
        node_feat=features,
        node_opcode=np.arange(nodes).astype(np.uint8),
        edge_index=np.array(edges, np.int64).reshape(-1, 2),
        node_splits=np.array([0, nodes] if splits is None else splits),
        node_config_feat=np.asarray(layouts, np.float32),
        node_config_ids=np.array(ids, np.int64),
        config_runtime=np.arange(len(layouts)) + 1 if runtime is None else np.array(runtime),
    )


# A chain 6 -> 5 -> ... -> 0 with two shortcuts: 4 -> 2 joins two neighbours of 3, 5 -> 1 two nodes two steps away.
CHAIN = [(1, 0), (2, 1), (3, 2), (4, 3), (4, 2), (5, 4), (5, 1), (6, 5)]


@pytest.mark.parametrize(
    ("hops", "neighbour_edges", "nodes", "edges"),
    [
        (1, False, [2, 3, 4], [(3, 2), (4, 3)]),
        (1, True, [2, 3, 4], [(3, 2), (4, 3), (4, 2)]),
        (2, False, [1, 2, 3, 4, 5], [(2, 1), (3, 2), (4, 3), (4, 2), (5, 4)]),
        (2, True, [1, 2, 3, 4, 5], [(2, 1), (3, 2), (4, 3), (4, 2), (5, 4), (5, 1)]),
        (3, False, [0, 1, 2, 3, 4, 5, 6], CHAIN),
        ("all", False, [0, 1, 2, 3, 4, 5, 6], CHAIN),
        ("all", True, [0, 1, 2, 3, 4, 5, 6], CHAIN),
    ],
)
def test_cuts_around_one_configurable_node(hops, neighbour_edges, nodes, edges):
    tensors, whole = prune.pack(arrays_of(7, CHAIN, [3]), hops, neighbour_edges)
    assert tensors["node_feat"][:, 1].tolist() == nodes
    assert tensors["node_opcode"].tolist() == nodes
    assert [(nodes[u], nodes[v]) for u, v in tensors["edge_index"]] == edges
    assert [nodes[place] for place in tensors["config_nodes"]] == [3]
    assert [nodes[place] for place in tensors["config_operands"][0] if place >= 0] == [2]
    assert (whole["nodes"], whole["edges"], whole["depth"]) == (7, 8, 7)


def test_a_part_without_configurable_node_is_dropped_unless_all_is_asked_for():
    arrays = arrays_of(5, [(1, 0), (4, 3)], [1])
    assert prune.pack(arrays, 3)[0]["node_opcode"].tolist() == [0, 1]
    assert prune.pack(arrays, "all")[0]["node_opcode"].tolist() == [0, 1, 2, 3, 4]


def test_operands_are_places_in_the_pruned_graph():
    arrays = arrays_of(8, [(6, 3), (6, 1), (6, 5), (2, 0), (5, 3)], [6, 2])
    arrays.node_feat[1, ROOT] = 1
    tensors, _ = prune.pack(arrays)
    assert tensors["node_opcode"].tolist() == [0, 1, 2, 3, 5, 6]
    assert tensors["config_operands"].tolist() == [[3, 4], [0, -1]]
    assert tensors["config_nodes"].tolist() == [5, 2]


@pytest.mark.parametrize(
    ("splits", "parts"),
    [
        ([0, 7], [0, 0, 0, 0, 0, 0, 0]),
        ([0, 3, 7], [0, 0, 0, 1, 1, 1, 1]),
        ([0, 2, 2, 5, 7], [0, 0, 2, 2, 2, 3, 3]),  # an empty part
        ([2, 5], [0, 0, 1, 1, 1, 2, 2]),  # the first and the last end are not always told
    ],
)
def test_a_kept_node_is_in_the_published_part_it_was_in(splits, parts):
    parts = np.array(parts)
    for hops, kept in ((1, [2, 3, 4]), ("all", list(range(7)))):
        found = prune.pack(arrays_of(7, CHAIN, [3], splits=splits), hops)[0]["node_split"]
        # What a part is called does not matter; which nodes share one and their order do.
        assert (
            np.unique(found, return_inverse=True)[1].tolist() == np.unique(parts[kept], return_inverse=True)[1].tolist()
        )


def test_contracted_pairs_stop_at_configurable_nodes():
    # 6 -> 5 -> 4 -> 2 -> 0 and 5 -> 3 -> 1; configurable 6, 4, 0, 1.
    edges = [(6, 5), (5, 4), (4, 2), (2, 0), (5, 3), (3, 1)]
    pairs = prune.pack(arrays_of(7, edges, [6, 4, 0, 1]))[0]["contracted"]
    assert pairs.tolist() == [[0, 1], [0, 3], [1, 2]]  # 6 meets 4 and 1; 0 only behind 4


def test_whole_graph_statistics_are_taken_before_the_cut():
    arrays = npz.LayoutArrays(**layout_arrays(nodes=30) | {"node_splits": np.array([0, 30])})
    tensors, whole = prune.pack(arrays)
    assert len(tensors["node_feat"]) < 30 == whole["nodes"] == tensors["whole_opcodes"].sum()
    elements = arrays.node_feat[:, 28].astype(float)
    assert whole["log_elements"] == pytest.approx(np.log1p(elements.sum()))
    assert whole["log_bytes"] == pytest.approx(np.log1p(4 * elements.sum()))  # every sample tensor is f32
    assert whole["log_parameter_bytes"] == pytest.approx(np.log1p(4 * elements[0]))
    assert tensors["whole_opcodes"][63] == 1


@st.composite
def graphs(draw):
    nodes = draw(st.integers(2, 12))
    pairs = [(u, v) for u in range(nodes) for v in range(u)]
    edges = draw(st.lists(st.sampled_from(pairs), unique=True, max_size=25))
    names = draw(st.permutations(range(nodes)))  # so that nodes are not always in topological order
    ids = draw(st.lists(st.sampled_from(range(nodes)), unique=True, min_size=1))
    seed = draw(st.integers(0, 1000))
    layouts = np.random.default_rng(seed).integers(-1, 6, (draw(st.integers(1, 6)), len(ids), 18))
    layouts[draw(st.integers(0, len(layouts) - 1))] = layouts[0]
    return arrays_of(nodes, [(names[u], names[v]) for u, v in edges], ids, layouts)


def reference_contracted(arrays):
    ids = arrays.node_config_ids.tolist()
    operands = {node: arrays.edge_index[arrays.edge_index[:, 0] == node, 1].tolist() for node in range(12)}

    def met(node):
        below = [{operand} if operand in ids else met(operand) for operand in operands[node]]
        return set().union(*below)

    return sorted([ids.index(node), ids.index(other)] for node in ids for other in met(node))


@settings(max_examples=60, deadline=None)
@given(graphs(), st.sampled_from([1, 2, 3, "all"]), st.booleans())
def test_pack_keeps_configurable_nodes_configurations_and_paths(arrays, hops, neighbour_edges):
    tensors, _ = prune.pack(arrays, hops, neighbour_edges)
    kept = tensors["node_feat"][:, 1].astype(int)
    assert kept[tensors["config_nodes"]].tolist() == arrays.node_config_ids.tolist()
    np.testing.assert_array_equal(tensors["triples"][tensors["codes"]], arrays.node_config_feat)
    assert tensors["contracted"].tolist() == reference_contracted(arrays)
    edges = set(map(tuple, kept[tensors["edge_index"]].tolist()))
    assert edges <= set(map(tuple, arrays.edge_index.tolist()))


@pytest.mark.parametrize(
    ("hops", "direction", "neighbour_edges", "nodes", "edges"),
    [
        (1, "producers", False, [2, 3], [(3, 2)]),
        (2, "producers", False, [1, 2, 3], [(2, 1), (3, 2)]),
        (1, "consumers", False, [3, 4], [(4, 3)]),
        (3, "consumers", False, [3, 4, 5, 6], [(4, 3), (5, 4), (6, 5)]),
        (5, "producers", True, [0, 1, 2, 3], [(1, 0), (2, 1), (3, 2)]),
    ],
)
def test_cuts_in_one_direction(hops, direction, neighbour_edges, nodes, edges):
    found = prune.cut(arrays_of(7, CHAIN, [3]), hops, neighbour_edges, direction)
    assert found["node_feat"][:, 1].tolist() == nodes
    assert [(nodes[u], nodes[v]) for u, v in found["edge_index"]] == edges


@settings(max_examples=60, deadline=None)
@given(graphs(), st.sampled_from([1, 2]), st.sampled_from(["producers", "consumers"]))
def test_a_directed_cut_is_what_paths_lead_to(arrays, hops, direction):
    """Step by step, from sets; edges of the inner part and, if wanted, all induced ones."""
    steps = [(u, v) if direction == "producers" else (v, u) for u, v in arrays.edge_index.tolist()]
    reached = [set(arrays.node_config_ids.tolist())]
    for _ in range(hops):
        reached.append(reached[-1] | {end for start, end in steps if start in reached[-1]})
    for neighbour_edges in (False, True):
        found = prune.cut(arrays, hops, neighbour_edges, direction)
        kept = found["node_feat"][:, 1].astype(int)
        assert set(kept.tolist()) == reached[-1]
        inner = reached[-1] if neighbour_edges else reached[-2]
        expected = [e for e in arrays.edge_index.tolist() if set(e) <= reached[-1] and set(e) & inner]
        assert kept[found["edge_index"]].tolist() == expected


@settings(max_examples=60, deadline=None)
@given(graphs())
def test_a_cut_is_the_undirected_neighbourhood(arrays):
    """Against distances by relaxation, for nodes and both kinds of edges."""
    distance = np.full(len(arrays.node_feat), np.inf)
    distance[arrays.node_config_ids] = 0
    for _ in distance:
        for u, v in arrays.edge_index:
            distance[u], distance[v] = min(distance[u], distance[v] + 1), min(distance[v], distance[u] + 1)
    for hops in (1, 2):
        near = prune.cut(arrays, hops, False)
        every = prune.cut(arrays, hops, True)
        ends = np.sort(distance[arrays.edge_index], axis=1)
        kept = np.flatnonzero(distance <= hops)
        for graph in (near, every):
            assert graph["node_feat"][:, 1].tolist() == kept.tolist()
        assert kept[near["edge_index"]].tolist() == arrays.edge_index[ends[:, 0] <= hops - 1].tolist()
        assert kept[every["edge_index"]].tolist() == arrays.edge_index[ends[:, 1] <= hops].tolist()


def encoded(blocks, runtime=None, duplicates=None, check=lambda layouts: None):
    """codes, triples, runtime and config_index of configurations given block by block."""
    with tempfile.TemporaryFile() as scratch:
        configurations = prune.Configurations(blocks[0].shape[1], scratch, check)
        for layouts, places in prune.changes(np.asarray(block, np.float32) for block in blocks):
            configurations.add(layouts, places)
        runtime = np.arange(sum(map(len, blocks))) if runtime is None else np.array(runtime, np.int64)
        tensors = configurations.tensors(runtime, duplicates)
        codes = np.concatenate(list(tensors["codes"].pieces))
    assert codes.shape == tensors["codes"].shape and codes.dtype == np.uint16
    return tensors | {"codes": codes, "distinct": configurations.distinct}


@st.composite
def searches(draw):
    """Layouts (c, nc, 18) as a search tries them: few triples, some configurations equal, some far apart."""
    rng = np.random.default_rng(draw(st.integers(0, 1000)))
    configurable, known = draw(st.integers(1, 4)), rng.integers(-1, 6, (draw(st.integers(1, 6)), 18))
    count, changed = draw(st.integers(1, 30)), draw(st.sampled_from([0.05, 0.5, 1.0]))
    picked = rng.integers(0, len(known), (count, configurable))
    for row in range(1, count):
        picked[row] = np.where(rng.random(configurable) < changed, picked[row], picked[row - 1])
    return known[picked].astype(np.float32)


@settings(max_examples=60, deadline=None)
@given(searches(), st.lists(st.integers(0, 30), max_size=4), st.sampled_from([None, *prune.DUPLICATES]))
def test_configurations_are_kept_whatever_the_blocks(layouts, cuts, duplicates):
    runtime = np.random.default_rng(0).integers(1, 100, len(layouts))
    blocks = [block for block in np.split(layouts, sorted(cuts)) if len(block)]
    found = encoded(blocks, runtime, duplicates)
    triples, places = np.unique(layouts.reshape(-1, 18)[:, ::-1], axis=0, return_inverse=True)
    np.testing.assert_array_equal(found["triples"], triples[:, ::-1])
    groups = {}
    for place, row in enumerate(layouts):
        groups.setdefault(row.tobytes(), []).append(place)
    assert found["distinct"] == len(groups)
    kept = [members[0] for members in groups.values()] if duplicates else list(range(len(layouts)))
    assert found["config_index"].tolist() == kept
    np.testing.assert_array_equal(found["codes"], places.reshape(layouts.shape[:2])[kept])
    reduce = {"first": lambda v: v[0], "mean": lambda v: round(sum(v) / len(v)), "minimum": min}
    if duplicates:
        times = [reduce[duplicates](runtime[members].tolist()) for members in groups.values()]
        assert found["runtime"].tolist() == times
    else:
        np.testing.assert_array_equal(found["runtime"], runtime)


def test_the_extreme_layouts_are_told_apart():
    layouts = np.stack([np.full(18, -1), np.full(18, 5), np.r_[np.full(17, 5), 4], np.r_[np.full(17, -1), 0]])
    found = encoded([layouts[:, None]])
    np.testing.assert_array_equal(found["triples"][found["codes"]][:, 0], layouts)
    assert len(found["triples"]) == 4


def test_minus_zero_is_zero():
    layouts = np.zeros((3, 1, 18))
    layouts[1, 0, ::2] = -0.0
    found = encoded([layouts], duplicates="first")
    assert found["triples"].tolist() == [[0] * 18] and found["config_index"].tolist() == [0]


@pytest.mark.parametrize("wrong", [np.nan, 0.5, 7.0, -1.0000001, 1e30, np.inf])
def test_a_wrong_value_is_seen_wherever_it_comes(wrong):
    """After many good triples, and though its key is that of a good one: 7 * 7 ** 0 is 1 * 7 ** 1."""

    def check(layouts):
        if not np.isin(layouts, np.arange(-1, 6)).all():
            raise InputError("wrong")

    rng = np.random.default_rng(0)
    good = rng.integers(-1, 6, (50, 2, 18)).astype(np.float32)
    encoded([good, good], check=check)
    for row, node, slot in ((0, 0, 0), (49, 1, 17), (20, 0, 5)):
        bad = good.copy()
        bad[row, node, slot] = wrong
        with pytest.raises(InputError, match="wrong"):
            encoded([good, bad], check=check)


def test_equal_hashes_are_told_apart(monkeypatch):
    layouts = np.random.default_rng(0).integers(-1, 6, (40, 2, 18))
    layouts[[7, 23, 39]] = layouts[3]
    expected = encoded([layouts], duplicates="first")
    monkeypatch.setattr(prune, "hash", lambda parts: parts[0][0] % 4 + parts[1], raising=False)
    monkeypatch.setattr(prune, "_HASH_BITS", 2)
    found = encoded(np.split(layouts, 8), duplicates="first")
    for name, array in expected.items():
        np.testing.assert_array_equal(found[name], array, name)
    assert found["distinct"] == 37


def test_more_layouts_than_codes_are_refused(monkeypatch):
    monkeypatch.setattr(prune, "MOST_TRIPLES", 3)
    layouts = np.full((4, 1, 18), -1)
    layouts[:, 0, 0] = np.arange(4)
    encoded([layouts[:3], layouts[:2]])
    with pytest.raises(InputError, match="more than 3 distinct layouts"):
        encoded([layouts[:3], layouts[3:]])


def test_as_many_layouts_as_codes_are_told_apart():
    numbers = np.arange(prune.MOST_TRIPLES)
    layouts = (numbers[:, None] // 7 ** np.arange(18) % 7 - 1).reshape(-1, 5, 18)
    found = encoded(np.split(layouts, 3))
    np.testing.assert_array_equal(found["codes"].reshape(-1), numbers)


@pytest.mark.parametrize(
    ("duplicates", "runtime"), [("first", [70, 40, 9]), ("mean", [50, 45, 9]), ("minimum", [30, 40, 9])]
)
def test_equal_configurations_become_one(duplicates, runtime):
    layouts = np.array([1, 3, 1, 5, 3, 1])[:, None, None] * np.ones((6, 2, 18))
    found = encoded([layouts], [70, 40, 30, 9, 50, 50], duplicates)
    assert found["config_index"].tolist() == [0, 1, 3]
    assert found["runtime"].tolist() == runtime and found["runtime"].dtype == np.int64


@pytest.mark.parametrize(("runtime", "mean"), [([2**53] * 2048, 2**53), ([2**53, 2**53 - 1], 2**53), ([1, 2], 2)])
def test_the_mean_of_long_run_times_is_exact(runtime, mean):
    """Their sum is beyond int64, or beyond what float64 holds; a half goes to the even side."""
    assert encoded([np.zeros((len(runtime), 1, 18))], runtime, "mean")["runtime"].tolist() == [mean]


def test_memory_does_not_grow_with_the_file(tmp_path):
    graph = layout_arrays(nodes=60, configurable=15)
    peaks = []
    for count in (10_000, 30_000):
        rows = np.arange(count) % 8
        many = graph | {"node_config_feat": graph["node_config_feat"][rows], "config_runtime": 1 + np.arange(count)}
        root = write_root(tmp_path / str(count), graphs={"train": 1, "valid": 1, "test": 1})
        save(root / "npz/layout/xla/random/valid/valid_0.npz", many)
        tracemalloc.start()
        prune.run(collection=LAYOUT, root=str(root), data=str(tmp_path), workers=1)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert many["node_config_feat"].nbytes > 32_000_000
    assert peaks[1] - peaks[0] < 20_000 * 200


def test_run_removes_duplicates_from_train_only_and_lists_every_graph(tmp_path):
    root = write_root(tmp_path)
    for split in ("train", "valid", "test"):
        arrays = layout_arrays(configurations=4)
        arrays["node_config_feat"][2] = arrays["node_config_feat"][0]
        if split == "test":
            arrays["config_runtime"][:] = 0
        save(root / f"npz/layout/xla/random/{split}/doubled.v2.bf16.npz", arrays)
    frame = prune.run(collection=LAYOUT, root=str(root), data=str(tmp_path))
    assert len(frame) == 11 and set(frame.filter(id="doubled.v2.bf16")["distinct"]) == {3}
    stored = {}
    for split in ("train", "valid", "test"):
        graph = stored[split] = dataset.graphs(tmp_path, LAYOUT, split)[0]
        assert graph.id == "doubled.v2.bf16"
    assert stored["train"].config_index.tolist() == [0, 1, 3]
    assert stored["valid"].config_index.tolist() == stored["test"].config_index.tolist() == [0, 1, 2, 3]
    assert not stored["test"].runtime.any()
    manifest = dataset.manifest(dataset.prune_folder(tmp_path, LAYOUT))
    assert (manifest["collection"], manifest["hops"]) == (LAYOUT, 1)
    entry = manifest["graphs"]["train"][0]
    assert (entry["id"], entry["configurations"], entry["whole_nodes"]) == ("doubled.v2.bf16", 3, 12)


@pytest.mark.parametrize("collection", COLLECTIONS)
def test_run_twice_gives_the_same_bytes_and_no_stale_files(tmp_path, collection):
    root = write_root(tmp_path, graphs={"train": 2, "valid": 1, "test": 1})
    folder = dataset.prune_folder(tmp_path, collection)
    prune.run(collection=collection, root=str(root), data=str(tmp_path))
    before = {file: file.read_bytes() for file in folder.rglob("*.*")}
    stale = dataset.graph_file(folder, "train", "removed_since")
    stale.write_bytes(b"old")
    prune.run(collection=collection, root=str(root), data=str(tmp_path))
    assert {file: file.read_bytes() for file in folder.rglob("*.*")} == before
    assert len(before) == 6  # four graphs, the manifest and the parameters


def test_tile_graphs_are_packed_whole(tmp_path):
    root = write_root(tmp_path)
    prune.run(collection="tile:xla", root=str(root), data=str(tmp_path))
    for split in ("train", "test"):
        for graph in dataset.graphs(tmp_path, "tile:xla", split):
            arrays = npz.read_tile(root / f"npz/tile/xla/{split}/{graph.id}.npz")
            np.testing.assert_array_equal(graph.node_feat, arrays.node_feat)
            np.testing.assert_array_equal(graph.edge_index, arrays.edge_index)
            np.testing.assert_array_equal(graph.config_feat, arrays.config_feat)
            np.testing.assert_array_equal(graph.normalizer, arrays.config_runtime_normalizers)
            np.testing.assert_array_equal(graph.target, arrays.config_runtime / arrays.config_runtime_normalizers)


def contents(folder):
    return {file.relative_to(folder): file.read_bytes() for file in Path(folder).rglob("*.*") if file.is_file()}


@pytest.fixture
def packings(monkeypatch):
    """Ids of the graphs that this process packs, as they come."""
    seen, original = [], prune._pack_file
    monkeypatch.setattr(prune, "_pack_file", lambda job: seen.append(job.id) or original(job))
    return seen


def test_a_faulty_file_is_named_and_the_others_are_kept(tmp_path, packings):
    root = write_root(tmp_path)
    expected = prune.run(collection=LAYOUT, root=str(root), data=str(tmp_path / "expected"))
    good = root / "npz/layout/xla/random/train/train_1.npz"
    content = good.read_bytes()
    good.write_bytes(content[:500])
    packings.clear()
    with pytest.raises(InputError, match="is no npz file or is cut off; .*the other 7 files are packed") as error:
        prune.run(collection=LAYOUT, root=str(root), data=str(tmp_path))
    assert str(error.value).startswith(f"{good} is no npz") and len(packings) == 8
    assert not (dataset.prune_folder(tmp_path, LAYOUT)).exists()
    good.write_bytes(content)
    packings.clear()
    frame = prune.run(collection=LAYOUT, root=str(root), data=str(tmp_path))
    assert packings == ["train_1"] and frame.equals(expected)
    assert contents(tmp_path / "prune") == contents(tmp_path / "expected/prune")
    assert not contents(tmp_path / "checkpoints")


def test_of_several_faulty_files_the_first_is_told_and_all_are_named(tmp_path):
    root = write_root(tmp_path)
    for id in ("train_1", "train_3"):
        (root / f"npz/tile/xla/train/{id}.npz").write_text("nothing")
    write_tile(root / "npz/tile/xla/valid", "valid_0", runtimes=False)
    pattern = r"train_1\.npz is no npz.*\(2 more of 8 files are faulty: train_3\.npz, valid_0\.npz; the other 5 files"
    with pytest.raises(InputError, match=pattern):
        prune.run(collection="tile:xla", root=str(root), data=str(tmp_path))


def test_faulty_files_are_skipped_where_that_is_asked_for(tmp_path):
    root = write_root(tmp_path)
    (root / "npz/layout/xla/random/train/train_1.npz").write_text("nothing")
    frame = prune.run(collection=LAYOUT, root=str(root), data=str(tmp_path), skip_bad=True)
    assert frame["id"].to_list() == ["train_0", "train_2", "train_3", "valid_0", "valid_1", "test_0", "test_1"]
    assert dataset.graph_ids(tmp_path, LAYOUT, "train") == ["train_0", "train_2", "train_3"]
    (skipped,) = dataset.manifest(dataset.prune_folder(tmp_path, LAYOUT))["skipped"]
    assert (skipped["split"], skipped["id"]) == ("train", "train_1")
    assert skipped["fault"].startswith("is no npz file or is cut off")
    for id in (0, 1):
        (root / f"npz/layout/xla/random/valid/valid_{id}.npz").write_text("nothing")
    with pytest.raises(InputError, match=r"train_1\.npz is no npz.*2 more"):
        prune.run(collection=LAYOUT, root=str(root), data=str(tmp_path), skip_bad=True)


@pytest.mark.parametrize(
    ("change", "again"),
    [
        (lambda file, options: None, []),
        (lambda file, options: write_layout(file.parent, file.stem, seed=99), ["train_1"]),
        (lambda file, options: os.utime(file, ns=(1, 1)), ["train_1"]),
        (lambda file, options: options.update(hops=2), ["train_0", "train_1", "train_2", "train_3", "valid_1"]),
    ],
    ids=["nothing", "content", "time", "parameter"],
)
def test_what_is_kept_is_of_the_same_file_and_parameters(tmp_path, packings, change, again):
    root = write_root(tmp_path)
    faulty, options = root / "npz/layout/xla/random/valid/valid_0.npz", {}
    content = faulty.read_bytes()
    faulty.write_bytes(b"nothing")
    with pytest.raises(InputError):
        prune.run(collection=LAYOUT, root=str(root), data=str(tmp_path))
    faulty.write_bytes(content)
    change(root / "npz/layout/xla/random/train/train_1.npz", options)
    packings.clear()
    prune.run(collection=LAYOUT, root=str(root), data=str(tmp_path), **options)
    assert set(packings) - {"test_0", "test_1"} == {"valid_0", *again}
    packings.clear()
    prune.run(collection=LAYOUT, root=str(root), data=str(tmp_path / "new"), **options)
    assert contents(tmp_path / "prune") == contents(tmp_path / "new/prune")


def test_a_file_changed_within_the_same_size_and_time_is_noticed(tmp_path, packings):
    root = write_root(tmp_path)
    changed, faulty = (root / f"npz/layout/xla/random/train/train_{id}.npz" for id in (1, 2))
    whole, state = faulty.read_bytes(), changed.stat()
    faulty.write_bytes(b"nothing")
    with pytest.raises(InputError):
        prune.run(collection=LAYOUT, root=str(root), data=str(tmp_path))
    arrays = dict(np.load(changed))
    arrays["config_runtime"][:] = arrays["config_runtime"][::-1].copy()
    save(changed, arrays)
    content = changed.read_bytes()
    changed.write_bytes(content.ljust(state.st_size)[: state.st_size])  # of the same size, whatever is in it
    os.utime(changed, ns=(state.st_atime_ns, state.st_mtime_ns))
    faulty.write_bytes(whole)
    packings.clear()
    with contextlib.suppress(InputError):  # it may be cut off now
        prune.run(collection=LAYOUT, root=str(root), data=str(tmp_path))
    assert sorted(packings) == ["train_1", "train_2"]


RUN = "import json, sys; from stages import prune; prune.run(**json.loads(sys.argv[1]))"


def test_a_killed_run_goes_on_to_the_same_bytes_and_leaves_no_process(tmp_path, packings):
    root = write_root(tmp_path, graphs={"train": 20, "valid": 1, "test": 1}, nodes=100, configurable=20)
    knobs = {"collection": LAYOUT, "root": str(root), "data": str(tmp_path), "workers": 2}
    environment = dict(os.environ, PYTHONPATH=os.pathsep.join(sys.path))
    records = tmp_path / "checkpoints/prune/layout-xla-random/records"
    with subprocess.Popen(
        [sys.executable, "-c", RUN, json.dumps(knobs)], env=environment, stderr=subprocess.PIPE
    ) as child:
        while len(list(records.rglob("*.json"))) < 3:
            assert child.poll() is None
            time.sleep(0.005)
        child.kill()
        child.stderr.read()  # to its end: it is closed when the last worker has ended
    done = len(list(records.rglob("*.json")))
    packings.clear()
    prune.run(**knobs | {"workers": 1})
    assert len(packings) == 22 - done < 20
    prune.run(**knobs | {"data": str(tmp_path / "undisturbed"), "workers": 1})
    assert contents(tmp_path / "prune") == contents(tmp_path / "undisturbed/prune")


@pytest.mark.parametrize(("collection", "folder"), [(LAYOUT, "layout/xla/random"), ("tile:xla", "tile/xla")])
def test_a_graph_without_configurations_is_told_and_can_be_skipped(tmp_path, collection, folder):
    root = write_root(tmp_path)
    keys = ("node_feat", "node_opcode", "edge_index", "node_splits")
    save(root / "npz" / folder / "train" / "dumped.npz", {key: layout_arrays()[key] for key in keys})
    fault = "is a graph without configurations, so there is nothing to rank; leave it out"
    knobs = {"collection": collection, "root": str(root), "data": str(tmp_path)}
    with pytest.raises(InputError, match=rf"train/dumped.npz: {fault} \(the other .*; data.skip_bad: true") as caught:
        prune.run(**knobs)
    assert "\n" not in str(caught.value)
    assert "dumped" not in prune.run(**knobs, skip_bad=True)["id"].to_list()
    (skipped,) = dataset.manifest(dataset.prune_folder(tmp_path, collection))["skipped"]
    assert skipped == {"split": "train", "id": "dumped", "fault": fault}


def test_nothing_depends_on_the_number_of_processes(tmp_path):
    root = write_root(tmp_path)
    (root / "npz/layout/xla/random/train/train_1.npz").write_text("nothing")
    frames = []
    for workers in (1, 2, 3):
        knobs = {"data": str(tmp_path / str(workers)), "workers": workers, "skip_bad": True}
        frames.append(prune.run(collection=LAYOUT, root=str(root), **knobs))
        assert contents(tmp_path / str(workers)) == contents(tmp_path / "1")
        assert frames[-1].equals(frames[0])


def test_a_full_disk_is_told(tmp_path, monkeypatch):
    root = write_root(tmp_path)

    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(dataset, "write_packed", full)
    with pytest.raises(InputError, match="the disk is full; make room and run again"):
        prune.run(collection=LAYOUT, root=str(root), data=str(tmp_path))


@pytest.mark.parametrize("kind", ["pipe", "folder", "dangling link", "forbidden"])
def test_what_is_no_readable_file_is_named_and_not_waited_for(tmp_path, kind):
    root = write_root(tmp_path)
    path = root / "npz/tile/xla/valid/odd.npz"
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "folder":
        path.mkdir()
    elif kind == "dangling link":
        path.symlink_to(tmp_path / "nowhere")
    else:
        save(path, tile_arrays()).chmod(0)
        if os.access(path, os.R_OK):
            pytest.skip("root may read every file")
    with pytest.raises(InputError, match=r"odd\.npz: (is no file|cannot be opened)"):
        prune.run(collection="tile:xla", root=str(root), data=str(tmp_path))
    with pytest.raises(InputError, match=r"odd\.npz:? (is no file|cannot be opened|no such file)"):
        npz.read_tile(path)


@pytest.mark.parametrize("limit", ["LARGEST_MET", "MOST_PAIRS"])
def test_a_graph_beyond_the_limits_is_named(tmp_path, monkeypatch, limit):
    monkeypatch.setattr(prune, limit, 1)
    root = write_root(tmp_path)
    with pytest.raises(InputError, match=r"train_\d\.npz: .*leave"):
        prune.run(collection=LAYOUT, root=str(root), data=str(tmp_path))


def test_a_failed_run_leaves_no_manifest_of_an_earlier_one(tmp_path):
    root = write_root(tmp_path)
    prune.run(collection=LAYOUT, root=str(root), data=str(tmp_path))
    faulty = write_layout(root / "npz/layout/xla/random/valid", "placeholder", runtimes=False)
    with pytest.raises(InputError, match="config_runtime has a zero") as error:
        prune.run(collection=LAYOUT, root=str(root), data=str(tmp_path))
    assert str(error.value).startswith(str(faulty))
    with pytest.raises(InputError, match="run the prune stage"):
        dataset.graphs(tmp_path, LAYOUT, "train")


@pytest.mark.parametrize("split", ["train", "valid"])
def test_a_single_zero_run_time_is_refused_where_it_would_be_learned(tmp_path, split):
    root = write_root(tmp_path)
    arrays = tile_arrays()
    arrays["config_runtime"][3] = 0
    faulty = save(root / f"npz/tile/xla/{split}/one_zero.npz", arrays)
    with pytest.raises(InputError, match=f"config_runtime has a zero; a {split} file") as error:
        prune.run(collection="tile:xla", root=str(root), data=str(tmp_path))
    assert str(error.value).startswith(str(faulty))


def test_any_number_of_hops_ends_where_nothing_is_added(tmp_path):
    arrays = npz.read_layout(write_layout(tmp_path, "graph", nodes=30, configurable=1))
    far, farther = prune.cut(arrays, 30, False), prune.cut(arrays, 10**15, False)
    for name, array in far.items():
        np.testing.assert_array_equal(farther[name], array, name)


def test_a_missing_or_empty_split_is_named(tmp_path):
    root = write_root(tmp_path)
    folder = root / "npz/layout/xla/random/test"
    for file in folder.iterdir():
        file.unlink()
    with pytest.raises(InputError, match="npz/layout/xla/random/test: holds no npz file"):
        prune.run(collection=LAYOUT, root=str(root), data=str(tmp_path))
    folder.rmdir()
    with pytest.raises(InputError, match="npz/layout/xla/random/test: no such folder"):
        prune.run(collection=LAYOUT, root=str(root), data=str(tmp_path))


@pytest.mark.parametrize("parameter", [{"hops": 0}, {"hops": "one"}, {"direction": "up"}, {"duplicates": "median"}])
def test_faulty_parameters_are_named(tmp_path, parameter):
    (name,) = parameter
    with pytest.raises(InputError, match=rf"prune\.{name}: .*mend params\.yaml"):
        prune.run(collection=LAYOUT, root=str(tmp_path), data=str(tmp_path), **parameter)


def test_one_configuration_is_enough():
    arrays = layout_arrays(configurations=1) | {"node_splits": np.array([0, 12])}
    tensors, _ = prune.pack(npz.LayoutArrays(**arrays), duplicates="mean")
    assert tensors["codes"].shape == (1, 3) and tensors["runtime"].tolist() == arrays["config_runtime"].tolist()
    tile = tile_arrays(nodes=1, configurations=1)
    assert prune.pack(npz.TileArrays(**tile))[1]["depth"] == 1


@pytest.mark.skipif(not REAL, reason="TPUGRAPHS_DIR does not name a folder of real TpuGraphs files")
@pytest.mark.parametrize("file", REAL_FILES, ids=lambda file: file.stem)
def test_real_files_survive(tmp_path, file):
    collection = next(name for name in COLLECTIONS if name.replace(":", "/") in file.as_posix())
    arrays = npz.read(file, collection)
    for hops in (1, 2, "all"):
        tensors, whole = prune.pack(arrays, hops)
        dataset.write_packed(tmp_path / "graph.safetensors", tensors, whole)
        if is_tile(collection):
            np.testing.assert_array_equal(tensors["node_feat"], arrays.node_feat)
            continue
        np.testing.assert_array_equal(tensors["triples"][tensors["codes"]], arrays.node_config_feat)
        configurable = tensors["node_feat"][tensors["config_nodes"]]
        np.testing.assert_array_equal(configurable, arrays.node_feat[arrays.node_config_ids])
        assert set(tensors["node_opcode"][tensors["config_nodes"]]) <= {26, 34, 75}
    if file.stem == "unet3d":  # figures of the first place's code on the same file
        tensors, _ = prune.pack(arrays, 1, duplicates="first")
        assert len(tensors["node_feat"]) == 168 and tensors["runtime"].max() > 2**35
    if file.stem == "openai_v0_rnn_optimized":  # twenty equal configurations
        tensors, _ = prune.pack(arrays, 1, duplicates="mean")
        assert tensors["runtime"].tolist() == [round(arrays.config_runtime.sum() / 20)]
