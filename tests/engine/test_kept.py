import pytest

from stages.engine import kept


@pytest.fixture
def trained(tmp_path):
    outputs = tmp_path / "gnn"
    (outputs / "models").mkdir(parents=True)
    (outputs / "models" / "0.txt").write_text("trees")
    (outputs / "scores.parquet").write_bytes(b"scores")
    kept.keep(outputs, tmp_path / "kept", "one")
    return outputs


def content(folder):
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_what_was_kept_comes_back_under_its_identity_alone(trained, tmp_path):
    before = content(trained)
    (trained / "models" / "1.txt").write_text("of another run")
    assert not kept.restored(trained, tmp_path / "kept", "two") and len(content(trained)) == 3
    assert kept.restored(trained, tmp_path / "kept", "one") and content(trained) == before


def test_a_copy_that_was_cut_short_is_none(trained, tmp_path):
    (tmp_path / "kept" / kept.NAME).unlink()
    assert not kept.restored(trained, tmp_path / "kept", "one")


def test_the_last_result_takes_the_place_of_the_one_before(trained, tmp_path):
    (trained / "models" / "0.txt").unlink()
    kept.keep(trained, tmp_path / "kept", "two")
    assert not kept.restored(trained, tmp_path / "kept", "one")
    assert kept.restored(trained, tmp_path / "kept", "two") and list(content(trained)) == ["scores.parquet"]
