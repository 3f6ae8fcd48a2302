"""A record is written whole or not at all, and read back as it was."""

import numpy as np
import pytest

from stages.collect import record


def test_record_round_trip(tmp_path):
    target = record.path(tmp_path, "layout:xla:random", "net_w0.5_r32")
    assert target == tmp_path / "layout" / "xla" / "random" / "net_w0.5_r32.npz"
    arrays = {"passes": np.array([[5, 2**60 + 1]]), "configurations": np.full((1, 2), -1, np.int8)}
    record.write(target, {"id": "é", "tau": 0.5}, **arrays)
    meta, stored = record.read(target)
    assert meta == {"id": "é", "tau": 0.5}
    assert sorted(stored) == sorted(arrays)
    for key, array in arrays.items():
        assert stored[key].dtype == array.dtype and (stored[key] == array).all()
    assert [path.name for path in target.parent.iterdir()] == [target.name]


@pytest.mark.parametrize("there", [True, False])
def test_a_failing_write_leaves_what_was_there(tmp_path, monkeypatch, there):
    target = record.path(tmp_path, "tile:xla", "dot")
    if there:
        record.write(target, {"id": "old"}, passes=np.arange(3))

    def broken(file, **arrays):
        file.write(b"half of it")
        raise OSError("No space left on device")

    monkeypatch.setattr(record.np, "savez_compressed", broken)
    with pytest.raises(OSError, match="No space"):
        record.write(target, {"id": "new"}, passes=np.arange(4))
    if there:
        assert record.read(target)[0] == {"id": "old"}
    assert target.exists() == there
    assert len(list(target.parent.glob("*.npz"))) == there
