"""The trees' benchmark at sizes of seconds."""

import json

import numpy as np
import pytest

from benchmarks import synthetic, trees
from stages.graphs import dataset
from stages.graphs.collection import COLLECTIONS
from stages.prune import stage as prune
from tests.support.samples import write_root


def test_a_made_up_graph_has_so_many_configurations_of_known_layouts(tmp_path):
    trees.write(tmp_path, 120, 6, 300)
    (graph,) = dataset.graphs(tmp_path, synthetic.COLLECTION, "train")
    assert graph.codes.shape == (300, 6) and graph.codes.max() < len(graph.triples)
    layouts = graph.layouts()
    official = synthetic.arrays(120, trees.MADE, 6).node_config_feat
    for node in range(6):
        assert set(map(bytes, layouts[:, node])) <= set(map(bytes, official[:, node].astype(np.int8)))


def test_it_writes_beside_what_others_wrote(tmp_path, monkeypatch):
    root = write_root(tmp_path, configurations=8)
    for collection in COLLECTIONS:
        prune.run(collection=collection, root=str(root), data=str(tmp_path))
    out = tmp_path / "results.json"
    out.write_text('{"gnn": {"kept": 1}}')
    trees.main(["--quick", "--data", str(tmp_path), "--out", str(out)])
    results = json.loads(out.read_text())
    assert results["gnn"] == {"kept": 1}
    measured = results["trees"]
    assert list(measured["collections"]) == sorted(COLLECTIONS)
    assert measured["seconds"] == pytest.approx(sum(row["seconds"] for row in measured["collections"].values()))
    assert all(row["training_seconds"] > 0 for row in measured["collections"].values())
    (row,) = measured["statistics"].values()
    assert row["configurations"] == 500 and row["configurations_per_second"] == pytest.approx(500 / row["seconds"])
    assert not (tmp_path / "gbdt").exists()
