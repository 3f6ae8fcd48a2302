"""Columns of copies."""

from tests.support.statistics import columns


def test_copies_by_the_opcodes_at_both_ends(chain):
    found = columns(chain)
    fed, product = 4 * 8 * 4, 4 * 16 * 4
    assert found["copies_transpose_to_dot_bytes"].tolist() == [0, fed, 0, 0, 0]
    assert found["copies_dot_to_reshape_bytes"].tolist() == [0, 0, 0, product, 0]
    # binary digits of 128 and of 256 bytes; what happens inside a node is no copy between two
    assert found["copies_bits"].tolist() == [7, 7, 0, 7 + 8 + 8, 0]
    assert sum(found[name].sum() for name in found if "_to_" in name) == fed + product
