"""The pictures, tables and sentences of the configuration page."""

from dataclasses import replace

from stages.configuration import report
from stages.configuration import stage as configuration
from stages.graphs import dataset
from stages.prune import stage as prune
from stages.reporting import figures
from tests.support import samples
from tests.support.programs import run_configuration


def test_a_node_stands_below_its_operands_and_no_two_in_one_place(made):
    example = run_configuration(made)
    x, y = report._positions(len(example.opcodes), example.edges)
    consumer, producer = example.edges.T
    assert (y[consumer] < y[producer]).all()
    assert len(set(zip(x.tolist(), y.tolist(), strict=True))) == len(x)


def test_every_picture_and_sentence_can_be_made(made):
    for example in (run_configuration(made), replace(run_configuration(made), copy=None)):
        for draw in (report.drawing, report.times):
            shown = figures.responsive(draw, "a picture", example)
            assert shown == figures.responsive(draw, "a picture", example) and shown.count("base64,") == 2
        for say in (report.finding, report.introduction, report.pruned, report.differing, report.spread):
            text = say(example)
            assert text.endswith(".") and "None" not in text and "nan" not in text
        assert report.table(example).height == len(example.configurable)


def test_of_kernels_the_smallest_is_shown_with_its_tiles(made, tmp_path):
    for seed, (name, nodes) in enumerate({"large": 9, "small": 5, "middle": 7}.items()):
        samples.write_tile(tmp_path / "npz/tile/xla/train", name, nodes, configurations=14, seed=seed)
    for split in ("valid", "test"):
        samples.write_tile(tmp_path / "npz/tile/xla" / split, split, runtimes=split != "test")
    prune.run(collection="tile:xla", root=str(tmp_path), data=str(tmp_path / "data"))
    example = configuration.run(collection="tile:xla", data=str(tmp_path / "data"))
    assert example.id == "small" and len(example.opcodes) == 5 and example.kept.all()
    (packed,) = (graph for graph in dataset.graphs(tmp_path / "data", "tile:xla", "train") if graph.id == "small")
    table = report.table(example)
    bounds = packed.config_feat[packed.runtime.argmin(), 8:11].astype(int)
    assert table.row(0) == ("×".join(map(str, bounds)), f"{packed.runtime.min() / 1e6:.3f} ms", "1.00")
    assert table.height == 10  # of 14 the five at either end
    assert table.row(-1)[2] == f"{packed.runtime.max() / packed.runtime.min():.2f}"
    for draw in (report.drawing, report.times):
        assert figures.responsive(draw, "a picture", example).count("base64,") == 2
    for say in ("introduction", "pruned", "chosen", "differing", "spread"):
        text = getattr(report, say)(example)
        assert text.endswith(".") and "None" not in text and "nan" not in text and "layout" not in text
    large = configuration.run(collection="tile:xla", program="large", data=str(tmp_path / "data"))
    assert large.id == "large" and len(large.opcodes) == 9
