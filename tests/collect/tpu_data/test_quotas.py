"""What a data set must have, read from its files."""

import numpy as np
import polars as pl
import pytest

from stages.collect.tpu_data import quotas
from stages.collect.tpu_data.export import export
from stages.collect.tpu_data.store import Store
from stages.engine.errors import InputError
from tests.support import tpu_records as made


@pytest.fixture
def sample(tmp_path):
    store, kernel = Store(tmp_path / "records"), made.kernel("a kernel")
    for name in (made.TRAIN, made.VALID, made.TEST):
        made.write_program(store, name, (kernel,) if name == made.TEST else ())
        made.write_layouts(store, name, made.spread(36))
    made.write_kernel(store, kernel, np.linspace(100, 800, 14))
    export(store, tmp_path / "sample")
    return tmp_path / "sample"


def test_each_quota_is_held_against_the_files(sample):
    report = quotas.report_of(sample)
    assert not report.good
    assert "NOT MET layout:xla:random: 3 programs (at least 60)" in report.lines
    assert "NOT MET layout:xla:random: 3 families (at least 20)" in report.lines
    assert "NOT MET layout:xla:random: 4 to 4 nodes (200 to 9000)" in report.lines
    assert "met     layout:xla:random: 1 training steps (a third)" in report.lines
    assert "NOT MET layout:xla:random: 3 graphs of fewer than 100 distinct configurations" in report.lines
    assert "met     layout:xla:random: 0 graphs of too few costs, or too near ones" in report.lines
    assert "met     layout:xla:random: run times are hidden in test, and only there" in report.lines
    assert "NOT MET layout:xla:random train: 1 graphs, 33% (about 70%)" in report.lines
    assert "NOT MET layout:xla:random test: 1 unseen (siblings and unseen)" in report.lines
    assert "NOT MET tile:xla: 1 kernels (at least 500)" in report.lines
    assert "met     tile:xla: 14.0 windows on average (12)" in report.lines
    assert "NOT MET 0 layout graphs of 1000 configurations (at least 8)" in report.lines
    assert report.lines[-1] == "met     0.0 MB (at most 40)"


def test_times_of_test_graphs_are_read_from_the_solution(sample):
    (graph,) = [each for each in quotas.graphs_of(sample, "layout:xla:random") if each.split == "test"]
    assert (graph.configurations, graph.distinct, graph.spread, graph.blank) == (36, 36, 2.0, True)


def test_a_test_graph_without_a_solution_is_a_fault(sample):
    table = pl.read_csv(sample / "solution.csv")
    table.filter(~pl.col("ID").str.contains("random")).write_csv(sample / "solution.csv")
    with pytest.raises(InputError, match=f"no run times of {made.TEST}"):
        quotas.report_of(sample)


def test_configurations_that_stand_twice_count_once(tmp_path):
    store = Store(tmp_path / "records")
    made.write_program(store, made.TRAIN)
    made.write_layouts(store, made.TRAIN, made.spread(40))  # the hand-made rows repeat after 36
    export(store, tmp_path / "sample")
    (graph,) = quotas.graphs_of(tmp_path / "sample", "layout:xla:random")
    assert (graph.configurations, graph.distinct) == (36, 40)


def test_a_folder_without_a_data_set_is_named(tmp_path):
    with pytest.raises(InputError, match="programs.csv: not there"):
        quotas.report_of(tmp_path)
