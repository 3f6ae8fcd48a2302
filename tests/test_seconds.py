import pytest

from stages import gbdt, gnn, seconds
from stages.collection import slug
from tests.graphs import LAYOUT, TINY, sample, write_data

KNOBS = {"gnn": TINY | {"seeds": 2, "layers": 1}, "gbdt": {"seeds": 1, "trees": 3, "objectives": ["ridge", "pairwise"]}}


def scored(data, content):
    """Scores of a training below a data folder."""
    file = data / "gnn" / slug(LAYOUT) / "scores.parquet"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(content)
    return data


@pytest.mark.parametrize("stage", [gnn, gbdt], ids=["gnn", "gbdt"])
def test_a_stage_says_how_long_its_training_took(tmp_path, stage):
    write_data(
        tmp_path, LAYOUT, {split: [sample(LAYOUT, seed) for seed in (0, 1)] for split in ("train", "valid", "test")}
    )
    name = stage.__name__.removeprefix("stages.")
    stage.run(collection=LAYOUT, data=str(tmp_path), **KNOBS[name])
    assert 0 < seconds.read(tmp_path, name, LAYOUT) < 600


def test_seconds_are_those_of_the_scores(tmp_path):
    seconds.write(scored(tmp_path, b"one"), "gnn", LAYOUT, 12.3456)
    assert seconds.read(scored(tmp_path, b"other"), "gnn", LAYOUT) is None
    seconds.write(tmp_path, "gnn", LAYOUT, 3)
    assert seconds.read(scored(tmp_path, b"one"), "gnn", LAYOUT) == 12.346
    assert seconds.read(scored(tmp_path, b"other"), "gnn", LAYOUT) == 3


def test_what_was_measured_elsewhere_is_added(tmp_path):
    here, there = (scored(tmp_path / name, b"one") for name in ("here", "there"))
    seconds.write(there, "gnn", LAYOUT, 2)
    seconds.write(scored(here, b"other"), "gnn", LAYOUT, 5)
    seconds.merge(there, here)
    assert [seconds.read(scored(here, content), "gnn", LAYOUT) for content in (b"one", b"other")] == [2, 5]
    seconds.merge(tmp_path / "nowhere", here)


def test_a_damaged_file_is_nothing_measured(tmp_path):
    seconds.write(scored(tmp_path, b"one"), "gnn", LAYOUT, 2)
    (file,) = (tmp_path / "seconds").iterdir()
    file.write_text("{")
    assert seconds.read(tmp_path, "gnn", LAYOUT) is None
