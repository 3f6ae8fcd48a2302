"""The example: what is kept of it, the copy that is marked, and faults."""

from dataclasses import astuple

import numpy as np
import pytest

from stages.configuration import report
from stages.configuration import stage as configuration
from stages.engine.errors import InputError
from stages.graphs import dataset
from stages.prune import stage as prune
from stages.statistics.columns import statistics
from tests.support.programs import LAYOUT, run_configuration


def test_the_drawing_is_of_what_the_prune_stage_kept(made):
    example = run_configuration(made, program="train_2")
    (packed,) = (graph for graph in dataset.graphs(made / "data", LAYOUT, "train") if graph.id == "train_2")
    assert example.kept.sum() == packed.nodes < len(example.kept) == 30
    assert len(example.kept_edges) == len(packed.edge_index)
    edges = set(map(tuple, example.edges.tolist()))
    assert {tuple(edge) for edge in example.kept_edges.tolist()} <= edges
    assert example.kept[example.configurable].all() and len(example.configurable) == 6
    assert example.runtime[example.fastest] == packed.runtime.min()
    assert example.runtime[example.slowest] == packed.runtime.max()


def test_the_drawing_follows_the_direction_that_was_pruned_in(made, tmp_path):
    (tmp_path / "npz_all").symlink_to(made / "npz_all")
    prune.run(collection=LAYOUT, root=str(made / "npz_all"), data=str(tmp_path / "data"), hops=2, direction="consumers")
    example = run_configuration(tmp_path, program="train_2")
    (packed,) = (graph for graph in dataset.graphs(tmp_path / "data", LAYOUT, "train") if graph.id == "train_2")
    assert example.kept.sum() == packed.nodes < run_configuration(made, program="train_2").kept.sum()


def test_the_copy_is_one_that_the_statistics_count_in_the_slowest_and_not_in_the_fastest(made):
    shown = [run_configuration(made, program=graph.id) for graph in dataset.graphs(made / "data", LAYOUT, "train")]
    packed = dataset.graphs(made / "data", LAYOUT, "train")
    for example, graph in zip(shown, packed, strict=True):
        if example.copy is not None:
            consumer, producer, size, slot = astuple(example.copy)
            names, values = statistics(graph, np.array([example.slowest]))
            between = values[0, names.index("copies_direct_bytes")] + values[0, names.index("copies_indirect_bytes")]
            assert 0 < size <= between and slot in (1, 2)
            assert {consumer, producer} <= set(example.configurable.tolist())
            assert f"so {size:,} bytes are copied" in report.pruned(example)
    assert any(example.copy for example in shown)
    assert run_configuration(made).copy is not None  # of the smallest the one that has a copy


def test_layouts_as_xla_writes_them():
    layouts = np.full((1, 1, 18), -1, np.int8)
    layouts[0, 0, :2], layouts[0, 0, 6:9] = (1, 0), (2, 0, 1)
    assert configuration._layout_texts(layouts).tolist() == [[["{1,0}", "{2,0,1}", "–"]]]


def test_faults_are_named(made):
    with pytest.raises(InputError, match="configuration.program: 'lost' is no train graph"):
        run_configuration(made, program="lost")
