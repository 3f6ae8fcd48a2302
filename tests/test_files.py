import os

import pytest

from stages import files


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
