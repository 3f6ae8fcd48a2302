"""The benchmark of gbdt's parts at sizes of seconds."""

import json
import os

from benchmarks import members, synthesize
from stages.gbdt.settings import OBJECTIVES
from tests.support.samples import write_root

COLLECTION = "layout:xla:random"
QUICK = {"trees": 3, "folds": 2}
GRAPHS = {"train": 3, "valid": 2, "test": 2}


def test_a_stage_in_parts_and_none_measured_twice(tmp_path, monkeypatch):
    monkeypatch.setattr(synthesize, "main", lambda arguments: write_root(tmp_path, GRAPHS, configurations=8))
    out = tmp_path / "results.json"
    out.write_text('{"gnn": {"kept": 1}}')
    found = members.measured(tmp_path, 0.03, out, [COLLECTION], **QUICK)
    (row,) = found["rows"]
    assert row["collection"] == COLLECTION and tuple(row["members"]) == OBJECTIVES
    assert min([row["known"], row["scored"], row["scoring"], *row["members"].values()]) > 0
    written = json.loads(out.read_text())
    assert written["gnn"] == {"kept": 1} and written["members"]["rows"] == [row]
    assert row["scores"] == 8 * 4 and 8 * 2 < row["rows"] <= 8 * 5
    assert members.measured(tmp_path, 0.03, out, [COLLECTION], **QUICK)["rows"] == [row]
    assert "OMP_THREAD_LIMIT" not in os.environ
    assert members.measured(tmp_path, 0.03, out, [COLLECTION], **QUICK | {"trees": 4})["rows"] != [row]
