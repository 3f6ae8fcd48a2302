"""The pictures, tables and sentences of the configuration page."""

from dataclasses import replace

import numpy as np
import pytest

from stages.configuration import drawing, report, stretch
from stages.configuration import stage as configuration
from stages.graphs import dataset
from stages.graphs.opcodes import OPCODE_NUMBERS
from stages.prune import stage as prune
from stages.reporting import figures
from stages.reporting.words import duration
from tests.support import samples
from tests.support.programs import run_configuration


def names(figure):
    """The names in each panel of a drawing."""
    return [[text.get_text() for text in panel.texts] for panel in figure.axes]


@pytest.fixture
def crowded(monkeypatch):
    """A drawing has room for nine nodes of a program, and the table for four."""
    monkeypatch.setattr(stretch, "NODES", 9)
    monkeypatch.setattr(report, "ROWS", 4)


def test_every_picture_and_sentence_can_be_made(made):
    for example in (run_configuration(made), replace(run_configuration(made), copy=None)):
        for draw in (drawing.drawing, drawing.times):
            shown = figures.responsive(draw, "a picture", example)
            assert shown == figures.responsive(draw, "a picture", example) and shown.count("base64,") == 2
        for say in (report.finding, report.introduction, report.drawn, report.pruned, report.chosen, report.spread):
            text = say(example)
            assert text.endswith(".") and "None" not in text and "nan" not in text
        assert report.table(example).height == len(example.configurable) and report.rest(example).is_empty()
        assert report.drawn(example) == "The drawing has all 30 nodes."


def test_before_pruning_all_nodes_of_the_stretch_are_drawn_and_after_it_the_kept_ones(made):
    example = run_configuration(made, program="train_2")
    before, after = names(drawing.drawing(example))
    assert len(before) == 30 and len(after) == example.kept.sum() < 30
    assert {f"{example.opcodes[node]} {node}" for node in example.configurable} <= set(after)


def test_of_a_large_program_the_copys_surroundings_are_drawn_and_the_rest_is_counted(made, crowded):
    example = run_configuration(made)
    before, _ = names(drawing.drawing(example))
    ends = [drawing.name(example, node) for node in (example.copy.producer, example.copy.consumer)]
    assert len(before) == len(drawing.shown(example)) <= 9 and set(ends) <= set(before)
    assert report.drawn(example).startswith(
        f"The drawing has {len(before)} of the 30 nodes, those nearest to the relayout copy. The other "
        f"{30 - len(before)} lie further off"
    )


def test_the_table_has_the_nodes_of_the_drawing_and_those_that_differ_most_and_the_rest_is_folded(made, crowded):
    example = run_configuration(made)
    layouts = np.full((2, 6, 3), "{1,0}", object)
    layouts[1, :, 0] = "–"  # all differ in their output,
    layouts[1, 5, :] = "{0,1}"  # the last one most
    example = replace(example, layouts=layouts)
    told, rest = (
        part[part.columns[0]].str.split(",").list.first() for part in (report.table(example), report.rest(example))
    )
    nodes = [drawing.name(example, node) for node in example.configurable]
    drawn = [name for name in nodes if name in names(drawing.drawing(example))[0]]
    assert told.to_list()[: len(drawn)] == drawn and nodes[5] in told.to_list()
    assert len(told) == max(len(drawn), 4) and sorted([*told, *rest]) == sorted(nodes)
    assert report.left_out(example) == f"The other {len(rest)} nodes, {len(rest)} of which differ"


def test_a_cell_names_the_layouts_that_are_chosen(made):
    example = run_configuration(made)
    layouts = np.full((2, 6, 3), "–", object)
    layouts[1, 0, ::2] = "{1,0}", "{0,1}"
    first = report.table(replace(example, layouts=layouts)).row(0)
    assert first[1] == "left to the compiler"
    assert first[2].replace("\N{NO-BREAK SPACE}", " ") == "output {1,0}, kernel {0,1}"


@pytest.fixture
def kernels(tmp_path):
    """Calls the stage with kernels of so many nodes, of which some have a convolution."""

    def run(*nodes, products=(), **given):
        for seed, count in enumerate(nodes):
            arrays = samples.tile_arrays(nodes=count, configurations=14, seed=seed)
            arrays["node_opcode"][:] = OPCODE_NUMBERS["add"]
            arrays["node_opcode"][0] = OPCODE_NUMBERS["convolution" if count in products else "parameter"]
            samples.save(tmp_path / "npz/tile/xla/train" / f"of_{count}.npz", arrays)
        for split in ("valid", "test"):
            samples.write_tile(tmp_path / "npz/tile/xla" / split, split, runtimes=split != "test")
        prune.run(collection="tile:xla", root=str(tmp_path), data=str(tmp_path / "data"))
        return configuration.run(collection="tile:xla", data=str(tmp_path / "data"), **given)

    return run


def test_of_kernels_the_smallest_is_shown_that_has_a_product_and_something_beside_it(kernels):
    assert kernels(5, 9, 12, 15, products=(5, 12, 15)).id == "of_12"


def test_of_kernels_without_a_product_the_smallest_is_shown(kernels):
    assert kernels(9, 5, 7).id == "of_5"


def test_a_kernel_that_is_named_is_shown(kernels):
    assert kernels(9, 5, program="of_9").id == "of_9"


def test_a_kernel_is_drawn_once_with_its_tiles(kernels, tmp_path):
    example = kernels(9, products=(9,))
    assert len(example.opcodes) == 9 and example.kept.all()
    (packed,) = dataset.graphs(tmp_path / "data", "tile:xla", "train")
    table = report.table(example)
    bounds = packed.config_feat[packed.runtime.argmin(), 8:11].astype(int)
    assert table.row(0) == ("×".join(map(str, bounds)), duration(packed.runtime.min()), "1.00")
    assert table.height == 10  # of 14 the five at either end
    assert table.row(-1)[2] == f"{packed.runtime.max() / packed.runtime.min():.2f}"
    assert [len(panel) for panel in names(drawing.drawing(example))] == [9]
    for draw in (drawing.drawing, drawing.times):
        assert figures.responsive(draw, "a picture", example).count("base64,") == 2
    for say in ("introduction", "drawn", "pruned", "chosen", "spread"):
        text = getattr(report, say)(example)
        assert text.endswith(".") and "None" not in text and "nan" not in text and "layout" not in text
