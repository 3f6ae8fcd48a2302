"""The submission's format: what is written, and everything that is refused."""

import os
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from stages.engine.errors import InputError
from stages.scoring import submission

LAYOUT, TILE, SMALL = "layout:xla:random:bert", "tile:xla:dot", "tile:xla:few"
EXPECTED = {LAYOUT: 4, TILE: 9, SMALL: 2}


def sound(**changes):
    return dict({LAYOUT: [2, 0, 3, 1], TILE: [8, 0, 4, 2, 1], SMALL: [1, 0]}, **changes)


def test_rows_list_the_fastest_first_with_ties_by_index():
    assert submission.row("layout:xla:random", "bert", np.array([2.0, 0.5, 2.0, 0.1])) == (LAYOUT, [3, 1, 0, 2])
    assert submission.row("tile:xla", "dot", np.arange(9)[::-1]) == (TILE, [8, 7, 6, 5, 4])
    assert submission.row("tile:xla", "few", np.array([1.0, 1.0])) == (SMALL, [0, 1])


def test_written_text_is_the_competitions_in_the_order_of_collections_and_graphs(tmp_path):
    path = tmp_path / "new" / "submission.csv"
    expected = EXPECTED | {"layout:nlp:default:a": 1, "layout:xla:random:alpha": 2}
    rows = sound(**{"layout:nlp:default:a": [0], "layout:xla:random:alpha": [1, 0]})
    submission.write(reversed(rows.items()), expected, path)
    assert path.read_bytes().decode() == (
        "ID,TopConfigs\n"
        "tile:xla:dot,8;0;4;2;1\n"
        "tile:xla:few,1;0\n"
        "layout:xla:random:alpha,1;0\n"
        "layout:xla:random:bert,2;0;3;1\n"
        "layout:nlp:default:a,0\n"
    )
    assert dict(submission.read(path)) == rows
    assert os.listdir(path.parent) == ["submission.csv"]


@pytest.mark.parametrize(
    ("rows", "fault"),
    [
        (sound(**{LAYOUT: [2, 0, 3]}), "permutation"),
        (sound(**{LAYOUT: [2, 0, 3, 3]}), "twice"),
        (sound(**{LAYOUT: [2, 0, 3, 4]}), "index 4 is out of range"),
        (sound(**{LAYOUT: [2, 0, 3, -1]}), "index -1 is out of range"),
        (sound(**{TILE: [8, 0, 4, 2]}), "the 5 fastest"),
        (sound(**{TILE: [8, 0, 4, 2, 1, 3]}), "the 5 fastest"),
        (sound(**{SMALL: [1]}), "the 2 fastest"),
        (sound(**{"tile:xla:other": [0]}), "none of the 3 test graphs"),
        (sound(**{"layout:xla:random:bert_pruned": [0]}), "ends in '_pruned'"),
        (sound(**{"layout:xla:random:bert.npz": [0]}), "ends in '.npz'"),
        ({LAYOUT: [2, 0, 3, 1], TILE: [8, 0, 4, 2, 1]}, f"{SMALL} is missing"),
        ([*sound().items(), (SMALL, [1, 0])], "stands twice"),
    ],
)
def test_the_writer_refuses(tmp_path, rows, fault):
    path = tmp_path / "submission.csv"
    path.write_text("the last sound one")
    rows = rows.items() if isinstance(rows, dict) else rows
    with pytest.raises(InputError, match=fault) as caught:
        submission.write(rows, EXPECTED, path)
    assert "\n" not in str(caught.value)
    assert path.read_text() == "the last sound one"
    assert os.listdir(tmp_path) == ["submission.csv"]


def test_a_suffix_is_refused_even_where_it_is_expected():
    with pytest.raises(InputError, match="_pruned"):
        submission.validate([("tile:xla:a_pruned", [0])], {"tile:xla:a_pruned": 1})


def test_a_dot_in_a_name_is_no_suffix():
    submission.validate([("layout:xla:default:unet_3d.4x4.bf16", [0])], {"layout:xla:default:unet_3d.4x4.bf16": 1})


def test_the_ids_of_the_sample_submission(tmp_path):
    """What it lists for them are placeholders: five of a kernel that may have two configurations."""
    path = tmp_path / "sample.csv"
    path.write_text("ID,TopConfigs\ntile:xla:a,0;1;2;3;4\nlayout:xla:default:b,0;1\n")
    submission.same_ids(["layout:xla:default:b", "tile:xla:a"], path)
    for expected, fault in [
        (["tile:xla:a"], "sample.csv: ID layout:xla:default:b is no test graph of the data .1 of 2 are none.; add"),
        (["tile:xla:a", "layout:xla:default:b", "tile:xla:c", "tile:xla:d"], "lacks ID tile:xla:c, .*2 of 4 are"),
    ]:
        with pytest.raises(InputError, match=fault) as caught:
            submission.same_ids(expected, path)
        assert "\n" not in str(caught.value)
    submission.same_ids(["tile:xla:a"], path, ["layout:xla:default"])
    with pytest.raises(InputError, match="ID layout:xla:default:b is no test graph"):
        submission.same_ids(["tile:xla:a"], path, ["layout:xla:random"])


@pytest.mark.skipif("TPUGRAPHS_DIR" not in os.environ, reason="TPUGRAPHS_DIR is not set: no real files to read")
def test_the_competitions_own_sample_submission_passes():
    rows = submission.read(Path(os.environ["TPUGRAPHS_DIR"]) / "sample_submission.csv")
    assert Counter(map(submission.collection_of, dict(rows))) == {
        "tile:xla": 844,
        "layout:xla:default": 8,
        "layout:xla:random": 8,
        "layout:nlp:default": 17,
        "layout:nlp:random": 17,
    }
    submission.same_ids(dict(rows), Path(os.environ["TPUGRAPHS_DIR"]) / "sample_submission.csv")
    # The true numbers of tile configurations are not in it; each row lists five.
    submission.validate(rows, {identifier: len(indices) for identifier, indices in rows})
