"""Columns of how far layouts are from row-major."""

from tests.support.statistics import columns


def test_orders_of_a_small_graph_by_hand(chain):
    found = columns(chain)
    fed, product = 4 * 8 * 4, 4 * 16 * 4
    assert found["inversions"].tolist() == [0, 1, 2, 1, 0]
    assert found["inversions_transpose"].tolist() == [0, 1, 1, 0, 0]
    assert found["inversions_bytes"].tolist() == [0, fed, 2 * fed, product, 0]
    assert found["minor_moved_bytes"].tolist() == [0, fed, 2 * fed, product, 0]
    assert found["unconfigured"].tolist() == [0, 0, 0, 0, 3]
    # outputs are [4,8], [4,16], [2,2,16]: minor sizes 8, 16, 16, and 4 where the first is turned
    assert found["minor_bits_output"].tolist() == [11, 10, 10, 11, 0]
    # padded to 128 by 8: 1024 for 32 elements, 1024 for 64, 2 x 1024 for 64
    assert found["tile_padding_bytes"].tolist() == [4 * (4096 - 160)] * 4 + [0]
