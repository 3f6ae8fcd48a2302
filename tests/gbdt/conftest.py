"""Packed graphs of both kinds."""

import pytest

from tests.support.trees import packed


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return packed(tmp_path_factory.mktemp("gbdt"))
