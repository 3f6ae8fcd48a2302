"""How fast a collection went."""

import polars as pl

from stages.collect.tpu_data.speed import table
from stages.collect.tpu_data.store import Store


def test_rates_are_those_of_all_graphs_of_a_band(tmp_path):
    store = Store(tmp_path)
    store.time("program", "p", 0, 1, 1, 40.0)
    store.time("random", "p", 500, 100, 120, 30.0)
    store.time("default", "p", 700, 50, 60, 60.0)
    store.time("random", "q", 7000, 100, 110, 600.0)
    store.time("kernel", "k", 0, 30, 40, 60.0)
    store.time("kernel", "l", 0, 10, 20, 60.0)
    lines = table(pl.read_ndjson(tmp_path / "speed.jsonl"))
    assert "| 400 to 800 | 2 | 100.0 | 120.0 |" in lines
    assert "| 5000 to 7000 | 1 | 10.0 | 11.0 |" in lines
    assert "2 kernels: 1.0 a minute, 30.0 windows a minute" in lines
    assert "1 programs compiled for the first time: 40 s each" in lines
    assert lines[-1] == f"{850 / 3600:.2f} hours of one worker in all"
