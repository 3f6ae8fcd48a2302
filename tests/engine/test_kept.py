import polars as pl
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


class Tables:
    """Two tables, one without a column, and how often they were computed."""

    def __init__(self):
        self.computed = 0

    def __call__(self):
        self.computed += 1
        return {"scores": pl.DataFrame({"graph": ["b", "a"], "tau": [float("nan"), 0.1]}), "sharing": pl.DataFrame()}


def test_tables_are_computed_once_under_an_identity(tmp_path):
    compute = Tables()
    results = [kept.tables(tmp_path / "kept", "one", compute) for _ in range(2)]
    assert compute.computed == 1
    for name, table in compute().items():
        assert all(result[name].equals(table) for result in results), name
    compute.computed = 0
    kept.tables(tmp_path / "kept", "two", compute)
    kept.tables(tmp_path / "kept", "one", compute)
    assert compute.computed == 2


@pytest.mark.parametrize("damage", [lambda path: path.unlink(), lambda path: path.write_bytes(b"PAR1")])
@pytest.mark.parametrize("name", [kept.NAME, "scores.parquet"])
def test_tables_that_are_damaged_are_computed_again(tmp_path, name, damage):
    compute = Tables()
    expected = kept.tables(tmp_path / "kept", "one", compute)
    damage(tmp_path / "kept" / name)
    again = kept.tables(tmp_path / "kept", "one", compute)
    assert compute.computed == 2 and again["scores"].equals(expected["scores"])
