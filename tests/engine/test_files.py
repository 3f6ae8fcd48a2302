import errno
import os

import pytest

from stages.engine import files


def test_replace_makes_the_folder_and_leaves_nothing_beside(tmp_path):
    path = tmp_path / "new" / "file"
    for content in (b"first", b"second"):
        files.replace(path, content)
        assert path.read_bytes() == content
    assert list(path.parent.iterdir()) == [path]


def test_a_failed_replace_leaves_the_old_content(tmp_path, monkeypatch):
    path = tmp_path / "file"
    files.replace(path, b"old")

    def fail(*_):
        raise OSError("no space")

    monkeypatch.setattr(os, "replace", fail)
    with pytest.raises(OSError, match="no space"):
        files.replace(path, b"new")
    assert list(tmp_path.iterdir()) == [path] and path.read_bytes() == b"old"


def test_a_full_disk_names_the_file(tmp_path):
    path = tmp_path / "folder" / "file"
    with pytest.raises(OSError) as caught, files.replacing(path) as beside:
        beside.write_bytes(b"half")
        raise OSError(errno.ENOSPC, "No space left on device")
    assert caught.value.filename == str(path) and caught.value.errno == errno.ENOSPC
    assert list(path.parent.iterdir()) == []


def test_an_error_of_another_file_stays_its_own(tmp_path):
    with pytest.raises(FileNotFoundError) as caught, files.replacing(tmp_path / "file"):
        (tmp_path / "other").read_bytes()
    assert caught.value.filename == str(tmp_path / "other")
