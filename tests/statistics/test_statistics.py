import dataclasses
import itertools
import math
import os
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stages.errors import InputError
from stages.graphs import dataset, npz
from stages.graphs.collection import COLLECTIONS, SPLITS, folder
from stages.prune import stage as prune
from stages.statistics import (
    Hardware,
    copies,
    default_distance,
    describe,
    layout_statistics,
    orders,
    shared,
    standardised,
    statistics,
)
from stages.statistics import layout as layout_module
from tests.support.samples import F32_COLUMN, write_root

REAL = os.environ.get("TPUGRAPHS_DIR")
ADD, CONSTANT, CONVOLUTION, PARAMETER, MULTIPLY, DOT, RESHAPE, REDUCE, TRANSPOSE = 2, 24, 26, 63, 59, 34, 75, 70, 98


def features(nodes):
    """node_feat of (opcode, dims, dimensions) nodes, float32 elements."""
    feat = np.zeros((len(nodes), 140), np.float32)
    feat[:, F32_COLUMN] = 1
    for row, (_, dims, axes) in zip(feat, nodes, strict=True):
        row[21 : 21 + len(dims)] = dims
        row[31 : 31 + len(axes)] = axes
    return feat


def packed(nodes, configured, operands, contracted, layouts):
    """A layout graph; layouts: per configuration and configurable node a tuple of its slots' orders."""
    rows = np.full((len(layouts), len(configured), 18), -1, np.int8)
    for c, configuration in enumerate(layouts):
        for j, slots in enumerate(configuration):
            for slot, order in enumerate(slots):
                rows[c, j, 6 * slot : 6 * slot + len(order)] = order
    triples, codes = np.unique(rows.reshape(-1, 18), axis=0, return_inverse=True)
    opcodes = np.array([node[0] for node in nodes], np.uint8)
    return dataset.PackedGraph(
        id="made",
        split="train",
        collection="layout:xla:random",
        node_feat=features(nodes),
        node_opcode=opcodes,
        edge_index=np.zeros((0, 2), np.int32),
        node_split=np.ones(len(nodes), np.int32),
        config_nodes=np.array(configured, np.int32),
        codes=codes.reshape(rows.shape[:2]).astype(np.uint16),
        triples=triples,
        contracted=np.array(contracted, np.int32).reshape(-1, 2),
        config_operands=np.array(operands, np.int32),
        config_feat=None,
        normalizer=None,
        runtime=np.arange(1, len(layouts) + 1),
        config_index=np.arange(len(layouts)),
        whole_opcodes=np.bincount(opcodes, minlength=121),
        whole={"nodes": float(len(nodes)), "log_bytes": 3.0},
    )


def columns(graph, **options):
    names, values = statistics(graph, **options)
    return dict(zip(names, values.T, strict=True))


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


def test_copies_of_a_small_graph_by_hand(chain):
    found = columns(chain)
    transposed, fed, product = 8 * 4 * 4, 4 * 8 * 4, 4 * 16 * 4
    assert found["copies_transpose"].tolist() == [1, 0, 0, 1, 0]
    assert found["copies_direct"].tolist() == [0, 1, 0, 0, 0]
    assert found["copies_indirect"].tolist() == [0, 0, 0, 1, 0]
    assert found["copies_reshape"].tolist() == [0, 0, 0, 1, 0]
    assert found["copies_fixed"].tolist() == [0, 0, 0, 0, 0]
    assert found["copies"].tolist() == [1, 1, 0, 3, 0]
    assert found["copies_bytes"].tolist() == [transposed, fed, 0, transposed + 2 * product, 0]
    assert found["copies_largest"].tolist() == [transposed, fed, 0, product, 0]
    assert found["copies_at_dot_bytes"].tolist() == [0, fed, 0, 0, 0]
    total = transposed * 2 + (fed + 8 * 16 * 4 + product) + product * 2
    assert found["copies_share"] == pytest.approx(found["copies_bytes"] / total)


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


def test_copies_by_the_opcodes_at_both_ends(chain):
    found = columns(chain)
    fed, product = 4 * 8 * 4, 4 * 16 * 4
    assert found["copies_transpose_to_dot_bytes"].tolist() == [0, fed, 0, 0, 0]
    assert found["copies_dot_to_reshape_bytes"].tolist() == [0, 0, 0, product, 0]
    # binary digits of 128 and of 256 bytes; what happens inside a node is no copy between two
    assert found["copies_bits"].tolist() == [7, 7, 0, 7 + 8 + 8, 0]
    assert sum(found[name].sum() for name in found if "_to_" in name) == fed + product


def test_kinds_of_a_small_graph_by_hand(chain):
    found = columns(chain, hardware=Hardware(lanes=4, sublanes=2, cache_line=64, vector=32))
    assert found["dot_output_minor_before_last"].tolist() == [0, 0, 0, 0, 0]
    assert found["dot_input_minor_before_last"].tolist() == [0, 0, 1, 0, 0]
    assert found["transpose_output_minor_before_last"].tolist() == [0, 1, 1, 0, 0]
    assert found["reshape_input_minor_before_last"].tolist() == [0, 0, 0, 1, 0]
    assert found["transpose_minor_bits"].tolist() == [3, 2, 2, 3, 0]
    assert found["dot_disagreeing"].tolist() == [0, 0, 1, 0, 0]
    # tensors of the three nodes: [4,8] [8,4]; [4,16] [4,8] [8,16]; [2,2,16] [4,16]; rows of 4 are below no lanes of 4
    assert found["minor_below_lanes"].tolist() == [0] * 5
    assert found["minor_whole_lanes"].tolist() == [7, 7, 7, 7, 0]
    assert found["second_whole_sublanes"].tolist() == [7, 7, 7, 7, 0]
    # rows of 4 float32 are half a vector: the operand [8,4], then the turned [4,8], then the dot's operand too
    fed, product = 4 * 8 * 4, 4 * 16 * 4
    assert found["ragged_vector_bytes"].tolist() == [fed, 2 * fed, 3 * fed, fed + product, 0]
    assert found["dot_padding_bytes"].tolist() == [0] * 5
    wide = columns(chain, hardware=Hardware(lanes=32, sublanes=8))
    # of the dot's [4,16], [4,8] and [8,16], each is padded to 8 by 32
    assert wide["dot_padding_bytes"].tolist() == [4 * (3 * 256 - 64 - 32 - 128)] * 4 + [0]
    assert wide["minor_below_lanes"].tolist() == [7, 7, 7, 7, 0]


def test_roles_of_a_convolutions_minor_dimensions():
    nodes = [(PARAMETER, (8, 6, 6, 4), ()), (PARAMETER, (3, 3, 4, 16), ()), (CONVOLUTION, (8, 6, 6, 16), ())]
    plain, kernel = (3, 2, 1, 0), (3, 2, 1, 0)
    layouts = [
        ((plain, plain, kernel),),
        (((0, 1, 2, 3), (2, 1, 0, 3), (2, 3, 1, 0)),),
        (((1, 0, 2, 3), (0, 1, 2, 3), (0, 1, 2, 3)),),
    ]
    graph = packed(nodes, [2], [[0, 1]], [], layouts)
    graph.node_feat[2, [93, 94, 99, 100, 105, 106]] = 0, 3, 2, 3, 0, 3
    found = columns(graph)
    for slot, roles in {
        "output": ("feature", "batch", "spatial"),
        "input": ("feature", "spatial", "batch"),
        "kernel": ("output_feature", "input_feature", "spatial"),
    }.items():
        for configuration, role in enumerate(roles):
            assert np.flatnonzero(found[f"convolution_{slot}_minor_{role}"]).tolist() == [configuration]


def test_operations_by_hand():
    nodes = [
        (PARAMETER, (8, 6, 6, 4), ()),
        (PARAMETER, (3, 3, 4, 16), ()),
        (CONVOLUTION, (8, 6, 6, 16), ()),
        (PARAMETER, (2, 8, 4), ()),
        (PARAMETER, (2, 16, 4), ()),
        (DOT, (2, 8, 16), ()),
        (RESHAPE, (256,), ()),
        (DOT, (7, 7), ()),
    ]
    operands = [[0, 1], [3, 4], [5, -1], [-1, -1]]
    graph = packed(nodes, [2, 5, 6, 7], operands, [], [(((3, 2, 1, 0),), ((2, 1, 0),), ((0,),), ((1, 0),))])
    graph.node_feat[2, 100] = 3
    found = default_distance.operations(graph.node_feat[graph.config_nodes], copies.slot_tensors(graph))
    assert found.tolist() == [2 * 8 * 6 * 6 * 16 * 3 * 3 * 4, 2 * 2 * 8 * 16 * 4, 256, 49]


def test_distance_from_the_default_by_hand(chain):
    chain.node_feat[3, 134:136] = 0, 1  # the dot's own layout is column-major, the others give none: row-major
    chain.node_feat[:3, 134:136] = chain.node_feat[4, 134:136] = 1, 0
    found = columns(chain)
    fed, product = 4 * 8 * 4, 4 * 16 * 4
    total = fed * 2 + (fed + 8 * 16 * 4 + product) + product * 2
    assert found["off_default"].tolist() == [1, 2, 2, 2, 0]
    assert found["off_default_tensors"].tolist() == [1, 2, 3, 2, 0]
    assert found["default_distance"].tolist() == [1, 2, 3, 2, 0]
    off = [product, product + fed, product + 2 * fed, 2 * product, 0]
    assert found["off_default_bytes"] == pytest.approx(np.array(off) / total)
    work = np.array([32, 2 * 4 * 16 * 8, 64])
    assert found["off_default_operations"] == pytest.approx(
        np.array([work[1], work[:2].sum(), work[:2].sum(), work[1:].sum(), 0]) / work.sum()
    )


def test_how_often_the_search_tried_a_nodes_layouts(chain):
    found = columns(chain, searched=True)
    # how many of the five have the same triple at the transpose, the dot and the reshape
    often = np.array([[2, 3, 3], [2, 3, 3], [2, 1, 3], [2, 3, 1], [1, 1, 1]])
    assert found["occurrence"] == pytest.approx(often.mean(axis=1) / 5)
    assert found["occurrence_bits"] == pytest.approx(np.log2(often / 5).mean(axis=1), abs=1e-3)
    assert found["rare"].tolist() == [0] * 5
    # the mode of the dot and of the reshape is that of three; of the transpose's two equally frequent ones it is one
    assert (found["off_mode"][[0, 1]] - found["off_mode"][[3, 2]]).tolist() == [-1, -1]
    assert found["off_mode"][4] == 3 and found["off_mode_bytes"][4] == found["off_mode_operations"][4] == 1
    assert not any(name in columns(chain) for name in ("occurrence", "off_mode"))


def test_a_reduce_by_hand():
    """From the file on: the edges of a reduce lead to the addition it applies, to its zero and to its operand."""
    nodes = [(ADD, (), ()), (CONSTANT, (), ()), (PARAMETER, (2, 3, 4), ()), (REDUCE, (2, 4), (1,))]
    feat = features(nodes)
    feat[0, 0] = 1
    orders_ = [((1, 0), (2, 1, 0)), ((1, 0), (0, 1, 2)), ((0, 1), (0, 1, 2)), ((1, 0), (1, 2, 0)), ((1, 0), ())]
    layouts = np.full((len(orders_), 1, 18), -1, np.float32)
    for row, (made, given_) in zip(layouts, orders_, strict=True):
        row[0, : len(made)], row[0, 6 : 6 + len(given_)] = made, given_
    arrays = npz.LayoutArrays(
        node_feat=feat,
        node_opcode=np.array([opcode for opcode, *_ in nodes], np.uint8),
        edge_index=np.array([(3, 0), (3, 1), (3, 2)]),
        node_splits=np.array([0, 4]),
        node_config_feat=layouts,
        node_config_ids=np.array([3]),
        config_runtime=np.arange(1, 6),
    )
    tensors, whole = prune.pack(arrays)
    about = {"id": "made", "split": "train", "collection": "layout:xla:random", "config_feat": None, "normalizer": None}
    graph = dataset.PackedGraph(whole=whole, **about, **tensors)
    found = columns(graph)
    # kept of the operand's (0, 1, 2) is (0, 2), as the result numbers them (0, 1); of (1, 2, 0) it is (1, 0)
    assert found["copies_reduce"].tolist() == [0, 1, 0, 0, 0]
    assert found["copies_reduce_bytes"].tolist() == [0, 2 * 3 * 4 * 4, 0, 0, 0]
    # the parameter is row-major; the scalars have no order to differ from
    assert found["copies_fixed_bytes"].tolist() == [0, 96, 96, 96, 0]
    assert found["copies"].tolist() == [0, 1, 1, 1, 0]  # a reduce copies nothing itself
    assert found["inversions_input"].tolist() == [0, 3, 3, 1, 0]


def test_an_operand_nobody_configures_is_row_major_and_sizes_of_one_move_nothing():
    nodes = [(PARAMETER, (8, 1, 4), ()), (RESHAPE, (32,), ()), (PARAMETER, (8, 2, 4), ()), (RESHAPE, (64,), ())]
    turned, moved = ((0,), (1, 2, 0)), ((0,), (0, 2, 1))
    graph = packed(nodes, [1, 3], [[0, -1], [2, -1]], [], [(turned, turned), (turned, moved), (moved, turned)])
    found = columns(graph)
    assert found["copies_fixed"].tolist() == [1, 1, 2]  # of [8,1,4] only the third is another order in memory
    assert found["copies_fixed_bytes"].tolist() == [256, 256, 128 + 256]
    assert found["copies_minor"].tolist() == [2, 2, 4]  # 4 moves from the minor place in each, and in its reshape
    assert found["copies_reshape"].tolist() == [1, 1, 2]


def test_a_path_may_arrive_at_either_operand():
    nodes = [(DOT, (8, 8), ()), (MULTIPLY, (8, 8), ()), (MULTIPLY, (8, 8), ()), (DOT, (8, 8), ())]
    a, b = (1, 0), (0, 1)
    layouts = [((a,), (a, *both)) for both in itertools.product((a, b), repeat=2)]
    graph = packed(nodes, [0, 3], [[-1, -1], [1, 2]], [[1, 0]], layouts)
    assert columns(graph)["copies_indirect"].tolist() == [0, 0, 0, 1]


def test_two_minor_dimensions_are_compared_as_far_as_they_go():
    """As in TpuGraphs' default searches, which leave the major dimensions open."""
    nodes = [(DOT, (2, 3, 4), ()), (DOT, (2, 3, 4), ())]
    layouts = [(((2, 1, 0),), ((2, 1),) * 2), (((2, 1, 0),), ((2, 1), (2, 0)))]
    graph = packed(nodes, [0, 1], [[-1, -1], [0, -1]], [], layouts)
    assert columns(graph)["copies_direct"].tolist() == [0, 1]
    assert columns(graph)["inversions"].tolist() == [0, 1]


shapes = st.lists(st.integers(1, 4), min_size=1, max_size=4).map(tuple)


def memory(shape, order):
    """Row-major numbers of a tensor's elements in the order of its memory."""
    return np.arange(np.prod(shape)).reshape(shape).transpose(order[::-1]).ravel()


@given(shapes, st.data())
@settings(deadline=None)
def test_a_transpose_is_a_view_exactly_when_memory_says_so(operand, data):
    axes = range(len(operand))
    permutation, given_, made = (tuple(data.draw(st.permutations(axes))) for _ in range(3))
    result = tuple(operand[axis] for axis in permutation)
    numbers = np.arange(np.prod(operand)).reshape(operand).transpose(permutation)
    view = np.array_equal(memory(operand, given_), numbers.transpose(made[::-1]).ravel())
    pair = [orders.known(given_, operand), orders.transposed(made, result, permutation)]
    assert (orders.differ(pair)[0, 1] == 0) == view


@cache
def factorings(size):
    return [s for n in range(1, 5) for s in itertools.product((1, 2, 3, 4, 6, 8), repeat=n) if math.prod(s) == size]


@given(shapes, st.data())
@settings(deadline=None)
def test_a_reshape_is_a_view_exactly_when_memory_says_so(operand, data):
    size = int(np.prod(operand))
    result = data.draw(st.sampled_from([*factorings(size), operand]))
    given_, made = (tuple(data.draw(st.permutations(range(len(shape))))) for shape in (operand, result))
    view = np.array_equal(memory(operand, given_), memory(result, made))
    runs = orders.groups(result, operand)
    pair = [
        orders.collapsed(made, result, runs[0], "output"),
        orders.collapsed(given_, operand, runs[1], "input"),
    ]
    assert (orders.differ(pair)[0, 1] == 0) == view


def test_shapes_of_different_sizes_have_no_runs():
    assert orders.groups((2, 3), (4,)) is None
    assert orders.groups((6, 4), (2, 3, 4)) == ({0: 0, 1: 1}, {0: 0, 1: 0, 2: 1})


@pytest.fixture(scope="module")
def sample(tmp_path_factory):
    path = tmp_path_factory.mktemp("statistics")
    root = write_root(path, {"train": 3, "valid": 1, "test": 1}, configurations=12)
    for collection in ("layout:xla:random", "tile:xla"):
        prune.run(collection=collection, root=str(root), data=str(path))
    return path


def slow_inversions(graph):
    """Inversions and bytes times inversions, one configuration, node and slot at a time."""
    count, weighted = np.zeros(graph.configurations), np.zeros(graph.configurations)
    for c, j, slot in np.ndindex(graph.configurations, len(graph.config_nodes), 3):
        nodes = [graph.config_nodes[j], *graph.config_operands[j]]
        shape = [int(s) for s in graph.node_feat[nodes[slot], 21:27] if s] if nodes[slot] >= 0 else []
        order = [int(axis) for axis in graph.layouts()[c, j, 6 * slot : 6 * slot + 6] if axis >= 0]
        if not order:
            continue
        order += [axis for axis in reversed(range(len(shape))) if axis not in order]
        order = [axis for axis in order if axis >= len(shape) or shape[axis] != 1]
        pairs = sum(first < second for first, second in itertools.combinations(order, 2))
        count[c] += pairs
        weighted[c] += pairs * (4 * np.prod(shape) if nodes[slot] >= 0 else 0)
    return count, weighted


def test_the_fast_path_agrees_with_a_slow_one(sample, monkeypatch):
    for graph in dataset.graphs(sample, "layout:xla:random", "train"):
        whole = layout_statistics(graph, searched=True)[1]
        found = columns(graph)
        count, weighted = slow_inversions(graph)
        np.testing.assert_array_equal(found["inversions"], count)
        np.testing.assert_array_equal(found["inversions_bytes"], weighted)
        with monkeypatch.context() as patch:
            patch.setattr(layout_module, "_CELLS", 7)
            patch.setattr(layout_module, "_PAIRS", 1)
            np.testing.assert_array_equal(layout_statistics(graph, searched=True)[1], whole)


def test_some_rows_are_those_of_all(sample):
    """Also of the columns that say how often a layout was tried: they count in the whole graph."""
    for collection in ("layout:xla:random", "tile:xla"):
        graph = dataset.graphs(sample, collection, "train")[0]
        rows = np.array([7, 2, 3])
        names, values = statistics(graph, rows, searched=True)
        whole = statistics(graph, searched=True)
        assert names == whole[0]
        np.testing.assert_array_equal(values, whole[1][rows])


def test_shared_columns_are_those_that_do_not_vary(sample):
    for collection in ("layout:xla:random", "tile:xla"):
        for graph in dataset.graphs(sample, collection, "train"):
            names, values = statistics(graph)
            varying = np.ptp(values, axis=0) > 0
            assert not any(shared(name) for name, varies in zip(names, varying, strict=True) if varies)
        assert sum(map(shared, names)) > 20 and not shared("copies") and not shared("tiles")


@given(st.randoms(use_true_random=False))
@settings(max_examples=20, deadline=None)
def test_a_row_depends_on_its_configuration_alone(sample, random):
    """Some of the configurations, in another order, are the same rows in that order."""
    for collection in ("layout:xla:random", "tile:xla"):
        graph = dataset.graphs(sample, collection, "train")[random.randrange(3)]
        order = random.sample(range(graph.configurations), random.randint(1, graph.configurations))
        rows = ("codes", "config_feat", "normalizer", "runtime", "config_index")
        turned = {name: value[order] for name in rows if (value := getattr(graph, name)) is not None}
        again = statistics(dataclasses.replace(graph, **turned))[1]
        np.testing.assert_array_equal(again, statistics(graph)[1][order])


def test_no_run_time_is_looked_at(sample):
    for collection in ("layout:xla:random", "tile:xla"):
        graph = dataset.graphs(sample, collection, "train")[0]
        blind = dataclasses.replace(graph, runtime=graph.runtime * 0, config_index=graph.config_index + 7)
        np.testing.assert_array_equal(statistics(blind)[1], statistics(graph)[1])


def test_every_column_says_what_it_measures(sample):
    for collection in ("layout:xla:random", "tile:xla"):
        names = {
            tuple(statistics(graph)[0])
            for split in ("train", "test")
            for graph in dataset.graphs(sample, collection, split)
        }
        assert len(names) == 1
        (only,) = names
        assert len(set(only)) == len(only) and len({describe(name) for name in only}) == len(only)


@given(st.floats(-1e6, 1e6), st.floats(0.5, 100))
@settings(deadline=None)
def test_z_scores_see_neither_offset_nor_scale(offset, scale):
    values = np.array([[1.0, 5.0], [2.0, 5.0], [4.0, 5.0]])
    z = standardised(values)
    np.testing.assert_allclose(standardised(values * scale + offset), z, atol=1e-6)
    assert z[:, 1].tolist() == [0, 0, 0] and z[:, 0].std() == pytest.approx(1)


def tile_graph(bounds, dims=(6, 10), order=(1, 0)):
    config_feat = np.zeros((len(bounds), 24), np.float32)
    config_feat[:, 8 : 8 + len(dims)] = bounds
    graph = packed([(PARAMETER, dims, ()), (MULTIPLY, dims, ())], [1], [[0, -1]], [], [(((1, 0),),)] * len(bounds))
    graph.node_feat[1, 0] = 1
    graph.node_feat[1, 134 : 134 + len(order)] = order
    layout = dict.fromkeys(("config_nodes", "codes", "triples", "contracted", "config_operands", "node_split"))
    return dataclasses.replace(
        graph, collection="tile:xla", config_feat=config_feat, normalizer=np.ones(len(bounds), np.int64), **layout
    )


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


def test_the_hardware_measures_tiles_too():
    graph = tile_graph([(4, 8), (3, 6)])
    assert columns(graph, hardware=Hardware(lanes=8))["minor_lanes"] == pytest.approx([1, 6 / 8])
    assert columns(graph, hardware=Hardware(vector=16))["minor_vector_rest"].tolist() == [0, 2]
    with pytest.raises(InputError, match="gbdt.lanes: 0 is too small"):
        Hardware(lanes=0)


@pytest.mark.skipif(not REAL, reason="TPUGRAPHS_DIR is not set")
@pytest.mark.parametrize("collection", COLLECTIONS[:4])
def test_real_files(collection, tmp_path):
    """A split without a real file borrows one, unet3d: the stage wants every split filled."""
    unet3d = folder(Path(REAL, "npz_all"), "layout:xla:default", "train") / "unet3d.npz"
    real = {split: folder(Path(REAL, "npz_all"), collection, split) for split in SPLITS}
    files = {split: sorted(path.glob("*.npz")) for split, path in real.items()}
    for split in SPLITS:
        made = folder(tmp_path, collection, split)
        made.mkdir(parents=True)
        for file in files[split] or [unet3d]:
            (made / file.name).symlink_to(file.resolve())
    prune.run(collection=collection, root=str(tmp_path), data=str(tmp_path))
    for graph in itertools.chain(*(dataset.graphs(tmp_path, collection, split) for split in SPLITS)):
        names, values = statistics(graph, searched=True)
        assert values.shape == (graph.configurations, len(names)) and np.isfinite(values).all()
        if graph.codes is not None and graph.configurations > 1:
            assert np.ptp(values[:, names.index("inversions")]) > 0
