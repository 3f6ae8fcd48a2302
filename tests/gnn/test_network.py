"""The networks: each part against its definition, and what must not matter."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn.functional import gelu
from torch_geometric.nn import GCNConv, SAGEConv, global_max_pool, global_mean_pool

from stages.gnn import layout_columns
from stages.gnn.network import CrossConfigurationAttention, GcnMessages, Layer, SageMessages, _pooled
from stages.gnn.prepared_graph import prepare
from tests.support import networks, samples
from tests.support.graphs import LAYOUT, TILE, TINY, layout_arrays, model_graph, prepared, sample, untrained
from tests.support.networks import WAYS, dense, double


def mean_messages(static, x, weights, bias, direction):
    """PyG's SAGEConv for each kind of message, added up; x (n, c, width), weights (kinds, out, width)."""
    consumer_first = torch.from_numpy(np.asarray(static.graph.edge_index))
    ways = {"producers": consumer_first.flip(0), "consumers": consumer_first}
    total = bias
    for kind, edges in enumerate(ways.values() if direction == "both" else [ways[direction]], 1):
        convolution = SAGEConv(x.shape[2], weights.shape[1], root_weight=kind == 1, bias=False, node_dim=0).to(x.dtype)
        names = {"lin_l.weight": weights[kind]} | ({"lin_r.weight": weights[0]} if kind == 1 else {})
        convolution.load_state_dict(names)
        total = total + convolution(x, edges)
    return total


@pytest.mark.parametrize("direction", WAYS)
def test_sage_messages_are_a_sum_of_pygs_sageconv_over_the_kinds(direction):
    chosen = networks.settings(**TINY | {"layers": 1, "direction": direction})
    (static,) = dense(prepared([sample(LAYOUT, nodes=20)], chosen))
    kinds = static.view.relations
    assert kinds == (3 if direction == "both" else 2)
    torch.manual_seed(1)
    messages = SageMessages(5, 4, kinds).double()
    torch.nn.init.normal_(messages.bias)
    x = torch.randn(20, 3, 5, dtype=torch.float64)
    batch = double([static], [np.arange(3)])
    found = messages(x.flatten(0, 1), batch.layers[0]).view(20, 3, 4)
    with torch.no_grad():
        expected = mean_messages(static, x, messages.linear.weight.view(kinds, 4, 5), messages.bias, direction)
    # The mean over neighbours is stored in float32, so its weights round.
    torch.testing.assert_close(found, expected, rtol=1e-6, atol=1e-6)


def test_gcn_messages_are_pygs_gcnconv_of_the_undirected_graph():
    chosen = networks.settings(**TINY | {"layers": 1, "messages": "gcn"})
    (static,) = dense(prepared([sample(LAYOUT, nodes=20)], chosen))
    assert static.view.relations == 2
    torch.manual_seed(1)
    messages = GcnMessages(5, 4, 2).double()
    torch.nn.init.normal_(messages.bias)
    x = torch.randn(20, 3, 5, dtype=torch.float64)
    found = messages(x.flatten(0, 1), double([static], [np.arange(3)]).layers[0]).view(20, 3, 4)
    reference = GCNConv(5, 4).double()
    reference.load_state_dict({"lin.weight": messages.linear.weight, "bias": messages.bias})
    edges = torch.from_numpy(np.asarray(static.graph.edge_index))
    with torch.no_grad():
        both = torch.cat([edges, edges.flip(0)], dim=1)
        expected = torch.stack([reference(x[:, configuration], both) for configuration in range(3)], dim=1)
    torch.testing.assert_close(found, expected, rtol=1e-6, atol=1e-6)  # the roots are stored in float32


def attention_layer(node, count, total):
    """What the attention reads of a layer: one row per state."""
    node = torch.tensor(node)
    fields = {name: None for name in Layer.__dataclass_fields__}
    floats = {
        name: torch.tensor(value, dtype=torch.float64)[:, None] for name, value in (("count", count), ("total", total))
    }
    members = torch.nn.functional.one_hot(node, len(total)).T.double()
    known = {"members": members.to_sparse_csr(), "counts": (members * floats["count"].T).to_sparse_csr()}
    return Layer(**fields | floats | known | {"node": node})


def test_cross_configuration_attention_by_hand():
    """Node 0 is in state 1 in two of three configurations; node 1 has one state; T starts at 0.5."""
    attention = CrossConfigurationAttention().double()
    layer = attention_layer([0, 0, 1], [2, 1, 3], [3, 3])
    x = torch.tensor([[1.0, -3], [2, 0], [7, -7]], dtype=torch.float64)
    found = attention(x, layer)
    for channel, (once, other) in enumerate([(1.0, 2.0), (-3.0, 0.0)]):
        power = np.exp([2 * once, 2 * once, 2 * other])
        share = power / power.sum()
        assert found[0, channel].item() == pytest.approx(3 * once * share[0])
        assert found[1, channel].item() == pytest.approx(3 * other * share[2])
    torch.testing.assert_close(found[2], x[2])  # a node of one state is its own weighted mean


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 9999), nodes=st.integers(1, 4), configurations=st.integers(1, 6))
def test_the_attentions_gradient_is_that_of_a_softmax_over_all_configurations(seed, nodes, configurations):
    """By torch, with every configuration written out."""
    rng = np.random.default_rng(seed)
    state = rng.integers(3, size=(nodes, configurations))  # of each node in each configuration
    node, local, occurs = [], [], np.zeros((nodes, configurations), np.int64)
    for row in range(nodes):
        kept, place = np.unique(state[row], return_inverse=True)
        occurs[row] = place + len(node)
        node += [row] * len(kept)
        local += np.bincount(place).tolist()
    layer = attention_layer(node, local, [configurations] * nodes)
    attention = CrossConfigurationAttention().double()
    x = torch.from_numpy(rng.normal(size=(len(node), 3))).requires_grad_()
    weight = torch.from_numpy(rng.normal(size=x.shape))
    every = x[torch.from_numpy(occurs)]  # (nodes, configurations, 3)
    gated = configurations * every * (every / attention.temperature).softmax(dim=1)
    first = [np.argwhere(occurs == number)[0] for number in range(len(node))]
    expected = torch.stack([gated[row, configuration] for row, configuration in first])
    found = attention(x, layer)
    torch.testing.assert_close(found, expected)
    inputs = (x, attention.temperature)
    mine, theirs = (torch.autograd.grad((value * weight).sum(), inputs) for value in (found, expected))
    torch.testing.assert_close(mine, theirs)


def test_attention_to_large_states_does_not_underflow():
    """Each node has a maximum of its own: beside another's, or without one, 0 / 0 would be left."""
    attention = CrossConfigurationAttention().double()
    layer = attention_layer([0, 0, 1, 1], [1, 1, 1, 1], [2, 2])
    x = torch.tensor([[9e3], [8e3], [-9e3], [-8e3]], dtype=torch.float64, requires_grad=True)
    found = attention(x, layer)
    torch.testing.assert_close(found.detach()[:, 0], torch.tensor([18e3, 0, 0, -16e3], dtype=torch.float64))
    found.sum().backward()
    assert torch.isfinite(x.grad).all()


@pytest.mark.parametrize("copies", [2, 16])
def test_scores_do_not_depend_on_how_often_configurations_are_repeated(copies):
    """A network trained on 32 at a time scores 512: the attention's scale is the same for every number."""
    chosen = networks.settings(**TINY)
    (static,) = prepared([sample(LAYOUT, configurations=6)], chosen)
    network = untrained(static, chosen)
    once = network(double([static], [np.arange(6)]))
    repeated = network(double([static], [np.tile(np.arange(6), copies)]))
    torch.testing.assert_close(repeated, once.tile(copies), rtol=1e-10, atol=1e-12)
    half = network(double([static], [np.arange(3)]))
    assert not torch.allclose(half, once[:, :3])  # it does compare


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 999), configurable=st.integers(1, 6))
def test_the_encoder_is_a_dense_layer_over_all_that_a_state_is(seed, configurable):
    """Against one linear layer over everything a node knows, for each node and configuration."""
    chosen_settings = networks.settings(**TINY)
    members = [sample(LAYOUT, seed + i, nodes=9, configurable=configurable) for i in range(2)]
    statics = dense(prepared(members, chosen_settings))
    encoder = untrained(statics[0], chosen_settings).encoder
    chosen = [np.array([5, 0, 2]), np.array([1, 7, 7])]
    weight = torch.cat([encoder.node.weight, encoder.triple.weight, encoder.facts.weight], dim=1)
    rows = []
    for static, indices in zip(statics, chosen, strict=True):
        graph = static.graph
        places = {node: place for place, node in enumerate(graph.config_nodes.tolist())}
        for node, configuration in ((node, c) for node in range(9) for c in indices):
            own = graph.layout[[node]]
            parts = [
                torch.from_numpy(graph.x[node]).double(),
                encoder.opcodes(torch.tensor(graph.opcode[node])),
                encoder.vocabulary(torch.from_numpy(layout_columns.tokens(own))).flatten(),
                torch.from_numpy(layout_columns.own_columns(own))[0].double(),
            ]
            bias = encoder.node.bias
            if node in places:
                code = graph.codes[configuration, places[node]]
                triple = torch.from_numpy(layout_columns.tokens(graph.triples[code]))
                facts = static.copies.state_columns(np.array([places[node]]), np.array([code]))
                parts += [encoder.vocabulary(triple).flatten(), torch.from_numpy(facts)[0].double()]
                bias = bias + encoder.facts.bias
            known = torch.cat(parts)
            rows.append(weight[:, : len(known)] @ known + bias)
    torch.testing.assert_close(encoder(double(statics, chosen)), torch.stack(rows), rtol=1e-10, atol=1e-10)


def test_a_configurations_layout_can_override_the_nodes_own():
    """In each configuration as if the node itself had been published with that output layout."""
    chosen = networks.settings(**TINY | {"overridden": True, "facts": False, "copies": False})
    plain = replace(chosen, overridden=False)
    graph = sample(LAYOUT, nodes=9, configurable=4, configurations=5)
    (static,) = prepared([graph], chosen)
    network = untrained(static, chosen)
    differ = 0
    for configuration in range(5):
        layout = graph.layout.copy()
        layout[graph.config_nodes] = graph.triples[graph.codes[configuration]][:, :6]
        (published,) = dense(prepared([replace(graph, layout=layout)], plain))
        found = network.encoder(double(dense([static]), [np.array([configuration])]))
        expected = network.encoder(double([published], [np.array([configuration])]))
        torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-10)
        differ += (layout != graph.layout).any()
    assert differ > 0


def test_without_facts_a_state_is_its_node_and_its_layouts():
    chosen = networks.settings(**TINY | {"facts": False})
    graph = sample(LAYOUT, nodes=9, configurable=4, configurations=5)
    (static,) = dense(prepared([graph], chosen))
    network = untrained(static, chosen)
    batch = double([static], [np.arange(5)])
    blind = replace(batch, columns=torch.full_like(batch.columns, 9.0), derived=torch.full_like(batch.derived, 9.0))
    torch.testing.assert_close(network.encoder(blind), network.encoder(batch))
    assert network(batch).std() > 1e-6


@pytest.mark.parametrize("readout", ["sum", "mean", "max"])
def test_the_readout_by_hand(readout):
    """Of the dense network's states (n, c, width); a sum is over the square root of the configurable nodes."""
    chosen = networks.settings(**TINY | {"readout": readout, "copies": False})
    (static,) = prepared([sample(LAYOUT, nodes=10, configurable=4, configurations=5)], chosen)
    network = untrained(static, chosen)
    state = network.states(double(dense([static]), [np.arange(5)]))[0].view(10, 5, 8)
    pooled = {"sum": state.sum(0) / 2, "mean": state.mean(0), "max": state.amax(0)}[readout]
    batch = double([static], [np.arange(5)])
    expected = network.head(pooled)[:, 0] + network.of_assigned(batch)[0]
    found = network(batch)[0]
    if readout != "max":  # without the nodes that are the same in all configurations
        found, expected = found - found.mean(), expected - expected.mean()
    assert expected.std() > 1e-4
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-10)


def test_a_copy_adds_what_its_ends_and_its_own_facts_say():
    """The copies' part of the score by hand: the network with them less the one without, of equal weights otherwise."""
    chosen = networks.settings(**TINY)
    graph = next(
        graph
        for graph in (sample(LAYOUT, seed, nodes=9, configurable=7, configurations=5) for seed in range(20))
        if len(prepare(graph, chosen.view(LAYOUT)).copies.between) > 2
    )
    (static,) = dense(prepared([graph], chosen))
    network = untrained(static, chosen)
    batch = double([static], [np.arange(5)])
    without = replace(chosen, copies=False)
    (plain,) = dense(prepared([graph], without))
    bare = untrained(plain, without)
    bare.load_state_dict({name: value for name, value in network.state_dict().items() if name in bare.state_dict()})
    found = (network(batch) - bare(double([plain], [np.arange(5)])))[0]
    first = gelu(network.encoder(batch)).view(9, 5, 8)
    consumer, producer = network.copies.ends.weight.chunk(2)
    expected = torch.zeros(5, dtype=torch.float64)
    happened = 0
    for number, (asks, makes) in enumerate(static.copies.between):
        codes = graph.codes[:, asks], graph.codes[:, makes]
        columns = torch.from_numpy(static.copies.copy_columns(np.full(5, number), *codes)).double()
        happened += columns[:, 0].sum()
        ends = first[graph.config_nodes[asks]] @ consumer.T + first[graph.config_nodes[makes]] @ producer.T
        state = gelu(ends + sum(network.copies.ends.bias.chunk(2)) + network.copies.columns(columns))
        expected += network.head(gelu(network.copies.last(state)))[:, 0]
    assert 0 < happened < 5 * len(static.copies.between)
    torch.testing.assert_close(found, expected / np.sqrt(7), rtol=1e-6, atol=1e-8)  # the root is held in float32


@pytest.mark.parametrize("collection", [LAYOUT, TILE])
def test_the_order_of_configurations_does_not_matter(collection):
    chosen = networks.settings(**TINY)
    (static,) = prepared([sample(collection, nodes=15, configurations=12)], chosen)
    network = untrained(static, chosen)
    order = np.random.default_rng(0).permutation(12)
    straight = network(double([static], [np.arange(12)]))
    permuted = network(double([static], [order]))
    torch.testing.assert_close(permuted, straight[:, order], rtol=1e-10, atol=1e-12)
    assert straight.std() > 1e-6


@pytest.mark.parametrize("collection", [LAYOUT, TILE])
def test_the_numbering_of_nodes_does_not_matter(collection):
    arrays = samples.tile_arrays(nodes=15) if collection == TILE else layout_arrays(nodes=15, configurable=6)
    place = np.random.default_rng(0).permutation(15)  # old node -> new node
    old = np.argsort(place)
    renumbered = dict(arrays)
    for name in ("node_feat", "node_opcode"):
        renumbered[name] = arrays[name][old]
    renumbered["edge_index"] = place[arrays["edge_index"]]
    if collection == LAYOUT:
        renumbered["node_config_ids"] = place[arrays["node_config_ids"]]
    chosen = networks.settings(**TINY | {"layers": 3})
    statics = prepared([model_graph(collection, a) for a in (arrays, renumbered)], chosen)
    network = untrained(statics[0], chosen)
    first, second = (network(double([static], [np.arange(8)])) for static in statics)
    assert first.std() > 1e-6
    # The mean over neighbours is stored in float32, so its weights round.
    torch.testing.assert_close(first, second, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("messages", ["sage", "gatv2", "gcn"])
@pytest.mark.parametrize(
    ("collection", "knobs"),
    [
        (LAYOUT, {}),
        (LAYOUT, {"norm": "instance"}),
        (LAYOUT, {"readout": "max"}),
        (TILE, {}),
        (TILE, {"fusion": "early"}),
    ],
    ids=["layout", "instance norm", "max", "tile", "early tile"],
)
def test_graphs_of_a_batch_do_not_mix(collection, knobs, messages):
    """Each graph scores as it does alone, also beside one with more configurations, which pads it: its attention, its
    norms and its copies see no other graph's."""
    chosen = networks.settings(**TINY | knobs | {"messages": messages})
    members = [sample(collection, seed, nodes=8 + seed, configurations=4 + 2 * seed) for seed in range(3)]
    statics = prepared(members, chosen)
    network = untrained(statics[0], chosen)
    indices = [np.arange(graph.configurations) for graph in members]
    batch = double(statics, indices)
    assert batch.mask.sum(dim=1).tolist() == [4, 6, 8]
    together = network(batch)
    for row, static, index in zip(together, statics, indices, strict=True):
        alone = network(double([static], [index]))[0]
        torch.testing.assert_close(row[: len(index)], alone, rtol=1e-10, atol=1e-12)


def test_instance_norm_looks_at_the_nodes_of_one_configuration_alone():
    chosen = networks.settings(**TINY | {"norm": "instance", "cross_attention": False})
    (static,) = prepared([sample(LAYOUT)], chosen)
    assert not static.view.shared
    network = untrained(static, chosen)
    every, some = (network(double([static], [indices])) for indices in (np.arange(8), np.array([6, 1])))
    torch.testing.assert_close(some, every[:, [6, 1]], rtol=1e-10, atol=1e-12)
    without = untrained(static, replace(chosen, norm="none"))
    without.load_state_dict(network.state_dict(), strict=False)
    assert not torch.allclose(without(double([static], [np.arange(8)])), every)


@pytest.mark.parametrize("shared", [True, False])
def test_dropout_is_the_same_in_all_configurations(shared):
    """Equal configurations stay equal although every one has states of its own in the dense network."""
    chosen = networks.settings(**TINY | {"dropout": 0.5, "norm": "layer"})
    (static,) = prepared([sample(LAYOUT)], chosen)
    (static,) = [static] if shared else dense([static])
    network = untrained(static, chosen).train()
    batch = double([static], [np.array([3, 1, 3, 2, 3])])
    torch.manual_seed(0)
    score = network(batch)[0]
    torch.testing.assert_close(score[[0, 0]], score[[2, 4]], rtol=1e-10, atol=1e-12)
    torch.manual_seed(1)
    assert not torch.allclose(network(batch)[0], score)


def test_a_kernel_is_pooled_as_by_pyg():
    """To the last bit, gradients too; a row may be empty, and states may be equal."""
    torch.manual_seed(0)
    state, row = torch.randn(40, 6).round(decimals=1), torch.randint(0, 9, (40,))
    row[row == 4] = 5
    slope, found = torch.randn(9, 12), []
    for pooled in (
        _pooled,
        lambda *given: torch.cat([pool(*given) for pool in (global_mean_pool, global_max_pool)], 1),
    ):
        given = state.clone().requires_grad_()
        result = pooled(given, row, 9)
        result.backward(slope)
        found.append((result.detach(), given.grad))
    assert all(map(torch.equal, *found))


def test_early_fusion_ranks_tiles_in_the_kernels_own_states():
    """Each tile scores as it does alone: nothing of the other tiles reaches its copy of the kernel."""
    chosen = networks.settings(**TINY | {"fusion": "early"})
    (static,) = prepared([sample(TILE, configurations=6)], chosen)
    network = untrained(static, chosen)
    together = network(double([static], [np.arange(6)]))[0]
    alone = torch.cat([network(double([static], [np.array([tile])]))[0] for tile in range(6)])
    torch.testing.assert_close(together, alone, rtol=1e-10, atol=1e-12)
    assert together.std() > 1e-6
