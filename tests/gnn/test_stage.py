"""The gnn stage: what it writes, the same bytes every time, its errors, its report, and that it learns."""

import math
import os
from dataclasses import fields, replace

import numpy as np
import polars as pl
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from safetensors.torch import save

from stages.errors import InputError
from stages.gnn import layout_columns, report, run, stage
from stages.gnn.attention import attention
from stages.gnn.batch import join, prepare
from stages.gnn.checkpoint import Checkpoint
from stages.gnn.inference import predict
from stages.gnn.settings import CHOICES, LEAST, Settings
from stages.gnn.training import build, deterministic, fit, quality
from stages.graphs.collection import SPLITS, slug
from stages.graphs.dataset import model_graphs
from stages.scoring import scores
from stages.scoring.metrics import collection_score, graph_score
from tests.support import samples
from tests.support.graphs import LAYOUT, TILE, TINY, TINY_SEGMENTS, prepared, sample, write_data

# layouts


def test_inversions_of_known_layouts():
    rows = np.array([[3, 2, 1, 0, -1, -1], [0, 1, 2, 3, -1, -1], [1, 2, 0, -1, -1, -1], [-1] * 6], np.int8)
    assert layout_columns.inversions(rows).tolist() == [0, 6, 1, 0]


@given(hnp.arrays(np.int8, (7, 6), elements=st.integers(-1, 5)))
@settings(deadline=None, max_examples=50)
def test_inversions_equal_the_definition(rows):
    assert layout_columns.inversions(rows).tolist() == [samples.inversions(row) for row in rows]
    assert layout_columns.own_columns(rows)[:, 1].tolist() == [float(samples.inversions(row) > 0) for row in rows]


def test_every_layout_value_has_its_row_of_the_vocabulary():
    assert layout_columns.tokens(np.arange(-1, 6, dtype=np.int8)).tolist() == list(range(layout_columns.VOCABULARY))


# learning


def test_learns_the_sample_better_than_random():
    graphs = [sample(LAYOUT, seed, nodes=10, configurable=3, configurations=16) for seed in range(10)]
    chosen = Settings(**TINY | {"epochs": 12, "configurations": 16, "width": 16})
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
    chosen = Settings(**TINY | {"epochs": 12, "configurations": 24, "width": 16, "fusion": fusion})
    statics = prepared([sample(TILE, seed, configurations=24) for seed in range(10)], chosen)
    train, valid = statics[:7], statics[7:]
    with deterministic(0):
        network = build(TILE, train[0], chosen)
        fit(network, train, valid, chosen, TILE, 0)
    random = np.random.default_rng(0)
    worse = [graph_score(TILE, random.random(24), static.graph.target) for static in valid for _ in range(20)]
    assert collection_score(graph_score(TILE, predict(network, s), s.graph.target) for s in valid) > np.mean(worse)
    assert quality([predict(network, static) for static in valid], valid) > 0.9


# what it writes


def outputs(data, collection):
    folder = data / "gnn" / slug(collection)
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def leftovers(data):
    """Files below data/checkpoints: there are none after a run that ended."""
    return [path for path in (data / "checkpoints").rglob("*") if path.is_file()]


def made_up(collection, **sizes):
    return {split: [sample(collection, 10 * i + j, **sizes) for j in range(2)] for i, split in enumerate(SPLITS)}


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
        result = run(collection=collection, seeds=seeds, data=str(data), **TINY)
        found.append(outputs(data, collection))
        assert found[-1].keys() == names and not leftovers(data)
    assert found[0] == found[1]
    table = scores.read(data / "gnn" / slug(collection) / "scores.parquet")
    assert set(table["split"]) == {"valid", "test"} and set(table["member"]) == {"gnn"}
    assert table.height == seeds * sum(g.configurations for split in ("valid", "test") for g in graphs[split])
    by_seed = table.partition_by("seed")
    assert len(by_seed) == seeds and (seeds == 1 or not by_seed[0]["score"].equals(by_seed[1]["score"]))
    assert set(result["valid"]["graph"]) == {"graph_10", "graph_11"}
    assert result["collection"] == collection and result["settings"].width == TINY["width"]
    assert result["segments"].rows() == [(g.id, len(g.x), 1) for g in graphs["train"]]
    assert result["sharing"].height == (2 if collection == LAYOUT else 0)


@pytest.mark.parametrize("collection", [LAYOUT, TILE])
def test_training_sees_some_configurations_and_scores_are_of_all(tmp_path, monkeypatch, collection):
    """Those of a train graph that `pool` allows, those of a valid one that choose the epoch: always the same."""
    graphs, seen = made_up(collection, configurations=12), []
    write_data(tmp_path, collection, graphs)

    class Seen(stage.Training):
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

    monkeypatch.setattr(stage, "Training", Seen)
    monkeypatch.setattr(stage, "WATCHED", 5)
    monkeypatch.setattr(os, "cpu_count", lambda: 1)
    run(collection=collection, seeds=2, data=str(tmp_path), **TINY | {"pool": 7})
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
    result = run(collection=LAYOUT, seeds=1, data=str(tmp_path), **TINY | TINY_SEGMENTS | {"gst": "gst+e"})
    table = result["sharing"]
    assert table.columns == ["graph", "nodes", "configurations", "segments", "level 0", "level 1", "level 2"]
    assert table["segments"].to_list() == [3, 3] and result["segments"]["segments"].to_list() == [3, 3]
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
    run(collection=LAYOUT, seeds=1, data=str(tmp_path / "whole"), **knobs)
    taken = []
    with monkeypatch.context() as patch:
        patch.setattr(stage, "Checkpoint", CutShort)
        with pytest.raises(InputError, match="a process was killed.*lower gnn.configurations.*goes on where it was"):
            run(collection=LAYOUT, seeds=1, data=str(tmp_path / "cut"), **knobs)
    assert CutShort.steps == 7 and len(leftovers(tmp_path / "cut")) == 1
    assert "scores.parquet" not in outputs(tmp_path / "cut", LAYOUT)
    restore = Checkpoint.restore
    monkeypatch.setattr(Checkpoint, "restore", lambda self, training: taken.append(restore(self, training)))
    run(collection=LAYOUT, seeds=1, data=str(tmp_path / "cut"), **knobs)
    assert taken == [True] and not leftovers(tmp_path / "cut")
    assert outputs(tmp_path / "cut", LAYOUT) == outputs(tmp_path / "whole", LAYOUT)


@pytest.mark.parametrize("collection", [LAYOUT, TILE])
def test_graphs_with_nothing_to_rank_train_and_score(tmp_path, collection):
    """One configuration, or twenty of one run time, in every split."""
    one = replace(sample(collection, 1, configurations=1), id="one")
    equal = sample(collection, 2, configurations=20)
    equal = replace(equal, id="equal", target=np.full(20, 3.0))
    write_data(tmp_path, collection, {split: [one, equal] for split in SPLITS})
    result = run(collection=collection, seeds=1, data=str(tmp_path), **TINY)
    assert result["curves"]["loss"].is_finite().all()
    assert scores.read(tmp_path / "gnn" / slug(collection) / "scores.parquet").height == 42


def test_graphs_whose_configurations_are_all_alike_train_and_score(tmp_path):
    """No node has two states then, so nothing is left to compute: every configuration gets the same score."""
    alike = sample(LAYOUT, 1, choices=1, configurations=6)
    assert len(np.unique(alike.target)) > 1
    write_data(tmp_path, LAYOUT, {split: [alike] for split in SPLITS})
    knobs = TINY | TINY_SEGMENTS | {"gst": "gst+efd", "messages": "gatv2"}
    run(collection=LAYOUT, seeds=1, data=str(tmp_path), **knobs)
    table = scores.read(tmp_path / "gnn" / slug(LAYOUT) / "scores.parquet")
    assert table.height == 12 and table["score"].n_unique() == 1


# errors


def test_divergence_is_an_input_error_that_says_where(tmp_path):
    graph = sample(LAYOUT)
    graph = replace(graph, x=np.full_like(graph.x, np.nan))
    write_data(tmp_path, LAYOUT, {split: [graph] for split in SPLITS})
    with pytest.raises(InputError, match=r"^gnn, layout:xla:random: seed 0 diverged in epoch 1 .*learning_rate[^\n]*$"):
        run(collection=LAYOUT, seeds=1, data=str(tmp_path), **TINY)
    assert not (tmp_path / "gnn" / "layout-xla-random" / "scores.parquet").exists()


BAD = [(name, least - 1) for name, least in LEAST.items()]
BAD += [(name, "another") for name in CHOICES]
BAD += [("width", 7), ("dropout", 1.0), ("dropout", -0.1), ("average", 1.0), ("average", -0.5)]
BAD += [("learning_rate", 0.0), ("weight_decay", -0.5), ("margin", -1.0), ("keep", 0.0), ("keep", 1.5), ("seeds", 0)]
NUMBERS = ("learning_rate", "weight_decay", "margin", "keep", "dropout", "average")
BAD += [(name, value) for name in NUMBERS for value in (math.nan, math.inf)]


@pytest.mark.parametrize(("name", "value"), BAD, ids=lambda value: str(value))
def test_a_bad_parameter_is_named(tmp_path, name, value):
    with pytest.raises(InputError, match=rf"^params\.yaml, gnn\.{name}: is '?{value}'?; [^\n]*$"):
        run(collection=LAYOUT, data=str(tmp_path), **TINY | {name: value})


def test_segments_cannot_be_read_out_by_a_maximum(tmp_path):
    with pytest.raises(InputError, match=r"gnn\.readout: is 'max'"):
        run(collection=LAYOUT, data=str(tmp_path), **TINY | {"readout": "max", "gst": "gst"})


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_a_missing_cuda_device_is_an_input_error(tmp_path):
    with pytest.raises(InputError, match=r"gnn\.device: is 'cuda', and torch finds no CUDA device"):
        run(collection=LAYOUT, data=str(tmp_path), **TINY | {"device": "cuda"})


def test_no_train_graph_is_an_input_error(tmp_path):
    write_data(tmp_path, LAYOUT, {"valid": [sample(LAYOUT)]})
    with pytest.raises(InputError, match=r"manifest\.json: lists no train graph"):
        run(collection=LAYOUT, data=str(tmp_path), **TINY)


def test_every_field_of_the_settings_is_a_parameter(tmp_path):
    """params.yaml hands its section on as it is."""
    with pytest.raises(TypeError, match="unknown"):
        run(collection=LAYOUT, data=str(tmp_path), unknown=1)
    assert {"seeds", "data", "collection"}.isdisjoint(field.name for field in fields(Settings))


# report


def made_up_result(knobs=None, collection=LAYOUT, **columns) -> dict:
    curves = {
        "seed": [0, 0, 0, 1, 1, 1],
        "part": ["network"] * 6,
        "epoch": [1, 2, 3] * 2,
        "loss": [3.0, 2, 1, 3, 2, 2.5],
    }
    valid = {"graph": ["a", "b"], "nodes": [7, 8], "configurations": [9, 9], "mean": [0.1, 0.5], "sd": [0.25, 0.0]}
    frames = {
        "curves": pl.DataFrame(curves | {"valid": [0.5, 0.7, 0.6, 0.4, 0.4, 0.3]} | columns),
        "valid": pl.DataFrame(valid | {"all": [0.2, 0.6]}),
        "segments": pl.DataFrame({"graph": ["c", "d"], "nodes": [9, 2], "segments": [3, 1]}),
        "sharing": pl.DataFrame({"graph": ["a", "b"], "level 0": [0.5, 0.1], "level 1": [0.3, 0.5]}),
    }
    names = {"metric": "Kendall tau-b", "watched": "Kendall tau-b", "train": 2, "collection": collection}
    return frames | names | {"settings": Settings(**knobs or {})}


def test_report_counts_best_epochs_and_overfitted_trainings():
    """Seed 0: loss falls on after its best epoch; seed 1: it rises; of equal epochs the first is the best."""
    result = made_up_result()
    text = report.training(result)
    assert "2 of 3, 1 of 3" in text and "in 2 of 2 trainings" in text
    text = report.training(made_up_result(valid=[0.5, 0.7, 0.6, 0.3, 0.4, 0.3]))
    assert "2 of 3, 2 of 3" in text and "in 1 of 2 trainings" in text
    assert "**0.400**" in report.findings(result) and "+0.100" in report.findings(result)
    assert "`a` with 0.200 (7 nodes, 9 configurations" in report.findings(result)
    nothing = made_up_result(valid=[float("nan")] * 6)
    assert "last epoch" in report.training(nothing) and report.curves(nothing)


def test_epochs_of_the_head_are_counted_on_from_the_networks():
    parts = ["network", "network", "head"] * 2
    result = made_up_result(part=parts, epoch=[1, 2, 1] * 2, valid=[0.5, 0.6, 0.7, 0.4, 0.8, 0.3])
    assert "3 of 3, 2 of 3" in report.training(result)
    panel = report.curves(result).axes[1]
    drawn = {tuple(line.get_xdata()) for line in panel.get_lines()}
    assert {(1, 2), (3,)} <= drawn and (2,) in drawn  # networks, heads and best epochs


def test_introduction_says_what_the_parameters_make_of_the_network():
    def told(collection, **knobs):
        return report.introduction(made_up_result(knobs, collection))

    assert "compares the configurations" in told(LAYOUT)
    assert "compares the configurations" not in told(LAYOUT, cross_attention=False)
    assert "compares the configurations" not in told(TILE)
    assert "adds up a cost" in told(LAYOUT) and "maximum" in told(LAYOUT, readout="max")
    assert "late" in told(TILE) and "before the first layer" in told(TILE, fusion="early")
    assert "whole graphs" in told(LAYOUT)
    segments = told(LAYOUT, gst="gst+efd", segment_nodes=50, keep=0.25)
    assert "1 of 2 training graphs" in segments and "up to 3 segments of 50 nodes" in segments
    assert "table" in segments and "75%" in segments and "last layer" in segments
    assert "75%" not in told(LAYOUT, gst="gst+ef", keep=0.25) and "last layer" not in told(LAYOUT, gst="gst+ed")
    assert "table" not in told(LAYOUT, gst="gst")


def test_report_says_what_sharing_saves():
    text = report.sharing(made_up_result())
    assert "40%" in text and "between 30% and 50%" in text
    assert "Nothing is shared" in report.sharing(made_up_result() | {"sharing": pl.DataFrame()})


def test_the_gates_are_those_of_the_attention_by_hand(tmp_path):
    """The whole graph as one batch of a dense network, whose states need no looking up."""
    write_data(tmp_path, LAYOUT, {"train": [sample(LAYOUT)], "valid": [sample(LAYOUT, seed=1)]})
    (graph,) = model_graphs(tmp_path, LAYOUT, "valid")
    chosen = Settings(width=8, layers=2, dropout=0.0, gst="full")
    static = prepare(graph, chosen.view(LAYOUT))
    torch.manual_seed(0)
    network = build(LAYOUT, static, chosen).eval()
    found = attention(LAYOUT, chosen, save(dict(network.named_parameters())), static)
    assert found.height and found["place"].n_unique() == len(np.unique(graph.target))
    dense = prepare(graph, replace(chosen.view(LAYOUT), shared=False))
    batch = join([dense], [np.arange(graph.configurations)])
    seen = []
    network.blocks[-1].attention.register_forward_hook(lambda module, given, result: seen.append((given[0], given[1])))
    network.states(batch)
    x, layer = seen[0]
    gates = torch.zeros(len(x))
    for node in layer.node.unique():
        mine = layer.node == node
        share = torch.softmax(x[mine] / network.blocks[-1].attention.temperature, dim=0) * graph.configurations
        gates[mine] = (x[mine].abs() * share).sum(1) / x[mine].abs().sum(1)
    dense, shown = gates.detach().numpy(), found["gate"].to_numpy()
    assert np.abs(shown[:, None] - dense[None]).min(axis=1).max() < 1e-4
    assert shown.mean() == pytest.approx(1, abs=0.2) and shown.std() > 0.1


@pytest.mark.parametrize("knobs", [{"cross_attention": False}, {"layers": 0}])
def test_no_attention_is_shown_where_there_is_none(tmp_path, knobs):
    assert attention(LAYOUT, Settings(**knobs), b"", None).is_empty()
    result = {"attention": attention(LAYOUT, Settings(**knobs), b"", None)}
    assert report.attended(result) == "There is no attention across configurations to show."


def test_what_attention_passes_by_hand():
    table = pl.DataFrame(
        {
            "graph": ["g"] * 6,
            "node": [3, 3, 3, 5, 5, 5],
            "opcode": ["dot"] * 3 + ["add"] * 3,
            "place": [1.0, 2.0, 3.0] * 2,
            "gate": [1.5, 1.0, 0.5, 1.0, 1.0, 1.0],
        }
    )
    text = report.attended({"attention": table})
    assert "at 1 of 2 nodes, most at node 3, dot, from 0.50 to 1.50" in text
    assert "clearly passes more of the faster configurations" in text and "-1.00" in text
    image = report.attention_map({"attention": table}).axes[0].images[0]
    assert image.get_array().tolist() == [[1.5, 1.0, 0.5], [1.0, 1.0, 1.0]]
