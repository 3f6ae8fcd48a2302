"""What holds for the columns of graphs of either kind."""

import dataclasses
import itertools
import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stages.graphs import dataset
from stages.graphs.collection import COLLECTIONS, SPLITS, folder
from stages.prune import stage as prune
from stages.statistics.columns import describe, shared, standardised, statistics

REAL = os.environ.get("TPUGRAPHS_DIR")


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
