"""Settings that do not go together."""

import pytest

from stages.engine.errors import InputError
from tests.support import networks


def test_gcn_hears_both_ways():
    with pytest.raises(InputError, match="gnn.direction: is 'producers'; gcn hears"):
        networks.settings(messages="gcn", direction="producers")
