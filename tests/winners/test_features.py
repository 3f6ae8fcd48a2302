"""What the networks take of a graph: columns, layouts, labels and segments."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from stages.graphs.opcodes import CONVOLUTION, OPCODE_NUMBERS
from stages.graphs.tensors import LAYOUT
from stages.winners import (
    fifth_place,
    first_place_layout,
    first_place_tile,
    gst_paper,
    official_layout,
    official_tile,
    second_place,
    sixth_place,
)


def test_first_place_pads_lists_with_minus_one(layout):
    columns = first_place_layout.columns(layout)
    convolution = layout.node_opcode == CONVOLUTION
    # Two dimensions are named (a trailing 0 cannot be told from padding), and the rest is -1.
    assert (columns[:, 33:37] == -1).all()
    assert (columns[~convolution][:, 95:99] == -1).all() and (columns[~convolution][:, 101:105] == -1).all()
    # A convolution's numbers, and other columns of instructions that are none, stay.
    assert columns[convolution][0, 93:97].tolist() == [0, 3, 1, 2]
    assert (columns[~convolution][:, [93, 94, 99, 100, 105, 106]] == 0).all()
    sizes = np.r_[0:31, 37:93, 107:134]
    np.testing.assert_array_equal(columns[:, sizes], layout.node_feat[:, sizes])


def test_first_place_inputs_have_layouts_padded_by_rank(layout):
    inputs = first_place_layout.prepare(layout, first_place_layout.fit([layout])).inputs(np.arange(2))
    rank = (layout.node_feat[:, 21:27] > 0).sum(1)
    np.testing.assert_array_equal((inputs.layout >= 0).sum(dim=1), rank)
    assert (inputs.layout[rank == 3, 3:] == -1).all()
    np.testing.assert_allclose(inputs.x.mean(0), 0, atol=1e-5)


def test_first_place_tiles_keep_published_layouts(tile):
    prepared = first_place_tile.prepare(tile, first_place_tile.fit([tile])).inputs(np.array([3, 1]))
    np.testing.assert_array_equal(prepared.layout, tile.node_feat[:, LAYOUT])
    assert prepared.config.shape == (2, 24)
    ratio = tile.runtime / (tile.normalizer + 1e-5)
    labels = first_place_tile.labels(tile, first_place_tile.fit([tile]))
    np.testing.assert_allclose(labels, (ratio - ratio.mean()) / ratio.std(), atol=1e-5)


def test_labels_are_in_the_originals_units(layout):
    graph = replace(layout, runtime=np.array([2**30, 2**30 + 1, 2**31]))
    merged = first_place_layout.labels(graph, first_place_layout.fit([layout]))
    assert merged[0] == merged[1] != merged[2]  # in float32
    assert gst_paper.labels(graph, None).dtype == np.int64
    assert second_place.seconds(graph, None)[2] == pytest.approx(2.147483648)
    assert official_layout.labels(graph, None)[2] == pytest.approx(214.7483648)
    assert fifth_place.labels(graph, None)[2] == pytest.approx(2147.483648)


def test_first_place_labels_merge_far_from_trains_run_times(layout):
    slow = replace(layout, runtime=layout.runtime + 10**13)
    fitted = first_place_layout.fit([slow])
    assert len(np.unique(first_place_layout.labels(layout, fitted))) < len(np.unique(layout.runtime))


def test_fifth_place_divides_tiles_by_normalisers_over_their_mean(tile):
    share = tile.normalizer / tile.normalizer.mean()
    np.testing.assert_allclose(fifth_place.labels(tile, None), tile.runtime / share / 1e6, rtol=1e-6)


def test_fifth_place_columns_in_their_order():
    node = np.zeros((1, 140), np.float32)
    node[0, [28, 44, 52, 60, 76, 84, 116, 120, 124]] = 1
    node[0, 0], node[0, 30], node[0, 27] = 1, 35, 9  # root; parameter number; sum of dimensions
    node[0, 21:27] = [1, 3, 7, 0, 0, 0]
    node[0, 31:37] = [5, 0, 0, 0, 0, 0]
    node[0, 94] = 3  # the input's features are dimension 3
    found = fifth_place.columns(node)[0]
    assert found[0] == 1 and found[9] == 1 and found[1] == -1  # to [-1, 1]
    assert found[18] == pytest.approx(np.log(10)) and found[19] == 0  # logarithms, the second from 1 on
    sizes = found[53:].reshape(6, 23)[:, :9].ravel()
    # 36 linear numbers, group by group, then 18 logarithms: not a row a dimension.
    assert sizes[0] == 1 and sizes[1] == -1
    assert sizes[36:39].tolist() == pytest.approx(np.log([2, 4, 8]).tolist())
    assert np.argwhere(found[53:].reshape(6, 23)[:, 9:] == 1).tolist() == [[3, 1]]


def test_fifth_place_has_no_nan_below_the_smallest_value():
    node = np.zeros((1, 140), np.float32)
    node[0, 127] = -1000
    assert np.isfinite(fifth_place.columns(node)).all()


def test_fifth_place_takes_unary_opcodes_for_one():
    number = OPCODE_NUMBERS
    opcodes = np.array([number["tanh"], number["add"], number["abs"], number["logistic"]], np.uint8)
    assert fifth_place.opcodes(opcodes).tolist() == [number["abs"], number["add"], number["abs"], number["abs"]]


def test_fifth_place_overrides_a_nodes_own_layout(layout):
    inputs = fifth_place.prepare(layout, None).inputs(np.arange(2))
    layouts = fifth_place.configured(inputs)
    node = next(node for node in range(layout.nodes) if node not in layout.config_nodes)
    own = np.where(layout.node_feat[node, LAYOUT] == 0, -1, layout.node_feat[node, LAYOUT])
    np.testing.assert_array_equal(layouts[1, node], np.tile(own, 3))
    np.testing.assert_array_equal(layouts[1, layout.config_nodes[0]], layout.layouts(np.array([1]))[0, 0])


def test_sixth_place_deviation_is_of_squares_less_squared_mean(tile):
    scaling = sixth_place.fit([tile])
    np.testing.assert_allclose(scaling.mean, tile.node_feat.mean(0), rtol=1e-5)
    np.testing.assert_allclose(scaling.config_deviation, tile.config_feat.std(0), rtol=1e-3)


def test_official_features_are_from_zero_to_one(layout, tile):
    nodes = official_layout.prepare(layout, official_layout.fit([layout])).inputs(np.arange(2)).x
    assert float(nodes.min()) == 0 and float(nodes.max()) == 1
    assert nodes.shape[1] == (layout.node_feat.max(0) != layout.node_feat.min(0)).sum()
    config = official_tile.prepare(tile, official_tile.fit([tile])).inputs().config
    assert float(config.min()) == 0 and float(config.max()) == 1


@pytest.mark.parametrize(
    ("nodes", "bounds"), [(999, [0, 999]), (1000, [0, 501, 1000]), (3163, [0, 791, 1582, 2373, 3163])]
)
def test_gst_cuts_nodes_as_their_data_set_does(nodes, bounds):
    assert gst_paper.boundaries(nodes).tolist() == bounds


def test_gst_estimate_weighs_the_computed_segment_for_the_dropped():
    fresh, stale = torch.tensor([1.0, 2.0]), torch.tensor([[10.0, 20.0, 30.0], [1.0, 1.0, 1.0]])
    kept = torch.tensor([[1.0, 0.0, 1.0], [0.0, 0.0, 0.0]])
    assert gst_paper.estimate(fresh, stale, kept).tolist() == [1 * 2.5 + 40, 2 * 2.5]
    assert gst_paper.estimate(fresh, stale[:, :0], kept[:, :0]).tolist() == [1, 2]


def test_gst_table_starts_at_zero_and_remembers(layout):
    table = gst_paper.Table(segment_nodes=10)
    scores = table.scores(layout)
    assert scores.shape == (layout.configurations, len(gst_paper.boundaries(layout.nodes, 10)) - 1)
    assert not scores.any()
    scores[3, 1] = 7
    assert float(table.scores(layout)[3, 1]) == 7


def test_gst_standardises_by_rows_less_one(layout):
    fitted = gst_paper.fit([layout])
    varies = layout.node_feat.std(0) > 0
    expected = layout.node_feat.astype(np.float64).std(0, ddof=1)
    np.testing.assert_allclose(fitted.deviation[varies], expected[varies], rtol=1e-6)
    assert (fitted.deviation[~varies] == 1).all()
