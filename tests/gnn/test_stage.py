"""The gnn stage: what it writes, the same bytes every time, and its errors."""

import math
import os
from dataclasses import fields, replace

import numpy as np
import polars as pl
import pytest
import torch

from stages.engine import engine
from stages.engine.errors import InputError
from stages.gnn import tasks
from stages.gnn.checkpoint import Checkpoint
from stages.gnn.settings import CHOICES, LEAST, Settings
from stages.graphs.collection import SPLITS, slug
from stages.scoring import scores
from tests.support import networks
from tests.support.graphs import LAYOUT, TILE, TINY, TINY_SEGMENTS, made_up, outputs, sample, write_data


def leftovers(data):
    """Files below data/checkpoints: there are none after a run that ended."""
    return [path for path in (data / "checkpoints").rglob("*") if path.is_file()]


@pytest.mark.parametrize(("collection", "seeds"), [(LAYOUT, 2), (TILE, 1)])
def test_same_seed_same_bytes(tmp_path, monkeypatch, collection, seeds):
    """In a second folder, and also whether seeds train side by side (two cores) or one after another (one core)."""
    graphs = made_up(collection)
    names = {
        "curves.csv",
        "parameters.json",
        "scores.parquet",
        *(f"weights-{seed}.safetensors" for seed in range(seeds)),
    }
    found = []
    for cores in (2, 1):
        monkeypatch.setattr(os, "cpu_count", lambda cores=cores: cores)
        data = tmp_path / str(cores)
        write_data(data, collection, graphs)
        for former in (
            data / "gnn" / slug(collection) / "weights-2.safetensors",
            data / "checkpoints" / "gnn" / slug(collection) / "2.safetensors",
            data / "checkpoints" / "gnn" / slug(collection) / ".0.safetensors.7.part",
        ):
            former.parent.mkdir(parents=True, exist_ok=True)
            former.write_bytes(b"of an earlier run with more seeds, killed while it wrote")
        result = networks.run(collection=collection, seeds=seeds, data=str(data), **TINY)
        found.append(outputs(data, collection))
        assert found[-1].keys() == names and not leftovers(data)
    assert found[0] == found[1]
    table = scores.read(data / "gnn" / slug(collection) / "scores.parquet")
    assert set(table["split"]) == {"valid", "test"} and set(table["member"]) == {"gnn"}
    assert table.height == seeds * sum(g.configurations for split in ("valid", "test") for g in graphs[split])
    by_seed = table.partition_by("seed")
    assert len(by_seed) == seeds and (seeds == 1 or not by_seed[0]["score"].equals(by_seed[1]["score"]))
    assert set(result.valid["graph"]) == {"graph_10", "graph_11"}
    assert result.collection == collection and result.settings.width == TINY["width"]
    assert result.segments.rows() == [(g.id, len(g.x), 1) for g in graphs["train"]]
    assert result.sharing.height == (2 if collection == LAYOUT else 0)


@pytest.mark.parametrize("collection", [LAYOUT, TILE])
def test_training_sees_some_configurations_and_scores_are_of_all(tmp_path, monkeypatch, collection):
    """Those of a train graph that `pool` allows, those of a valid one that choose the epoch: always the same."""
    graphs, seen = made_up(collection, configurations=12), []
    write_data(tmp_path, collection, graphs)

    class Seen(tasks.Training):
        def __init__(self, network, train, valid, *rest):
            seen.append([static.graph.config_index.tolist() for static in (*train, *valid)])
            whole = {graph.id: graph for part in graphs.values() for graph in part}
            for graph in (static.graph for static in (*train, *valid)):
                rows, given = graph.config_index, whole[graph.id]
                assert np.allclose(graph.target, given.target[rows])
                assert np.array_equal(graph.packed.target, graph.target)
                name = "tile_config" if collection == TILE else "codes"
                assert np.allclose(getattr(graph, name), getattr(given, name)[rows])
            super().__init__(network, train, valid, *rest)

    monkeypatch.setattr(tasks, "Training", Seen)
    monkeypatch.setattr(tasks, "WATCHED", 5)
    monkeypatch.setattr(os, "cpu_count", lambda: 1)
    networks.run(collection=collection, seeds=2, data=str(tmp_path), **TINY | {"pool": 7})
    assert seen[0] == seen[1] and [len(rows) for rows in seen[0]] == [7, 7, 5, 5]
    assert all(rows == sorted(set(rows)) for rows in seen[0]) and seen[0][0] != seen[0][1]
    table = scores.read(tmp_path / "gnn" / slug(collection) / "scores.parquet")
    assert set(table.group_by("graph", "seed").len()["len"]) == {12}


def test_what_shared_states_save_is_counted(tmp_path):
    """Ten equal pairs of configurations: no level can have more states than half of nodes x configurations."""
    graphs = made_up(LAYOUT, configurations=10)
    for split, members in graphs.items():
        for place, graph in enumerate(members):
            codes = np.repeat(graph.codes[:5], 2, axis=0)
            graphs[split][place] = replace(graph, codes=codes, packed=replace(graph.packed, codes=codes))
    write_data(tmp_path, LAYOUT, graphs)
    result = networks.run(collection=LAYOUT, seeds=1, data=str(tmp_path), **TINY | TINY_SEGMENTS | {"gst": "gst+e"})
    table = result.sharing
    assert table.columns == ["graph", "nodes", "configurations", "segments", "level 0", "level 1", "level 2"]
    assert table["segments"].to_list() == [3, 3] and result.segments["segments"].to_list() == [3, 3]
    levels = table.select(pl.col("^level .*$")).to_numpy()
    assert (levels > 0).all() and (levels <= 0.5).all()


class CutShort(Checkpoint):
    """A training process that is asked to leave at its seventh step."""

    steps = 0

    def after_step(self, training):
        CutShort.steps += 1
        if CutShort.steps == 7:
            self.ask()
        super().after_step(training)


def test_a_run_cut_short_goes_on_and_ends_with_the_same_bytes(tmp_path, monkeypatch):
    graphs = made_up(LAYOUT, nodes=14)
    knobs = TINY | TINY_SEGMENTS | {"gst": "gst+ef", "graphs": 1, "average": 0.5, "epochs": 3, "configurations": 4}
    for name in ("whole", "cut"):
        write_data(tmp_path / name, LAYOUT, graphs)
    networks.run(collection=LAYOUT, seeds=1, data=str(tmp_path / "whole"), **knobs)
    taken = []
    with monkeypatch.context() as patch:
        patch.setattr(tasks, "Checkpoint", CutShort)
        with pytest.raises(InputError, match="a process was killed.*lower gnn.configurations.*goes on where it was"):
            networks.run(collection=LAYOUT, seeds=1, data=str(tmp_path / "cut"), **knobs)
    assert CutShort.steps == 7 and len(leftovers(tmp_path / "cut")) == 1
    assert "scores.parquet" not in outputs(tmp_path / "cut", LAYOUT)
    restore = Checkpoint.restore
    monkeypatch.setattr(Checkpoint, "restore", lambda self, training: taken.append(restore(self, training)))
    networks.run(collection=LAYOUT, seeds=1, data=str(tmp_path / "cut"), **knobs)
    assert taken == [True] and not leftovers(tmp_path / "cut")
    assert outputs(tmp_path / "cut", LAYOUT) == outputs(tmp_path / "whole", LAYOUT)


@pytest.mark.parametrize("collection", [LAYOUT, TILE])
def test_graphs_with_nothing_to_rank_train_and_score(tmp_path, collection):
    """One configuration, or twenty of one run time, in every split."""
    one = replace(sample(collection, 1, configurations=1), id="one")
    equal = sample(collection, 2, configurations=20)
    equal = replace(equal, id="equal", target=np.full(20, 3.0))
    write_data(tmp_path, collection, {split: [one, equal] for split in SPLITS})
    result = networks.run(collection=collection, seeds=1, data=str(tmp_path), **TINY)
    assert result.curves["loss"].is_finite().all()
    assert scores.read(tmp_path / "gnn" / slug(collection) / "scores.parquet").height == 42


def test_graphs_whose_configurations_are_all_alike_train_and_score(tmp_path):
    """No node has two states then, so nothing is left to compute: every configuration gets the same score.

    But for the last digits, in which a matrix product's rows differ by where they stand.
    """
    alike = sample(LAYOUT, 1, choices=1, configurations=6)
    assert len(np.unique(alike.target)) > 1
    write_data(tmp_path, LAYOUT, {split: [alike] for split in SPLITS})
    knobs = TINY | TINY_SEGMENTS | {"gst": "gst+efd", "messages": "gatv2"}
    networks.run(collection=LAYOUT, seeds=1, data=str(tmp_path), **knobs)
    table = scores.read(tmp_path / "gnn" / slug(LAYOUT) / "scores.parquet")
    assert table.height == 12 and np.ptp(table["score"].to_numpy()) < 1e-6


def test_divergence_is_an_input_error_that_says_where(tmp_path):
    graph = sample(LAYOUT)
    graph = replace(graph, x=np.full_like(graph.x, np.nan))
    write_data(tmp_path, LAYOUT, {split: [graph] for split in SPLITS})
    with pytest.raises(InputError, match=r"^gnn, layout:xla:random: seed 0 diverged in epoch 1 .*learning_rate[^\n]*$"):
        networks.run(collection=LAYOUT, seeds=1, data=str(tmp_path), **TINY)
    assert not (tmp_path / "gnn" / "layout-xla-random" / "scores.parquet").exists()


BAD = [(name, least - 1) for name, least in LEAST.items()]

BAD += [(name, "another") for name in CHOICES]

BAD += [("width", 7), ("dropout", 1.0), ("dropout", -0.1), ("average", 1.0), ("average", -0.5)]

BAD += [("learning_rate", 0.0), ("weight_decay", -0.5), ("margin", -1.0), ("keep", 0.0), ("keep", 1.5)]

NUMBERS = ("learning_rate", "weight_decay", "margin", "keep", "dropout", "average")

BAD += [(name, value) for name in NUMBERS for value in (math.nan, math.inf)]


@pytest.mark.parametrize(("name", "value"), BAD, ids=lambda value: str(value))
def test_a_bad_parameter_is_named(tmp_path, name, value):
    with pytest.raises(InputError, match=rf"^params\.yaml, gnn\.{name}: is '?{value}'?; [^\n]*$"):
        networks.run(collection=LAYOUT, data=str(tmp_path), **TINY | {name: value})


def test_segments_cannot_be_read_out_by_a_maximum(tmp_path):
    with pytest.raises(InputError, match=r"gnn\.readout: is 'max'"):
        networks.run(collection=LAYOUT, data=str(tmp_path), **TINY | {"readout": "max", "gst": "gst"})


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_a_missing_cuda_device_is_an_input_error(tmp_path, monkeypatch):
    monkeypatch.setenv(engine.VARIABLE, '{"device": "cuda"}')
    with pytest.raises(InputError, match=r"engine\.device: is 'cuda', and torch finds no CUDA device"):
        networks.run(collection=LAYOUT, data=str(tmp_path), **TINY)


def test_no_train_graph_is_an_input_error(tmp_path):
    write_data(tmp_path, LAYOUT, {"valid": [sample(LAYOUT)]})
    with pytest.raises(InputError, match=r"manifest\.json: lists no train graph"):
        networks.run(collection=LAYOUT, data=str(tmp_path), **TINY)


def test_every_field_of_the_settings_is_a_parameter(tmp_path):
    """params.yaml hands its section on as it is."""
    with pytest.raises(InputError, match="^gnn.run: unknown parameter 'unknown'; its knobs are seeds, width, "):
        networks.run(collection=LAYOUT, data=str(tmp_path), unknown=1)
    assert {"data", "collection"}.isdisjoint(field.name for field in fields(Settings))
