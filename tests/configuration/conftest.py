"""Packed programs for the tests of the configuration page."""

import pytest

from stages.prune import stage as prune
from tests.support import samples
from tests.support.programs import LAYOUT


@pytest.fixture(scope="session")
def made(tmp_path_factory):
    """A folder with npz files of small programs, and what the prune stage makes of them."""
    path = tmp_path_factory.mktemp("configuration")
    root = samples.write_root(path, nodes=30, configurable=6)
    prune.run(collection=LAYOUT, root=str(root), data=str(path / "data"))
    return path
