"""What the page `collect` says of a data set, on hand-made tables."""

import numpy as np
import polars as pl
import pytest

from stages.collect import report
from stages.engine.errors import InputError
from stages.hlo import hlo_pb2

MEASURED = pl.DataFrame(
    {
        "collection": ["layout:xla:random"] * 3 + ["tile:xla"] * 2,
        "split": ["train", "test", "test", "train", "test"],
        "family": ["a", "a", "b", "c", "c"],
        "kin": ["train", "sibling", "unseen", "train", "sibling"],
        "nodes": [100, 200, 300, 10, 20],
        "configurable": [10, 20, 30, 0, 0],
        "configurations": [40, 41, 42, 5, 6],
        "slowest_over_fastest": [1.5, 2.0, 4.0, 10.0, 20.0],
        "repeatability": [0.9, 0.95, 0.99, 0.98, 0.96],
    }
)
SIMULATED = MEASURED.with_columns(own_over_fastest=pl.Series([1.0, 1.1, 1.3, 1.01, 1.03]))


@pytest.mark.parametrize(("programs", "words"), [(MEASURED, "not TPU times"), (SIMULATED, "simulated, not measured")])
def test_the_first_paragraph_says_what_the_times_are(programs, words):
    assert words in report.opening(programs)


def test_the_finding_is_where_the_choice_matters_most_and_least():
    assert report.finding(MEASURED) == (
        "In the median graph of tile:xla the slowest configuration takes 15.00 times as long as the fastest, in that "
        "of layout:xla:random 2.00 times."
    )
    one = MEASURED.filter(pl.col("collection") == "tile:xla")
    assert report.finding(one).endswith("takes 15.00 times as long as the fastest.")


def test_amounts_are_whole_numbers_and_kernels_have_nothing_to_configure():
    rows = report.amounts(MEASURED).rows(named=True)
    assert [row["collection"] for row in rows] == ["tile:xla", "layout:xla:random"]
    assert rows[1] == {
        "collection": "layout:xla:random",
        **{"train": 1, "valid": 0, "test": 2},
        **{"families": 2, "configurations": 123, "median nodes": 200, "median configurable": 20},
    }
    assert rows[0]["median configurable"] is None and rows[0]["median nodes"] == 15
    assert not any(isinstance(value, float) for row in rows for value in row.values())


def test_kin_are_counted_in_test_only():
    assert "holds 2 sibling and 1 unseen graphs" in report.kin(MEASURED)


def test_a_family_is_listed_with_its_splits_and_its_graphs():
    table = report.families(MEASURED)
    assert table.columns == ["family", "splits", "tile:xla", "layout:xla:random"]
    assert table.rows() == [("a", "train, test", None, 2), ("b", "test", None, 1), ("c", "train, test", 2, None)]
    assert "There are 3; 1 of them stand in valid or test alone" in report.family_words(MEASURED)


def test_words_about_measured_times_tell_how_well_timings_agree():
    assert "costs 2.00× the best, and two timings agree with τ = 0.950" in report.spread_words(MEASURED)


def test_words_about_simulated_times_tell_how_good_the_compilers_own_choice_is():
    words = report.spread_words(SIMULATED).splitlines()
    assert len(words) == 2
    assert words[0].startswith("- `tile:xla`") and words[1].endswith(
        "costs 2.00× the best, and the compiler's own choice 10.0% more than the best that was found."
    )
    assert "τ" not in "".join(words)


def test_reasons_are_counted_without_their_figures():
    reasons = ["slowest/fastest 1.003, below 1.02", "slowest/fastest 1.013, below 1.02", "refused: out of memory"]
    table = pl.DataFrame({"collection": ["a"] * 3, "reason": reasons})
    assert report.dropped(table).rows() == [("a", "refused", 1), ("a", "slowest/fastest …", 2)]


def test_a_simulated_data_set_is_drawn_with_another_second_panel():
    labels = [report.spreads(programs).axes[1].get_title(loc="left") for programs in (MEASURED, SIMULATED)]
    assert "two timing passes" in labels[0] and "own choice" in labels[1]


@pytest.fixture
def real(tmp_path):
    """A file of tuning data of two kernels, with five good runs of each and a failed one, and estimates of the runs."""
    data = hlo_pb2.TuningData()
    for name, first in (("conv", 100), ("add", 1000)):
        module = data.modules.add()
        module.module.name = name
        module.runs.add(error=True)
        for number in range(5):
            module.runs.add().profile.compute_time_ns = first * (number + 1)
    (tmp_path / "op_tuning_data.pb").write_bytes(data.SerializeToString())
    estimates = tmp_path / "time-model.csv"
    rows = [(run // 5, run, 110 * (run % 5 + 1) if run < 5 else 5000 - 1000 * (run % 5)) for run in range(10)]
    pl.DataFrame(rows, schema=report.ESTIMATES, orient="row").write_csv(estimates)
    return estimates, tmp_path


def test_an_estimate_stands_beside_the_time_of_its_own_run(real):
    frame = report.estimates(*real)
    assert frame["measured_ns"].to_list() == [*range(100, 600, 100), *range(1000, 6000, 1000)]
    assert frame["name"].to_list() == ["conv"] * 5 + ["add"] * 5
    table = report.estimate_table(frame).rows(named=True)
    assert [row["τ"] for row in table] == pytest.approx([1.0, -1.0])
    assert table[0]["median error (%)"] == pytest.approx(10)
    assert table[1]["first choice above the best (%)"] == pytest.approx(400)
    dots = report.estimated(frame).axes[0].collections
    assert sum(len(part.get_offsets()) for part in dots) == 10
    assert np.allclose(sorted(np.concatenate([part.get_offsets() for part in dots])[:, 0])[0], 0.1)


def test_a_table_that_is_not_there_is_a_line(real, tmp_path, monkeypatch):
    path, _ = real
    monkeypatch.delenv("TPUGRAPHS_DIR", raising=False)
    SIMULATED.write_csv(tmp_path / "programs.csv")
    with pytest.raises(InputError, match="^collect.dropped: .*dropped.csv is not there; name a table of the data set$"):
        report.tables(tmp_path / "programs.csv", tmp_path / "dropped.csv", path)
    SIMULATED.write_csv(tmp_path / "dropped.csv")
    graphs, dropped, estimates = report.tables(tmp_path / "programs.csv", tmp_path / "dropped.csv", path)
    assert graphs.equals(SIMULATED) and dropped.equals(SIMULATED) and estimates is None


def test_without_the_real_files_there_is_no_comparison(real, monkeypatch):
    path, folder = real
    monkeypatch.delenv("TPUGRAPHS_DIR", raising=False)
    assert report.estimates(path) is None
    assert report.estimates(folder / "no.csv", folder) is None
    monkeypatch.setenv("TPUGRAPHS_DIR", str(folder))
    assert len(report.estimates(path)) == 10
    (folder / "op_tuning_data.pb").unlink()
    with pytest.raises(InputError, match="no op_tuning_data.pb there"):
        report.estimates(path)
