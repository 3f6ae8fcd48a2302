"""Settings that do not go together."""

import pytest

from stages.engine.errors import InputError
from stages.gnn.settings import Settings


def test_gcn_hears_both_ways():
    with pytest.raises(InputError, match="gnn.direction: is 'producers'; gcn hears"):
        Settings(messages="gcn", direction="producers")
