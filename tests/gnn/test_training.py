"""Training: losses by hand, Graph Segment Training against its definition, and trainings that are cut short."""

import copy
import math
import os
import signal
import time
from dataclasses import replace
from itertools import permutations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from stages.engine import code
from stages.errors import InputError
from stages.gnn import checkpoint as checkpoints
from stages.gnn import inference, stage, training
from stages.gnn.batch import join
from stages.gnn.checkpoint import Checkpoint, identity
from stages.gnn.history import History, sampled, stale_weights
from stages.gnn.inference import embeddings, predict
from stages.gnn.loss import LOSSES, listmle, pairwise_hinge, pairwise_logistic, pairwise_margin
from stages.gnn.settings import CHOICES, Settings
from stages.gnn.training import Training, build, deterministic, fit, quality, smoothed_slowdown
from tests.support.graphs import (
    LAYOUT,
    TILE,
    TINY,
    TINY_SEGMENTS,
    layout_arrays,
    model_graph,
    prepared,
    sample,
    side_by_side,
)
from tests.support.pipeline import PROJECT

PAIRWISE = {name: loss for name, loss in LOSSES.items() if name != "listmle"}
SEGMENTS = TINY | TINY_SEGMENTS | {"dropout": 0.0, "loss": "logistic"}


def gradient(loss, score, order, *rest):
    score = score.clone().requires_grad_()
    value = loss(score, order, *rest)
    value.backward()
    return value.detach(), score.grad


# losses


def test_hinge_by_hand():
    score = torch.tensor([[0.5, 0.0, 2.0], [1.0, 4.0, 7.0]])
    order = torch.tensor([[0, 1, 1], [0, 0, 0]])
    # slower than the first: the second, margin 1 - (0 - .5) = 1.5, and the third, 1 - 1.5 < 0; their tie is no pair.
    assert pairwise_hinge(score, order, 1.0).item() == pytest.approx(0.75)
    mask = torch.tensor([[True, True, False], [True, True, True]])
    assert pairwise_hinge(score, order, 1.0, mask).item() == pytest.approx(1.5)


def test_logistic_by_hand():
    score, order = torch.tensor([[0.5, 0.0, 2.0]]), torch.tensor([[0, 2, 1]])
    pairs = [math.log1p(math.exp(-gap)) for gap in (0.0 - 0.5, 2.0 - 0.5, 0.0 - 2.0)]
    assert pairwise_logistic(score, order, 1.0).item() == pytest.approx(np.mean(pairs), rel=1e-6)


def test_margin_by_hand():
    """Places 0, 1, 2 lie 1, 1 and 2 apart, 4 / 3 on average: margins .75, .75 and 1.5 times the one asked for."""
    score, order = torch.tensor([[0.5, 0.0, 2.0]]), torch.tensor([[3, 5, 9]])
    assert pairwise_margin(score, order, 1.0).item() == pytest.approx((0.75 + 0.5) / 3)
    assert pairwise_margin(score * 0, order, 2.0).item() == pytest.approx(2.0)
    # Of two equal run times both are half a place further: margins 1.5 / (4 / 3) for both pairs.
    assert pairwise_margin(score * 0, torch.tensor([[0, 4, 4]]), 1.0).item() == pytest.approx(1.125)


def test_listmle_by_hand():
    """The order 2, 0, 1 is drawn with probability softmax(-score) of all, then of 0 and 1."""
    score, order = torch.tensor([[0.5, 0.0, 2.0]]), torch.tensor([[1, 2, 0]])
    weight = np.exp([-0.5, 0.0, -2.0])
    likelihood = weight[2] / weight.sum() * weight[0] / weight[:2].sum()
    assert listmle(score, order, 1.0).item() == pytest.approx(-math.log(likelihood) / 3, rel=1e-6)


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 9999), configurations=st.integers(2, 6), ties=st.booleans())
def test_listmle_is_the_naive_formula_on_small_scores(seed, configurations, ties):
    """In float64, written out; of equal run times the first counts as faster."""
    rng = np.random.default_rng(seed)
    score = rng.normal(size=configurations)
    order = rng.integers(2, size=configurations) if ties else rng.permutation(configurations)
    order[:2] = 0, 1
    left, expected = sorted(range(configurations), key=lambda place: (order[place], place)), 0.0
    while left:
        expected -= np.log(np.exp(-score[left[0]]) / np.exp(-score[left]).sum())
        left.pop(0)
    found = listmle(torch.from_numpy(score)[None], torch.from_numpy(order)[None], 1.0)
    assert found.item() == pytest.approx(expected / configurations, rel=1e-5)


def test_the_likelihoods_of_all_orders_add_up_to_one():
    score = torch.tensor([[0.3, -1.0, 2.0, 0.0]])
    losses = [listmle(score, torch.tensor([order]), 1.0).item() for order in permutations(range(4))]
    assert sum(math.exp(-4 * loss) for loss in losses) == pytest.approx(1, rel=1e-5)


def test_listmle_of_large_scores_is_finite():
    score = torch.tensor([[1e4, 0.0, -1e4]])
    for order, expected in (([2, 1, 0], 0.0), ([0, 1, 2], 3e4 / 3)):
        value, slope = gradient(listmle, score, torch.tensor([order]), 1.0)
        assert value.item() == pytest.approx(expected) and torch.isfinite(slope).all()


@pytest.mark.parametrize("name", LOSSES)
def test_padding_takes_no_part_in_a_loss(name):
    """Beside a longer graph a padded one adds what it adds alone, whatever its padding scores; its slope is zero."""
    loss = LOSSES[name]
    rng = np.random.default_rng(0)
    score = torch.from_numpy(rng.normal(size=(2, 6)))
    order = torch.from_numpy(np.stack([rng.permutation(6), np.array([1, 2, 0, 1, 1, 1])]))
    mask = torch.tensor([[True] * 6, [True] * 3 + [False] * 3])
    found, slope = gradient(loss, score, order, 1.0, mask)
    parts = [gradient(loss, score[:1], order[:1], 1.0), gradient(loss, score[1:, :3], order[1:, :3], 1.0)]
    torch.testing.assert_close(found, (parts[0][0] + parts[1][0]) / 2)
    torch.testing.assert_close(slope[:1], parts[0][1] / 2)
    torch.testing.assert_close(slope[1:, :3], parts[1][1] / 2)
    assert not slope[1, 3:].any()
    assert torch.equal(gradient(loss, score.masked_fill(~mask, 50.0), order, 1.0, mask)[0], found)


@pytest.mark.parametrize("name", PAIRWISE)
def test_equal_run_times_pull_at_no_score(name):
    """The other pairs lie so far apart that nothing pulls at them either."""
    score, order = torch.tensor([[0.0, 1.5, 200.0]]), torch.tensor([[0, 0, 1]])
    assert not gradient(PAIRWISE[name], score, order, 1.0)[1].any()
    assert gradient(PAIRWISE[name], score, torch.tensor([[1, 0, 2]]), 1.0)[1].any()


@pytest.mark.parametrize("name", LOSSES)
def test_a_loss_does_not_depend_on_the_order_of_the_configurations(name):
    rng = np.random.default_rng(1)
    score, order = torch.from_numpy(rng.normal(size=(1, 8))), torch.from_numpy(rng.permutation(8)[None])
    if name in PAIRWISE:
        order = order // 2  # of equal run times listmle takes the first, by its definition
    shuffled = rng.permutation(8)
    torch.testing.assert_close(
        LOSSES[name](score, order, 1.0), LOSSES[name](score[:, shuffled], order[:, shuffled], 1.0)
    )


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("configurations", [1, 4])
def test_nothing_to_rank_is_a_loss_of_zero_with_zero_gradient(name, configurations):
    score = torch.arange(3.0, 3 + configurations)[None]
    value, slope = gradient(LOSSES[name], score, torch.zeros(1, configurations, dtype=torch.int64), 1.0)
    assert value.item() == 0 and not slope.any()
    # Nor does it water down the mean over the graphs of a batch.
    both, order = score.repeat(2, 1), torch.zeros(2, configurations, dtype=torch.int64)
    order[1] = torch.arange(configurations)
    torch.testing.assert_close(LOSSES[name](both, order, 1.0), LOSSES[name](score, order[1:], 1.0))


# metric and sampling


def test_smoothed_slowdown_by_hand():
    target = np.array([4.0, 1.0, 2.0, 3.0])
    assert smoothed_slowdown(np.array([9.0, 1, 2, 3]), target, top=2) == pytest.approx(1)
    assert smoothed_slowdown(np.array([0.0, 1, 2, 3]), target, top=2) == pytest.approx(2 - 2.5 / 1.5)


@pytest.mark.parametrize("sampling", CHOICES["sampling"])
def test_a_sample_is_distinct_and_ascending_and_reaches_every_configuration(sampling):
    chosen = Settings(**TINY | {"sampling": sampling})
    few, many = prepared([sample(LAYOUT, 0, configurations=6), sample(LAYOUT, 1, configurations=20)], chosen)
    rng = np.random.default_rng(0)
    assert training.sample(few, chosen, rng).tolist() == list(range(6))
    draws = [training.sample(many, chosen, rng) for _ in range(200)]
    assert all(len(draw) == 6 and (np.diff(draw) > 0).all() for draw in draws)
    count = np.bincount(np.concatenate(draws), minlength=20)
    assert count.min() > 30  # 60 are expected of each, but for stretches of three or four
    ends = [0, 3, 6, 10, 13, 16, 20]
    ranking = np.argsort(many.graph.target, kind="stable").argsort()
    stretches = np.array([np.histogram(ranking[draw], ends)[0] for draw in draws])
    assert (stretches == 1).all() == (sampling == "spread")


# Graph Segment Training: the table


def test_weights_of_fresh_segments_by_hand():
    """One fresh segment of J, half of the others kept: it counts (J + 1) / 2 times, they once each."""
    for segments in (2, 5, 9):
        weight, kept = stale_weights(segments, np.array([1]), 0.5, np.random.default_rng(0))
        assert weight == (segments + 1) / 2
        assert 1 not in kept and set(kept) <= set(range(segments))
    weight, kept = stale_weights(5, np.array([1, 3]), None, np.random.default_rng(0))
    assert weight == 1 and kept.tolist() == [0, 2, 4]
    weight, kept = stale_weights(3, np.arange(3), 0.5, np.random.default_rng(0))
    assert weight == 1 and kept.tolist() == []


@pytest.mark.parametrize(("keep", "fresh"), [(0.5, 1), (0.2, 2), (1.0, 3)])
def test_the_expected_weight_of_all_segments_is_their_number(keep, fresh):
    rng = np.random.default_rng(0)
    totals = []
    for _ in range(1500):
        weight, kept = stale_weights(7, sampled(7, fresh, rng), keep, rng)
        totals.append(weight * fresh + len(kept))
    assert np.mean(totals) == pytest.approx(7, abs=4 * 7**0.5 / 1500**0.5)


def test_segments_are_sampled_alike_and_all_where_there_are_no_more():
    rng = np.random.default_rng(0)
    assert sampled(3, 3, rng).tolist() == sampled(3, 9, rng).tolist() == [0, 1, 2]
    draws = [sampled(5, 2, rng) for _ in range(500)]
    assert all(draw[0] < draw[1] for draw in draws)
    assert np.bincount(np.concatenate(draws)).min() > 150  # of 200 expected


def test_every_graph_configuration_and_segment_has_its_own_row():
    shapes = [(3, 2), (1, 1), (4, 5)]
    history = History(shapes, width=2)
    rows = [history.rows(g, np.arange(c), np.arange(s)) for g, (c, s) in enumerate(shapes)]
    assert [part.shape for part in rows] == shapes
    assert sorted(np.concatenate([part.ravel() for part in rows]).tolist()) == list(range(27))
    assert len(history.array) == 27


@pytest.mark.parametrize("budget", [10**9, 0], ids=["memory", "file"])
def test_what_is_written_is_read_in_half_precision(tmp_path, budget):
    history = History([(3, 2), (4, 3)], width=2, folder=tmp_path, budget=budget)
    assert history.array.dtype == np.float16
    assert isinstance(history.array, np.memmap) == (budget == 0) == bool(list(tmp_path.iterdir()))
    assert not history.read(1, np.array([0, 3]), np.arange(3)).any()
    values = np.random.default_rng(0).normal(size=(2, 4, 3, 2)).astype(np.float32)
    for graph, (configurations, segments) in enumerate([(3, 2), (4, 3)]):
        for segment in range(segments):
            history.write(graph, np.arange(configurations), segment, values[graph, :configurations, segment])
    halves = values.astype(np.float16).astype(np.float32)
    np.testing.assert_array_equal(history.read(0, np.array([2, 0]), np.array([1])), halves[0, [2, 0], 1])
    found = history.read(1, np.array([1, 3]), np.array([0, 2]))
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, halves[1][[1, 3]][:, [0, 2]].sum(axis=1))
    assert not history.read(1, np.array([1]), np.zeros(0, np.int64)).any()
    history.write(0, np.array([0]), 0, np.array([[1e9, -1e9]]))
    assert history.read(0, np.array([0]), np.array([0])).tolist() == [[65504, -65504]]  # and not infinite


# Graph Segment Training: steps


class Recorder(Training):
    """Keeps the gradients of a step and takes none."""

    def _descend(self, loss, module):
        parameters = list(module.parameters())
        found = torch.autograd.grad(loss, parameters, allow_unused=True, retain_graph=True)
        self.gradients = [torch.zeros_like(p) if g is None else g for g, p in zip(found, parameters, strict=True)]


def cut_graphs(number=2, seed=0):
    """Graphs of several segments, also in number, each with all of its configurations in a sample."""
    return [sample(LAYOUT, seed + i, nodes=9 + 5 * i, configurable=6, configurations=4 + i) for i in range(number)]


def recorder(members, chosen):
    statics = prepared(members, chosen)
    torch.manual_seed(3)
    network = build(LAYOUT, statics[0], chosen)
    found = Recorder(network, statics, [], chosen, LAYOUT, 0)
    if found.history is not None:
        found._refresh()
    return found, network, statics


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
        score = network.head(total)[:, 0]
        losses.append(LOSSES[chosen.loss](score[None], torch.from_numpy(static.order)[None], chosen.margin))
    return sum(losses) / len(losses)


@pytest.mark.parametrize("gst", ["gst", "gst+e", "gst+ed"])
@pytest.mark.parametrize("readout", ["sum", "mean"])
def test_with_every_segment_sampled_the_gradient_is_that_of_the_sum_of_all(gst, readout):
    chosen = Settings(**SEGMENTS | {"gst": gst, "segments": 9, "readout": readout})
    found, network, statics = recorder(cut_graphs(), chosen)
    assert [len(static.segments) for static in statics] == [2, 3]
    found._network_step(np.array([0, 1]), np.random.default_rng(0))
    every = [range(len(static.segments)) for static in statics]
    assert_gradients(found, network, reference_loss(network, statics, chosen, every, [1, 1], [0, 0]))


@pytest.mark.parametrize("gst", ["gst", "gst+e", "gst+ed"])
def test_the_gradient_flows_through_the_sampled_segments_alone(gst):
    """The others add embeddings that are constants: computed anew, or from the table, where some are dropped."""
    chosen = Settings(**SEGMENTS | {"gst": gst, "segments": 1, "keep": 0.6})
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
    chosen = Settings(**SEGMENTS | {"gst": "gst+e"})
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
    cut = Settings(**SEGMENTS | {"gst": "gst+e", "segment_nodes": 6, "segments": 2, "graphs": 1})
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
    chosen = Settings(**TINY | TINY_SEGMENTS | {"gst": gst})
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
    chosen = Settings(**TINY | TINY_SEGMENTS | {"gst": "gst+ef"})
    statics = prepared([sample(LAYOUT, seed, nodes=12) for seed in range(3)], chosen)
    with deterministic(0):
        run = Training(build(LAYOUT, statics[0], chosen), statics[:2], statics[2:], chosen, LAYOUT, 0)
        seen = []
        run.run(lambda: seen.append((run.progress.part, copy.deepcopy(run.network.state_dict()))))
    first, *_, last = [weights for part, weights in seen if part == "head"]
    changed = {name for name in first if not torch.equal(first[name], last[name])}
    assert changed == {"head.weight"}


# training


@pytest.mark.parametrize(
    ("gst", "values", "best"),
    [
        ("full", [0.1, 0.5, 0.2, 0.5], 2),  # the first of equal ones
        ("gst+ef", [0.5, 0.1, 0.2, 0.3, 0.6, 0.4], 5),  # two epochs of the head later
        ("gst+ef", [0.1, 0.3, 0.5, 0.4, 0.2, 0.1], 3),  # the head got worse only
    ],
)
def test_the_best_epochs_weights_are_left_in_place(monkeypatch, gst, values, best):
    """Of the network's epochs and the head's, three each, or four of the network's."""
    whole, left = (
        Settings(**TINY | TINY_SEGMENTS | {"gst": gst, "epochs": 4, "patience": 9, "average": 0.5}),
        iter(values),
    )
    chosen = whole if gst == "full" else replace(whole, epochs=3, finetune=3)
    statics = prepared([sample(LAYOUT, seed) for seed in range(3)], chosen)
    monkeypatch.setattr(training, "quality", lambda *_: next(left))
    with deterministic(0):
        run = Training(build(LAYOUT, statics[0], chosen), statics[:2], statics[2:], chosen, LAYOUT, 0)
        seen = []
        curve = run.run(lambda: seen.append(copy.deepcopy(run.averaged.state_dict())))
    assert [row["valid"] for row in curve] == values and len(seen) == len(values) + 1  # a step an epoch
    for epoch, weights in enumerate(seen[:-1], 1):
        same = all(torch.equal(value, weights[name]) for name, value in run.network.state_dict().items())
        assert same == (epoch == best)


@pytest.mark.parametrize("gst", ["full", "gst+ef"])
def test_an_epoch_visits_every_training_graph_once_in_a_new_order(monkeypatch, gst):
    chosen = Settings(**TINY | TINY_SEGMENTS | {"gst": gst, "epochs": 6, "finetune": 6, "patience": 20})
    statics = prepared([sample(LAYOUT, seed) for seed in range(6)], chosen)
    place, visits, draw = {id(static): number for number, static in enumerate(statics)}, [], training.sample
    monkeypatch.setattr(training, "sample", lambda *known: visits.append(place[id(known[0])]) or draw(*known))
    with deterministic(0):
        fit(build(LAYOUT, statics[0], chosen), statics[:5], statics[5:], chosen, LAYOUT, 0)
    epochs = [visits[start : start + 5] for start in range(0, len(visits), 5)]
    assert len(epochs) == (6 if gst == "full" else 12)
    assert all(sorted(epoch) == list(range(5)) for epoch in epochs)
    assert len(set(map(tuple, epochs))) > len(epochs) / 2


def test_an_average_of_the_weights_takes_their_place_in_validation():
    """By hand: after every step a tenth of the way to the network's weights."""
    chosen = Settings(**TINY | {"average": 0.9, "epochs": 1, "graphs": 1})
    statics = prepared([sample(LAYOUT, seed) for seed in range(3)], chosen)
    with deterministic(0):
        network = build(LAYOUT, statics[0], chosen)
        average = [p.detach().clone() for p in network.parameters()]
        run = Training(network, statics[:2], statics[2:], chosen, LAYOUT, 0)
        step = run._descend

        def descend(loss, module):
            step(loss, module)
            for mine, theirs in zip(average, module.parameters(), strict=True):
                mine.add_(theirs.detach() - mine, alpha=0.1)

        run._descend = descend
        run.run()
    for (name, p), mine in zip(network.named_parameters(), average, strict=True):
        torch.testing.assert_close(p.detach(), mine, msg=lambda text, name=name: f"{name}: {text}")


def test_early_stop_after_patience_epochs_without_a_better_one():
    chosen = Settings(**TINY | {"epochs": 30, "patience": 2, "learning_rate": 1e-12})
    statics = prepared([sample(LAYOUT, seed) for seed in range(2)], chosen)
    with deterministic(0):
        curve = fit(build(LAYOUT, statics[0], chosen), statics, statics, chosen, LAYOUT, 0)
    assert len(curve) == 3


def test_finetuning_has_patience_of_its_own():
    """The network's last epochs were no better either, yet the head's training begins, and ends after its patience."""
    values = {"epochs": 30, "patience": 2, "finetune": 30, "learning_rate": 1e-12, "gst": "gst+ef"}
    chosen = Settings(**TINY | TINY_SEGMENTS | values)
    statics = prepared([sample(LAYOUT, seed) for seed in range(2)], chosen)
    with deterministic(0):
        curve = fit(build(LAYOUT, statics[0], chosen), statics, statics, chosen, LAYOUT, 0)
    assert [row["part"] for row in curve] == ["network"] * 3 + ["head"] * 2


def test_without_a_graph_to_rank_on_valid_the_last_epoch_stays():
    chosen = Settings(**TINY | {"patience": 1, "epochs": 3})
    statics = prepared([sample(LAYOUT, 0), sample(LAYOUT, 1, configurations=1)], chosen)
    with deterministic(0):
        network = build(LAYOUT, statics[0], chosen)
        run = Training(network, statics[:1], statics[1:], chosen, LAYOUT, 0)
        seen = []
        curve = run.run(lambda: seen.append(copy.deepcopy(network.state_dict())))
    assert len(curve) == 3 and all(math.isnan(row["valid"]) for row in curve)
    assert all(torch.equal(value, seen[2][name]) for name, value in network.state_dict().items())
    assert not all(torch.equal(value, seen[1][name]) for name, value in network.state_dict().items())


@pytest.mark.parametrize("collection", [LAYOUT, TILE])
def test_quality_is_the_mean_over_the_graphs(collection):
    statics = prepared([sample(collection, 0, configurations=4), sample(collection, 1, configurations=12)], Settings())
    scores = [np.arange(4.0), np.arange(12.0)]
    pairs = zip(scores, statics, strict=True)
    expected = np.mean([_metric(collection, score, static.graph.target) for score, static in pairs])
    assert quality(scores, statics) == pytest.approx(expected)


def _metric(collection, scores, target):
    if collection == TILE:
        return smoothed_slowdown(scores, target)
    signs = np.sign(target[:, None] - target) * np.sign(scores[:, None] - scores)
    return signs.sum() / np.sqrt((np.sign(target[:, None] - target) ** 2).sum() * len(scores) * (len(scores) - 1))


def test_progress_goes_to_stderr(capsys):
    """The report shows stdout, and which epochs get a line is the clock's choice."""
    chosen = Settings(**TINY)
    statics = prepared([sample(TILE)], chosen)
    with deterministic(0):
        fit(build(TILE, statics[0], chosen), statics, statics, chosen, TILE, 0)
    shown = capsys.readouterr()
    assert shown.out == "" and "tile:xla seed 0 epoch 1/2" in shown.err


@pytest.mark.parametrize("collection", [LAYOUT, TILE])
def test_divergence_names_collection_seed_and_epoch(collection):
    chosen = Settings(**TINY | {"epochs": 9})
    statics = prepared([sample(collection, seed) for seed in range(2)], chosen)
    with deterministic(0):
        network = build(collection, statics[0], chosen)
        run = Training(network, statics, statics, chosen, collection, 4)

        def poison():
            if run.progress.epoch == 3:
                with torch.no_grad():
                    next(network.parameters()).fill_(math.nan)

        with pytest.raises(InputError, match=f"^gnn, {collection}: seed 4 diverged in epoch 3 .*learning_rate[^\n]*$"):
            run.run(poison)


# cut short


def fresh(statics, chosen, collection=LAYOUT, seed=1):
    """A training that has not begun, as the stage makes it."""
    network = build(collection, statics[0], chosen)
    return Training(network, statics[:-1], statics[-1:], chosen, collection, seed)


def outcome(run):
    return run.progress.curve, {name: value.numpy().tobytes() for name, value in run.network.state_dict().items()}


CUT_SHORT = {
    "full": (LAYOUT, {}),
    "full, average": (LAYOUT, {"average": 0.9, "sampling": "spread", "messages": "gatv2"}),
    "gst": (LAYOUT, {"gst": "gst"}),
    "gst+e": (LAYOUT, {"gst": "gst+e"}),
    "gst+efd, average": (LAYOUT, {"gst": "gst+efd", "average": 0.9}),
    "tile": (TILE, {"average": 0.9}),
}


@pytest.mark.parametrize("name", CUT_SHORT)
def test_a_training_cut_short_after_every_step_ends_with_the_same_bytes(tmp_path, name):
    """Each step in a training of its own, which goes on from the file that the one before left on SIGTERM."""
    collection, knobs = CUT_SHORT[name]
    chosen = Settings(**TINY | TINY_SEGMENTS | {"epochs": 3, "configurations": 5} | knobs)
    graphs = [sample(collection, seed, nodes=9 + seed) for seed in range(4)]  # three to train on, in steps of 2 and 1
    statics = prepared(graphs, chosen)
    with deterministic(1):
        whole = fresh(statics, chosen, collection)
        steps = []
        whole.run(lambda: steps.append(whole.progress.part))
    expected = outcome(whole)
    cuts, run = [], None
    while run is None or run.progress.part != "done":
        checkpoint = Checkpoint(tmp_path / "file", "identity")
        with deterministic(1):
            run = fresh(statics, chosen, collection)
            assert checkpoint.restore(run) == bool(cuts)
            checkpoint.ask()
            with pytest.raises(SystemExit) as left:
                run.run(lambda: checkpoint.after_step(run))  # noqa: B023, called before they change
            assert left.value.code == 128 + signal.SIGTERM
        cuts.append(run.progress.part)
        assert len(cuts) <= len(steps)
    assert cuts == steps and ("head" in steps) == ("f" in chosen.gst.removeprefix("full"))
    assert outcome(run) == expected
    with deterministic(1):
        again = fresh(statics, chosen, collection)
        assert Checkpoint(tmp_path / "file", "identity").restore(again)
        again.run()
    assert outcome(again) == expected  # nothing is left to do


@pytest.mark.parametrize("cut", [1, 4, 5, 8, 9])
def test_a_training_that_dies_without_warning_goes_on_from_the_last_state(cut):
    """Also where steps were taken after the state that is gone on from."""
    chosen = Settings(**TINY | TINY_SEGMENTS | {"gst": "gst+ef", "average": 0.5, "graphs": 1})
    statics = prepared([sample(LAYOUT, seed) for seed in range(3)], chosen)
    with deterministic(1):
        whole = fresh(statics, chosen)
        count, kept = [0], []

        def after_step():
            count[0] += 1
            if count[0] == cut:
                kept.append(copy.deepcopy(whole.state()))

        whole.run(after_step)
    assert count[0] == 9  # two epochs of two steps for each part, and the end
    with deterministic(1):
        run = fresh(statics, chosen)
        run.resume(*kept[0])
        run.run()
    assert outcome(run) == outcome(whole)


def test_a_checkpoint_is_refused_where_it_is_missing_damaged_or_anothers(tmp_path):
    chosen = Settings(**TINY)
    statics = prepared([sample(LAYOUT, seed) for seed in range(4)], chosen)
    path = tmp_path / "folder" / "file"
    checkpoint = Checkpoint(path, "mine")
    run = fresh(statics, chosen)
    assert not checkpoint.restore(run)
    checkpoint.ask()
    with pytest.raises(SystemExit):
        run.run(lambda: checkpoint.after_step(run))
    whole = path.read_bytes()
    untouched = fresh(statics, chosen)
    before = outcome(untouched)
    assert not Checkpoint(path, "another's").restore(untouched)
    for content in (b"", whole[:7], whole[: len(whole) // 2], whole[:-1], b"x" * len(whole)):
        path.write_bytes(content)
        assert not Checkpoint(path, "mine").restore(untouched)
    assert outcome(untouched) == before and untouched.progress.step == 0
    path.write_bytes(whole)
    assert Checkpoint(path, "mine").restore(untouched) and untouched.progress.step == 1


def test_a_checkpoint_is_written_now_and_then_and_at_the_end(tmp_path, monkeypatch):
    """Not at every step: writing takes a twentieth of the time at most."""
    chosen, now, writes = Settings(**TINY), [0.0], []
    run = fresh(prepared([sample(LAYOUT)] * 2, chosen), chosen)
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    monkeypatch.setattr(checkpoints.files, "replace", lambda path, content: (writes.append(now[0]), slow()))

    def slow():
        now[0] += 1

    checkpoint = Checkpoint(tmp_path / "file", "mine")
    for second in range(60):
        now[0] = max(now[0], second)
        checkpoint.after_step(run)
    assert writes == [5, 26, 47]  # the first after five seconds, others twenty times as long after as one takes
    run.progress.part = "done"
    checkpoint.after_step(run)
    assert len(writes) == 4


def test_sigterm_asks_for_a_checkpoint_and_is_handled_as_before_afterwards(tmp_path):
    chosen = Settings(**TINY)
    run = fresh(prepared([sample(LAYOUT)] * 2, chosen), chosen)
    checkpoint = Checkpoint(tmp_path / "file", "mine")
    checkpoint.after_step(run)
    assert not checkpoint.path.exists()
    before = signal.getsignal(signal.SIGTERM)
    with stage._on_sigterm(checkpoint.ask):
        os.kill(os.getpid(), signal.SIGTERM)
        with pytest.raises(SystemExit):
            checkpoint.after_step(run)
    assert checkpoint.path.exists() and signal.getsignal(signal.SIGTERM) == before


def _flipped(name):
    def change(graph):
        array = getattr(graph, name)
        return replace(graph, **{name: array[::-1].copy() if name != "layout" else array + 1})

    return change


def _repacked(name):
    def change(graph):
        array = getattr(graph.packed, name)
        return replace(graph, packed=replace(graph.packed, **{name: array + 1}))

    return change


MODEL_FIELDS = ("x", "opcode", "layout", "edge_index", "config_nodes", "codes", "triples", "target")
PACKED_FIELDS = ("node_feat", "node_split", "contracted", "config_operands")
OTHER_DATA = {name: _flipped(name) for name in MODEL_FIELDS} | {name: _repacked(name) for name in PACKED_FIELDS}


@pytest.mark.parametrize("name", [*OTHER_DATA, "id", "split"])
def test_other_data_make_another_training(name):
    chosen, graph = Settings(**TINY), sample(LAYOUT, configurable=6)
    first = identity(LAYOUT, 0, chosen, [graph, graph])
    assert first == identity(LAYOUT, 0, chosen, [replace(graph, x=graph.x.copy()), graph])
    other = OTHER_DATA[name](graph) if name in OTHER_DATA else replace(graph, **{name: "another"})
    assert identity(LAYOUT, 0, chosen, [graph, other]) != first


def test_the_code_of_all_that_shapes_a_training_is_in_its_identity():
    """And the code of a page is not: what is changed there trains nothing."""
    files = {path.relative_to(PROJECT / "stages").as_posix() for path in code.closure(*checkpoints.CODE)}
    assert {"gnn/network.py", "gnn/loss.py", "gnn/states.py", "statistics/copies.py", "graphs/opcodes.py"} <= files
    assert not {"gnn/report.py", "gnn/stage.py", "reporting/figures.py", "runner/page.py"} & files


def test_other_settings_seeds_and_collections_make_another_training():
    graphs = [sample(LAYOUT)]
    chosen = Settings(**TINY)
    others = [("layout:nlp:default", 0, chosen), (LAYOUT, 1, chosen), (LAYOUT, 0, replace(chosen, dropout=0.2))]
    found = {identity(*known, graphs) for known in [(LAYOUT, 0, chosen), *others]}
    found |= {identity(LAYOUT, 0, chosen, graphs * 2), identity(LAYOUT, 0, chosen, [])}
    assert len(found) == 6
    tile = sample(TILE)
    changed = replace(tile, tile_config=tile.tile_config * 2)
    assert identity(TILE, 0, chosen, [tile]) != identity(TILE, 0, chosen, [changed])


def test_chunks_of_embeddings_are_those_of_prediction(monkeypatch):
    """The table is filled with what the best network would add in the chunks it is scored in."""
    monkeypatch.setattr(inference, "chunk_size", lambda nodes: 3)
    chosen = Settings(**SEGMENTS | {"gst": "gst+e"})
    found, network, statics = recorder([sample(LAYOUT, nodes=12, configurations=8)], chosen)
    table = torch.from_numpy(found.history.read(0, np.arange(8), np.arange(len(statics[0].segments))))
    with torch.no_grad():
        scores = network.head(table)[:, 0].numpy()
    np.testing.assert_allclose(scores, predict(network, statics[0]), rtol=1e-2, atol=1e-2)
    assert len({len(chunk) for chunk in inference.chunks(statics[0])}) == 2
