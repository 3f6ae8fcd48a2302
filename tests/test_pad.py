import json
import os
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from stages import pad
from stages.engine.errors import InputError
from stages.graphs import dataset, npz
from stages.graphs.tensors import TILE_FEATURES
from stages.prune import stage as prune
from stages.statistics import tile
from tests.support.samples import layout_arrays, save, tile_arrays, write_root

REAL = os.environ.get("TPUGRAPHS_DIR")
REAL_FILES = sorted(Path(REAL, "npz_all").rglob("*.npz")) if REAL else []
LAYOUT = "layout:xla:random"
BROADCAST, CONCATENATE, CONVOLUTION, REDUCE, TRANSPOSE = 13, 22, 26, 70, 98


def node(shape=(), layout=(), dimensions=(), convolution=()):
    row = np.zeros(140, np.float32)
    for start, values in ((21, shape), (134, layout), (31, dimensions), (93, convolution)):
        row[start : start + len(values)] = values
    return row[None]


@pytest.mark.parametrize(
    ("shape", "layout", "rank", "padded"),
    [
        ((8, 4, 2), (2, 1, 0), 3, [2, 1, 0, -1, -1, -1]),
        ((8, 4, 2), (0, 1, 2), 3, [0, 1, 2, -1, -1, -1]),
        ((7,), (0,), 1, [0, -1, -1, -1, -1, -1]),
        ((), (), 0, [-1] * 6),  # a scalar or a tuple
        ((0, 3), (1, 0), 2, [1, 0, -1, -1, -1, -1]),  # empty tensors
        ((3, 0), (1, 0), 2, [1, 0, -1, -1, -1, -1]),
        ((2, 3), (0, 0), 2, [-1] * 6),  # rank 2, but no layout given
        ((2, 2, 2, 2, 2, 2), (6, 5, 4, 3, 2, 1), 6, [5, 5, 4, 3, 2, 1]),  # a tensor of rank 7, cut to 6 columns
    ],
)
def test_own_layouts_end_at_the_rank(shape, layout, rank, padded):
    row = node(shape, layout)
    assert pad.ranks(row).tolist() == [rank]
    assert pad.own_layout(row).tolist() == [padded]


@pytest.mark.parametrize(
    ("opcode", "shape", "layout", "dimensions", "padded"),
    [
        (TRANSPOSE, (8, 4, 2), (2, 1, 0), (1, 2, 0), [1, 2, 0, -1, -1, -1]),
        (BROADCAST, (8, 4, 2), (2, 1, 0), (0, 2), [0, 2, -1, -1, -1, -1]),
        (BROADCAST, (8, 4, 2), (2, 1, 0), (), [-1] * 6),  # of a scalar
        (REDUCE, (8, 4), (1, 0), (0,), [0, -1, -1, -1, -1, -1]),
        (CONCATENATE, (8, 4), (1, 0), (1,), [1, -1, -1, -1, -1, -1]),
        (CONVOLUTION, (8, 4, 2), (2, 1, 0), (), [-1] * 6),
    ],
)
def test_dimensions_end_at_the_last_one_named(opcode, shape, layout, dimensions, padded):
    row = node(shape, layout, dimensions)
    assert pad.features(row, np.array([opcode]))[0, 31:37].tolist() == padded
    assert pad.features(row, np.array([opcode]), 0)[0, 31:37].tolist() == row[0, 31:37].tolist()


def test_convolution_numbers_are_padded_by_hand():
    numbers = (0, 3, 1, 2, 0, 0, 2, 3, 0, 1, 0, 0, 0, 3)  # rank 4: two spatial dimensions
    row = np.concatenate([node((8, 4, 4, 2), (3, 2, 1, 0), (), numbers), node((8, 4), (1, 0))])
    padded = pad.features(row, np.array([CONVOLUTION, 2]))
    assert padded[0, 93:107].tolist() == [0, 3, 1, 2, -1, -1, 2, 3, 0, 1, -1, -1, 0, 3]
    assert padded[1, 93:107].tolist() == [-1] * 14


def test_sizes_are_logged_and_numbers_are_not():
    row = node((8, 4), (1, 0), (1, 0))
    row[0, 28], row[0, 53], row[0, 0] = 8e8, -2, 1
    found = pad.features(row, np.array([TRANSPOSE]))[0]
    assert found[21] == pytest.approx(np.log(9)) and found[28] == pytest.approx(np.log1p(8e8))
    assert found[53] == pytest.approx(-np.log(3))
    assert found[0] == 1 and found[31] == 1


def test_padding_leaves_its_input_alone():
    arrays = layout_arrays()
    before = arrays["node_feat"].copy()
    pad.features(arrays["node_feat"], arrays["node_opcode"])
    pad.own_layout(arrays["node_feat"])
    np.testing.assert_array_equal(arrays["node_feat"], before)


def test_the_scaler_over_blocks_is_that_of_all_rows():
    rows = np.random.default_rng(0).normal(3, 5, (50, 4))
    rows[:, 2] = 7
    scaler = pad.fit(lambda: iter([rows[:10], rows[10:11], rows[11:]]))
    assert scaler.columns.tolist() == [0, 1, 3]
    np.testing.assert_allclose(scaler.mean, rows[:, [0, 1, 3]].mean(0))
    np.testing.assert_allclose(scaler.deviation, rows[:, [0, 1, 3]].std(0))
    scaled = scaler.apply(rows)
    assert scaled.dtype == np.float32 and np.abs(scaled.mean(0)).max() < 1e-6


def test_a_column_that_barely_varies_on_train_is_clipped():
    rows = np.zeros((10_000, 2))
    rows[0] = 1  # the deviation is 0.01
    scaler = pad.fit(lambda: iter([rows]))
    assert scaler.apply(np.array([[7.0, -7.0], [0.05, 0.0]])).tolist() == [
        [10, -10],
        pytest.approx([0.0499 / 0.0099995, -0.0001 / 0.0099995], rel=1e-4),
    ]


def packed_root(tmp_path, collection=LAYOUT):
    root = write_root(tmp_path, nodes=20, configurable=5)
    prune.run(collection=collection, root=str(root), data=str(tmp_path))
    return root


def outputs(tmp_path, collection=LAYOUT):
    folder = dataset.pad_folder(tmp_path, collection)
    return {file.relative_to(folder).as_posix(): file.read_bytes() for file in folder.rglob("*.*")}


@pytest.mark.parametrize("collection", [LAYOUT, "tile:xla"])
def test_features_on_train_have_mean_0_and_deviation_1(tmp_path, collection):
    packed_root(tmp_path, collection)
    frame = pad.run(collection=collection, data=str(tmp_path))
    graphs = dataset.model_graphs(tmp_path, collection, "train")
    blocks = {"node": np.concatenate([graph.x for graph in graphs])}
    if collection == "tile:xla":
        kept = frame.filter(pl.col("kept"), group="tile").height
        both = np.concatenate([graph.tile_config for graph in graphs])
        blocks |= {"tile": both[:, :kept], "statistics": both[:, kept:]}
    else:
        blocks["assigned"] = np.concatenate([graph.layout_config for graph in graphs])
    assert set(frame["group"]) == blocks.keys()
    for group, block in blocks.items():
        assert block.shape[1] == frame.filter(pl.col("kept"), group=group).height > 0
        np.testing.assert_allclose(block.mean(0), 0, atol=1e-5)
        np.testing.assert_allclose(block.std(0), 1, atol=1e-5)


@pytest.mark.parametrize("collection", [LAYOUT, "tile:xla"])
def test_valid_and_test_change_nothing_of_train(tmp_path, collection):
    root = packed_root(tmp_path, collection)
    pad.run(collection=collection, data=str(tmp_path))
    before = outputs(tmp_path, collection)
    for split in ("valid", "test"):
        arrays = tile_arrays(seed=77) if collection == "tile:xla" else layout_arrays(20, 5, seed=77)
        arrays["node_feat"][:, 21:29] *= 1000
        arrays["node_feat"][:, 110] = 1
        arrays["config_runtime"][:] *= split == "valid"
        save(root / "npz" / collection.replace(":", "/") / split / f"{split}_0.npz", arrays)
    prune.run(collection=collection, root=str(root), data=str(tmp_path))
    pad.run(collection=collection, data=str(tmp_path))
    after = outputs(tmp_path, collection)
    changed = {name for name in before if before[name] != after[name]}
    assert changed == {"valid/valid_0.safetensors", "test/test_0.safetensors"}


def test_train_changes_the_scaler(tmp_path):
    root = packed_root(tmp_path)
    pad.run(collection=LAYOUT, data=str(tmp_path))
    before = outputs(tmp_path)
    save(root / "npz/layout/xla/random/train/train_0.npz", layout_arrays(20, 5, seed=77))
    prune.run(collection=LAYOUT, root=str(root), data=str(tmp_path))
    pad.run(collection=LAYOUT, data=str(tmp_path))
    assert before["scaler.json"] != outputs(tmp_path)["scaler.json"]


def test_layout_padding_is_a_choice(tmp_path):
    packed_root(tmp_path)
    pad.run(collection=LAYOUT, layout_padding=0, data=str(tmp_path))
    published = {graph.id: graph.node_feat[:, 134:] for graph in dataset.graphs(tmp_path, LAYOUT, "train")}
    for graph in dataset.model_graphs(tmp_path, LAYOUT, "train"):
        np.testing.assert_array_equal(graph.layout, published[graph.id])
    assert json.loads((dataset.pad_folder(tmp_path, LAYOUT) / "scaler.json").read_text())["layout_padding"] == 0
    with pytest.raises(InputError, match=r"pad\.layout_padding: 7 is neither -1 nor 0"):
        pad.run(collection=LAYOUT, layout_padding=7, data=str(tmp_path))


def test_pad_without_prune_says_what_to_run(tmp_path):
    with pytest.raises(InputError, match=r"layout-xla-random/manifest\.json: no such file; run the prune stage"):
        pad.run(collection=LAYOUT, data=str(tmp_path))


def test_run_removes_what_prune_no_longer_lists(tmp_path):
    root = packed_root(tmp_path)
    pad.run(collection=LAYOUT, data=str(tmp_path))
    (root / "npz/layout/xla/random/train/train_1.npz").unlink()
    prune.run(collection=LAYOUT, root=str(root), data=str(tmp_path))
    pad.run(collection=LAYOUT, data=str(tmp_path))
    assert "train/train_1.safetensors" not in outputs(tmp_path)
    assert len(dataset.model_graphs(tmp_path, LAYOUT, "train")) == 3


def test_tiles_that_are_constant_over_train_are_dropped(tmp_path):
    root = write_root(tmp_path)
    for file in (root / "npz/tile/xla/train").iterdir():
        with np.load(file, allow_pickle=False) as stored:
            arrays = dict(stored)
        save(file, arrays | {"config_feat": np.ones_like(arrays["config_feat"])})
    prune.run(collection="tile:xla", root=str(root), data=str(tmp_path))
    tile = pad.run(collection="tile:xla", data=str(tmp_path)).filter(pl.col("group") == "tile")
    assert tile.height == TILE_FEATURES and not tile["kept"].any() and tile["mean"].null_count() == tile.height


def test_tiles_have_their_statistics_beside_their_bounds(tmp_path):
    """Of each kernel's tiles mean 0 and deviation 1, then scaled; what tells of the kernel is dropped."""
    root = write_root(tmp_path)
    prune.run(collection="tile:xla", root=str(root), data=str(tmp_path))
    alone = pad.run(collection="tile:xla", statistics=False, data=str(tmp_path))
    bounds = [graph.tile_config for graph in dataset.model_graphs(tmp_path, "tile:xla", "test")]
    table = pad.run(collection="tile:xla", data=str(tmp_path)).filter(group="statistics")
    assert "statistics" not in alone["group"] and table.height == len(tile.DESCRIPTIONS)
    kept = [name for name, is_kept in zip(tile.DESCRIPTIONS, table["kept"], strict=True) if is_kept]
    assert "tile_bytes" in kept and not set(kept) & set(tile.KERNEL_COLUMNS)
    scaler = table.filter(pl.col("kept"))
    for graph, before in zip(dataset.model_graphs(tmp_path, "tile:xla", "test"), bounds, strict=True):
        names, values = tile.tile_statistics(graph.packed)
        column = values[:, names.index("tile_bytes")]
        place = kept.index("tile_bytes")
        expected = ((column - column.mean()) / column.std() - scaler["mean"][place]) / scaler["deviation"][place]
        np.testing.assert_array_equal(graph.tile_config[:, : before.shape[1]], before)
        np.testing.assert_allclose(graph.tile_config[:, before.shape[1] + place], expected, rtol=1e-5, atol=1e-6)


@pytest.mark.skipif(not REAL, reason="TPUGRAPHS_DIR does not name a folder of real TpuGraphs files")
@pytest.mark.parametrize("file", REAL_FILES, ids=lambda file: file.stem)
def test_real_nodes_have_whole_layouts(file):
    """Every own layout is a permutation of its dimensions and nothing else, and every feature is tame."""
    arrays = npz.read(file, "tile:xla" if "tile" in file.parts else LAYOUT)
    for rank, order in zip(pad.ranks(arrays.node_feat), pad.own_layout(arrays.node_feat), strict=True):
        assert sorted(order[:rank]) == list(range(rank)) and (order[rank:] == -1).all()
    found = pad.features(arrays.node_feat, arrays.node_opcode)
    assert np.isfinite(found).all() and found.min() == -1 and found.max() < 21
