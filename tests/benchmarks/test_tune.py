"""benchmarks/tune.py with a stand-in for the search: rows by budget, what is missing, quartiles by hand."""

from types import SimpleNamespace

import numpy as np
import polars as pl
import pytest

from benchmarks import tune
from stages.engine.errors import InputError

SMALL = "flownet_s_b8_bf16_forward"


def outcome(times, own=100.0, interrupted=False):
    best = np.minimum.accumulate([own, *(np.inf if time is None else time for time in times)])
    return SimpleNamespace(times_ns=times, own_ns=own, interrupted=interrupted, best_so_far=lambda: best)


@pytest.fixture
def searches(monkeypatch):
    """The searches that were made; each compiles 90, fails, 80 and so on."""
    made = []

    def search(options):
        made.append((options.program, options.judge, options.compilations))
        return outcome((90.0, None, 80.0, 85.0)), None

    monkeypatch.setattr(tune.command, "tune", search)
    return made


def run(tmp_path, *arguments):
    return tune.main([SMALL, "--table", str(tmp_path / "tune.csv"), *arguments])


def test_a_search_gives_a_row_for_each_budget(searches, tmp_path, capsys):
    assert run(tmp_path, "--judges", "random", "--budgets", "1", "2", "4") == 0
    assert searches == [(SMALL, "random", 4)]
    table = pl.read_csv(tmp_path / "tune.csv")
    assert table.columns == list(tune.SCHEMA)
    assert table["found_ns"].to_list() == [90, 90, 80] and table["failed"].to_list() == [0, 1, 1]
    assert table["gain"].to_list() == pytest.approx([1.11111, 1.11111, 1.25])
    assert "not measured" in capsys.readouterr().out


def test_what_is_in_the_table_is_not_searched_again(searches, tmp_path):
    run(tmp_path, "--judges", "random", "--budgets", "2")
    run(tmp_path, "--judges", "random", "evolution", "--budgets", "2")
    run(tmp_path, "--judges", "random", "--budgets", "2", "4")
    assert [judge for _, judge, _ in searches] == ["random", "evolution", "random"]
    assert pl.read_csv(tmp_path / "tune.csv").height == 3


def test_an_interrupted_search_leaves_no_row(monkeypatch, tmp_path):
    monkeypatch.setattr(tune.command, "tune", lambda options: (outcome((90.0,), interrupted=True), None))
    assert run(tmp_path, "--judges", "random", "--budgets", "4") == 130
    assert not (tmp_path / "tune.csv").exists()


def test_quartiles_are_over_programs():
    rows = [(f"p{place}", "random", 0, 10, 0, 100, 100, gain) for place, gain in enumerate((1.0, 1.1, 1.2, 1.3, 2.0))]
    (row,) = tune.summary(pl.DataFrame(rows, schema=tune.SCHEMA, orient="row")).iter_rows(named=True)
    assert (row["programs"], row["lower quartile"], row["median"], row["upper quartile"]) == (5, 1.1, 1.2, 1.3)


def test_programs_are_those_of_the_test_split(tmp_path):
    lines = ["split,id,nodes,kind", f"test,{SMALL},340,", "test,capsnet_mnist_b128_train,741,", "test,dot_1,9,dot"]
    lines += [f"train,{'vgg16_b32_train'},523,", f"test,{SMALL},340,"]
    (tmp_path / "programs.csv").write_text("\n".join(lines) + "\n")
    assert tune.programs(tmp_path, []) == [SMALL, "capsnet_mnist_b128_train"]
    assert tune.programs(tmp_path, ["vgg*"]) == ["vgg16_b32_train"]
    with pytest.raises(InputError, match="no program of the data set"):
        tune.programs(tmp_path, ["nothing"])
