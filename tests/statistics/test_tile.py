"""Statistics of tiles, by hand."""

import dataclasses

import numpy as np
import pytest

from stages.statistics import hardware
from stages.statistics.tile import tile_statistics
from tests.support.statistics import DOT, MULTIPLY, PARAMETER, columns, packed, tile_graph, tiled


def test_tiles_of_a_small_kernel_by_hand():
    found = columns(tile_graph([(6, 10), (4, 10), (3, 5), (4, 8), (0, 0)]))
    assert found["tiles_0"].tolist() == [1, 2, 2, 2, 1] and found["tiles_1"].tolist() == [1, 1, 2, 2, 1]
    assert found["remainder_0"].tolist() == [0, 0.5, 0, 0.5, 0]
    assert found["fits"].tolist() == [2, 1, 2, 0, 2]
    assert found["uncut"].tolist() == [2, 1, 0, 0, 2]
    assert found["waste"] == pytest.approx([0, 1 - 60 / 80, 0, 1 - 60 / 128, 0])
    # a tile 10 wide covers its rows, so they lie one after another; 5 wide only a row does
    assert found["run_bytes"] == pytest.approx(np.log1p(4 * np.array([60, 40, 5, 8, 60])))
    assert found["minor_vector_rest"].tolist() == [2, 2, 5, 0, 2]
    assert found["output_volume"] == pytest.approx(np.log1p([60, 40, 15, 32, 0]))


def test_the_minor_dimension_of_a_tile_is_that_of_the_layout():
    assert columns(tile_graph([(4, 8)], order=(0, 1)))["minor_bound"].tolist() == [4]
    assert columns(tile_graph([(4, 8)], order=(1, 0)))["minor_bound"].tolist() == [8]


def test_what_tiles_touch_by_hand():
    """A dot [6, 3] x [3, 10] -> [6, 10] whose parameters are float32, in tiles of 2 by 5 and whole."""
    nodes = [(PARAMETER, (6, 3), ()), (PARAMETER, (3, 10), ()), (DOT, (6, 10), ()), (MULTIPLY, (6, 10), ())]
    bounds = np.zeros((2, 24), np.float32)
    bounds[0, 8:10] = 2, 5
    made = packed(nodes, [2], [[0, 1]], [], [(((1, 0),),)] * 2)
    made.node_feat[3, 0] = 1
    made.node_feat[3, 134:136] = 1, 0
    layout = dict.fromkeys(("config_nodes", "codes", "triples", "contracted", "config_operands", "node_split"))
    graph = dataclasses.replace(made, collection="tile:xla", config_feat=bounds, normalizer=np.ones(2, int), **layout)
    found = columns(graph)
    read, whole = 4 * (2 * 3 + 3 * 5), 4 * (6 * 3 + 3 * 10)
    assert found["touched_bytes"] == pytest.approx(np.log1p([read + 40, whole + 240]))
    assert found["held_bytes"] == pytest.approx(np.log1p([2 * 40, 2 * 240]))
    assert found["held_largest_bytes"] == pytest.approx(np.log1p([40, 240]))
    assert found["read_again"] == pytest.approx(np.log1p([3 * 2 * read / whole, 1]))
    assert found["reuse"] == pytest.approx(np.log1p([20 / (read + 40), 120 / (whole + 240)]))


def test_registers_measure_tiles_too(monkeypatch):
    graph = tile_graph([(4, 8), (3, 6)])
    monkeypatch.setattr(hardware, "LANES", 8)
    monkeypatch.setattr(hardware, "VECTOR", 16)
    assert columns(graph)["minor_lanes"] == pytest.approx([1, 6 / 8])
    assert columns(graph)["minor_vector_rest"].tolist() == [0, 2]


def test_bounds_of_a_tpu_count_registers_in_the_order_of_the_layout():
    """f32[1280, 320]{0,1}: 320 rows of 1,280 in memory, 40 by 10 registers, cut into tiles of 20 by 5."""
    graph = tile_graph([(20, 5), (40, 10)], order=(0, 1), dims=(1280, 320))
    tiles = columns(graph)
    assert tiles["output_bound_0"].tolist() == [20, 40]
    assert tiles["minor_bound"].tolist() == [5 * 128, 1280] and tiles["second_bound"].tolist() == [20 * 8, 320]
    assert tiles["tiles_0"].tolist() == [2, 1] and tiles["tiles_1"].tolist() == [2, 1]
    assert tiles["tiles"] == pytest.approx(np.log([4, 1]))
    assert tiles["tile_share"] == pytest.approx(np.log([1 / 4, 1]))
    assert tiles["waste"].tolist() == [0, 0]


def test_a_register_that_a_tensor_does_not_fill_is_cut_at_its_end():
    tiles = columns(tile_graph([(1, 1)], order=(1, 0), dims=(6, 100)))
    assert tiles["tile_bytes"] == pytest.approx(np.log1p(4 * 600))
    assert tiles["uncut"].tolist() == [2]


def test_a_vector_counts_whole_registers():
    tiles = columns(tile_graph([(2,), (5,)], order=(0,), dims=(5000,)))
    assert tiles["minor_bound"].tolist() == [2048, 5000]


def test_one_bound_beyond_the_registers_says_that_all_count_elements():
    """Also for the rows that are asked for alone."""
    graph = tile_graph([(20, 5), (41, 10)], order=(1, 0), dims=(320, 1280))
    assert columns(graph)["minor_bound"].tolist() == [5, 10]
    names, values = tile_statistics(graph, np.array([0]))
    assert values[0, names.index("minor_bound")] == 5


def test_bounds_of_a_reduction_cut_the_tensor_that_is_reduced():
    """A kernel of real TpuGraphs: its roots are vectors, its four bounds those of the fused tensor."""
    nodes = [(PARAMETER, (19, 19, 2304), ()), (MULTIPLY, (19, 19, 2304), ()), (DOT, (2304,), ())]
    bounds = np.zeros((2, 24), np.float32)
    bounds[:, 8:11] = [(19, 3, 18), (1, 1, 6)]
    graph = tiled(nodes, bounds, root=2)
    tiles = columns(graph)
    assert tiles["result_rank"].tolist() == [3, 3]
    assert tiles["tiles_0"].tolist() == [1, 19] and tiles["tiles_1"].tolist() == [1, 3]
    assert tiles["minor_bound"].tolist() == [2304, 768]
