"""The drawn program: what is kept of it, where its nodes stand, and the copy that is marked."""

from dataclasses import replace

import numpy as np
import pytest

from stages import configuration
from stages.errors import InputError
from stages.graphs import dataset
from stages.prune import stage as prune
from stages.reporting import figures
from stages.statistics import statistics
from tests.support import samples

LAYOUT = "layout:xla:random"


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    path = tmp_path_factory.mktemp("configuration")
    root = samples.write_root(path, nodes=30, configurable=6)
    prune.run(collection=LAYOUT, root=str(root), data=str(path / "data"))
    return path


def run(made, **given):
    return configuration.run(
        collection=LAYOUT, root=str(made / "npz_all"), data=str(made / "data"), **{"program": None, **given}
    )


def test_the_drawing_is_of_what_the_prune_stage_kept(made):
    example = run(made, program="train_2")
    (packed,) = (graph for graph in dataset.graphs(made / "data", LAYOUT, "train") if graph.id == "train_2")
    assert example.kept.sum() == packed.nodes < len(example.kept) == 30
    assert len(example.kept_edges) == len(packed.edge_index)
    edges = set(map(tuple, example.edges.tolist()))
    assert {tuple(edge) for edge in example.kept_edges.tolist()} <= edges
    assert example.kept[example.configurable].all() and len(example.configurable) == 6
    assert example.runtime[example.fastest] == packed.runtime.min()
    assert example.runtime[example.slowest] == packed.runtime.max()


def test_the_drawing_follows_the_direction_that_was_pruned_in(made, tmp_path):
    (tmp_path / "npz_all").symlink_to(made / "npz_all")
    prune.run(collection=LAYOUT, root=str(made / "npz_all"), data=str(tmp_path / "data"), hops=2, direction="consumers")
    example = run(tmp_path, program="train_2")
    (packed,) = (graph for graph in dataset.graphs(tmp_path / "data", LAYOUT, "train") if graph.id == "train_2")
    assert example.kept.sum() == packed.nodes < run(made, program="train_2").kept.sum()


def test_the_copy_is_one_that_the_statistics_count_in_the_slowest_and_not_in_the_fastest(made):
    shown = [run(made, program=graph.id) for graph in dataset.graphs(made / "data", LAYOUT, "train")]
    packed = dataset.graphs(made / "data", LAYOUT, "train")
    for example, graph in zip(shown, packed, strict=True):
        if example.copy is not None:
            consumer, producer, size, slot = example.copy
            names, values = statistics(graph, np.array([example.slowest]))
            between = values[0, names.index("copies_direct_bytes")] + values[0, names.index("copies_indirect_bytes")]
            assert 0 < size <= between and slot in (1, 2)
            assert {consumer, producer} <= set(example.configurable.tolist())
            assert f"so {size:,} bytes are copied" in configuration.pruned(example)
    assert any(example.copy for example in shown)
    assert run(made).copy is not None  # of the smallest the one that has a copy


def test_a_node_stands_below_its_operands_and_no_two_in_one_place(made):
    example = run(made)
    x, y = configuration._positions(len(example.opcodes), example.edges)
    consumer, producer = example.edges.T
    assert (y[consumer] < y[producer]).all()
    assert len(set(zip(x.tolist(), y.tolist(), strict=True))) == len(x)


def test_layouts_as_xla_writes_them():
    layouts = np.full((1, 1, 18), -1, np.int8)
    layouts[0, 0, :2], layouts[0, 0, 6:9] = (1, 0), (2, 0, 1)
    assert configuration._texts(layouts).tolist() == [[["{1,0}", "{2,0,1}", "–"]]]


def test_every_picture_and_sentence_can_be_made(made):
    for example in (run(made), replace(run(made), copy=None)):
        for draw in (configuration.drawing, configuration.times):
            shown = figures.responsive(draw, "a picture", example)
            assert shown == figures.responsive(draw, "a picture", example) and shown.count("base64,") == 2
        for say in (configuration.introduction, configuration.pruned, configuration.differing, configuration.spread):
            text = say(example)
            assert text.endswith(".") and "None" not in text and "nan" not in text
        assert configuration.table(example).height == len(example.configurable)


def test_of_kernels_the_smallest_is_shown_with_its_tiles(made, tmp_path):
    for seed, (name, nodes) in enumerate({"large": 9, "small": 5, "middle": 7}.items()):
        samples.write_tile(tmp_path / "npz/tile/xla/train", name, nodes, configurations=14, seed=seed)
    for split in ("valid", "test"):
        samples.write_tile(tmp_path / "npz/tile/xla" / split, split, runtimes=split != "test")
    prune.run(collection="tile:xla", root=str(tmp_path), data=str(tmp_path / "data"))
    example = configuration.run(collection="tile:xla", root="", data=str(tmp_path / "data"))
    assert example.id == "small" and len(example.opcodes) == 5 and example.kept.all()
    (packed,) = (graph for graph in dataset.graphs(tmp_path / "data", "tile:xla", "train") if graph.id == "small")
    table = configuration.table(example)
    bounds = packed.config_feat[packed.runtime.argmin(), 8:11].astype(int)
    assert table.row(0) == ("×".join(map(str, bounds)), f"{packed.runtime.min() / 1e6:.3f} ms", "1.00")
    assert table.height == 10  # of 14 the five at either end
    assert table.row(-1)[2] == f"{packed.runtime.max() / packed.runtime.min():.2f}"
    for draw in (configuration.drawing, configuration.times):
        assert figures.responsive(draw, "a picture", example).count("base64,") == 2
    for say in ("introduction", "pruned", "chosen", "differing", "spread"):
        text = getattr(configuration, say)(example)
        assert text.endswith(".") and "None" not in text and "nan" not in text and "layout" not in text
    given = configuration.run(collection="tile:xla", program="large", root="", data=str(tmp_path / "data"))
    assert given.id == "large" and len(given.opcodes) == 9


def test_faults_are_named(made, tmp_path):
    with pytest.raises(InputError, match="configuration.program: 'lost' is no train graph"):
        run(made, program="lost")
    other = samples.write_root(tmp_path, nodes=25, configurable=6)
    with pytest.raises(InputError, match="is not what train_0 was pruned from; run the prune stage again"):
        configuration.run(collection=LAYOUT, program="train_0", root=str(other), data=str(made / "data"))
