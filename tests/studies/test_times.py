"""Where the time went: what is kept of a run, and what the page says of it."""

import json

import polars as pl
import pytest

from stages.engine import elapsed_times
from stages.engine.errors import InputError
from stages.reporting import figures
from stages.studies import times

ROWS = [
    {"variant": "gst+efd", "nodes": 10, "configurations": 8, "seconds": 0.5, "peak": 2**29},
    {"variant": "gst+efd", "nodes": 20, "configurations": 8, "seconds": 0.6, "peak": 2**29},
    {"variant": "dense", "nodes": 10, "configurations": 8, "seconds": 4.0, "peak": 2**31},
    {"variant": "dense", "nodes": 20, "configurations": 8, "fits": False},
    {"variant": "dense", "nodes": 20, "configurations": 2, "seconds": 5.0, "peak": 2**31},
]


def test_runs_are_read_in_the_pipelines_order_and_damaged_ones_left_out(tmp_path):
    elapsed_times.ran(tmp_path, "leaderboard", "leaderboard", None, 4.0, 3.0)
    elapsed_times.ran(tmp_path, "gnn-b", "gnn", "layout:nlp:random", 30.0, 50.0)
    elapsed_times.ran(tmp_path, "gnn-a", "gnn", "tile:xla", 10.0, 20.0)
    elapsed_times.ran(tmp_path, "tpu", "tpu", None, 99.0, 99.0)  # no stage of the pipeline
    (tmp_path / "times" / "blend.json").write_text("{")
    table = times.read(tmp_path / "times")
    assert table.rows() == [
        ("gnn", "tile:xla", 10.0, 20.0),
        ("gnn", "layout:nlp:random", 30.0, 50.0),
        ("leaderboard", "all", 4.0, 3.0),
    ]
    shown = times.by_collection(table)
    assert shown.columns == ["stage", "tile:xla", "layout:nlp:random", "all"]
    assert shown.rows() == [("gnn", "10 / 20", "30 / 50", None), ("leaderboard", None, None, "4 / 3")]
    text = times.spent(table)
    assert "3 stages took 44 seconds" in text and "73 processor seconds" in text
    assert "gnn took 91% of it" in text and "gnn of layout:nlp:random, 30 seconds" in text
    (panel,) = times.stage_bars(table).axes
    assert sorted(bar.get_width() for bar in panel.patches) == [4.0, 10.0, 30.0]


def test_without_a_run_it_says_so(tmp_path):
    assert times.read(tmp_path).is_empty() and "No stage has run" in times.spent(times.read(tmp_path))


def test_segments_by_hand(tmp_path):
    path = tmp_path / "benchmarks.json"
    path.write_text(json.dumps({"gst": {"rows": ROWS, "machine": {"cores": 2, "cpu": "some", "torch": "2"}}}))
    table = times.segments(path)
    assert table.height == 4  # what did not fit has no seconds
    assert times.grown(table) == (
        "A step of 8 configurations takes: whole graph, every node in every configuration 2.00 GiB and 4 s at 10 nodes "
        "and does not fit beyond; Graph Segment Training 0.50 GiB and 0.5 s at 10 and 0.50 GiB and 0.6 s at 20 nodes."
    )
    assert times.machine(path) == "Measured on 2 cores, some, torch 2."
    memory, _ = times.segment_lines(table).axes
    assert [text.get_text() for text in memory.texts] == ["only 2 fit"]
    assert figures.responsive(times.segment_lines, "lines", table).count("base64,") == 2


def test_no_measurements_are_an_input_error(tmp_path):
    with pytest.raises(InputError, match="run python -m benchmarks.gst"):
        times.segments(tmp_path / "none.json")
    assert isinstance(times.read(tmp_path), pl.DataFrame)
