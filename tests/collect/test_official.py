"""Files and folders of a data set in the official layout."""

import zipfile

import numpy as np
import pytest

from stages.collect import official


def test_files_are_packed_tightly_and_bear_no_date(tmp_path):
    arrays = {"a": np.arange(10_000) % 7, "b": np.zeros(3, np.float32)}
    official.write(tmp_path / "x.npz", arrays, official.SMALLEST)
    assert (tmp_path / "x.npz").stat().st_size < arrays["a"].nbytes / 20
    with np.load(tmp_path / "x.npz", allow_pickle=False) as stored:
        assert stored.files == list(arrays)
        for name, array in arrays.items():
            np.testing.assert_array_equal(stored[name], array)
            assert stored[name].dtype == array.dtype
    with zipfile.ZipFile(tmp_path / "x.npz") as archive:
        assert {info.date_time for info in archive.infolist()} == {(1980, 1, 1, 0, 0, 0)}


def test_by_default_the_bytes_are_those_of_savez_compressed(tmp_path):
    arrays = {"a": np.arange(10_000) % 7, "b": np.zeros((3, 2), np.float32)}
    official.write(tmp_path / "own.npz", arrays)
    np.savez_compressed(tmp_path / "numpy.npz", **arrays)
    assert (tmp_path / "own.npz").read_bytes() == (tmp_path / "numpy.npz").read_bytes()


def test_a_data_set_whose_writing_fails_is_as_it_was(tmp_path):
    sample = tmp_path / "sample"
    sample.mkdir()
    (sample / "programs.csv").write_text("before")
    with pytest.raises(RuntimeError), official.replacing(sample) as beside:
        (beside / "programs.csv").write_text("half")
        raise RuntimeError
    assert [path.name for path in tmp_path.iterdir()] == ["sample"]
    assert (sample / "programs.csv").read_text() == "before"
