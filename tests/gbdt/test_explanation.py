"""What the trees look at, on packed graphs whose run times have a known cause."""

import polars as pl
import pytest

from stages.gbdt import report
from stages.reporting import figures
from tests.support import trees
from tests.support.trees import LAYOUT, QUICK


def test_shap_is_of_what_ranks_within_a_graph(data):
    """What is the same for all configurations moves none of them; what makes the run times of `samples` does."""
    result = trees.run(collection=LAYOUT, data=data, objectives=["pointwise"], **QUICK)
    gains = result.gains.drop_nulls("shap")
    assert gains["shap"].sum() == pytest.approx(1) and gains["slower"].is_between(-1, 1).all()
    constant = gains.filter(pl.col("column").str.starts_with("program_") | pl.col("column").str.starts_with("whole_"))
    assert constant.height and constant["slower"].abs().max() == 0
    first = gains.sort("shap").row(-1, named=True)
    assert first["slower"] > 0.5 and ("inversions" in first["column"] or "distance" in first["column"])
    text = report.finding(result)
    assert "the same by both" in report.looked_at(result)
    assert f"`{first['column']}` moves the predicted times most" in text and "more of it ranks slower" in text
    table = report.statistics(result)
    assert table.columns == ["statistic", "gain", "SHAP", "what it is"] and table.height == report.TOP
    assert table["gain"][0] == f"{result.gains['gain'][0]:.0%}" and table["SHAP"].str.ends_with("%").all()
    for draw in (report.gain_bars, report.graph_dots):
        assert figures.responsive(draw, "bars", result).count("base64,") == 2


def test_pairs_and_ridges_have_no_shap(data):
    result = trees.run(collection=LAYOUT, data=data, objectives=["pairwise", "ridge"], **QUICK)
    assert result.gains["shap"].null_count() == result.gains.height > 0
    assert report.finding(result) == "No statistic moves the configurations of a graph apart."
    assert report.looked_at(result).endswith("%.") and report.gain_bars(result)
    assert set(report.statistics(result)["SHAP"]) == {"0%"}
    none = trees.run(collection=LAYOUT, data=data, objectives=["ridge"], **QUICK)
    assert report.looked_at(none) == "The trees found nothing to split on." and report.gain_bars(none)
