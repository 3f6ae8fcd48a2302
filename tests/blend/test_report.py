"""The pictures and sentences of the blend's page."""

import numpy as np
import pytest

from stages.blend import report
from stages.reporting import disagreement, figures
from tests.support.blending import (
    CONFIGURATIONS,
    MEMBERS,
    graph,
    member,
    recorded,
    run,
)
from tests.support.frames import RULES


def test_three_members(tmp_path, packed):
    for name, noise in (("gnn", 3.0), ("gbdt", 6.0), ("mlp", 9.0)):
        member(tmp_path, name, packed, noise)
    result = run(tmp_path, members=["gnn", "gbdt", "mlp"])
    assert result.grid.columns == ["collection", "gnn", "gbdt", "mlp", "valid"] and result.grid.height == 231
    assert sum(recorded(tmp_path)["weights"].values()) == pytest.approx(1, abs=1e-5)
    pairs = result.disagreement.select("first", "second").unique(maintain_order=True).rows()
    assert pairs == [("gnn", "gbdt"), ("gnn", "mlp"), ("gbdt", "mlp")]
    assert figures.svg(report.weight_lines(result)).count("<svg") == 1
    assert figures.svg(disagreement.drawing(result.disagreement)).count("<svg") == 1


def drawn(result):
    """The SVG of every figure and the sentences of the blend's page."""
    shown = [report.weight_lines(result), report.choice_dots(result.rules)]
    shown.append(disagreement.drawing(result.disagreement))
    said = [report.finding(result), report.gain(result), report.choice(result), report.preferred(result)]
    said.append(disagreement.sentences(result.disagreement))
    return [figures.svg(figure) for figure in shown], said


def test_run_times_that_are_all_equal_give_equal_weights(tmp_path, packed):
    for each in packed["valid"]:
        each.target = np.ones(CONFIGURATIONS)
    for name in MEMBERS:
        member(tmp_path, name, packed)
    result = run(tmp_path)
    assert recorded(tmp_path)["weights"] == {"gnn": 0.5, "gbdt": 0.5}
    assert result.rules["nested"].null_count() == result.rules["valid"].null_count() == 5
    drawings, said = drawn(result)
    assert said == [
        "No valid graph has run times that differ: the members have equal weights.",
        "Nothing tells which weights are better.",
        "There is no nested evaluation. There is none for layout:xla:random, whose valid graphs are of fewer than two "
        "families.",
        "Without a nested evaluation nothing can be said for one rule or another.",
        "There are no two members that could disagree.",
    ]
    assert all(text.count("<svg") == 1 for text in drawings)


def test_of_one_member_the_page_says_nothing_twice(tmp_path, packed):
    member(tmp_path, "gnn", packed)
    result = run(tmp_path, members=["gnn"])
    said = [report.finding(result), report.gain(result), report.choice(result)]
    assert said[0] == "gnn is the only member: the blend is its ranking."
    sentences = [sentence for text in said for sentence in text.split(". ")]
    assert len(sentences) == len(set(sentences)) and "no weights to choose" in said[1]


def test_amounts_of_shrinking_are_written_as_a_reader_would(tmp_path, packed):
    for name in MEMBERS:
        member(tmp_path, name, packed)
    assert set(report.shrinks(run(tmp_path))["shrink"]) == {"0", "0.25", "0.5", "0.75", "1"}


@pytest.mark.parametrize("kept", [1, 2])
def test_one_graph_or_one_family_has_weights_but_no_nested_score(tmp_path, packed, kept):
    del packed["valid"][kept:]
    del packed["test"][1:]
    member(tmp_path, "gnn", packed, noise=0.0)
    member(tmp_path, "gbdt", packed, noise=50.0)
    result = run(tmp_path)
    assert recorded(tmp_path)["chosen"]["gnn"] > 0.5
    assert result.rules["nested"].null_count() == 5 and "mean" not in result.rules["collection"]
    assert "whose valid graphs are of fewer than two families" in report.choice(result)
    assert all(text.count("<svg") == 1 for text in drawn(result)[0])


def test_a_kernel_of_one_configuration_has_a_score_and_no_tau(tmp_path, packed):
    packed["valid"].append(graph("tiny_1", [7.0]))
    for name in MEMBERS:
        member(tmp_path, name, packed, slug="tile-xla")
    result = run(tmp_path, collections=["tile:xla"])
    tiny = result.disagreement.filter(graph="tiny_1").row(0, named=True)
    assert tiny["first_score"] == tiny["blend"] == 1.0 and tiny["tau"] is None
    assert all("nan" not in text for text in [*drawn(result)[0], *drawn(result)[1]])


def test_the_page_says_that_valid_is_optimistic(tmp_path, packed):
    member(tmp_path, "gnn", packed, noise=1.0)
    member(tmp_path, "gbdt", packed, noise=2.0)
    result = run(tmp_path)
    assert report.finding(result).startswith("On valid the blend is ahead of its better member on ")
    text = report.gain(result)
    assert "valid is optimistic; the honest figure is the leaderboard's on test." in text
    text = report.gain(run(tmp_path, rule="zscore"))
    assert "optimistic" not in text and "Weights by `zscore` are equal, whatever valid would choose;" in text


def test_the_lead_of_the_choice_over_equal_weights():
    (panel,) = report.choice_dots(RULES).axes
    assert [text.get_text() for text in panel.get_yticklabels()] == ["tile:xla", "layout:xla:random"]
    drawn = {line.get_label(): line.get_xdata() for line in panel.lines if line.get_label().startswith("judged")}
    assert drawn["judged on families left out"][0] == pytest.approx(-0.1)
    assert drawn["judged on the graphs that chose"][0] == pytest.approx(0.1)
    assert all(np.isnan(leads[1]) for leads in drawn.values())  # a collection without a score has a row without dots
    assert figures.svg(report.choice_dots(RULES)) == figures.svg(report.choice_dots(RULES))
