import os

import pytest

from stages import gbdt, gnn
from stages.engine import elapsed_times
from stages.graphs.collection import slug
from tests.support.graphs import LAYOUT, TINY, sample, write_data

KNOBS = {"gnn": TINY | {"seeds": 2, "layers": 1}, "gbdt": {"seeds": 1, "trees": 3, "objectives": ["ridge", "pairwise"]}}


def scored(data, content):
    """Scores of a training below a data folder."""
    file = data / "gnn" / slug(LAYOUT) / "scores.parquet"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(content)
    return data


@pytest.mark.parametrize("stage", [gnn, gbdt], ids=["gnn", "gbdt"])
def test_a_stage_says_how_long_its_training_took(tmp_path, monkeypatch, stage):
    monkeypatch.setattr(os, "cpu_count", lambda: 1)  # all in this process
    write_data(
        tmp_path, LAYOUT, {split: [sample(LAYOUT, seed) for seed in (0, 1)] for split in ("train", "valid", "test")}
    )
    name = stage.__name__.removeprefix("stages.")
    stage.run(collection=LAYOUT, knobs=KNOBS[name], data=str(tmp_path))
    assert 0 < elapsed_times.read(tmp_path, name, LAYOUT) < 600


def test_seconds_are_those_of_the_scores(tmp_path):
    elapsed_times.write(scored(tmp_path, b"one"), "gnn", LAYOUT, 12.3456)
    assert elapsed_times.read(scored(tmp_path, b"other"), "gnn", LAYOUT) is None
    elapsed_times.write(tmp_path, "gnn", LAYOUT, 3)
    assert elapsed_times.read(scored(tmp_path, b"one"), "gnn", LAYOUT) == 12.346
    assert elapsed_times.read(scored(tmp_path, b"other"), "gnn", LAYOUT) == 3


def test_what_was_measured_elsewhere_is_added(tmp_path):
    here, there = (scored(tmp_path / name, b"one") for name in ("here", "there"))
    elapsed_times.write(there, "gnn", LAYOUT, 2)
    elapsed_times.write(scored(here, b"other"), "gnn", LAYOUT, 5)
    elapsed_times.merge(there, here)
    assert [elapsed_times.read(scored(here, content), "gnn", LAYOUT) for content in (b"one", b"other")] == [2, 5]
    elapsed_times.merge(tmp_path / "nowhere", here)


def test_a_damaged_file_is_nothing_measured(tmp_path):
    elapsed_times.write(scored(tmp_path, b"one"), "gnn", LAYOUT, 2)
    (file,) = (tmp_path / "seconds").iterdir()
    file.write_text("{")
    assert elapsed_times.read(tmp_path, "gnn", LAYOUT) is None
