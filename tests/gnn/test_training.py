"""Training: what it learns, which epoch stays, how it ends."""

import copy
import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from stages.engine.errors import InputError
from stages.gnn import sampling, training
from stages.gnn.inference import predict
from stages.gnn.network import build
from stages.gnn.settings import CHOICES
from stages.gnn.training import Training, deterministic, fit
from stages.gnn.validation import quality
from stages.scoring.metrics import collection_score, graph_score
from tests.support import networks
from tests.support.graphs import (
    LAYOUT,
    TILE,
    TINY,
    TINY_SEGMENTS,
    prepared,
    sample,
)


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
        networks.settings(**TINY | TINY_SEGMENTS | {"gst": gst, "epochs": 4, "patience": 9, "average": 0.5}),
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
    chosen = networks.settings(**TINY | TINY_SEGMENTS | {"gst": gst, "epochs": 6, "finetune": 6, "patience": 20})
    statics = prepared([sample(LAYOUT, seed) for seed in range(6)], chosen)
    place, visits, draw = {id(static): number for number, static in enumerate(statics)}, [], sampling.sample
    monkeypatch.setattr(sampling, "sample", lambda *known: visits.append(place[id(known[0])]) or draw(*known))
    with deterministic(0):
        fit(build(LAYOUT, statics[0], chosen), statics[:5], statics[5:], chosen, LAYOUT, 0)
    epochs = [visits[start : start + 5] for start in range(0, len(visits), 5)]
    assert len(epochs) == (6 if gst == "full" else 12)
    assert all(sorted(epoch) == list(range(5)) for epoch in epochs)
    assert len(set(map(tuple, epochs))) > len(epochs) / 2


def test_an_average_of_the_weights_takes_their_place_in_validation():
    """By hand: after every step a tenth of the way to the network's weights."""
    chosen = networks.settings(**TINY | {"average": 0.9, "epochs": 1, "graphs": 1})
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
    chosen = networks.settings(**TINY | {"epochs": 30, "patience": 2, "learning_rate": 1e-12})
    statics = prepared([sample(LAYOUT, seed) for seed in range(2)], chosen)
    with deterministic(0):
        curve = fit(build(LAYOUT, statics[0], chosen), statics, statics, chosen, LAYOUT, 0)
    assert len(curve) == 3


def test_finetuning_has_patience_of_its_own():
    """The network's last epochs were no better either, yet the head's training begins, and ends after its patience."""
    values = {"epochs": 30, "patience": 2, "finetune": 30, "learning_rate": 1e-12, "gst": "gst+ef"}
    chosen = networks.settings(**TINY | TINY_SEGMENTS | values)
    statics = prepared([sample(LAYOUT, seed) for seed in range(2)], chosen)
    with deterministic(0):
        curve = fit(build(LAYOUT, statics[0], chosen), statics, statics, chosen, LAYOUT, 0)
    assert [row["part"] for row in curve] == ["network"] * 3 + ["head"] * 2


def test_without_a_graph_to_rank_on_valid_the_last_epoch_stays():
    chosen = networks.settings(**TINY | {"patience": 1, "epochs": 3})
    statics = prepared([sample(LAYOUT, 0), sample(LAYOUT, 1, configurations=1)], chosen)
    with deterministic(0):
        network = build(LAYOUT, statics[0], chosen)
        run = Training(network, statics[:1], statics[1:], chosen, LAYOUT, 0)
        seen = []
        curve = run.run(lambda: seen.append(copy.deepcopy(network.state_dict())))
    assert len(curve) == 3 and all(math.isnan(row["valid"]) for row in curve)
    assert all(torch.equal(value, seen[2][name]) for name, value in network.state_dict().items())
    assert not all(torch.equal(value, seen[1][name]) for name, value in network.state_dict().items())


def test_progress_goes_to_stderr(capsys):
    """The report shows stdout, and which epochs get a line is the clock's choice."""
    chosen = networks.settings(**TINY)
    statics = prepared([sample(TILE)], chosen)
    with deterministic(0):
        fit(build(TILE, statics[0], chosen), statics, statics, chosen, TILE, 0)
    shown = capsys.readouterr()
    assert shown.out == "" and "tile:xla seed 0 epoch 1/2" in shown.err


@pytest.mark.parametrize("collection", [LAYOUT, TILE])
def test_divergence_names_collection_seed_and_epoch(collection):
    chosen = networks.settings(**TINY | {"epochs": 9})
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


def test_learns_the_sample_better_than_random():
    graphs = [sample(LAYOUT, seed, nodes=10, configurable=3, configurations=16) for seed in range(10)]
    chosen = networks.settings(**TINY | {"epochs": 12, "configurations": 16, "width": 16})
    statics = prepared(graphs, chosen)
    train, valid = statics[:7], statics[7:]
    with deterministic(0):
        network = build(LAYOUT, train[0], chosen)
        before = quality([predict(network, static) for static in valid], valid)
        fit(network, train, valid, chosen, LAYOUT, 0)
        after = quality([predict(network, static) for static in valid], valid)
    assert after > 0.6 and after > before


@pytest.mark.parametrize("fusion", CHOICES["fusion"])
def test_learns_tiles_better_than_random(fusion):
    chosen = networks.settings(**TINY | {"epochs": 12, "configurations": 24, "width": 16, "fusion": fusion})
    statics = prepared([sample(TILE, seed, configurations=24) for seed in range(10)], chosen)
    train, valid = statics[:7], statics[7:]
    with deterministic(0):
        network = build(TILE, train[0], chosen)
        fit(network, train, valid, chosen, TILE, 0)
    random = np.random.default_rng(0)
    worse = [graph_score(TILE, random.random(24), static.graph.target) for static in valid for _ in range(20)]
    assert collection_score(graph_score(TILE, predict(network, s), s.graph.target) for s in valid) > np.mean(worse)
    assert quality([predict(network, static) for static in valid], valid) > 0.9
