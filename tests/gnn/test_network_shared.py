"""Shared states against the dense network."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from stages import pad
from stages.gnn import prepared_graph
from stages.gnn.segments import PARTITIONS
from stages.graphs import dataset
from stages.graphs.collection import COLLECTIONS, SPLITS, is_tile
from stages.prune import stage as prune
from tests.support import networks
from tests.support.graphs import LAYOUT, TINY, prepared, sample, untrained
from tests.support.networks import REAL, WAYS, dense, double, real_graphs

SAMPLE = Path(__file__).parents[2] / "data" / "sample-cpu" / "npz_all"

LAYOUTS = [collection for collection in COLLECTIONS if not is_tile(collection)]

FORMS = st.sampled_from(["pruned", "contracted"])

HEARD = [{"messages": name, "direction": way} for name in ("sage", "gatv2") for way in WAYS] + [{"messages": "gcn"}]

FEW = 8  # configurations for which a dense network of a real graph is cheap


def centred(scores, batch):
    """Scores less the mean of each graph's: shared states leave out what is the same in all of its configurations."""
    there = torch.ones_like(scores, dtype=torch.bool) if batch.mask is None else batch.mask
    mean = torch.where(there, scores, 0).sum(dim=1) / there.sum(dim=1)
    return torch.where(there, scores - mean[:, None], 0)


def assert_shared_is_dense(statics, chosen, chosen_settings, seed=0):
    """Scores, and gradients of every parameter, to rounding; returns the scores."""
    network = untrained(statics[0], chosen_settings, seed)
    parameters = dict(network.named_parameters())
    found = []
    for form in (statics, dense(statics)):
        batch = double(form, chosen)
        scores = centred(network(batch), batch)
        weight = torch.from_numpy(np.random.default_rng(seed).normal(size=scores.shape))
        gradients = torch.autograd.grad((scores * weight).sum(), list(parameters.values()), allow_unused=True)
        filled = [torch.zeros_like(p) if g is None else g for g, p in zip(gradients, parameters.values(), strict=True)]
        found.append((scores.detach(), filled))
    (shared, shared_gradients), (reference, gradients) = found
    torch.testing.assert_close(shared, reference, rtol=1e-9, atol=1e-10)
    for name, mine, theirs in zip(parameters, shared_gradients, gradients, strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-8, atol=1e-9, msg=lambda text, name=name: f"{name}: {text}")
    return shared


@st.composite
def knobs(draw):
    """Networks that shared states allow, small."""
    return networks.settings(
        **TINY
        | {
            "width": draw(st.sampled_from([4, 8])),
            "layers": draw(st.integers(0, 3)),
            "graph": draw(FORMS),
            "facts": draw(st.booleans()),
            "overridden": draw(st.booleans()),
            "copies": draw(st.booleans()),
            "cross_attention": draw(st.booleans()),
            "channel_attention": draw(st.booleans()),
            **draw(st.sampled_from(HEARD)),
            "norm": draw(st.sampled_from(["layer", "none"])),
            "readout": draw(st.sampled_from(["sum", "mean", "max"])),
        }
    )


@st.composite
def sizes(draw):
    """Arguments of `sample`, which show better than a graph what a test failed on."""
    nodes = draw(st.integers(2, 14))
    return {
        "seed": draw(st.integers(0, 9999)),
        "choices": draw(st.sampled_from([None, 1, 2, 3])),
        "nodes": nodes,
        "configurable": draw(st.integers(1, nodes - 1)),
        "configurations": draw(st.integers(1, 9)),
    }


@st.composite
def members(draw, most):
    """Up to so many graphs' sizes, each with all of its configurations in order or some in any, also repeated."""
    found = []
    for size in draw(st.lists(sizes(), min_size=1, max_size=most)):
        every = list(range(size["configurations"]))
        some = st.lists(st.sampled_from(every), min_size=1, max_size=9)
        found.append((size, draw(st.one_of(st.just(every), some))))
    return found


def made(chosen_members, chosen_settings):
    """Their statics and configurations."""
    graphs = [sample(LAYOUT, **size) for size, _ in chosen_members]
    return prepared(graphs, chosen_settings), [np.array(indices) for _, indices in chosen_members]


@settings(max_examples=40, deadline=None)
@given(several=members(most=3), chosen_settings=knobs(), seed=st.integers(0, 99))
def test_shared_states_give_the_dense_networks_scores_and_gradients(several, chosen_settings, seed):
    assert_shared_is_dense(*made(several, chosen_settings), chosen_settings, seed)


def test_the_random_graphs_share_states_and_have_copies():
    """Else the tests on them would compare the dense network with itself."""
    chosen = networks.settings(**TINY)
    size = {"choices": 2, "nodes": 12, "configurable": 5, "configurations": 9}
    statics, _ = made([(size | {"seed": seed}, []) for seed in range(5)], chosen)
    assert min(len(static.copies.between) for static in statics) > 0
    tops = [static.states(0).levels[-1] for static in statics]
    assert max(level.size / len(level.nodes) for level in tops) < 8
    assert min(level.size / len(level.nodes) for level in tops) > 2


@settings(max_examples=20, deadline=None)
@given(several=members(most=2), chosen_settings=knobs(), budget=st.integers(1, 6))
def test_segments_of_shared_states_give_the_dense_networks_scores(several, chosen_settings, budget):
    """Also where a segment has no configurable node. The dense network knows no copy between two segments."""
    readout = "sum" if chosen_settings.readout == "max" else chosen_settings.readout
    cut = replace(chosen_settings, gst="gst", segment_nodes=budget, readout=readout, copies=False)
    assert_shared_is_dense(*made(several, cut), cut)


@settings(max_examples=20, deadline=None)
@given(several=members(most=2), budget=st.integers(1, 6), partition=st.sampled_from(PARTITIONS), form=FORMS)
def test_without_messages_a_cut_graph_scores_as_the_whole(several, budget, partition, form):
    """No node and no copy between two nodes, also of different segments, is lost or counted twice."""
    whole = networks.settings(**TINY | {"layers": 0, "graph": form})
    cut = replace(whole, gst="gst", segment_nodes=budget, partition=partition)
    statics, chosen = made(several, whole)
    network = untrained(statics[0], whole)
    full, parts = double(statics, chosen), double(made(several, cut)[0], chosen)
    assert len(parts.unit) >= len(full.unit) == len(statics)
    found, expected = centred(network(parts), parts), centred(network(full), full)
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-10)


@settings(max_examples=10, deadline=None)
@given(size=sizes(), chosen_settings=knobs(), seed=st.integers(0, 99))
def test_states_found_for_a_sample_alone_give_the_same_scores(size, chosen_settings, seed):
    """Graphs too large for the states of all configurations find those of each step's sample."""
    graph = sample(LAYOUT, **size)
    chosen = np.random.default_rng(seed).permutation(graph.configurations)[: 1 + seed % 5]
    (static,) = prepared([graph], chosen_settings)
    network = untrained(static, chosen_settings)
    with pytest.MonkeyPatch.context() as patch:
        kept = double([static], [chosen])
        patch.setattr(prepared_graph, "MOST_CELLS", 0)
        found = double([static], [chosen])
    torch.testing.assert_close(centred(network(found), found), centred(network(kept), kept), rtol=1e-9, atol=1e-10)


@pytest.fixture(scope="module")
def sample_data(tmp_path_factory):
    """data/sample-cpu, pruned and padded: many small graphs."""
    if not SAMPLE.is_dir():
        pytest.skip("data/sample-cpu/npz_all is not there")
    data = tmp_path_factory.mktemp("data")
    for collection in LAYOUTS:
        prune.run(collection=collection, root=str(SAMPLE), data=str(data))
        pad.run(collection=collection, data=str(data))
    return data


def few(graph):
    """All configurations of a small graph, of others some."""
    every = np.arange(graph.configurations)
    return every if len(every) <= FEW else np.sort(np.random.default_rng(0).choice(every, FEW, replace=False))


@pytest.mark.parametrize("collection", LAYOUTS)
def test_shared_states_are_exact_on_every_layout_graph_of_the_sample(sample_data, collection):
    differ = 0
    for split in SPLITS:
        for number, graph in enumerate(dataset.model_graphs(sample_data, collection, split)):
            chosen = networks.settings(**TINY | {"width": 4, "graph": ("pruned", "contracted")[number % 2]})
            found = assert_shared_is_dense(prepared([graph], chosen), [few(graph)], chosen)
            differ += found.std() > 1e-6
    assert differ > 0


@pytest.mark.skipif(not REAL, reason="TPUGRAPHS_DIR does not name a folder of real TpuGraphs files")
@pytest.mark.parametrize("collection", LAYOUTS)
@pytest.mark.parametrize("form", ["pruned", "contracted"])
def test_shared_states_are_exact_on_every_real_layout_graph(collection, form):
    for graph in real_graphs(collection):
        chosen = networks.settings(**TINY | {"width": 4, "graph": form})
        assert_shared_is_dense(prepared([graph], chosen), [few(graph)], chosen)
