"""Identities: other code, settings or data are told apart."""

from dataclasses import replace

import numpy as np
import pytest

from stages.engine import code
from stages.gnn import identity
from stages.gnn import identity as identities
from stages.gnn.identity import of_training
from stages.graphs.opcodes import OPCODES
from tests.support import networks
from tests.support.graphs import (
    LAYOUT,
    TILE,
    TINY,
    sample,
)
from tests.support.networks import SEGMENTS
from tests.support.pipeline import PROJECT


@pytest.mark.parametrize(
    "change",
    [
        lambda graph: replace(graph.packed, codes=graph.packed.codes[::-1]),
        lambda graph: replace(graph.packed, triples=graph.packed.triples[::-1]),
        lambda graph: replace(graph.packed, edge_index=graph.packed.edge_index[:-1]),
        lambda graph: replace(graph.packed, node_feat=graph.packed.node_feat * 2),
        lambda graph: replace(graph.packed, contracted=graph.packed.contracted[:-1]),
        lambda graph: replace(graph.packed, config_operands=graph.packed.config_operands[:, ::-1]),
        lambda graph: replace(graph.packed, config_nodes=graph.packed.config_nodes[::-1]),
        lambda graph: replace(graph.packed, node_opcode=(graph.packed.node_opcode + 1) % OPCODES),
        lambda graph: replace(graph.packed, node_split=graph.packed.node_split + np.arange(12, dtype=np.int32)),
    ],
    ids="codes triples edges features contracted operands places opcodes splits".split(),
)
def test_states_of_another_graph_are_not_taken(change):
    graph = sample(LAYOUT, configurable=6)
    view = networks.settings(**SEGMENTS | {"partition": "node_splits"}).view(LAYOUT)
    first, second = identity.of_states(graph, view), identity.of_states(replace(graph, packed=change(graph)), view)
    assert first != second and first == identity.of_states(graph, view)


def _flipped(name):
    def change(graph):
        array = getattr(graph, name)
        return replace(graph, **{name: array[::-1].copy() if name != "layout" else array + 1})

    return change


def _repacked(name):
    def change(graph):
        array = getattr(graph.packed, name)
        return replace(graph, packed=replace(graph.packed, **{name: array + 1}))

    return change


MODEL_FIELDS = ("x", "opcode", "layout", "edge_index", "config_nodes", "codes", "triples", "target")

PACKED_FIELDS = ("node_feat", "node_split", "contracted", "config_operands")

OTHER_DATA = {name: _flipped(name) for name in MODEL_FIELDS} | {name: _repacked(name) for name in PACKED_FIELDS}


@pytest.mark.parametrize("name", [*OTHER_DATA, "id", "split"])
def test_other_data_make_another_training(name):
    chosen, graph = networks.settings(**TINY), sample(LAYOUT, configurable=6)
    first = of_training(LAYOUT, 0, chosen, "cpu", [graph, graph])
    assert first == of_training(LAYOUT, 0, chosen, "cpu", [replace(graph, x=graph.x.copy()), graph])
    other = OTHER_DATA[name](graph) if name in OTHER_DATA else replace(graph, **{name: "another"})
    assert of_training(LAYOUT, 0, chosen, "cpu", [graph, other]) != first


def test_the_code_of_all_that_shapes_a_training_is_in_its_identity():
    """And the code of a page is not: what is changed there trains nothing."""
    files = {path.relative_to(PROJECT / "stages").as_posix() for path in code.closure(*identities.CODE)}
    assert {"gnn/network.py", "gnn/loss.py", "gnn/states.py", "statistics/copies.py", "graphs/opcodes.py"} <= files
    assert {"gnn/tasks.py", "gnn/training.py", "gnn/inference.py", "gnn/batch.py", "scoring/scores.py"} <= files
    assert not {"gnn/report.py", "gnn/stage.py", "gnn/attention.py", "runner/page.py"} & files
    assert not any(file.startswith("reporting/") for file in files)


def test_other_settings_seeds_devices_and_collections_make_another_training():
    graphs = [sample(LAYOUT)]
    chosen = networks.settings(**TINY)
    one = (LAYOUT, 0, chosen, "cpu")
    others = [
        ("layout:nlp:default", *one[1:]),
        (LAYOUT, 1, chosen, "cpu"),
        (LAYOUT, 0, replace(chosen, dropout=0.2), "cpu"),
        (*one[:3], "cuda"),
    ]
    found = {of_training(*known, graphs) for known in [one, *others]}
    found |= {of_training(*one, graphs * 2), of_training(*one, [])}
    assert len(found) == 7
    assert of_training(LAYOUT, 0, replace(chosen, seeds=9), "cpu", graphs) in found  # how many there are is no matter
    tile = sample(TILE)
    changed = replace(tile, tile_config=tile.tile_config * 2)
    assert of_training(TILE, *one[1:], [tile]) != of_training(TILE, *one[1:], [changed])
