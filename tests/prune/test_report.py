"""What the prune page says and shows, from a small frame."""

import polars as pl

from stages.prune import report
from stages.reporting import figures

GRAPHS = pl.DataFrame(
    {
        "split": ["train", "train", "valid", "test"],
        "id": ["a", "b", "c", "d"],
        "whole_nodes": [100, 1000, 2000, 400],
        "nodes": [90, 100, 1000, 40],
        "whole_edges": [200, 2000, 4000, 800],
        "edges": [80, 90, 900, 30],
        "configurable": [5, 6, 7, 8],
        "configurations": [10, 20, 30, 40],
        "distinct": [10, 19, 30, 40],
    }
)


def test_the_finding_is_how_much_is_kept():
    assert report.finding(GRAPHS) == "Of 3,500 nodes 1,230 are kept, 35%, and of 7,000 edges 1,100."
    assert report.shares(GRAPHS) == ("By graph between 10% and 90% of the nodes are kept, 30% of the median graph's.")
    whole = GRAPHS.with_columns(nodes="whole_nodes", edges="whole_edges")
    assert report.finding(whole) == "All 3,500 nodes and 7,000 edges of 4 graphs are kept."


def test_the_table_tells_what_there_was_from_what_is_kept():
    first = report.amounts(GRAPHS).row(0, named=True)
    counts = {"nodes": 1100, "nodes kept": 190, "edges": 2200, "edges kept": 170}
    assert first == {"split": "train", "graphs": 2, **counts, "configurations": 30, "distinct": 29}


def test_the_graphs_that_lose_least_stand_first():
    table = report.least(GRAPHS)
    assert table["id"].to_list() == ["a", "c", "b", "d"] and table["share kept"][0] == "90%"
    assert table.row(0, named=True)["nodes"] == 100 and table.row(0, named=True)["nodes kept"] == 90


def test_every_graph_is_a_point():
    for narrow in (False, True):
        dots = report.picture(GRAPHS, narrow=narrow).axes[0].collections
        assert [part.get_offsets().tolist() for part in dots] == [
            [[100, 90], [1000, 100]],
            [[2000, 1000]],
            [[400, 40]],
        ]
    assert figures.svg(report.picture(GRAPHS.head(0))).count("<svg") == 1
