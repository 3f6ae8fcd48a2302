import numpy as np
import pytest

from stages.engine.errors import InputError
from stages.hlo import hlo_pb2
from stages.hlo.features import LEFT_OUT, graph_arrays, left_out
from tests.support.hlo import F8E5M2, F32, TUPLE, computation, instruction, module

# What an f32 scalar has in an instruction without any other field: its type, and the products over nothing.
BARE = {13: 1.0} | dict.fromkeys((28, 44, 52, 60, 68, 76, 84, 112, 116, 120, 124, 128, 132), 1.0)


def columns(proto):
    """The feature columns that are not 0 of a node that is not a root."""
    row = graph_arrays(module(computation(1, 0, proto))).node_feat[0]
    return {int(column): float(row[column]) for column in np.flatnonzero(row)}


def edges(*computations):
    return graph_arrays(module(*computations)).edge_index.tolist()


def test_unknown_opcode_and_element_type():
    proto = instruction(1, "topk", element_type=F8E5M2)
    assert graph_arrays(module(computation(1, 1, proto))).node_opcode.tolist() == [0]
    assert not any(2 <= column <= 20 for column in columns(proto))


def test_bare_instruction():
    assert columns(instruction(1)) == BARE


def test_shape_parameter_number_and_layout():
    proto = instruction(1, "parameter", parameter_number=3)
    proto.shape.dimensions[:] = [4, 5, 6]
    proto.shape.layout.minor_to_major[:] = [2, 0, 1]
    assert columns(proto) == BARE | {21: 4, 22: 5, 23: 6, 27: 15, 28: 120, 30: 3, 134: 2, 136: 1}


def test_rank_beyond_six_is_cut_but_counts_in_sum_and_product():
    proto = instruction(1, dimensions=[7, 6, 5, 4, 3, 2, 1])
    proto.shape.dimensions[:] = [2, 2, 2, 2, 2, 2, 3]
    proto.shape.layout.minor_to_major[:] = [6, 5, 4, 3, 2, 1, 0]
    dims = dict(zip(range(21, 27), [2] * 6, strict=True)) | {27: 15, 28: 192}
    cut = {31: 7, 32: 6, 33: 5, 34: 4, 35: 3, 36: 2, 134: 6, 135: 5, 136: 4, 137: 3, 138: 2, 139: 1}
    assert columns(proto) == BARE | dims | cut


def test_product_beyond_64_bits_wraps():
    proto = instruction(1)
    proto.shape.dimensions[:] = [2**62, 3]
    assert columns(proto)[28] == float(np.float32(3 * 2**62 - 2**64))


def test_tuple_root():
    proto = instruction(1, "tuple", element_type=TUPLE)
    proto.shape.tuple_shapes.add(element_type=F32)
    proto.shape.tuple_shapes.add(element_type=F32)
    row = graph_arrays(module(computation(1, 1, proto))).node_feat[0]
    assert (row[0], row[13], row[18], row[29]) == (1, 0, 1, 2)


def test_window():
    proto = instruction(1, "reduce-window")
    window = {"stride": 2, "padding_low": 1, "padding_high": -1, "window_dilation": 1, "base_dilation": 3}
    proto.window.dimensions.add(size=3, window_reversal=True, **window)
    proto.window.dimensions.add(size=5, window_reversal=False, **window)
    expected = {37: 3, 38: 5, 43: 8, 44: 15, 45: 2, 46: 2, 51: 4, 52: 4, 53: 1, 54: 1, 59: 2, 60: 1}
    expected |= {61: -1, 62: -1, 67: -2, 68: 1, 69: 1, 70: 1, 75: 2, 76: 1, 77: 3, 78: 3, 83: 6, 84: 9}
    assert columns(proto) == BARE | expected | {85: 1, 91: 1, 92: 1}


def test_convolution():
    numbers = hlo_pb2.ConvolutionDimensionNumbers(
        input_batch_dimension=10,
        input_feature_dimension=11,
        input_spatial_dimensions=[12, 13],
        kernel_input_feature_dimension=14,
        kernel_output_feature_dimension=15,
        kernel_spatial_dimensions=[16, 17, 18, 19, 20],
        output_batch_dimension=21,
        output_feature_dimension=22,
    )
    groups = {"feature_group_count": 23, "batch_group_count": 24}
    proto = instruction(1, "convolution", convolution_dimension_numbers=numbers, **groups)
    expected = {93: 10, 94: 11, 95: 12, 96: 13, 99: 14, 100: 15, 101: 16, 102: 17, 103: 18, 104: 19, 105: 21, 106: 22}
    assert columns(proto) == BARE | expected | {107: 23, 108: 24}


def test_slices():
    proto = instruction(1, "slice", dynamic_slice_sizes=[5, 6])
    for start, limit, stride in ((1, 10, 2), (2, 20, 3), (3, 30, 4)):
        proto.slice_dimensions.add(start=start, limit=limit, stride=stride)
    start = {109: 1, 110: 2, 111: 6, 112: 6}
    stride = {113: 2, 114: 3, 115: 9, 116: 24}
    limit = {117: 10, 118: 20, 119: 60, 120: 6000}
    assert columns(proto) == BARE | start | stride | limit | {121: 5, 122: 6, 123: 11, 124: 30}


def test_pad_and_stability():
    proto = instruction(1, "pad", is_stable=True)
    proto.padding_config.dimensions.add(edge_padding_low=2, edge_padding_high=-3)
    proto.padding_config.dimensions.add(edge_padding_low=4, edge_padding_high=5)
    low, high = {125: 2, 126: 4, 127: 6, 128: 8}, {129: -3, 130: 5, 131: 2, 132: -15}
    assert columns(proto) == BARE | low | high | {133: 1}


def test_padding_with_minus_one_follows_lists_of_dimension_numbers_alone():
    """The columns that the first place's change of one line reaches: those of NoAggregate in featurizers.h."""
    numbers = {"input_spatial_dimensions": [1, 2], "kernel_spatial_dimensions": [0], "output_feature_dimension": 3}
    proto = instruction(1, "convolution", convolution_dimension_numbers=numbers, dimensions=[0, 2], is_stable=True)
    proto.shape.dimensions[:] = [4, 5, 6]
    proto.shape.layout.minor_to_major[:] = [2, 0, 1]
    proto.padding_config.dimensions.add(edge_padding_low=2)
    graph = module(computation(1, 0, proto))
    published, padded = (graph_arrays(graph, padding).node_feat[0] for padding in (0, -1))
    places = np.r_[33:37, 97:99, 102:105, 137:140]
    assert np.flatnonzero(published != padded).tolist() == places.tolist()
    assert (published[places] == 0).all() and (padded[places] == -1).all()


def test_columns_that_are_left_out():
    dot = {"lhs_contracting_dimensions": [2], "rhs_contracting_dimensions": [1], "lhs_batch_dimensions": [0, 3]}
    gather = {"offset_dims": [1, 2], "start_index_map": [0, 1, 2, 3], "index_vector_dim": 2}
    graph = module(
        computation(
            1,
            1,
            instruction(1, "dot", dot_dimension_numbers=dot),
            instruction(
                2, "gather", gather_dimension_numbers=gather, gather_slice_sizes=[1, 7], indices_are_sorted=True
            ),
            instruction(3, "gather", gather_dimension_numbers={"collapsed_slice_dims": [0]}),
        )
    )
    none = [-1] * 3
    assert left_out(graph).tolist() == [
        [2, -1, -1, 1, -1, -1, 0, 3, -1, *none, *none, *none, *none, -1, *[-1] * 5, 0],
        [*none * 4, 1, 2, -1, *none, 0, 1, 2, 2, 1, 7, -1, -1, -1, 1],
        [*none * 4, *none, 0, -1, -1, *none, 0, *[-1] * 5, 0],
    ]
    assert sum(LEFT_OUT.values()) == 28 == left_out(graph).shape[1]


def test_edges_are_distinct_and_sorted_by_producer():
    entry = computation(1, 3, instruction(1), instruction(2), instruction(3, operand_ids=[2, 1, 2]))
    assert edges(entry) == [[2, 0], [2, 1]]


def test_edge_to_the_root_of_each_called_computation():
    body = computation(10, 2, instruction(1), instruction(2, operand_ids=[1]), instruction(3, operand_ids=[1]))
    call = instruction(5, "while", operand_ids=[4], called_computation_ids=[10, 10])
    assert edges(body, computation(11, 5, instruction(4), call)) == [[1, 0], [2, 0], [4, 1], [4, 3]]


def test_ids_that_recur_in_another_computation():
    first = computation(1, 2, instruction(1), instruction(2, operand_ids=[1]))
    second = computation(2, 2, instruction(1), instruction(2, operand_ids=[1]))
    assert edges(first, second) == [[1, 0], [3, 2]]


def test_packed_64_bit_ids():
    first, second = 1 << 32, (1 << 40) << 16
    plain_operands = computation(1, 2, instruction(first | 1), instruction(first | 2, operand_ids=[1]))
    packed = computation(second, second | 2, instruction(second | 1), instruction(second | 2, operand_ids=[second | 1]))
    arrays = graph_arrays(module(plain_operands, packed))
    assert arrays.edge_index.tolist() == [[1, 0], [3, 2]]
    assert arrays.node_feat[:, 0].tolist() == [0, 1, 0, 1]


def test_operand_in_another_computation():
    assert edges(computation(1, 1, instruction(1)), computation(2, 2, instruction(2, operand_ids=[1]))) == [[1, 0]]


def test_splits_and_names():
    parts = [("fused", 1), ("while_body", 2), ("sum", 3), ("cond.4", 4), ("main", 5)]
    graph = module(*(computation(i, i, instruction(i), instruction(i + 10), name=name) for name, i in parts))
    arrays = graph_arrays(graph)
    assert arrays.node_splits.tolist() == [[0, 4, 8, 10]]
    assert arrays.names[:3] == ["add.1", "add.11", "add.2"]


def test_last_split_is_not_doubled():
    assert graph_arrays(module(computation(1, 1, instruction(1), name="cluster"))).node_splits.tolist() == [[0, 1]]


@pytest.mark.parametrize(
    "graph, fault",
    [
        (module(), "no instruction"),
        (module(computation(1, 1, instruction(1, operand_ids=[9]))), "operand id 9"),
        (module(computation(1, 1, instruction(1, called_computation_ids=[9]))), "calls computation id 9"),
        (module(computation(1, 1, instruction(1), instruction(1))), "two instructions of one id"),
        (module(computation(1, 1, instruction(1)), computation(1, 2, instruction(2))), "occurs twice"),
    ],
)
def test_broken_modules(graph, fault):
    with pytest.raises(InputError, match=fault):
        graph_arrays(graph)
