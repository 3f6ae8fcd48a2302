"""Hours and memory before a run, by hand-computed rates; and graphs packed as a solution wants them."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from stages.engine.errors import InputError
from stages.graphs.collection import folder
from stages.winners import gst_paper
from stages.winners.parts import Pruning, Training
from stages.winners.training import graphs, needs
from stages.winners.training.drawing import Plan
from stages.winners.training.graphs import Size, Source
from stages.winners.training.needs import Line, Need, Rates, Work
from tests.support import samples
from tests.support.packing import packed

CPU = torch.device("cpu")
LAYOUT = "layout:xla:random"


def test_a_line_goes_through_two_graphs_and_never_falls():
    assert needs.line([(100, 3.0), (300, 7.0)]) == Line(1.0, 0.02)
    assert needs.line([(100, 3.0), (300, 2.0)]) == Line(3.0, 0.0)
    assert needs.line([(100, 3.0), (100, 3.0)]) == Line(3.0, 0.0)
    assert needs.line([(100, 1.0), (300, 9.0)]) == Line(0.0, 0.04)  # no step takes less than nothing


def test_hours_are_those_of_steps_looks_and_scores():
    settings = Training(epochs=4, evaluate=2, configurations=10, chunk=5)
    train = [Size("train", "a", 20, 100), Size("train", "b", 40, 4)]
    others = [Size("valid", "c", 10, 12)]
    work = Work([(train, 1, 10)], others, others, apart=True)
    rates = Rates(Line(1.0, 0.01), Line(0.5, 0.1), kept=8.0, widest=4.0, parameters=1000)
    plan = Plan(needs.pools(work), settings, 0)
    found = needs.need("m", 3, plan, work, settings, 1.0, rates, (Line(0.0, 0.0), Line(0.0, 0.0)), CPU)
    step = ((1 + 0.01 * 200) + (1 + 0.01 * 160)) / 2  # 20 nodes x 10, 40 x the 4 that it has
    score = 2 * (0.5 + 0.1 * 50) + (0.5 + 0.1 * 20)  # 12 configurations in pieces of 5
    assert plan.steps == 8 and found.step == pytest.approx(step)
    assert found.hours == pytest.approx(3 * (8 * step + 4 * score + score) / 3600)
    assert found.gpu_hours == 0
    assert found.memory == pytest.approx(
        needs.BASE + 60 * 4 * 200 + 4 * 5 * 1000 + max(needs.WORKING * 8 * 200, needs.ALIVE * 4 * 50)
    )


def test_a_graph_in_segments_counts_one_of_them():
    assert needs.cells(gst_paper.Settings(segment_nodes=1000), 2500, 4) == 2500 * 4 / 3
    assert needs.cells(Training(), 2500, 4) == 10_000


def test_what_does_not_fit_is_refused_in_a_line():
    need = Need("layout-xla-random", 2, 10, 5, 1.0, 3.0, None, 8 * needs.GIB)
    needs.check([need], 9 * needs.GIB, 3.0, None)
    with pytest.raises(InputError, match=r"layout-xla-random: needs 8\.0 GiB of memory, and 4\.0 are free; take a"):
        needs.check([need], 4 * needs.GIB, 3.0, None)
    with pytest.raises(InputError, match=r"hours: the run needs about 3\.0, and --hours gives 2; give it more"):
        needs.check([need], 9 * needs.GIB, 3.0, 2.0)


def test_rates_of_a_gpu_are_read_where_they_are(tmp_path):
    assert needs.gpu_rates(tmp_path / "gpu.json") == (None, {})
    row = {"part": "winners", "network": "n", "fits": True}
    rows = [row | {"work": work, "cells": 10, "seconds": 2.0} for work in ("step", "inference")]
    rows += [row | {"network": "half", "work": "step", "cells": 1, "seconds": 1.0}, row | {"fits": False}]
    (tmp_path / "gpu.json").write_text(json.dumps({"winners": {"device": {"name": "a GPU"}, "rows": rows}}))
    assert needs.gpu_rates(tmp_path / "gpu.json") == ("a GPU", {"n": (Line(2.0, 0.0), Line(2.0, 0.0))})


def test_bytes_for_the_backward_pass_are_counted_once_and_without_weights():
    network = torch.nn.Linear(3, 5)
    x = torch.ones(7, 3, requires_grad=True)
    with needs._Kept(network) as held:
        network(x).relu().sum()
    assert held.total == 4 * (7 * 3 + 7 * 5) and held.largest == 4 * 7 * 5


@pytest.fixture
def root(tmp_path):
    root = samples.write_root(tmp_path, {"train": 1, "valid": 1, "test": 1})
    arrays = samples.layout_arrays(seed=1)
    arrays["node_config_feat"][3] = arrays["node_config_feat"][0]
    samples.save(folder(root, LAYOUT, "train") / "train_0.npz", arrays)
    return root


def test_a_solution_keeps_equal_configurations_or_does_not(root, tmp_path):
    for way, count in ((Pruning(), 8), (Pruning(duplicates="first"), 7)):
        source = Source(root, LAYOUT, way, tmp_path / "packed")
        source.pack()
        (graph,) = graphs.read(source, "train")
        assert (graph.split, graph.configurations, graph.nodes) == ("train", count, 12)


def test_sizes_are_known_before_packing(root, tmp_path):
    source = Source(root, LAYOUT, Pruning(hops=1, duplicates="first"), tmp_path / "packed")
    sizes = source.survey()
    one = source.one(sizes[0])
    assert [size.split for size in sizes] == ["train", "valid", "test"] and one.nodes == sizes[0].nodes
    source.pack()
    for size in sizes:
        (graph,) = graphs.read(source, size.split)
        assert (size.id, size.nodes) == (graph.id, graph.nodes)
    assert sizes[0].configurations == 8


def test_graphs_are_cut_to_paths_when_they_are_read(root, tmp_path):
    whole, cut = (Source(root, LAYOUT, Pruning(paths=paths), tmp_path / "packed") for paths in (False, True))
    sizes = cut.survey()
    assert cut.one(sizes[0]).nodes == sizes[0].nodes < whole.survey()[0].nodes
    assert whole.data == cut.pack()  # the same files
    for size in sizes:
        (small,), (large,) = graphs.read(cut, size.split), graphs.read(whole, size.split)
        assert small.nodes == size.nodes and small.nodes <= large.nodes
        assert len(small.edge_index) < small.nodes and small.edge_index.max(initial=0) < small.nodes
        np.testing.assert_array_equal(small.layouts(), large.layouts())


def test_a_changed_file_is_packed_again_and_has_another_identity(root, tmp_path):
    source = Source(root, LAYOUT, Pruning(), tmp_path / "packed")
    source.pack()
    before = source.identity()
    source.pack()
    assert source.identity() == before
    samples.save(folder(root, LAYOUT, "train") / "train_0.npz", samples.layout_arrays(seed=2))
    source.pack()
    assert source.identity() != before


def test_a_third_of_the_fastest_a_third_of_the_slowest_the_rest_drawn():
    graph = packed(samples.layout_arrays(configurations=40))
    taken = graphs.thirds(graph, 12)
    order = np.argsort(graph.runtime, kind="stable")
    assert taken.configurations == 12 and set(order[:4]) | set(order[-4:]) <= set(taken.config_index.tolist())
    np.testing.assert_array_equal(taken.layouts(), graph.layouts(taken.config_index))
    assert graphs.thirds(graph, 40) is graph
    drawn = graphs.drawn(graph, 5)
    assert drawn.configurations == 5
    np.testing.assert_array_equal(drawn.runtime, graph.runtime[drawn.config_index])
    assert graphs.drawn(replace(graph), 5).config_index.tolist() == drawn.config_index.tolist()
