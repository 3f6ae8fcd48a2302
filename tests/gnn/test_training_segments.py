"""Graph Segment Training's steps against its definition."""

import copy
import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from stages.gnn.batch import join
from stages.gnn.history import sampled, stale_weights
from stages.gnn.inference import embeddings, predict
from stages.gnn.loss import LOSSES
from stages.gnn.network import build
from stages.gnn.settings import CHOICES
from stages.gnn.training import Training, deterministic, fit
from tests.support import networks
from tests.support.graphs import (
    LAYOUT,
    TINY,
    TINY_SEGMENTS,
    layout_arrays,
    model_graph,
    prepared,
    sample,
    side_by_side,
)
from tests.support.networks import SMOOTH, recorder


def cut_graphs(number=2, seed=0):
    """Graphs of several segments, also in number, each with all of its configurations in a sample."""
    return [sample(LAYOUT, seed + i, nodes=9 + 5 * i, configurable=6, configurations=4 + i) for i in range(number)]


def assert_gradients(found, network, loss):
    expected = torch.autograd.grad(loss, list(network.parameters()), allow_unused=True)
    assert sum(g is not None and bool(g.abs().max() > 1e-6) for g in expected) > 10
    for (name, p), mine, theirs in zip(network.named_parameters(), found.gradients, expected, strict=True):
        theirs = torch.zeros_like(p) if theirs is None else theirs
        torch.testing.assert_close(mine, theirs, rtol=1e-3, atol=1e-6, msg=lambda text, name=name: f"{name}: {text}")


def reference_loss(network, statics, chosen, fresh, weights, stale):
    """Of embeddings of segments, one at a time: fresh ones with gradient and weight; stale (graph) what to add."""
    losses = []
    for static, numbers, weight, added in zip(statics, fresh, weights, stale, strict=True):
        every = np.arange(static.graph.configurations)
        parts = [join([static], [every], [np.array([number])]) for number in numbers]
        total = added + sum(weight * network.embeddings(network.states(part), part)[0] for part in parts)
        score = network.head(total)[:, 0] + network.of_assigned(parts[0])[0]
        losses.append(LOSSES[chosen.loss](score[None], torch.from_numpy(static.order)[None], chosen.margin))
    return sum(losses) / len(losses)


@pytest.mark.parametrize("gst", ["gst", "gst+e", "gst+ed"])
@pytest.mark.parametrize("readout", ["sum", "mean"])
def test_with_every_segment_sampled_the_gradient_is_that_of_the_sum_of_all(gst, readout):
    chosen = networks.settings(**SMOOTH | {"gst": gst, "segments": 9, "readout": readout})
    found, network, statics = recorder(cut_graphs(), chosen)
    assert [len(static.segments) for static in statics] == [2, 3]
    found._network_step(np.array([0, 1]), np.random.default_rng(0))
    every = [range(len(static.segments)) for static in statics]
    assert_gradients(found, network, reference_loss(network, statics, chosen, every, [1, 1], [0, 0]))


@pytest.mark.parametrize("gst", ["gst", "gst+e", "gst+ed"])
def test_the_gradient_flows_through_the_sampled_segments_alone(gst):
    """The others add embeddings that are constants: computed anew, or from the table, where some are dropped."""
    chosen = networks.settings(**SMOOTH | {"gst": gst, "segments": 1, "keep": 0.6})
    found, network, statics = recorder(cut_graphs(seed=7), chosen)
    order = np.array([1, 0])
    statics = [statics[place] for place in order]
    for seed in range(3):
        rng = np.random.default_rng(seed)
        fresh = [sampled(len(static.segments), 1, rng) for static in statics]
        keep = 0.6 if gst == "gst+ed" else None
        drawn = [stale_weights(len(s.segments), f, keep, rng) for s, f in zip(statics, fresh, strict=True)]
        stale = []
        with torch.no_grad():
            for place, static, (_, kept) in zip(order, statics, drawn, strict=True):
                every = np.arange(static.graph.configurations)
                zero = torch.zeros(len(every), chosen.width)
                stale.append(zero + sum(embeddings(network, static, every, number) for number in kept))
                if found.history is not None:  # what the table holds is that, in half precision
                    kept_rows = torch.from_numpy(found.history.read(place, every, kept))
                    torch.testing.assert_close(kept_rows, stale[-1], rtol=1e-2, atol=1e-2)
                    stale[-1] = kept_rows
        history = copy.deepcopy(found.history.array) if found.history is not None else None
        found._network_step(order, np.random.default_rng(seed))
        weights = [weight for weight, _ in drawn]
        assert_gradients(found, network, reference_loss(network, statics, chosen, fresh, weights, stale))
        if history is not None:
            found.history.array[:] = history


def test_a_step_writes_what_its_sampled_segments_add_and_nothing_else():
    chosen = networks.settings(**SMOOTH | {"gst": "gst+e"})
    found, network, statics = recorder(cut_graphs(3), chosen)
    found.history.array[:] = 0
    found._network_step(np.array([2, 0]), np.random.default_rng(5))
    rng = np.random.default_rng(5)
    fresh = {place: sampled(len(statics[place].segments), 1, rng) for place in (2, 0)}
    for place, static in enumerate(statics):
        every = np.arange(static.graph.configurations)
        for number in range(len(static.segments)):
            table = found.history.read(place, every, np.array([number]))
            expected = np.zeros_like(table)
            if number in fresh.get(place, ()):
                expected = embeddings(network, static, every, number).detach().numpy()
                assert np.abs(expected).max() > 0
            np.testing.assert_allclose(table, expected, rtol=1e-3, atol=1e-3)


def test_where_no_edge_is_cut_segments_train_as_the_whole_graph():
    """A graph of two parts without an edge between them, a segment each: the same gradient as without segments."""
    halves = [layout_arrays(seed, nodes=6, configurable=3, configurations=6) for seed in (1, 2)]
    graph = model_graph(LAYOUT, side_by_side(*halves))
    cut = networks.settings(**SMOOTH | {"gst": "gst+e", "segment_nodes": 6, "segments": 2, "graphs": 1})
    found = []
    for chosen in (cut, replace(cut, gst="full")):
        record, _, statics = recorder([graph], chosen)
        assert len(statics[0].segments) == (1 if chosen.gst == "full" else 2)
        record._network_step(np.array([0]), np.random.default_rng(0))
        found.append(record.gradients)
    assert sum(bool(g.abs().max() > 1e-6) for g in found[1]) > 10
    for mine, theirs in zip(*found, strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("gst", CHOICES["gst"])
def test_every_variant_trains_and_scores(gst):
    chosen = networks.settings(**TINY | TINY_SEGMENTS | {"gst": gst})
    statics = prepared([sample(LAYOUT, seed, nodes=12, configurations=9) for seed in range(3)], chosen)
    with deterministic(0):
        network = build(LAYOUT, statics[0], chosen)
        before = copy.deepcopy(network.state_dict())
        curve = fit(network, statics[:2], statics[2:], chosen, LAYOUT, 0)
        scores = predict(network, statics[2])
    parts = [row["part"] for row in curve]
    assert parts == ["network"] * 2 + ["head"] * (2 if "f" in gst.removeprefix("gst+") and gst != "full" else 0)
    assert np.isfinite(scores).all() and len(np.unique(scores)) > 1
    assert all(math.isfinite(row["loss"]) for row in curve)
    assert not all(torch.equal(value, before[name]) for name, value in network.state_dict().items())


def test_finetuning_changes_the_head_alone():
    chosen = networks.settings(**TINY | TINY_SEGMENTS | {"gst": "gst+ef"})
    statics = prepared([sample(LAYOUT, seed, nodes=12) for seed in range(3)], chosen)
    with deterministic(0):
        run = Training(build(LAYOUT, statics[0], chosen), statics[:2], statics[2:], chosen, LAYOUT, 0)
        seen = []
        run.run(lambda: seen.append((run.progress.part, copy.deepcopy(run.network.state_dict()))))
    first, *_, last = [weights for part, weights in seen if part == "head"]
    changed = {name for name in first if not torch.equal(first[name], last[name])}
    assert changed == {"head.weight"}
