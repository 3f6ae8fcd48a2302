"""The benchmark of a GPU, on the CPU, at sizes of seconds."""

import json
import math
import warnings

import numpy as np
import pytest
import torch

from benchmarks import gpu, gpu_hours, gpu_profile, gpu_winners, reference, synthesize
from stages.winners.training import needs
from tests.support import graphs


@pytest.mark.parametrize(
    "intervals, length",
    [([], 0), ([(1, 3)], 2), ([(4, 6), (1, 3)], 4), ([(1, 5), (2, 3), (4, 7)], 6), ([(1, 2), (2, 4), (2, 4)], 3)],
)
def test_busy_counts_what_overlaps_once(intervals, length):
    assert gpu_profile.busy(intervals) == length


def test_difference_of_scores():
    found = gpu.difference(np.array([0.0, 1.0, 2.0, 3.0]), np.array([0.0, 1.5, 1.25, 3.0]))
    assert found["largest_difference"] == 0.75
    assert found["spread"] == pytest.approx(math.sqrt(1.25))
    assert found["tau"] == pytest.approx(4 / 6)  # one pair of six the other way round


def test_hours_of_a_collection_by_hand():
    rates = gpu_hours.Rates(steps={1000.0: 1.0, 3000.0: 2.0}, scored=1000.0, inference=0.5, first=4.0)
    assert [rates.step(cells) for cells in (10, 1000, 2000, 6000)] == [1.0, 1.0, 1.5, 4.0]
    sizes = [
        synthesize.Size("layout:xla:random", split, "g", 0, configurable, configurations, 0)
        for split, configurable, configurations in (("train", 50, 9999), ("valid", 100, 500), ("test", 20, 1000))
    ]
    steps, training, scoring = gpu_hours.layout_hours(sizes, rates, epochs=10, configurations=8, watched=200)
    each = 2882 / 848
    assert steps == 10
    train = 10 * rates.step(each * 50 * 8) + 10 * 0.5 * each * 100 * 200 / 1000
    assert training == pytest.approx(train / 3600)
    assert scoring == pytest.approx(4.0 * each * (100 * 500 + 20 * 1000) / 1000 / 3600)


def test_rates_are_those_of_the_network_and_graph_and_need_a_step():
    row = {"part": "speed", "graph": "g", "network": "ours", "nodes": 10, "fits": True}
    rows = [
        row | {"work": "step", "configurations": 2, "seconds": 1.0},
        row | {"work": "step", "configurations": 9, "seconds": 9.0, "fits": False},
        row | {"work": "step", "configurations": 4, "seconds": 7.0, "graph": "other"},
        row | {"work": "inference", "configurations": 5, "seconds": 3.0},
    ]
    assert gpu_hours.rates(rows, "g", "ours") == gpu_hours.Rates({20: 1.0}, 50, 3.0, 3.0)
    assert gpu_hours.rates(rows, "g", "first place") is None


def test_memory_that_runs_out_halves_the_configurations(tmp_path):
    place = gpu.Place(gpu.QUICK, torch.device("cpu"), tmp_path)

    class Large:
        name = "large"

        def step(self, count):
            if count > 3:
                raise torch.OutOfMemoryError("CUDA out of memory")

        def infer(self, count):
            return np.arange(count)

    rows = list(gpu.one_network(place, Large(), {"part": "speed"}, total=12))
    tried = [(row["configurations"], row["fits"]) for row in rows if row.get("work") == "step" and "fits" in row]
    assert tried == [(4, False), (2, True), (12, False), (6, False), (3, True)]


def test_an_error_of_another_kind_is_no_lack_of_memory(tmp_path):
    def fails():
        raise RuntimeError("not implemented for 'SparseCsrCUDA'")

    with pytest.raises(RuntimeError, match="SparseCsrCUDA"):
        gpu.Place(gpu.QUICK, torch.device("cpu"), tmp_path).attempt(fails)


def test_what_fails_is_a_row_and_what_was_measured_stays(tmp_path, monkeypatch):
    def fails(place):
        yield {"part": "speed", "work": "first"}
        raise RuntimeError("no such operation\nand its trace")

    def lasts(place):
        yield {"part": "speed", "work": "second"}

    monkeypatch.setattr(gpu, "PARTS", (fails, lasts))
    with pytest.raises(SystemExit, match="error"):
        gpu.main(["--quick", "--out", str(tmp_path / "gpu.json")])
    rows = json.loads((tmp_path / "gpu.json").read_text())["gpu"]["rows"]
    assert [row.get("work") for row in rows] == ["first", None, "second"]
    assert rows[1] == {"part": "fails", "error": "RuntimeError: no such operation"}


def test_a_run_that_is_cut_short_keeps_its_rows(tmp_path, monkeypatch):
    def cut(place):
        yield {"part": "speed", "work": "first"}
        raise KeyboardInterrupt

    monkeypatch.setattr(gpu, "PARTS", (cut,))
    with pytest.raises(KeyboardInterrupt):
        gpu.main(["--quick", "--out", str(tmp_path / "gpu.json")])
    assert len(json.loads((tmp_path / "gpu.json").read_text())["gpu"]["rows"]) == 1


def test_all_parts_on_the_cpu(tmp_path, monkeypatch, capfd):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.delenv("TPUGRAPHS_DIR", raising=False)
    gpu.main(["--quick", "--out", str(tmp_path / "gpu.json")])
    assert "unet3d: left out" in capfd.readouterr().err
    rows = json.loads((tmp_path / "gpu.json").read_text())["gpu"]["rows"]
    parts = {name: [row for row in rows if row["part"] == name] for name in {row["part"] for row in rows}}
    assert parts.keys() == {"agreement", "training", "speed", "precision", "profile", "full run"}
    assert all(row["largest_difference"] == 0 and row["tau"] == pytest.approx(1) for row in parts["agreement"])
    for row in parts["training"]:  # the stage's own step is the one that is written out here
        assert row["device"] == pytest.approx(row["cpu"], abs=1e-6)
        assert row["staged"] == pytest.approx(row["cpu"], abs=1e-6)
    assert {(row["graph"], row["network"]) for row in parts["speed"]} == {
        *((graph, network) for graph in ("pruned", "whole") for network in ("ours", "first place")),
        ("kernel", "ours"),
    }


def test_the_winners_networks_alone_keep_the_other_rows(tmp_path, monkeypatch):
    out = tmp_path / "gpu.json"
    out.write_text(json.dumps({"gpu": {"rows": [1]}}))
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(gpu_winners, "NAMES", ("official-baseline", "gst-paper"))
    gpu_winners.main(["--quick", "--out", str(out)])
    content = json.loads(out.read_text())
    assert content["gpu"] == {"rows": [1]}
    networks = {}
    for row in content["winners"]["rows"]:
        networks.setdefault(row["network"], []).append(row["work"])
    assert networks == {
        name: ["step", "step", "inference", "inference", "agreement"]
        for name in ("official tile", "official layout", "gst-paper")
    }
    assert all(row.get("largest_difference", 0) == 0 for row in content["winners"]["rows"])
    _, lines = needs.gpu_rates(out)
    assert lines.keys() == networks.keys() and all(step(1000) > 0 for step, _ in lines.values())


def test_a_network_that_fails_is_a_row(tmp_path, monkeypatch):
    def fails(*_):
        raise RuntimeError("no such operation\nand its trace")

    monkeypatch.setattr(gpu_winners, "graph", fails)
    place = gpu.Place(gpu.QUICK, torch.device("cpu"), tmp_path)
    rows = list(gpu_winners.rows(place))
    networks = [row["network"] for row in rows]
    assert {"first-place tile", "third-place tile"} <= set(networks) and len(set(networks)) == len(networks)
    assert {row["error"] for row in rows} == {"RuntimeError: no such operation"}


def test_the_reference_scores_the_configurations_it_is_asked_for():
    graph = graphs.sample("layout:xla:default", configurations=6)
    *_, triples = reference.Inputs(graph)(np.array([4, 1]))
    np.testing.assert_array_equal(triples.numpy(), graph.triples[graph.codes[[4, 1]]])


def test_waits_are_counted_by_the_line_that_waits(monkeypatch):
    modes = []
    monkeypatch.setattr(torch.cuda, "set_sync_debug_mode", modes.append)

    def call():
        for _ in range(3):
            warnings.warn("called a synchronizing CUDA operation", stacklevel=1)
        warnings.warn("something else", stacklevel=1)

    line = call.__code__.co_firstlineno + 2
    assert gpu_profile.waits(call) == {f"tests/benchmarks/test_gpu.py:{line}": 3}
    assert modes == ["warn", "default"]
