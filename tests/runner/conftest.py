"""The toy project, in which the runner's tests run stages."""

import pytest

from tests.support import toy


@pytest.fixture
def project(tmp_path):
    return toy.toy(tmp_path)
