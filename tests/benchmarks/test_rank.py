"""The benchmark of `stages.rank`: a file is ranked in a process of its own, or refused there."""

from benchmarks import rank
from tests.support.pipeline import CHOSEN


def test_a_file_is_ranked_and_one_that_is_none_is_refused(reproduced, tmp_path):
    data = reproduced[0] / "data"
    (path,) = (data / "sample" / "npz_all" / "npz" / CHOSEN[0].replace(":", "/") / "test").glob("test_0.npz")
    row = rank.timed(path, str(data))
    assert row["file"] == "test_0.npz" and row["configurations"] > 1 and row["peak_bytes"] > 10_000_000
    broken = tmp_path / "broken.npz"
    broken.write_bytes(b"no archive")
    row = rank.timed(broken, str(data))
    assert row["configurations"] == 0 and "broken.npz" in row["said"]


def test_real_files_come_smallest_first(tmp_path):
    for name, size in (
        ("npz_all/npz/tile/xla/train/b.npz", 9),
        ("npz_all/npz/tile/xla/train/a.npz", 5),
        ("pb/c.pb", 7),
    ):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(bytes(size))
    assert [path.name for path in rank.real(str(tmp_path))] == ["a.npz", "c.pb", "b.npz"]
