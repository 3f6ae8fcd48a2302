"""What is done once a graph: its segments and their states."""

import gc
import weakref
from dataclasses import replace

import numpy as np
import pytest
import torch

from stages.gnn import memory, prepared_graph, states
from stages.gnn.batch import join
from stages.gnn.prepared_graph import prepare
from stages.gnn.segments import PARTITIONS
from tests.support import networks
from tests.support.graphs import (
    LAYOUT,
    TINY,
    layout_arrays,
    model_graph,
    prepared,
    sample,
    untrained,
)
from tests.support.networks import SEGMENTS


@pytest.mark.parametrize("method", PARTITIONS)
@pytest.mark.parametrize("form", ["pruned", "contracted"])
def test_segments_hold_the_nodes_of_the_graph_as_the_network_sees_it(method, form):
    graph = sample(LAYOUT, nodes=25, configurable=9, splits=4)
    (static,) = prepared([graph], networks.settings(**SEGMENTS | {"partition": method, "graph": form}))
    own = [segment.nodes[segment.own] for segment in static.segments]
    expected = range(25) if form == "pruned" else np.sort(graph.config_nodes).tolist()
    assert len(own) > 1 and sorted(np.concatenate(own).tolist()) == list(expected)
    copies = np.concatenate([segment.copies for segment in static.segments])
    assert sorted(copies.tolist()) == list(range(len(static.copies.between))) and len(copies) > 0


def test_run_times_that_float32_merges_are_told_apart():
    graph = replace(sample(LAYOUT, configurations=3), target=np.array([2.0**30 + 1, 2.0**30, 2.0**30 + 1]))
    (static,) = prepared([graph], networks.settings(**TINY))
    assert static.order.tolist() == [1, 0, 1]


def test_a_segment_has_the_states_of_its_own_configurations():
    """One without a configurable node has none at all: it adds the same to every configuration."""
    arrays = layout_arrays(nodes=12, configurable=1)
    (static,) = prepared([model_graph(LAYOUT, arrays)], networks.settings(**SEGMENTS | {"segment_nodes": 4}))
    sizes = [static.states(number).levels[-1].size for number in range(3)]
    there = [bool(np.isin(segment.nodes, static.graph.config_nodes).any()) for segment in static.segments]
    assert sum(there) == 1
    assert [size > 0 for size in sizes] == there
    batch = join([static], [np.arange(8)])
    network = untrained(static, networks.settings(**SEGMENTS))
    units = network.embeddings(network.states(batch.to(torch.float64)), batch.to(torch.float64))
    assert [unit.std(dim=0).sum().item() > 1e-6 for unit in units] == there


def test_large_graphs_keep_no_states(monkeypatch):
    (static,) = prepared([sample(LAYOUT, configurations=9)], networks.settings(**TINY))
    monkeypatch.setattr(prepared_graph, "MOST_CELLS", 9 * 12 - 1)
    batch = join([static], [np.array([2, 5])])
    assert not static.keeps_states and not static.in_memory
    monkeypatch.setattr(prepared_graph, "MOST_CELLS", 9 * 12)
    assert len(join([static], [np.array([2, 5])]).graph) == len(batch.graph) and static.in_memory


def test_the_cells_of_all_segments_count():
    """However small its segments, a graph of too many states keeps none of them."""
    (static,) = prepared([sample(LAYOUT, configurations=9)], networks.settings(**SEGMENTS))
    assert static.keeps_states and max(len(segment.nodes) for segment in static.segments) < 12
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(prepared_graph, "MOST_CELLS", 9 * 12 - 1)
        assert not static.keeps_states


def test_few_stored_states_are_open_and_none_is_found_twice(tmp_path, monkeypatch):
    monkeypatch.setattr(memory, "OPEN_FILES", 2)
    caches, chosen, found = memory.Caches(), networks.settings(**SEGMENTS), []
    find = states.find
    monkeypatch.setattr(states, "find", lambda *known: found.append(1) or find(*known))
    statics = [prepare(sample(LAYOUT, seed), chosen.view(LAYOUT), str(tmp_path), caches) for seed in range(2)]
    segments = [(static, number) for static in statics for number in range(len(static.segments))]
    first = [weakref.ref(static.states(number)) for static, number in segments]
    assert len(found) == len(segments) > 4
    gc.collect()
    assert [there() is not None for there in first] == [False] * (len(first) - 2) + [True] * 2
    again = [static.states(number) for static, number in segments]
    assert len(found) == len(segments) and again[-1] is statics[1].states(len(statics[1].segments) - 1)


def test_states_just_stored_are_those_of_the_file_and_not_of_memory(tmp_path):
    static = prepare(sample(LAYOUT), networks.settings(**SEGMENTS).view(LAYOUT), str(tmp_path))
    for _ in range(2):
        assert not static.states(0).code.flags.owndata  # it lies in the map
