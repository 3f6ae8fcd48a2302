"""From graphs to batches: segments, the joining of samples, copies between nodes, and states kept on disk."""

import gc
import weakref
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from stages.gnn import batch as batches
from stages.gnn import state_files, states
from stages.gnn.batch import join, prepare
from stages.gnn.segments import PARTITIONS, partition
from stages.gnn.settings import Settings
from stages.graphs.opcodes import OPCODES
from stages.statistics.layout import layout_statistics
from tests.support.graphs import (
    LAYOUT,
    TILE,
    TINY,
    TINY_SEGMENTS,
    layout_arrays,
    model_graph,
    prepared,
    sample,
    untrained,
)

SEGMENTS = TINY | TINY_SEGMENTS | {"gst": "gst"}


# partitions


@st.composite
def cuts(draw):
    """Nodes' edges and published parts, and a budget."""
    nodes = draw(st.integers(1, 30))
    rng = np.random.default_rng(draw(st.integers(0, 999)))
    edges = [(node, int(rng.integers(node))) for node in range(1, nodes) for _ in range(rng.integers(3))]
    names = rng.permutation(nodes) if draw(st.booleans()) else np.arange(nodes)
    splits = np.sort(rng.integers(draw(st.integers(1, 5)), size=nodes))
    return names[np.array(edges, np.int64).reshape(-1, 2)], splits, draw(st.integers(1, nodes + 2))


@settings(max_examples=60, deadline=None)
@given(cut=cuts(), method=st.sampled_from(PARTITIONS))
def test_every_node_is_in_one_segment_and_the_budget_holds(cut, method):
    edges, splits, budget = cut
    parts = partition(edges, splits, method, budget)
    assert sorted(np.concatenate(parts).tolist()) == list(range(len(splits)))
    assert all((np.diff(part) > 0).all() for part in parts)
    if method == "metis":  # it balances about, and empty parts are left out
        assert len(parts) <= -(-len(splits) // budget)
    else:
        assert max(map(len, parts)) <= budget
    again = partition(edges, splits, method, budget)
    assert [part.tolist() for part in again] == [part.tolist() for part in parts]


def test_contiguous_segments_are_stretches_of_a_topological_order():
    chain = np.array([[0, 3], [3, 1], [1, 4], [4, 2]])  # 2 first, 0 last
    parts = partition(chain, np.zeros(5, int), "contiguous", 2)
    assert [part.tolist() for part in parts] == [[2, 4], [1, 3], [0]]


def test_published_parts_are_joined_while_they_fit_and_cut_where_they_do_not():
    splits = np.repeat([0, 1, 2, 3], [2, 1, 5, 1])
    parts = partition(np.zeros((0, 2), np.int64), splits, "node_splits", 3)
    assert [part.tolist() for part in parts] == [[0, 1, 2], [3, 4, 5], [6, 7, 8]]
    parts = partition(np.zeros((0, 2), np.int64), splits, "node_splits", 2)
    assert [part.tolist() for part in parts] == [[0, 1], [2], [3, 4], [5, 6], [7, 8]]
    assert len(partition(np.zeros((0, 2), np.int64), splits, "node_splits", 9)) == 1


def test_metis_cuts_between_communities_and_not_through_them():
    """Two cliques of eight, their numbers interleaved, one edge between them: stretches would cut nearly all edges."""
    clique = [(u, v) for u in range(0, 16, 2) for v in range(0, u, 2)]
    edges = np.array([*clique, *((u + 1, v + 1) for u, v in clique), (9, 4)])
    parts = partition(edges, np.zeros(16, int), "metis", 8)
    assert sorted(part.tolist() for part in parts) == [list(range(0, 16, 2)), list(range(1, 16, 2))]


@pytest.mark.parametrize("method", PARTITIONS)
@pytest.mark.parametrize("form", ["pruned", "contracted"])
def test_segments_hold_the_nodes_of_the_graph_as_the_network_sees_it(method, form):
    graph = sample(LAYOUT, nodes=25, configurable=9, splits=4)
    (static,) = prepared([graph], Settings(**SEGMENTS | {"partition": method, "graph": form}))
    own = [segment.nodes[segment.own] for segment in static.segments]
    expected = range(25) if form == "pruned" else np.sort(graph.config_nodes).tolist()
    assert len(own) > 1 and sorted(np.concatenate(own).tolist()) == list(expected)
    copies = np.concatenate([segment.copies for segment in static.segments])
    assert sorted(copies.tolist()) == list(range(len(static.moves.between))) and len(copies) > 0


# joining


def test_run_times_that_float32_merges_are_told_apart():
    graph = sample(LAYOUT, configurations=3)
    (static,) = prepared([replace(graph, target=np.array([2.0**30 + 1, 2.0**30, 2.0**30 + 1]))], Settings(**TINY))
    assert static.order.tolist() == [1, 0, 1]


def test_shorter_samples_are_padded_and_masked():
    statics = prepared([sample(LAYOUT, seed, configurations=9) for seed in range(2)], Settings(**TINY))
    batch = join(statics, [np.array([4, 1, 7]), np.array([2])])
    assert batch.mask.tolist() == [[True, True, True], [True, False, False]]
    assert batch.order[0].tolist() == statics[0].order[[4, 1, 7]].tolist()
    assert batch.order[1].tolist() == [statics[1].order[2]] * 3
    rows = batch.readout.matrix.to_dense().sum(dim=1).tolist()
    nodes = [len(static.whole(0).levels[-1].nodes) for static in statics]
    assert rows == [nodes[0]] * 3 + [nodes[1], 0, 0]
    assert join(statics, [np.array([4, 1]), np.array([2, 0])]).mask is None


@pytest.mark.parametrize("collection", [LAYOUT, TILE])
def test_padding_changes_no_score(collection):
    """The same graphs beside one with more configurations; also when a batch of all was made, and kept, before."""
    chosen = Settings(**TINY)
    statics = prepared([sample(collection, seed, configurations=5 * seed + 4) for seed in range(2)], chosen)
    network = untrained(statics[0], chosen)
    every = [np.arange(4), np.arange(9)]
    for _ in range(2):
        alone = network(join(statics[:1], every[:1]).to(torch.float64))[0]
        beside = network(join(statics, every).to(torch.float64))[0]
        torch.testing.assert_close(beside[:4], alone, rtol=1e-10, atol=1e-12)


def test_a_batch_goes_to_another_type_as_a_whole():
    (static,) = prepared([sample(LAYOUT)], Settings(**TINY))
    batch = join([static], [np.arange(4)]).to(torch.float64)
    found = [batch.x, batch.columns, batch.scale, batch.readout.transposed, batch.layers[1].count]
    found += [batch.layers[0].messages.matrix, batch.copies.facts.matrix, batch.copies.readout.matrix]
    assert {part.dtype for part in found} == {torch.float64}
    assert {part.dtype for part in (batch.order, batch.graph, batch.layers[0].own)} == {torch.int64}
    assert batch.to(torch.float64) is batch and batch.to(torch.device("cpu")) is batch


def test_a_segment_has_the_states_of_its_own_configurations():
    """One without a configurable node has none at all: it adds the same to every configuration."""
    arrays = layout_arrays(nodes=12, configurable=1)
    (static,) = prepared([model_graph(LAYOUT, arrays)], Settings(**SEGMENTS | {"segment_nodes": 4}))
    sizes = [static.whole(number).levels[-1].size for number in range(3)]
    there = [bool(np.isin(segment.nodes, static.graph.config_nodes).any()) for segment in static.segments]
    assert sum(there) == 1
    assert [size > 0 for size in sizes] == there
    batch = join([static], [np.arange(8)])
    network = untrained(static, Settings(**SEGMENTS))
    units = network.embeddings(network.states(batch.to(torch.float64)), batch.to(torch.float64))
    assert [unit.std(dim=0).sum().item() > 1e-6 for unit in units] == there


# copies


@pytest.mark.parametrize("seed", range(4))
def test_the_facts_of_copies_are_those_of_the_trees_statistics(seed):
    """Summed over the copies between nodes, and over those inside, they are the counts of the statistics."""
    graph = sample(LAYOUT, seed, nodes=20, configurable=10, configurations=12)
    moves = prepare(graph, Settings(**TINY).view(LAYOUT)).moves
    names, values = layout_statistics(graph.packed)
    counted = dict(zip(names, values.T, strict=True))
    between, inside = np.zeros((12, 2)), np.zeros((12, 2))  # it happens, its minor dimension moves
    for number, (asks, makes) in enumerate(moves.between):
        codes = graph.codes[:, asks].astype(int), graph.codes[:, makes].astype(int)
        between += moves.copy_columns(np.full(12, number), *codes)[:, :2]
    kinds = ("fixed", "transpose", "reshape", "reduce")
    for place in range(10):
        columns = moves.state_columns(np.full(12, place), graph.codes[:, place].astype(int))
        inside += columns[:, -3 * len(kinds) :].reshape(12, -1, 3)[..., :2].sum(axis=1)
    np.testing.assert_array_equal(between[:, 0], counted["copies_direct"] + counted["copies_indirect"])
    np.testing.assert_array_equal(inside[:, 0], sum(counted[f"copies_{kind}"] for kind in kinds))
    np.testing.assert_array_equal((between + inside)[:, 1], counted["copies_minor"])
    assert between.std() > 0 and inside.std() > 0


# states on disk


def segments_of(data, graph, chosen):
    static = prepare(graph, chosen.view(graph.collection), str(data))
    return [static.whole(number) for number in range(len(static.segments))]


def equal(first, second):
    """Whether two graphs' states are the same, array by array."""
    if isinstance(first, np.ndarray):
        return first.dtype == second.dtype and np.array_equal(first, second)
    if isinstance(first, list):
        return len(first) == len(second) and all(map(equal, first, second))
    if hasattr(first, "indptr"):
        parts = ("data", "indices", "indptr")
        return first.shape == second.shape and all(equal(getattr(first, n), getattr(second, n)) for n in parts)
    return all(equal(getattr(first, n), getattr(second, n)) for n in first.__dataclass_fields__)


@pytest.mark.parametrize("knobs", [{}, {"gst": "full"}, {"layers": 0}], ids=["segments", "whole", "no layer"])
def test_states_come_back_from_disk_as_they_were_found(tmp_path, monkeypatch, knobs):
    graph = sample(LAYOUT, nodes=16, configurable=1, choices=2)
    chosen = Settings(**SEGMENTS | knobs)
    found = segments_of(tmp_path, graph, chosen)
    monkeypatch.setattr(states, "find", None)  # nothing is found again
    read = segments_of(tmp_path, graph, chosen)
    assert len(found) == len(read) == (1 if "gst" in knobs else 4)
    assert all(map(equal, found, read))
    static = prepare(graph, chosen.view(LAYOUT), str(tmp_path))
    monkeypatch.undo()
    fresh = prepare(graph, chosen.view(LAYOUT))
    network = untrained(static, chosen)
    scores = [network(join([form], [np.arange(8)]).to(torch.float64)) for form in (static, fresh)]
    assert torch.equal(*scores)


@pytest.mark.parametrize(
    "change",
    [
        lambda graph: replace(graph.packed, codes=graph.packed.codes[::-1]),
        lambda graph: replace(graph.packed, triples=graph.packed.triples[::-1]),
        lambda graph: replace(graph.packed, edge_index=graph.packed.edge_index[:-1]),
        lambda graph: replace(graph.packed, node_feat=graph.packed.node_feat * 2),
        lambda graph: replace(graph.packed, contracted=graph.packed.contracted[:-1]),
        lambda graph: replace(graph.packed, config_operands=graph.packed.config_operands[:, ::-1]),
        lambda graph: replace(graph.packed, config_nodes=graph.packed.config_nodes[::-1]),
        lambda graph: replace(graph.packed, node_opcode=(graph.packed.node_opcode + 1) % OPCODES),
        lambda graph: replace(graph.packed, node_split=graph.packed.node_split + np.arange(12, dtype=np.int32)),
    ],
    ids="codes triples edges features contracted operands places opcodes splits".split(),
)
def test_states_of_another_graph_are_not_taken(change):
    graph = sample(LAYOUT, configurable=6)
    view = Settings(**SEGMENTS | {"partition": "node_splits"}).view(LAYOUT)
    first, second = state_files.identity(graph, view), state_files.identity(replace(graph, packed=change(graph)), view)
    assert first != second and first == state_files.identity(graph, view)


def test_states_of_another_view_or_damaged_ones_are_found_anew(tmp_path):
    graph, chosen = sample(LAYOUT), Settings(**SEGMENTS)
    found = segments_of(tmp_path, graph, chosen)
    files = sorted(state_files.folder(tmp_path, LAYOUT).rglob("*.safetensors"))
    assert len(files) == len(found) > 1
    whole = files[0].read_bytes()
    other = segments_of(tmp_path, graph, replace(chosen, layers=1))
    assert [len(part.levels) for part in other] == [2] * len(other)
    for content in (b"", whole[:40], whole[: len(whole) // 2], b"x" * 500):
        files[0].write_bytes(content)
        assert all(map(equal, found, segments_of(tmp_path, graph, chosen)))
        assert files[0].read_bytes() == whole


def test_the_states_of_a_kernel_come_back_too(tmp_path):
    graph, chosen = sample(TILE), Settings(**TINY)
    found = segments_of(tmp_path, graph, chosen)
    assert len(list(state_files.folder(tmp_path, TILE).rglob("*.safetensors"))) == 1
    assert all(map(equal, found, segments_of(tmp_path, graph, chosen)))


def test_large_graphs_keep_no_states(monkeypatch):
    (static,) = prepared([sample(LAYOUT, configurations=9)], Settings(**TINY))
    monkeypatch.setattr(batches, "KEPT_CELLS", 9 * 12 - 1)
    batch = join([static], [np.array([2, 5])])
    assert not static.keeps and not static.found
    monkeypatch.setattr(batches, "KEPT_CELLS", 9 * 12)
    assert len(join([static], [np.array([2, 5])]).graph) == len(batch.graph) and static.found


def test_the_cells_of_all_segments_count():
    """However small its segments, a graph of too many states keeps none of them."""
    (static,) = prepared([sample(LAYOUT, configurations=9)], Settings(**SEGMENTS))
    assert static.keeps and max(len(segment.nodes) for segment in static.segments) < 12
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(batches, "KEPT_CELLS", 9 * 12 - 1)
        assert not static.keeps


def test_few_stored_states_are_open_and_none_is_found_twice(tmp_path, monkeypatch):
    monkeypatch.setattr(batches, "OPEN", 2)
    memory, chosen, found = batches.Memory(), Settings(**SEGMENTS), []
    find = states.find
    monkeypatch.setattr(states, "find", lambda *known: found.append(1) or find(*known))
    statics = [prepare(sample(LAYOUT, seed), chosen.view(LAYOUT), str(tmp_path), memory) for seed in range(2)]
    segments = [(static, number) for static in statics for number in range(len(static.segments))]
    first = [weakref.ref(static.whole(number)) for static, number in segments]
    assert len(found) == len(segments) > 4
    gc.collect()
    assert [there() is not None for there in first] == [False] * (len(first) - 2) + [True] * 2
    again = [static.whole(number) for static, number in segments]
    assert len(found) == len(segments) and again[-1] is statics[1].whole(len(statics[1].segments) - 1)


def test_states_just_stored_are_those_of_the_file_and_not_of_memory(tmp_path):
    static = prepare(sample(LAYOUT), Settings(**SEGMENTS).view(LAYOUT), str(tmp_path))
    for _ in range(2):
        assert not static.whole(0).code.flags.owndata  # it lies in the map


# what is kept from step to step


def test_the_least_recently_used_goes_first():
    recent = batches.Recent(10)
    for key, size in (("a", 4), ("b", 4), ("c", 2)):
        recent.put(key, key.upper(), size)
    assert [recent.get(key) for key in "bac"] == ["B", "A", "C"]
    recent.put("d", "D", 3)  # 13 with all: b goes
    assert [recent.get(key) for key in "abcd"] == ["A", None, "C", "D"]
    recent.put("e", "E", 11)
    assert [recent.get(key) for key in "acde"] == ["A", "C", "D", None]
    recent.put("f", "F", 10)
    assert [recent.get(key) for key in "acdf"] == [None, None, None, "F"]


@pytest.mark.parametrize("collection", [LAYOUT, TILE])
def test_batches_are_kept_for_all_configurations_alone(collection):
    """In this order: another sample, another order or other segments are another batch, with its own scores."""
    chosen = Settings(**SEGMENTS)
    (static,) = prepared([sample(collection)], chosen)
    every = np.arange(static.graph.configurations)
    kept = join([static], [every])
    assert join([static], [every.copy()]) is kept
    network = untrained(static, chosen).float()
    with torch.inference_mode():
        inferred = join([static], [every], [np.array([0])])
        assert torch.equal(network(kept), network(join([static], [every])))
    assert not inferred.x.is_inference()  # it may be trained on
    others = [(every[::-1], None), (every[:-1], None)]
    if collection == LAYOUT:
        others.append((every, [np.array([0])]))  # a kernel has no other segment
    for sample_, numbers in others:
        other = join([static], [sample_], numbers)
        assert other is not kept
        fresh = prepare(static.graph, static.view)
        assert torch.equal(network(other), network(join([fresh], [sample_], numbers)))


def test_what_is_kept_is_weighed():
    """Every array and tensor once, a sparse matrix twice for its transpose."""
    (static,) = prepared([sample(LAYOUT)], Settings(**TINY))
    batch = join([static], [np.arange(8)])
    matrix = batch.readout.matrix
    assert batches._bytes(batch.readout) == 2 * (4 + 4) * matrix.values().numel()
    assert batches._bytes([batch.x, {"a": np.zeros(3)}, None, 7]) == batch.x.numel() * 4 + 24
    parts = [getattr(batch, name) for name in batch.__dataclass_fields__]
    assert batches._bytes(batch) == sum(map(batches._bytes, parts)) > batches._bytes(batch.readout)
