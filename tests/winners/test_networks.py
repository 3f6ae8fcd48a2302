"""What all networks have in common: order does not matter, gradients reach every weight, and the originals' values."""

import random
from dataclasses import replace

import numpy as np
import pytest
import torch

from benchmarks.parity.compare import fill
from benchmarks.parity.graphs import synthetic_layout, synthetic_tile
from stages.graphs.collection import is_tile
from stages.winners import (
    fifth_place,
    first_place_layout,
    first_place_tile,
    fourteenth_place,
    gst_paper,
    middle_fusion,
    node_pairs,
    official_layout,
    official_tile,
    parts,
    second_place,
    shortest_paths,
    sixth_place,
    third_place,
)
from tests.support.packing import packed

LAYOUT, TILE = "layout:xla:default", "tile:xla"
NARROW = {"width": 16}
#: recipe, collection, which of its networks, sizes for a test
RECIPES = {
    "first-place layout": (first_place_layout.RECIPE, LAYOUT, 0, NARROW),
    "first-place layout, random": (first_place_layout.RECIPE, "layout:nlp:random", 0, NARROW),
    "first-place tile": (first_place_tile.RECIPE, TILE, 0, NARROW),
    "second-place nlp": (second_place.NLP_RECIPE, "layout:nlp:default", 0, {"widths": (8, 16, 16, 24)}),
    "second-place xla": (second_place.XLA_RECIPE, LAYOUT, 0, {"widths": (8, 16, 16, 24)}),
    "second-place tile": (second_place.TILE_RECIPE, TILE, 0, {"widths": (8, 16, 16, 24)}),
    "third-place layout": (third_place.LAYOUT_RECIPE, LAYOUT, 0, {"first_width": 16, "widths": (12, 8)}),
    "third-place tile": (third_place.TILE_RECIPE, TILE, 0, {"first_width": 16, "widths": (12, 8)}),
    "node pairs": (node_pairs.RECIPE, LAYOUT, 0, NARROW),
    "fifth-place layout": (fifth_place.LAYOUT_RECIPE, LAYOUT, 0, NARROW),
    "fifth-place joint tile": (fifth_place.JOINT_TILE_RECIPE, TILE, 0, NARROW),
    "fifth-place tile": (fifth_place.TILE_RECIPE, TILE, 0, NARROW | {"token_width": 8}),
    "sixth-place sage": (sixth_place.LAYOUT_RECIPE, LAYOUT, 0, NARROW),
    "sixth-place gin": (sixth_place.LAYOUT_RECIPE, LAYOUT, 1, NARROW),
    "sixth-place tile": (sixth_place.TILE_RECIPE, TILE, 0, NARROW),
    "shortest paths": (shortest_paths.RECIPE, LAYOUT, 0, NARROW),
    "middle fusion layout": (middle_fusion.LAYOUT_RECIPE, LAYOUT, 0, NARROW | {"layers": 2, "heads": 2}),
    "middle fusion tile": (middle_fusion.TILE_RECIPE, TILE, 0, NARROW | {"near": 2, "across": 2, "heads": 2}),
    "fourteenth-place list": (fourteenth_place.LIST_RECIPE, LAYOUT, 0, NARROW | {"layers": 1, "heads": 2}),
    "fourteenth-place pairs": (fourteenth_place.PAIR_RECIPE, "layout:nlp:default", 0, NARROW | {"dense_width": 8}),
    "gst-paper": (gst_paper.RECIPE, LAYOUT, 0, NARROW),
    "official layout": (official_layout.RECIPE, LAYOUT, 0, {}),
    "official tile": (official_tile.RECIPE, TILE, 0, {}),
}
#: what has no gradient: over one row a softmax is 1 whatever its temperature, pairs do not see what all share, and
#: attention does not see what all keys share
IDLE = {
    "first-place tile": ("temperature", "head.6.bias"),
    "third-place layout": ("last.5.bias",),
    "middle fusion tile": ("keys.bias", "head.0.bias", "head.1.bias"),
    "fourteenth-place list": ("head.2.bias",),
}
SHARED = ("head.bias", "head.3.bias", "head.6.bias", "head.4.bias", "latency.bias")


@pytest.fixture(params=RECIPES)
def name(request):
    return request.param


def made(name, wide=False):
    """The recipe's name, a graph, its prepared inputs and a network with given weights, in float64 if wide."""
    recipe, collection, member, sizes = RECIPES[name]
    arrays = synthetic_tile(0) if is_tile(collection) else synthetic_layout(0)
    graph = packed(arrays, hops="all")
    fitted = recipe.fit([graph])
    settings = replace(recipe.settings(collection)[member], **sizes)
    network = recipe.build(settings, fitted)
    fill(network)
    network = network.double() if wide else network
    return recipe, graph, recipe.prepare(graph, fitted), network.eval(), settings


def renumbered(inputs, order):
    """The same graph with node order[i] as node i."""
    place = torch.empty_like(order)
    place[order] = torch.arange(len(order))
    changed = {"x": inputs.x[order], "opcode": inputs.opcode[order], "layout": inputs.layout[order]}
    if isinstance(inputs, parts.LayoutInputs):
        changed["config_nodes"] = place[inputs.config_nodes]
    return replace(inputs, edge_index=place[inputs.edge_index], **changed)


def test_order_of_configurations_does_not_matter(name):
    _, _, prepared, network, _ = made(name, wide=True)
    indices = np.array([4, 0, 7, 2, 9])
    with torch.no_grad():
        there, back = (network(prepared.inputs(some).double()) for some in (indices, indices[::-1].copy()))
    assert there.shape == (5,)
    assert len(set(there.tolist())) == 5
    torch.testing.assert_close(back.flip(0), there, rtol=1e-9, atol=1e-9)


def test_order_of_nodes_does_not_matter(name):
    _, _, prepared, network, _ = made(name, wide=True)
    inputs = prepared.inputs(np.arange(5)).double()
    order = torch.from_numpy(np.random.default_rng(0).permutation(len(inputs.x)))
    with torch.no_grad():
        torch.testing.assert_close(network(renumbered(inputs, order)), network(inputs), rtol=1e-9, atol=1e-9)


def test_gradients_reach_every_weight(name):
    recipe, graph, prepared, network, settings = made(name, wide=True)
    fitted = recipe.fit([graph])
    network.train()
    random.seed(0)  # of edges that the fifth place drops, without some of which a unit of a small network may be 0
    torch.manual_seed(0)
    network.start_step()
    indices = [np.arange(5), np.arange(5, 10)]
    batch = [prepared.inputs(some).double() for some in indices]
    scores = torch.stack([network(inputs) for inputs in batch])
    labels = torch.from_numpy(np.stack([recipe.labels(graph, fitted)[some] for some in indices]))
    (recipe.loss(scores, labels) + network.penalty(batch)).backward()
    idle = (*IDLE.get(name, ()), *SHARED)
    for weight, parameter in network.named_parameters():
        assert parameter.grad is not None and torch.isfinite(parameter.grad).all(), weight
        assert parameter.grad.any() or weight.endswith(idle), weight
    network.clip(settings)
    before = {weight: parameter.detach().clone() for weight, parameter in network.named_parameters()}
    recipe.optimizer(network, settings).step()
    for weight, parameter in network.named_parameters():
        assert (parameter != before[weight]).any() or weight.endswith(idle), weight


def test_cross_attention_makes_scores_depend_on_the_others():
    for name, depends in (("first-place layout", True), ("first-place layout, random", False)):
        _, _, prepared, network, _ = made(name, wide=True)
        with torch.no_grad():
            alone, among = (network(prepared.inputs(some).double())[0] for some in (np.arange(2), np.arange(6)))
        assert (abs(float(alone - among)) > 1e-9) == depends


def test_last_layers_of_the_sixth_place_compare_configurations():
    _, _, prepared, network, _ = made("sixth-place sage", wide=True)
    with torch.no_grad():
        alone, among = (network(prepared.inputs(some).double())[0] for some in (np.arange(3), np.arange(6)))
    assert abs(float(alone - among)) > 1e-6


def test_edges_between_segments_carry_nothing():
    _, graph, prepared, network, _ = made("gst-paper", wide=True)
    network.segment_nodes = 10
    inputs = prepared.inputs(np.arange(4)).double()
    bounds = gst_paper.boundaries(graph.nodes, 10).tolist()
    with torch.no_grad():
        together = network.segment_scores(inputs)
        apart = torch.cat([network.segment_scores(inputs, part) for part in range(len(bounds) - 1)], dim=1)
        torch.testing.assert_close(apart, together, rtol=1e-9, atol=1e-9)
        torch.testing.assert_close(network(inputs), together.sum(dim=1))


def test_a_stretch_of_the_official_network_alone_has_gradients():
    _, graph, prepared, network, _ = made("official layout", wide=True)
    inputs = prepared.inputs(np.arange(4)).double()
    inputs.x.requires_grad_()
    network.train()
    network.stretch = 15
    network.chosen = lambda nodes: torch.arange(nodes) < 15
    network.start_step()
    network(inputs).sum().backward()
    assert inputs.x.grad[:15].any()
    assert not inputs.x.grad[15:].any()


def test_the_official_stretches_cover_a_graph():
    _, _, _, network, _ = made("official layout")
    network.stretch = 15
    drawn = {tuple(np.flatnonzero(network.chosen(40).numpy())[[0, -1]]) for _ in range(100)}
    assert drawn == {(0, 14), (15, 29), (30, 39)}


def test_dropped_edges_are_drawn_once_a_step():
    _, _, prepared, network, _ = made("fifth-place layout")
    shares = set()
    for _ in range(20):
        network.start_step()
        shares.add(network.dropped)
    assert len(shares) == 20 and all(0 <= share <= 0.15 for share in shares)
    network.dropped = 1.0
    inputs = prepared.inputs(np.arange(3))
    with torch.no_grad():
        network.train()
        without = network(inputs)
        network.eval()
        assert not torch.allclose(network(inputs), without)


def test_keras_clips_each_gradient_by_its_own_norm():
    recipe, graph, prepared, network, settings = made("official tile")
    network.train()
    network.start_step()
    inputs = prepared.inputs(np.arange(5))
    loss = recipe.loss(network(inputs)[None], torch.from_numpy(recipe.labels(graph, recipe.fit([graph]))[:5])[None])
    (1000 * (loss + network.penalty([inputs]))).backward()
    rows = torch.cat([vectors.grad for vectors in network._embedded])
    table = network.opcodes.weight.grad.norm() / rows.norm()
    network.clip(settings)
    for name, parameter in network.named_parameters():
        expected = settings.clip * (float(table) if name == "opcodes.weight" else 1)
        assert float(parameter.grad.norm()) == pytest.approx(expected, rel=1e-4), name


def test_full_sizes_are_the_originals():
    def of(recipe, collection):
        return recipe.settings(collection)

    first = of(first_place_layout.RECIPE, "layout:nlp:random")[0]
    assert (first.width, first.epochs, first.configurations, first.attention) == (256, 1000, 128, False)
    assert of(first_place_layout.RECIPE, "layout:xla:default")[0].networks == 20
    sage, gin = of(sixth_place.LAYOUT_RECIPE, "layout:xla:default")
    assert (sage.messages, gin.messages, gin.epochs) == ("sage", "gin", 7.5)
    assert of(sixth_place.LAYOUT_RECIPE, "layout:xla:random")[0].starts_from == "layout:nlp:random"
    assert of(second_place.NLP_RECIPE, "layout:nlp:random")[0].clip == 100
    third = of(third_place.LAYOUT_RECIPE, LAYOUT)[0]
    assert (third.graphs, third.configurations, third.epochs, third.least_configurations) == (4, 16, 5, 16)
    ninth = of(shortest_paths.RECIPE, LAYOUT)[0]
    assert (ninth.pruning.paths, ninth.configurations, ninth.epochs) == (True, 512, 1000)
    tenth = [of(middle_fusion.LAYOUT_RECIPE, f"layout:{kind}:random")[0] for kind in ("xla", "nlp")]
    assert [(each.layers, each.width, each.configurations, each.epochs) for each in tenth] == [
        *((12, 256, 256, 16), (12, 256, 1000, 16)),
    ]
    fourteenth = of(fourteenth_place.LIST_RECIPE, LAYOUT)
    assert [(each.epochs, each.dense) for each in fourteenth] == [(3, 1), (3, 2), (2, 2)]
    assert of(fourteenth_place.PAIR_RECIPE, LAYOUT) == ()
    joint = of(fifth_place.LAYOUT_RECIPE, "layout:xla:random")[0]
    assert (joint.graphs, joint.configurations, joint.tile_graphs, joint.tile_configurations) == (4, 8, 128, 32)
    assert of(gst_paper.RECIPE, LAYOUT)[0].epochs == 20_000
    assert of(official_tile.RECIPE, TILE)[0].clip_each
