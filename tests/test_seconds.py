import pytest

from stages import gbdt, gnn, seconds
from stages.collection import slug
from tests.graphs import LAYOUT, TINY, sample, write_data

KNOBS = {"gnn": TINY | {"seeds": 2, "layers": 1}, "gbdt": {"seeds": 1, "trees": 3, "objectives": ["ridge", "pairwise"]}}


@pytest.fixture
def data(tmp_path):
    """Graphs of one collection, as the stages find them."""
    graphs = {split: [sample(LAYOUT, seed) for seed in (0, 1)] for split in ("train", "valid", "test")}
    write_data(tmp_path, LAYOUT, graphs)
    return tmp_path


@pytest.mark.parametrize("stage", [gnn, gbdt], ids=["gnn", "gbdt"])
def test_a_stage_says_how_long_its_training_took(data, stage):
    name = stage.__name__.removeprefix("stages.")
    assert seconds.read(data, name, LAYOUT) is None
    stage.run(collection=LAYOUT, data=str(data), **KNOBS[name])
    first = seconds.read(data, name, LAYOUT)
    assert 0 < first < 600


def test_seconds_of_other_scores_do_not_count(tmp_path):
    scores = tmp_path / "gnn" / slug(LAYOUT) / "scores.parquet"
    scores.parent.mkdir(parents=True)
    scores.write_bytes(b"one")
    seconds.write(tmp_path, "gnn", LAYOUT, 12.3456)
    assert seconds.read(tmp_path, "gnn", LAYOUT) == 12.346
    scores.write_bytes(b"other")
    assert seconds.read(tmp_path, "gnn", LAYOUT) is None
    scores.write_bytes(b"one")
    seconds.file(tmp_path, "gnn", LAYOUT).write_text("{")
    assert seconds.read(tmp_path, "gnn", LAYOUT) is None
