"""The tiny pipeline from nothing in another folder, on a Ray cluster: the same bytes as on this machine."""

import pytest
import yaml

from tests.support import cluster, pipeline
from tests.support.cluster import RAY


@pytest.fixture(scope="module")
def other(tmp_path_factory):
    """(folder, what the console showed) of a second run from nothing: on a cluster, where Ray is there."""
    folder = pipeline.copy(tmp_path_factory.mktemp("other") / "project")
    if not cluster.INSTALLED:
        return folder, pipeline.dvc_alone(folder, "repro")
    with cluster.started(nodes=1) as place:  # one worker: each more loads all libraries again in every stage
        pipeline.change(folder, "engine", kind="ray", address=place.address)
        return folder, pipeline.dvc_alone(folder, "repro")


def test_the_pipeline_in_another_folder_has_the_same_bytes(other, reproduced):
    """All outputs are in dvc.lock by their hashes: an equal lock is equal bytes of everything, reports too."""
    (folder, _), (first, _) = other, reproduced
    assert (folder / "dvc.lock").read_text() == (first / "dvc.lock").read_text()
    for name in ("data/leaderboard/submission.csv", "reports/metrics.json"):
        assert (folder / name).read_bytes() == (first / name).read_bytes()


@RAY
def test_the_pipeline_on_a_cluster_has_the_same_bytes(other, reproduced):
    """The engine is in no output."""
    folder, shown = other
    assert yaml.safe_load((folder / "params.yaml").read_text())["engine"]["kind"] == "ray"
    assert "Running stage 'gnn@layout-xla-random'" in shown
    assert (folder / "dvc.lock").read_text() == (reproduced[0] / "dvc.lock").read_text()
