"""A chain of nodes by hand, and packed graphs of the sample of the tests."""

import pytest

from stages.prune import stage as prune
from tests.support.samples import write_root
from tests.support.statistics import DOT, MULTIPLY, PARAMETER, RESHAPE, TRANSPOSE, packed


@pytest.fixture
def chain():
    """parameter -> transpose -> dot (other side a parameter) -> multiply -> reshape, in five configurations."""
    nodes = [
        (PARAMETER, (8, 4), ()),
        (TRANSPOSE, (4, 8), (1, 0)),
        (PARAMETER, (8, 16), ()),
        (DOT, (4, 16), ()),
        (MULTIPLY, (4, 16), ()),
        (RESHAPE, (2, 2, 16), ()),
    ]
    rows, columns_ = (1, 0), (0, 1)
    plain = ((rows, rows), (rows, rows, rows), ((2, 1, 0), rows))
    layouts = [
        plain,
        ((columns_, rows), *plain[1:]),  # the transpose is a view now, but the dot wants the other order
        ((columns_, rows), (rows, columns_, rows), plain[2]),  # and now it takes it as it is
        (*plain[:2], ((2, 1, 0), columns_)),  # the reshape's operand is turned, and then torn apart
        (((), ()), ((), (), ()), ((), ())),
    ]
    return packed(nodes, [1, 3, 5], [[0, -1], [1, 2], [4, -1]], [[1, 0], [2, 1]], layouts)


@pytest.fixture(scope="session")
def sample(tmp_path_factory):
    path = tmp_path_factory.mktemp("statistics")
    root = write_root(path, {"train": 3, "valid": 1, "test": 1}, configurations=12)
    for collection in ("layout:xla:random", "tile:xla"):
        prune.run(collection=collection, root=str(root), data=str(path))
    return path
