"""The graph network: exact against dense references, invariant where it must be, and able to learn."""

import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from torch.nn.functional import gelu
from torch_geometric.nn import SAGEConv

from stages import scores
from stages.collection import COLLECTIONS, SPLITS, folder, is_tile, slug
from stages.dataset import ModelGraph, graph_file, pad_folder, prune_folder, write_json, write_packed, write_padded
from stages.errors import InputError
from stages.gnn import inference, layouts, report, run, training
from stages.gnn.batch import join, prepare
from stages.gnn.inference import predict
from stages.gnn.loss import pairwise_hinge
from stages.gnn.network import CrossConfigurationAttention, Sage
from stages.gnn.training import Settings, build, deterministic, fit, quality, smoothed_slowdown
from stages.metrics import collection_score, graph_score
from tests import samples

LAYOUT, TILE = "layout:xla:random", "tile:xla"
TINY = {
    "width": 8,
    "layers": 2,
    "cross_attention": True,
    "configurations": 6,
    "graphs": 2,
    "epochs": 2,
    "patience": 5,
    "learning_rate": 0.01,
    "weight_decay": 0.01,
    "dropout": 0.1,
    "margin": 1.0,
}


def model_graph(collection: str, arrays: dict, id: str = "g", split: str = "train") -> ModelGraph:
    """A model-ready graph straight from the arrays of an npz file: whole, features in signed logs / 10."""
    features = arrays["node_feat"]
    rank = (features[:, 21:27] != 0).sum(1)
    layout = np.where(np.arange(6) < rank[:, None], features[:, 134:140], -1).astype(np.int8)
    codes = triples = tile = nodes = None
    target = arrays["config_runtime"].astype(np.float64)
    if is_tile(collection):
        tile = (np.log1p(arrays["config_feat"]) / 10).astype(np.float32)
        target = target / arrays["config_runtime_normalizers"]
    else:
        configured = arrays["node_config_feat"].astype(np.int8)
        triples, codes = np.unique(configured.reshape(-1, 18), axis=0, return_inverse=True)
        codes = codes.reshape(configured.shape[:2]).astype(np.uint16)
        nodes = arrays["node_config_ids"].reshape(-1).astype(np.int64)
    return ModelGraph(
        id=id,
        split=split,
        collection=collection,
        x=(np.sign(features[:, :134]) * np.log1p(np.abs(features[:, :134])) / 10).astype(np.float32),
        opcode=arrays["node_opcode"].astype(np.int64),
        layout=layout,
        edge_index=arrays["edge_index"].T.astype(np.int64),
        config_nodes=nodes,
        codes=codes,
        triples=triples,
        tile_config=tile,
        target=target,
        config_index=np.arange(len(target)),
    )


def sample(collection: str, seed: int = 0, **sizes) -> ModelGraph:
    arrays = (
        samples.tile_arrays(seed=seed, **sizes) if is_tile(collection) else samples.layout_arrays(seed=seed, **sizes)
    )
    return model_graph(collection, arrays, f"graph_{seed}")


def untrained(graph: ModelGraph, **settings) -> torch.nn.Module:
    torch.manual_seed(0)
    return build(graph.collection, prepare(graph), Settings(**TINY | settings)).eval()


def double(batch):
    parts = {name: getattr(batch, name) for name in batch.__dataclass_fields__}
    floating = {name: p.double() for name, p in parts.items() if p is not None and p.is_floating_point()}
    return replace(batch, **floating)


def write_data(data: Path, collection: str, graphs: dict[str, list[ModelGraph]]) -> None:
    """The folders of prune and pad, as the gnn stage finds them."""
    listed = {split: [{"id": graph.id} for graph in graphs.get(split, [])] for split in SPLITS}
    write_json(prune_folder(data, collection) / "manifest.json", {"collection": collection, "graphs": listed})
    for split, members in graphs.items():
        for graph in members:
            tensors = {
                "node_feat": np.zeros((len(graph.x), 140)),
                "node_opcode": graph.opcode,
                "edge_index": graph.edge_index.T,
                "runtime": np.round(graph.target * (1_000_000 if is_tile(collection) else 1)),
                "config_index": graph.config_index,
                "whole_opcodes": np.zeros(121),
            }
            padded = {"x": graph.x, "opcode": graph.opcode, "layout": graph.layout}
            if is_tile(collection):
                tensors |= {
                    "config_feat": np.zeros((graph.configurations, 24)),
                    "normalizer": np.full(graph.configurations, 1_000_000),
                }
                padded["tile_config"] = graph.tile_config
            else:
                tensors |= {
                    "config_nodes": graph.config_nodes,
                    "codes": graph.codes,
                    "triples": graph.triples,
                    "contracted": np.zeros((0, 2)),
                    "config_operands": np.full((len(graph.config_nodes), 2), -1),
                }
            write_packed(graph_file(prune_folder(data, collection), split, graph.id), tensors, {})
            write_padded(graph_file(pad_folder(data, collection), split, graph.id), padded)


# layouts


def test_inversions_of_known_layouts():
    rows = np.array([[3, 2, 1, 0, -1, -1], [0, 1, 2, 3, -1, -1], [1, 2, 0, -1, -1, -1], [-1] * 6, [-2] * 6], np.int8)
    assert layouts.inversions(rows).tolist() == [0, 6, 1, 0, 0]


@given(hnp.arrays(np.int8, (7, 6), elements=st.integers(-2, 5)))
def test_inversions_equal_the_definition(rows):
    assert layouts.inversions(rows).tolist() == [samples.inversions(row) for row in rows]


def test_mismatch_looks_at_places_that_both_layouts_fill():
    own = np.array([[2, 1, 0, -1, -1, -1]] * 3 + [[-1] * 6], np.int8)
    triple = np.full((4, 18), -1, np.int8)
    triple[0, :2] = 2, 1  # the two minor dimensions, as TPU searches give them
    triple[1, :2] = 2, 0
    triple[3, :2] = 2, 1  # the node's own layout is not known
    assert layouts.pair_columns(own, triple)[:, -1].tolist() == [0, 1, 0, 0]


def test_mismatch_is_a_configured_output_that_differs():
    own = np.array([[1, 0, -1, -1, -1, -1]] * 4, np.int8)
    triple = np.full((4, 18), -1, np.int8)
    triple[0, :2] = 1, 0
    triple[1, :2] = 0, 1
    triple[3, :6], triple[3, 6:8] = -1, (0, 1)  # only the input is configured
    columns = layouts.pair_columns(own, triple)
    assert columns[:, -1].tolist() == [0, 1, 0, 0]
    assert columns[:, 0].tolist() == [0, 0.25, 0, 0] and columns[:, 1].tolist() == [0, 0, 0, 0.25]


# network


def test_sage_is_pygs_sageconv():
    graph = sample(LAYOUT, nodes=20)
    batch = join([prepare(graph)], [np.arange(3)])
    state = torch.randn(20, 3, 5)
    consumer_first = torch.from_numpy(graph.edge_index)
    for operator, edges in ((batch.producers, consumer_first.flip(0)), (batch.consumers, consumer_first)):
        torch.manual_seed(1)
        fast, reference = Sage(5, 4), SAGEConv(5, 4, node_dim=0)
        reference.load_state_dict(fast.state_dict())
        torch.testing.assert_close(fast(state, operator), reference(state, edges))


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 999), configurable=st.integers(1, 6))
def test_lookup_of_distinct_pairs_equals_dense_first_layer(seed, configurable):
    """encode() against one linear layer over everything a node knows, for each node and configuration."""
    graphs = [sample(LAYOUT, seed + i, nodes=9, configurable=configurable) for i in range(2)]
    network = untrained(graphs[0]).double()
    statics = [prepare(graph) for graph in graphs]
    chosen = [np.array([5, 0, 2]), np.array([1, 7, 7])]
    weight = torch.cat([network.nodes.linear.weight, network.configurations.linear.weight], dim=1)
    dense = []
    for static, indices in zip(statics, chosen, strict=True):
        graph = static.graph
        triples = np.full((len(graph.x), len(indices), 18), -2, np.int8)
        triples[graph.config_nodes] = graph.triples[graph.codes[indices]].swapaxes(0, 1)
        for node, of_node in enumerate(triples):
            own = graph.layout[[node] * len(indices)]
            node_part = [
                static.x[[node] * len(indices)].double(),
                network.nodes.opcodes(static.opcode[[node] * len(indices)]),
                network.nodes.vocabulary(torch.from_numpy(own.astype(int) + 2)).flatten(1),
                torch.from_numpy(layouts.own_columns(own)).double(),
                network.nodes.vocabulary(torch.from_numpy(of_node.astype(int) + 2)).flatten(1),
                torch.from_numpy(layouts.pair_columns(own, of_node)).double(),
            ]
            if node not in graph.config_nodes:
                node_part[-1] = torch.zeros_like(node_part[-1])
            dense.append(gelu(torch.cat(node_part, dim=1) @ weight.T + network.nodes.linear.bias))
    fast = network.encode(double(join(statics, chosen)))
    torch.testing.assert_close(fast, torch.stack(dense), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("collection", [LAYOUT, TILE])
def test_order_of_configurations_does_not_matter(collection):
    graph = sample(collection, nodes=15, configurations=12)
    network = untrained(graph).double()
    order = np.random.default_rng(0).permutation(12)
    static = prepare(graph)
    straight = network(double(join([static], [np.arange(12)])))
    permuted = network(double(join([static], [order])))
    torch.testing.assert_close(permuted, straight[:, order], rtol=1e-10, atol=1e-12)
    assert straight.std() > 1e-6


@pytest.mark.parametrize("collection", [LAYOUT, TILE])
def test_numbering_of_nodes_does_not_matter(collection):
    graph = sample(collection, nodes=15)
    place = np.random.default_rng(0).permutation(15)  # old node -> new node
    old = np.argsort(place)
    nodes = None if graph.config_nodes is None else place[graph.config_nodes]
    renumbered = replace(
        graph,
        x=graph.x[old],
        opcode=graph.opcode[old],
        layout=graph.layout[old],
        edge_index=place[graph.edge_index],
        config_nodes=nodes,
    )
    network = untrained(graph).double()
    first, second = (network(double(join([prepare(g)], [np.arange(8)]))) for g in (graph, renumbered))
    # The mean over neighbours is stored in float32, so its weights round.
    torch.testing.assert_close(first, second, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("collection", [LAYOUT, TILE])
def test_graphs_of_a_batch_do_not_mix(collection):
    """Each graph scores as it does alone, also beside one with fewer configurations, whose padding is masked."""
    statics = [prepare(sample(collection, seed, nodes=8 + seed, configurations=4 + 2 * seed)) for seed in range(3)]
    network = untrained(statics[0].graph).double()
    indices = [np.arange(static.graph.configurations) for static in statics]
    together = network(double(join(statics, indices)))
    for row, static, index in zip(together, statics, indices, strict=True):
        alone = network(double(join([static], [index])))[0]
        torch.testing.assert_close(row[: len(index)], alone, rtol=1e-10, atol=1e-12)


def test_cross_configuration_attention_by_hand():
    attention = CrossConfigurationAttention().double()
    x = torch.tensor([[[0.0], [1.0], [2.0]], [[3.0], [3.0], [9.0]]], dtype=torch.float64)
    mask = torch.tensor([[True, True, True], [True, True, False]])
    share = torch.tensor([0.0, 2.0, 4.0], dtype=torch.float64).exp()  # T starts at 0.5
    out = attention(x, mask)
    torch.testing.assert_close(out[0, :, 0], 3 * x[0, :, 0] * share / share.sum())
    torch.testing.assert_close(out[1, :, 0], torch.tensor([3.0, 3.0, 0.0], dtype=torch.float64))


@pytest.mark.parametrize("copies", [2, 16])
def test_scores_do_not_depend_on_how_often_configurations_are_repeated(copies):
    """A network trained on 32 at a time scores 512: the attention's scale is the same for every number."""
    static = prepare(sample(LAYOUT, configurations=6))
    network = untrained(static.graph).double()
    once = network(double(join([static], [np.arange(6)])))
    repeated = network(double(join([static], [np.tile(np.arange(6), copies)])))
    torch.testing.assert_close(repeated, once.tile(copies), rtol=1e-10, atol=1e-12)
    without = untrained(static.graph, cross_attention=False).double()
    assert not torch.allclose(once, without(double(join([static], [np.arange(6)]))))


def test_chunks_are_the_same_in_every_run_and_cover_all(monkeypatch):
    monkeypatch.setattr(inference, "chunk_size", lambda nodes: 5)
    static = prepare(sample(LAYOUT, configurations=13))
    network = untrained(static.graph)
    first, second = predict(network, static), predict(network, static)
    assert np.array_equal(first, second) and np.isfinite(first).all()
    without = untrained(static.graph, cross_attention=False)
    chunked = predict(without, static)
    monkeypatch.undo()
    np.testing.assert_allclose(chunked, predict(without, static), rtol=1e-4, atol=1e-6)


# loss and validation metric


def test_hinge_by_hand():
    score = torch.tensor([[0.5, 0.0, 2.0], [1.0, 4.0, 7.0]])
    order = torch.tensor([[0, 1, 1], [0, 0, 0]])
    # slower than the first: the second, margin 1 - (0 - .5) = 1.5, and the third, 1 - 1.5 < 0; their tie is no pair.
    assert pairwise_hinge(score, order, 1.0).item() == pytest.approx(0.75)
    mask = torch.tensor([[True, True, False], [True, True, True]])
    assert pairwise_hinge(score, order, 1.0, mask).item() == pytest.approx(1.5)


def test_hinge_of_nothing_to_rank_is_zero_with_zero_gradient():
    score = torch.tensor([[3.0]], requires_grad=True)
    loss = pairwise_hinge(score, torch.zeros(1, 1, dtype=torch.int64), 1.0)
    loss.backward()
    assert loss.item() == 0 and score.grad.item() == 0


def test_smoothed_slowdown_by_hand():
    target = np.array([4.0, 1.0, 2.0, 3.0])
    assert smoothed_slowdown(np.array([9.0, 1, 2, 3]), target, top=2) == pytest.approx(1)
    assert smoothed_slowdown(np.array([0.0, 1, 2, 3]), target, top=2) == pytest.approx(2 - 2.5 / 1.5)


def test_run_times_that_float32_merges_are_told_apart():
    graph = sample(LAYOUT, configurations=3)
    static = prepare(replace(graph, target=np.array([2.0**30 + 1, 2.0**30, 2.0**30 + 1])))
    assert static.order.tolist() == [1, 0, 1]


# training


def test_learns_the_sample_better_than_random():
    graphs = [sample(LAYOUT, seed, nodes=10, configurable=3, configurations=16) for seed in range(10)]
    train, valid = [[prepare(graph) for graph in part] for part in (graphs[:7], graphs[7:])]
    chosen = Settings(**TINY | {"epochs": 12, "configurations": 16, "width": 16})
    with deterministic(0):
        network = build(LAYOUT, train[0], chosen)
        before = quality([predict(network, static) for static in valid], valid)
        curve = fit(network, train, valid, chosen, LAYOUT, 0)
        after = quality([predict(network, static) for static in valid], valid)
    assert after == max(row["valid"] for row in curve)  # the weights of the best epoch are left in place
    assert after > 0.6 and after > before


def test_learns_tiles_better_than_random():
    graphs = [sample(TILE, seed, configurations=24) for seed in range(10)]
    train, valid = [[prepare(graph) for graph in part] for part in (graphs[:7], graphs[7:])]
    chosen = Settings(**TINY | {"epochs": 12, "configurations": 24, "width": 16})
    with deterministic(0):
        network = build(TILE, train[0], chosen)
        fit(network, train, valid, chosen, TILE, 0)
    random = np.random.default_rng(0)
    worse = [graph_score(TILE, random.random(24), static.graph.target) for static in valid for _ in range(20)]
    assert collection_score(graph_score(TILE, predict(network, s), s.graph.target) for s in valid) > np.mean(worse)
    assert quality([predict(network, static) for static in valid], valid) > 0.9


def test_early_stop_after_patience_epochs_without_a_better_one():
    statics = [prepare(sample(LAYOUT, seed)) for seed in range(2)]
    chosen = Settings(**TINY | {"epochs": 30, "patience": 2, "learning_rate": 1e-12})
    with deterministic(0):
        curve = fit(build(LAYOUT, statics[0], chosen), statics, statics, chosen, LAYOUT, 0)
    assert len(curve) == 3


@pytest.mark.parametrize("collection", [LAYOUT, TILE])
def test_the_epoch_is_chosen_on_some_configurations_the_same_every_time(monkeypatch, collection):
    monkeypatch.setattr(training, "WATCHED", 5)
    few, many = sample(collection, 0, configurations=4), sample(collection, 1, configurations=12)
    statics, seen = [prepare(few), prepare(many)], []
    monkeypatch.setattr(training, "predict", lambda network, static: seen.append(static) or predict(network, static))
    chosen = Settings(**TINY)
    with deterministic(0):
        network = build(collection, statics[0], chosen)
        curve = fit(network, statics, statics, chosen, collection, 0)
    assert len(curve) == 2 and [s.graph.configurations for s in seen] == [4, 5, 4, 5]
    kept = seen[1].graph.config_index
    assert np.array_equal(kept, seen[3].graph.config_index) and np.array_equal(kept, np.unique(kept))
    assert np.array_equal(seen[1].graph.target, many.target[kept])
    assert np.array_equal(np.argsort(seen[1].order), np.argsort(many.target[kept]))
    without = untrained(many, cross_attention=False)
    np.testing.assert_allclose(predict(without, seen[1]), predict(without, statics[1])[kept], rtol=1e-5, atol=1e-6)


def test_progress_goes_to_stderr(capsys):
    """The report shows stdout, and which epochs get a line is the clock's choice."""
    statics, chosen = [prepare(sample(TILE))], Settings(**TINY)
    with deterministic(0):
        fit(build(TILE, statics[0], chosen), statics, statics, chosen, TILE, 0)
    shown = capsys.readouterr()
    assert shown.out == "" and "tile:xla seed 0 epoch 2/2" in shown.err


@pytest.mark.parametrize(("collection", "seeds"), [(LAYOUT, 2), (TILE, 1)])
def test_same_seed_same_bytes(tmp_path, monkeypatch, collection, seeds):
    """In a second folder, and also whether seeds train side by side (two cores) or one after another (one core)."""
    graphs = {split: [sample(collection, 10 * i + j) for j in range(2)] for i, split in enumerate(SPLITS)}
    names = ["curves.csv", "scores.parquet", *(f"weights-{seed}.safetensors" for seed in range(seeds))]
    found = []
    for cores in (2, 1):
        monkeypatch.setattr(os, "cpu_count", lambda cores=cores: cores)
        write_data(tmp_path / str(cores), collection, graphs)
        former = tmp_path / str(cores) / "gnn" / slug(collection) / "weights-2.safetensors"
        former.parent.mkdir(parents=True)
        former.write_bytes(b"of an earlier run with more seeds")
        result = run(collection=collection, seeds=seeds, data=str(tmp_path / str(cores)), **TINY)
        output = tmp_path / str(cores) / "gnn" / slug(collection)
        assert sorted(path.name for path in output.iterdir()) == names
        found.append([(output / name).read_bytes() for name in names])
    assert found[0] == found[1]
    table = scores.read(output / "scores.parquet")
    assert set(table["split"]) == {"valid", "test"} and set(table["member"]) == {"gnn"}
    assert table.height == seeds * sum(g.configurations for split in ("valid", "test") for g in graphs[split])
    by_seed = table.partition_by("seed")
    assert len(by_seed) == seeds and (seeds == 1 or not by_seed[0]["score"].equals(by_seed[1]["score"]))
    assert isinstance(result["curves"], pl.DataFrame) and set(result["valid"]["graph"]) == {"graph_10", "graph_11"}


@pytest.mark.parametrize("collection", [LAYOUT, TILE])
def test_graphs_with_nothing_to_rank_train_and_score(tmp_path, collection):
    """One configuration, or twenty of one run time, in every split."""
    one = replace(sample(collection, 1, configurations=1), id="one")
    equal = sample(collection, 2, configurations=20)
    equal = replace(equal, id="equal", target=np.full(20, 3.0))
    write_data(tmp_path, collection, {split: [one, equal] for split in SPLITS})
    result = run(collection=collection, seeds=1, data=str(tmp_path), **TINY)
    assert result["curves"]["loss"].is_finite().all()
    assert scores.read(tmp_path / "gnn" / slug(collection) / "scores.parquet").height == 42


def made_up_result(**columns) -> dict:
    curves = {"seed": [0, 0, 0, 1, 1, 1], "epoch": [1, 2, 3] * 2, "loss": [3.0, 2, 1, 3, 2, 2.5]}
    valid = {"graph": ["a", "b"], "nodes": [7, 8], "configurations": [9, 9], "mean": [0.1, 0.5], "sd": [0.25, 0.0]}
    frames = {"curves": pl.DataFrame(curves | columns), "valid": pl.DataFrame(valid | {"all": [0.2, 0.6]})}
    return frames | {"metric": "Kendall tau-b", "watched": "Kendall tau-b"}


def test_report_counts_best_epochs_and_overfitted_trainings():
    """Seed 0: loss falls on after its best epoch; seed 1: it rises; of equal epochs the first is the best."""
    result = made_up_result(valid=[0.5, 0.7, 0.6, 0.4, 0.4, 0.3])
    text = report.training(result)
    assert "2 of 3, 1 of 3" in text and "in 2 of 2 trainings" in text
    text = report.training(made_up_result(valid=[0.5, 0.7, 0.6, 0.3, 0.4, 0.3]))
    assert "2 of 3, 2 of 3" in text and "in 1 of 2 trainings" in text
    assert "**0.400**" in report.findings(result) and "+0.100" in report.findings(result)
    assert "`a` with 0.200 (7 nodes, 9 configurations" in report.findings(result)
    nothing = made_up_result(valid=[float("nan")] * 6)
    assert "last epoch" in report.training(nothing) and report.curves(nothing)


def test_introduction_speaks_of_comparison_only_where_there_is_one():
    comparing = [report.introduction(c, on) for c in (LAYOUT, TILE) for on in (True, False)]
    assert ["compares the configurations" in text for text in comparing] == [True, False, False, False]


def test_divergence_is_an_input_error_that_says_where(tmp_path):
    graph = sample(LAYOUT)
    graph = replace(graph, x=np.full_like(graph.x, np.nan))
    write_data(tmp_path, LAYOUT, {split: [graph] for split in SPLITS})
    with pytest.raises(InputError, match=r"^gnn, layout:xla:random: seed 0 diverged in epoch 1 .*learning_rate[^\n]*$"):
        run(collection=LAYOUT, seeds=1, data=str(tmp_path), **TINY)
    assert not (tmp_path / "gnn" / "layout-xla-random" / "scores.parquet").exists()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("width", 7),
        ("configurations", 1),
        ("epochs", 0),
        ("dropout", 1.0),
        ("learning_rate", 0.0),
        ("weight_decay", -0.5),
        ("margin", -1.0),
    ],
)
def test_bad_parameter_is_named(tmp_path, name, value):
    with pytest.raises(InputError, match=f"gnn.{name}: is {value}"):
        run(collection=LAYOUT, data=str(tmp_path), **TINY | {name: value})


def test_no_train_graph_is_an_input_error(tmp_path):
    write_data(tmp_path, LAYOUT, {"valid": [sample(LAYOUT)]})
    with pytest.raises(InputError, match=r"manifest\.json: lists no train graph"):
        run(collection=LAYOUT, data=str(tmp_path), **TINY)


# real files


@pytest.mark.skipif("TPUGRAPHS_DIR" not in os.environ, reason="TPUGRAPHS_DIR is not set")
@pytest.mark.parametrize("collection", COLLECTIONS)
def test_untrained_network_ranks_every_real_graph(collection):
    root = Path(os.environ["TPUGRAPHS_DIR"]) / "npz_all"
    files = sorted(file for split in SPLITS for file in folder(root, collection, split).glob("*.npz"))
    if not files:
        pytest.skip(f"no real graph of {collection}")
    for file in files:
        with np.load(file, allow_pickle=False) as stored:
            arrays = {name: stored[name] for name in stored.files if name != "node_config_feat"}
            configurations = min(40, len(arrays["config_runtime"]))
            if "node_config_feat" in stored.files:
                arrays["node_config_feat"] = stored["node_config_feat"][:configurations]
        for name in ("config_runtime", "config_feat", "config_runtime_normalizers"):
            if name in arrays:
                arrays[name] = arrays[name][:configurations]
        graph = model_graph(collection, arrays, file.stem)
        score = predict(untrained(graph), prepare(graph))
        assert score.shape == (configurations,) and np.isfinite(score).all()
        configured = graph.codes if graph.tile_config is None else graph.tile_config
        distinct, which = np.unique(configured, axis=0, return_inverse=True)
        first = np.unique(which, return_index=True)[1]
        np.testing.assert_allclose(score, score[first][which.reshape(-1)], rtol=1e-5, atol=1e-6)  # equal ones tie
        assert len(np.unique(score)) > 1 or len(distinct) == 1
