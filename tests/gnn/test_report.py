"""What the page says and draws."""

from dataclasses import replace

import polars as pl
import pytest

from stages.gnn import report
from stages.gnn.attention import SCHEMA, attention
from stages.gnn.stage import Result
from tests.support import networks
from tests.support.graphs import LAYOUT, TILE


def made_up_result(knobs=None, collection=LAYOUT, **columns) -> Result:
    curves = {
        "seed": [0, 0, 0, 1, 1, 1],
        "part": ["network"] * 6,
        "epoch": [1, 2, 3] * 2,
        "loss": [3.0, 2, 1, 3, 2, 2.5],
    }
    valid = {"graph": ["a", "b"], "nodes": [7, 8], "configurations": [9, 9], "mean": [0.1, 0.5], "sd": [0.25, 0.0]}
    frames = {
        "curves": pl.DataFrame(curves | {"valid": [0.5, 0.7, 0.6, 0.4, 0.4, 0.3]} | columns),
        "valid": pl.DataFrame(valid | {"all": [0.2, 0.6]}),
        "segments": pl.DataFrame({"graph": ["c", "d"], "nodes": [9, 2], "segments": [3, 1]}),
        "sharing": pl.DataFrame({"graph": ["a", "b"], "level 0": [0.5, 0.1], "level 1": [0.3, 0.5]}),
    }
    names = {"metric": "Kendall tau-b", "watched": "Kendall tau-b", "collection": collection}
    return Result(**frames, **names, settings=networks.settings(**knobs or {}), attention=pl.DataFrame(schema=SCHEMA))


def test_report_counts_best_epochs_and_overfitted_trainings():
    """Seed 0: loss falls on after its best epoch; seed 1: it rises; of equal epochs the first is the best."""
    result = made_up_result()
    text = report.training(result)
    assert "2 of 3, 1 of 3" in text and "in 2 of 2 trainings" in text
    text = report.training(made_up_result(valid=[0.5, 0.7, 0.6, 0.3, 0.4, 0.3]))
    assert "2 of 3, 2 of 3" in text and "in 1 of 2 trainings" in text
    assert "0.400" in report.finding(result) and "+0.100" in report.finding(result)
    assert "`a` with 0.200 (7 nodes, 9 configurations" in report.worst(result)
    nothing = made_up_result(valid=[float("nan")] * 6)
    assert "last epoch" in report.training(nothing) and report.curves(nothing)


def test_without_a_graph_that_can_be_ranked_the_page_says_nothing_twice():
    nothing = float("nan")
    result = made_up_result(valid=[nothing] * 6)
    result = replace(result, valid=result.valid.with_columns(mean=nothing, sd=nothing, all=nothing))
    said = [report.finding(result), report.training(result), report.worst(result)]
    assert said[0] == "No validation graph can be ranked." and not any("can be ranked" in text for text in said[1:])
    worst, others = report.graphs(result)
    assert worst["all"].null_count() == 2 and others.is_empty()


def test_the_best_graphs_are_not_among_those_shown_first(monkeypatch):
    monkeypatch.setattr(report, "WORST", 1)
    assert [part["graph"].to_list() for part in report.graphs(made_up_result())] == [["a"], ["b"]]


def test_epochs_of_the_head_are_counted_on_from_the_networks():
    parts = ["network", "network", "head"] * 2
    result = made_up_result(part=parts, epoch=[1, 2, 1] * 2, valid=[0.5, 0.6, 0.7, 0.4, 0.8, 0.3])
    assert "3 of 3, 2 of 3" in report.training(result)
    panel = report.curves(result).axes[1]
    drawn = {tuple(line.get_xdata()) for line in panel.get_lines()}
    assert {(1, 2), (3,)} <= drawn and (2,) in drawn  # networks, heads and best epochs


def test_introduction_says_what_the_parameters_make_of_the_network():
    def told(collection, **knobs):
        return report.introduction(made_up_result(knobs, collection))

    assert "compares the configurations" in told(LAYOUT)
    assert "compares the configurations" not in told(LAYOUT, cross_attention=False)
    assert "compares the configurations" not in told(TILE)
    assert "adds up a cost" in told(LAYOUT) and "maximum" in told(LAYOUT, readout="max")
    assert "late" in told(TILE) and "before the first layer" in told(TILE, fusion="early")
    assert "whole graphs" in told(LAYOUT)
    segments = told(LAYOUT, gst="gst+efd", segment_nodes=50, keep=0.25)
    assert "1 of 2 training graphs" in segments and "up to 3 segments of 50 nodes" in segments
    assert "table" in segments and "75%" in segments and "last layer" in segments
    assert "75%" not in told(LAYOUT, gst="gst+ef", keep=0.25) and "last layer" not in told(LAYOUT, gst="gst+ed")
    assert "table" not in told(LAYOUT, gst="gst")


def test_report_says_what_sharing_saves():
    text = report.sharing(made_up_result())
    assert "40%" in text and "between 30% and 50%" in text
    assert "Nothing is shared" in report.sharing(replace(made_up_result(), sharing=pl.DataFrame()))


@pytest.mark.parametrize("knobs", [{"cross_attention": False}, {"layers": 0}])
def test_no_attention_is_shown_where_there_is_none(tmp_path, knobs):
    assert attention(LAYOUT, networks.settings(**knobs), b"", None).is_empty()
    result = replace(made_up_result(), attention=attention(LAYOUT, networks.settings(**knobs), b"", None))
    assert report.attended(result) == "There is no attention across configurations to show."


def test_what_attention_passes_by_hand():
    table = pl.DataFrame(
        {
            "graph": ["g"] * 6,
            "node": [3, 3, 3, 5, 5, 5],
            "opcode": ["dot"] * 3 + ["add"] * 3,
            "rank": [1.0, 2.0, 3.0] * 2,
            "gate": [1.5, 1.0, 0.5, 1.0, 1.0, 1.0],
        }
    )
    result = replace(made_up_result(), attention=table)
    text = report.attended(result)
    assert "at 1 of 2 nodes, most at node 3, dot, from 0.50 to 1.50" in text
    assert "clearly passes more of the faster configurations" in text and "-1.00" in text
    image = report.attention_map(result).axes[0].images[0]
    assert image.get_array().tolist() == [[1.5, 1.0, 0.5], [1.0, 1.0, 1.0]]
