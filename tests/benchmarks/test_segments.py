"""The benchmark of Graph Segment Training on whole programs, on a tiny sample."""

import polars as pl
import pytest
import yaml

from benchmarks import ablate, segments
from tests.benchmarks import test_ablate
from tests.support import samples

COLLECTION = "layout:nlp:random"


@pytest.fixture
def project(tmp_path, monkeypatch):
    samples.write_root(tmp_path / "sample")
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(test_ablate.PARAMS, sort_keys=False))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(segments, "in_child", lambda function, *arguments: function(*arguments))
    monkeypatch.setitem(segments.PAPER, "segment_nodes", 5)
    test_ablate.forget()
    yield tmp_path
    test_ablate.forget()


def test_rows_of_whole_programs_and_none_measured_twice(project, monkeypatch):
    made, trained = [], []
    make, train = ablate.make, segments.train
    monkeypatch.setattr(ablate, "make", lambda *given: made.append(given[1:]) or make(*given))
    monkeypatch.setattr(segments, "train", lambda *given: trained.append(given[2:4]) or train(*given))
    table = segments.run([COLLECTION], ["whole graphs", "gst+efd"], 2)
    assert table["variant"].to_list() == ["gst+efd", "gst+efd", "whole graphs", "whole graphs"]
    assert table.select(pl.col("valid", "test").is_between(-1, 1).all()).row(0) == (True, True)
    assert len(trained) == 4 and all(changed["prune"] == {"hops": "all"} for _, changed in made)
    again = segments.run([COLLECTION], ["whole graphs", "gst+efd"], 3)
    assert len(trained) == 6 and again.filter(pl.col("seed") < 2).equals(table)
    parameters = yaml.safe_load((project / "params.yaml").read_text())
    parameters["gnn"]["width"] *= 2
    (project / "params.yaml").write_text(yaml.safe_dump(parameters))
    test_ablate.forget()
    segments.run([COLLECTION], ["gst+efd"], 1)
    assert len(trained) == 7


def test_the_summary_is_of_the_collections_mean_by_seed():
    rows = [
        ("gst", "a", 0, 0.1, 0.3, 5, 2.0, 10, ""),
        ("gst", "b", 0, 0.3, 0.5, 5, 4.0, 30, ""),
        ("gst", "a", 1, 0.4, 0.4, 5, 2.0, 20, ""),
        ("gst", "b", 1, 0.4, 0.4, 5, 4.0, 20, ""),
        ("whole graphs", "a", 0, 0.5, 0.6, 5, 1.0, 99, ""),
    ]
    table = pl.DataFrame(rows, schema=segments.SCHEMA, orient="row")
    whole, gst = segments.summary(table).to_dicts()
    assert whole["variant"] == "whole graphs" and whole["test sd"] is None
    assert (gst["valid"], gst["test"], gst["seconds"], gst["peak"]) == (pytest.approx(0.3), pytest.approx(0.4), 3, 30)
    assert gst["valid sd"] == pytest.approx(2**0.5 / 10) and gst["test sd"] == pytest.approx(0)
