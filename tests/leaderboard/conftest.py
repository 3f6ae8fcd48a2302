"""Packed graphs, blended members and the leaderboard of them."""

import pytest

from stages.leaderboard import stage as leaderboard
from stages.scoring import baselines
from tests.support import samples
from tests.support.ranking import (
    MEMBERS,
    SPLIT_GRAPHS,
    fake_baselines,
    make,
    parameters,
)


@pytest.fixture(scope="session")
def made(tmp_path_factory):
    """A folder with packed graphs, solution and programs, and the scores of every member."""
    path = tmp_path_factory.mktemp("leaderboard")
    samples.write_root(path, SPLIT_GRAPHS)
    return make(path)


@pytest.fixture(scope="session")
def board(made, tmp_path_factory):
    """What leaderboard.run returns of the made files, for tests that only read it; and a folder of its own outputs."""
    path = tmp_path_factory.mktemp("board")
    (path / "data").mkdir()
    for name in ("solution.csv", "programs.csv", *(f"data/{stage}" for stage in ("prune", *MEMBERS, "blend"))):
        (path / name).symlink_to(made / name)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(baselines, "table", fake_baselines)
        return leaderboard.run(**parameters(path, path / "reports")), path


@pytest.fixture
def run(made, tmp_path, monkeypatch):
    """Calls leaderboard.run with the made files and its reports in a folder of their own."""
    monkeypatch.setattr(baselines, "table", fake_baselines)
    return lambda path=made, **changes: leaderboard.run(**parameters(path, tmp_path / "reports") | changes)
