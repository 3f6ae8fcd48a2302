"""The benchmarks at sizes of seconds, and the network that ours is measured against."""

import gc
import json
from dataclasses import replace
from multiprocessing import Pipe
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn.functional import gelu

from benchmarks import gnn, gst, kills, measure, reference, synthetic
from benchmarks.knobs import network_settings
from stages.gnn.settings import Settings
from stages.gnn.states import share
from stages.graphs import npz
from stages.graphs.collection import SPLITS, folder
from stages.graphs.dataset import ModelGraph
from stages.scoring.metrics import kendall
from tests.support import graphs, networks, samples

LAYOUT = "layout:xla:default"


def graph(seed: int = 0, **sizes) -> ModelGraph:
    return graphs.sample(LAYOUT, seed, **({"nodes": 9, "configurable": 4, "configurations": 6} | sizes))


def network(example: ModelGraph, **options) -> reference.FirstPlace:
    torch.manual_seed(0)
    return reference.FirstPlace(example.x.shape[1], 8, 2, **options).double().eval()


def arguments(example: ModelGraph, sample: np.ndarray) -> tuple[torch.Tensor, ...]:
    x, *others = reference.Inputs(example)(sample)
    return (x.double(), *others)


def by_hand(net: reference.FirstPlace, example: ModelGraph, configuration: int) -> float:
    """The score of one configuration, node by node, without attention across configurations."""
    nodes, embed = (
        len(example.x),
        lambda layout: net.layouts.weight[torch.tensor(layout, dtype=torch.long) + 2].flatten(),
    )
    place = {int(node): column for column, node in enumerate(example.config_nodes)}
    rows = []
    for node in range(nodes):
        triple = np.full(18, -2)
        if node in place:
            triple = example.triples[example.codes[configuration, place[node]]]
        features = [torch.tensor(example.x[node]).double(), net.opcodes.weight[example.opcode[node]]]
        rows.append(net.linear(torch.cat([*features, embed(example.layout[node]), embed(triple)])))
    state = [gelu(row) for row in rows]
    for block in net.blocks:
        every = torch.stack(state)
        normed = (every - every.mean(0)) / (every.var(0, correction=0) + 1e-5).sqrt()
        following = []
        for node in range(nodes):
            heard = [normed[source] for source, target in example.edge_index.T.tolist() if target == node]
            mean = torch.stack(heard).mean(0) if heard else torch.zeros_like(normed[0])
            found = block.messages.lin_l(mean) + block.messages.lin_r(normed[node])
            following.append(gelu(state[node] + found * block.channels.gate(found)))
        state = following
    return net.head(torch.stack(state).mean(0)).item()


def test_reference_without_attention_is_the_network_written_out_for_each_configuration():
    example = graph()
    net = network(example, attention=False)
    found = net(*arguments(example, np.arange(6)))
    assert found.tolist() == pytest.approx([by_hand(net, example, number) for number in range(6)], abs=1e-9)


@pytest.mark.parametrize("input_layers", [0, 2])
def test_reference_scores_follow_the_order_of_configurations(input_layers):
    example = graph()
    net = network(example, input_layers=input_layers)
    drawn = np.array([3, 1, 5, 0, 4, 2])
    found, moved = (net(*arguments(example, sample)).detach().numpy() for sample in (np.arange(6), drawn))
    np.testing.assert_allclose(moved, found[drawn], atol=1e-9)
    few = net(*arguments(example, drawn[:3])).detach().numpy()
    assert np.abs(few - found[drawn[:3]]).max() > 1e-6, "a configuration's score depends on those beside it"


def test_reference_tells_all_layouts_apart():
    example = graph()
    net = network(example)
    x, opcode, _, edge_index, nodes, triples = arguments(example, np.arange(1))
    scores = {
        net(
            x,
            opcode,
            torch.full((len(x), 6), own, dtype=torch.int8),
            edge_index,
            nodes,
            torch.full_like(triples, given),
        )
        for own in range(-1, 6)
        for given in range(-1, 6)
    }
    assert len({round(score.item(), 12) for score in scores}) == 49


def test_reference_hears_along_edges_from_consumers():
    example = graph()
    net = network(example, attention=False)
    consumer, producer = example.edge_index[:, -1]
    x, *others = arguments(example, np.arange(2))
    state = torch.randn(2, len(x), 8, dtype=torch.double)
    block = net.blocks[0].messages
    before, state = block(state, others[2]), state.clone()
    state[:, consumer] += 1
    changed = (block(state, others[2]) - before).abs().sum(dim=(0, 2)) > 1e-9
    assert changed[consumer] and changed[producer]
    assert changed.sum() == 1 + len(set(example.edge_index[1, example.edge_index[0] == consumer]))


def test_attention_is_a_share_of_each_value_over_the_configurations():
    x = torch.randn(5, 3, 2)
    gate = reference.CrossConfigurationAttention()
    power = np.exp(x.numpy() / 0.5)
    np.testing.assert_allclose(gate(x).detach(), x.numpy() * power / power.sum(axis=0), rtol=1e-5)


def test_norm_is_over_the_nodes_of_one_configuration():
    x = torch.randn(3, 7, 2) * 5 + 2
    found = reference.instance_norm(x)
    np.testing.assert_allclose(found.mean(dim=1), 0, atol=1e-6)
    np.testing.assert_allclose(found.var(dim=1, correction=0), 1, atol=1e-4)
    assert not reference.instance_norm(x[:, :1]).any()


def test_reference_chunks_are_all_scored_once():
    example = graph(configurations=11)
    net = network(example, attention=False).float()
    inputs = reference.Inputs(example)
    whole, chunked = reference.predict(net, inputs), reference.predict(net, inputs, chunk=4)
    np.testing.assert_allclose(chunked, whole, atol=1e-5)


def test_reference_learns_within_its_time():
    train = [graph(seed, configurations=30, nodes=14) for seed in range(3)]
    net, curve = reference.train_reference(train, train, 16, 60, 0.01, seconds_limit=3600, seed=0, width=16, layers=1)
    seconds = [when for when, _ in curve]
    assert len(curve) == 60 and seconds == sorted(seconds) and seconds[0] > 0
    assert reference.best(curve)[1] > curve[0][1] + 0.2
    taus = [kendall(reference.predict(net, reference.Inputs(example)), example.target) for example in train]
    assert np.mean(taus) == reference.best(curve)[1], "the network is the best epoch's"
    _, stopped = reference.train_reference(train, train[:1], 16, 10_000, 0.01, seconds_limit=0.05, seed=0, width=8)
    assert stopped[-1][0] >= 0.05 and len(stopped) < 10_000


def test_synthetic_file_is_of_the_official_format(tmp_path):
    made = synthetic.arrays(300, 40)
    names = ("node_feat", "node_opcode", "edge_index", "node_config_feat", "node_config_ids", "config_runtime")
    arrays = {name: getattr(made, name) for name in names} | {"node_splits": made.node_splits[None]}
    read = npz.read_layout(samples.save(tmp_path / "made.npz", arrays))
    np.testing.assert_array_equal(read.node_config_feat, made.node_config_feat)
    assert len(made.node_config_ids) == 15
    assert (made.edge_index[:, 0] > made.edge_index[:, 1]).all()
    differ = (made.node_config_feat != made.node_config_feat[:1]).any(axis=2).mean(axis=1)
    assert differ[0] == 0 and differ.max() <= 0.3 and 0 < differ.mean() < 0.05


def test_synthetic_graph_shares_states_as_real_ones_do(tmp_path):
    synthetic.write(tmp_path, synthetic.arrays(400, 200, 40))
    made = synthetic.read(tmp_path)
    assert made.config_nodes.shape == (40,) and 100 < len(made.x) < 200
    assert len(made.packed.contracted) < 40 * 6, "paths past configurable nodes are short"
    assert (made.packed.config_operands[:, 0] >= 0).all()
    static = graphs.prepared([made], networks.settings())[0]
    found = share(static.states(0).levels, static.nodes, made.configurations)
    assert 0.001 < found[0] < found[2] < 0.2


def rows_of(results: dict) -> dict:
    return {(row["work"], row["network"], row["configurations"]): row for row in results["rows"]}


def test_timings_compare_at_equal_configurations():
    results = gnn.compare(graph(configurations=12), [4, 12], [4, 8], repeat=1, width=8, layers=1)
    rows = rows_of(results)
    assert {key for key in rows if key[1] == "reference"} == {
        ("step", "reference", 4),
        ("step", "reference", 8),
        ("inference", "reference", 12),
    }
    of = lambda work, name, count: rows[work, name, count]["seconds"]  # noqa: E731
    ratio = rows["step", "ours", 4]["ratio"]
    assert ratio == pytest.approx(of("step", "reference", 4) / of("step", "ours", 4))
    more = rows["step", "ours", 12]["ratio"]
    assert more == pytest.approx(of("step", "reference", 8) * 12 / 8 / of("step", "ours", 12))
    assert len(results["sharing"]["share"]) == 2 and results["sharing"]["seconds_states"] > 0


def test_all_timings_at_small_sizes(tmp_path):
    for collection in gnn.LAYOUT_COLLECTIONS:
        members = {split: [graph(number)] for number, split in enumerate(("train", "valid"))}
        graphs.write_data(tmp_path / "data", collection, named(members, collection))
    root = tmp_path / "tpugraphs" / "npz_all"
    samples.write_layout(folder(root, gnn.REAL, "train"), "unet3d", nodes=20, configurations=20)
    results = gnn.timings(tmp_path / "data", tmp_path / "tpugraphs", 1, quick=True)
    assert results["unet3d"]["configurations"] == 20, "equal configurations stay"
    table = gnn.timing_table(results)
    assert set(table["graph"]) == {"unet3d", "synthetic", *(f"sample {name}" for name in gnn.LAYOUT_COLLECTIONS)}
    assert table["seconds"].min() > 0
    assert gnn.sharing_table(results).height == 6
    measure.write("gnn", results, tmp_path / "results.json")


def test_quality_runs_both_recipes(tmp_path):
    sizes = {"nodes": 12, "configurations": 20}
    members = named({split: [graph(number, **sizes)] for number, split in enumerate(SPLITS)}, LAYOUT)
    graphs.write_data(tmp_path, LAYOUT, members)
    (hidden,) = members["test"]
    solution = tmp_path / "solution.csv"
    runtimes = ";".join(str(int(runtime)) for runtime in hidden.target)
    solution.write_text(f"ID,Runtimes\n{LAYOUT}:{hidden.id},{runtimes}\n")
    small = {"width": 8, "epochs": 3, "gst": "gst+efd", "segment_nodes": 6, "finetune": 2}
    knobs = {LAYOUT: networks.DEFAULTS | small}
    sizes = {"seeds": 2, "limit": 0.2, "epochs": 4, "width": 8, "workers": 1}
    results = gnn.quality(str(tmp_path), str(solution), knobs, [LAYOUT], **sizes)
    (found,) = results["collections"].values()
    assert found["reached"].endswith("of 2") and len(results["runs"]) == 2
    for run in results["runs"]:
        assert 0 < run["ours_all_seconds"] and 0 < run["reference_seconds"] <= run["reference_all_seconds"]
        assert run["ours_curve"][-1][1] == run["ours_tau"]
        assert -1 <= run["ours_test"] <= 1 and -1 <= run["reference_test"] <= 1
        if run["ratio"] is not None:
            assert run["ours_tau"] >= run["reference_tau"]
    gnn.quality_table(results)


def test_a_training_is_run_once_for_the_same_code_settings_and_data(tmp_path, monkeypatch):
    members = {split: [graph(number)] for number, split in enumerate(("train", "valid"))}
    graphs.write_data(tmp_path, LAYOUT, named(members, LAYOUT))
    knobs, out, made = {LAYOUT: networks.DEFAULTS | {"width": 8}}, tmp_path / "results.json", []

    def quality_of(task, **_):
        if len(made) == 1:
            made.append("cut short")
            raise KeyboardInterrupt
        made.append(task)
        scores = ("reference_tau", "ours_tau", "reference_test", "ours_test")
        row = dict.fromkeys((*scores, "reference_seconds", "ours_seconds", "ratio"), 1.0)
        return row | {"collection": task[0], "seed": task[1]}

    monkeypatch.setattr(gnn, "quality_of", quality_of)
    quality = lambda **other: gnn.quality(  # noqa: E731
        str(tmp_path), None, knobs, [LAYOUT], **{"seeds": 3, "limit": 1.0, "workers": 1, "out": out} | other
    )
    with pytest.raises(KeyboardInterrupt):
        quality()
    assert [run["seed"] for run in measure.read("gnn_quality", out)["runs"]] == [0]
    assert quality()["collections"][LAYOUT]["reached"] == "3 of 3"
    assert made == [(LAYOUT, 0), "cut short", (LAYOUT, 1), (LAYOUT, 2)]
    quality()
    assert len(made) == 4
    quality(limit=2.0)
    assert len(made) == 7
    knobs[LAYOUT]["dropout"] = 0.5
    quality(limit=2.0)
    assert len(made) == 10


def test_knobs_come_from_params():
    for collection in gnn.LAYOUT_COLLECTIONS:
        knobs = gnn.stage_knobs(collection, Path(__file__).parents[2] / "params.yaml")
        assert vars(network_settings(collection)) == vars(Settings(**knobs))


@pytest.fixture(scope="module")
def unpruned(tmp_path_factory) -> str:
    path = str(tmp_path_factory.mktemp("unpruned"))
    gst.make(path, nodes=300, configurations=16, width=8, segment_nodes=60)
    return path


def test_memory_is_measured_of_every_variant(unpruned):
    found = {}
    for variant in gst.VARIANTS:
        found[variant] = gst.step(unpruned, variant, 8, 4, 60, repeat=1, most_bytes=gst.MOST_BYTES)
    assert found["gst+efd"]["segments"] == 5 and found["shared"]["segments"] == 1
    assert found["gst+efd"]["states"] < found["shared"]["states"] < found["dense"]["states"] == 3 * 300 * 4
    assert all(row["fits"] and row["seconds"] > 0 and row["peak"] > 0 for row in found.values())


def test_what_does_not_fit_is_not_tried(unpruned):
    for variant in ("shared", "dense"):
        row = gst.step(unpruned, variant, 8, 4, 60, repeat=1, most_bytes=1000)
        assert not row["fits"] and row["estimate"] > 1000 and "seconds" not in row


def test_memory_is_measured_once_for_the_same_code_and_sizes(tmp_path, monkeypatch):
    out, made = tmp_path / "results.json", []

    def attempt(folder, variant, width, count, *_):
        made.append((Path(folder).name, variant, count))
        if len(made) == 3:
            raise KeyboardInterrupt
        return {"variant": variant, "configurations": count, "fits": variant != "dense", "peak": 1, "seconds": 1.0}

    monkeypatch.setattr(gst, "attempt", attempt)
    monkeypatch.setattr(gst, "in_child", lambda function, folder, *_: Path(folder).mkdir())
    measured = lambda width=8: gst.measured((20, 90), width, 4, 8, 10, 1, out=out)  # noqa: E731
    with pytest.raises(KeyboardInterrupt):
        measured()
    assert len(measure.read("gst", out)["rows"]) == 2
    whole = measured()
    once = [("20", "gst+efd", 4), ("20", "shared", 4), ("20", "dense", 4)]
    rest = [("90", "gst+efd", 4), ("90", "shared", 4), ("90", "dense", 4), ("90", "dense", 2)]
    assert made == [*once, once[2], *rest]
    assert measured() == whole and len(made) == 8 and len(whole["rows"]) == 7
    measured(width=16)
    assert len(made) == 15


def test_the_peak_begins_anew():
    """A hundred megabytes that were held before are no part of it, ten that are held after are."""
    before = measure.resident_bytes()
    if not before:
        pytest.skip("this system does not tell a process's memory")
    held = np.ones(100 * 2**17)
    del held
    gc.collect()
    measure.reset_peak()
    begun = measure.peak_bytes()
    held = np.ones(10 * 2**17)
    assert begun < before + 90 * 2**20 and measure.peak_bytes() > begun + 8 * 2**20 and held.all()


def test_kills_go_on_where_they_were_and_compare_every_run_to_its_end(tmp_path, monkeypatch):
    """The stage stands in for itself: a run to the end writes a file, a killed one leaves none."""
    source, out, log = tmp_path / "data", tmp_path / "results.json", []
    monkeypatch.setattr(kills.tempfile, "gettempdir", lambda: str(tmp_path))
    for stage in ("prune", "pad"):
        path = source / stage / "layout-xla-default" / "train" / "a.safetensors"
        path.parent.mkdir(parents=True)
        path.write_bytes(b"graph")

    class Ended:
        def __init__(self, arguments, content=b"same"):
            made = Path(arguments["data"], "gnn", "layout-xla-default", "scores")
            made.parent.mkdir(parents=True, exist_ok=True)
            made.write_bytes(content)

        def wait(self):
            return 0

    ends = iter([True, True, "cut short", False, True])

    def kill_after(arguments, seconds):
        log.append(seconds)
        if (killed := next(ends)) == "cut short":
            raise KeyboardInterrupt
        if not killed:
            Ended(arguments)
        return killed

    monkeypatch.setattr(kills, "start", Ended)
    monkeypatch.setattr(kills, "kill_after", kill_after)
    disturb = lambda: kills.disturb(LAYOUT, {}, 3, 0, source, out)  # noqa: E731
    with pytest.raises(KeyboardInterrupt):
        disturb()
    assert len(measure.read("kills", out)["rows"]) == 2
    results = disturb()
    assert len(results["rows"]) == 3 and len(log) == 5 and results["same"]
    assert len(set(log)) == 4 and log[2] == log[3]  # the kill that was cut short is drawn again
    assert not list(tmp_path.glob("kills-*"))


def test_kills_see_other_bytes(tmp_path, monkeypatch):
    source, count = tmp_path / "data", [0]
    monkeypatch.setattr(kills.tempfile, "gettempdir", lambda: str(tmp_path))
    for stage in ("prune", "pad"):
        (source / stage / "layout-xla-default").mkdir(parents=True)

    class Ended:
        def __init__(self, arguments):
            count[0] += 1
            made = Path(arguments["data"], "gnn", "layout-xla-default", "scores")
            made.parent.mkdir(parents=True)
            made.write_bytes(b"%d" % count[0])

        def wait(self):
            return 0

    monkeypatch.setattr(kills, "start", Ended)
    monkeypatch.setattr(kills, "kill_after", lambda *_: True)
    assert not kills.disturb(LAYOUT, {}, 1, 0, source, tmp_path / "results.json")["same"]


def test_child_hands_back_its_result():
    assert gst.in_child(divmod, 7, 2) == (3, 1)


def test_child_hands_back_its_fault():
    here, there = Pipe(duplex=False)
    gst._answer(there, divmod, (1, 0), None)
    fault = here.recv()
    assert isinstance(fault, RuntimeError) and "ZeroDivisionError" in str(fault)


def test_memory_that_runs_out_is_a_row(monkeypatch):
    def fails(message: str):
        def child(*_, **__):
            raise RuntimeError(message)

        monkeypatch.setattr(gst, "in_child", child)
        return gst.attempt("", "dense", 8, 4, 60, 1, 1000)

    assert not fails("RuntimeError: DefaultCPUAllocator: can't allocate memory")["fits"]
    assert not fails("step ended with code -9")["fits"]
    with pytest.raises(RuntimeError, match="KeyError"):
        fails("KeyError: 'x'")


def test_requirements_scale_dense_from_fewer_configurations():
    row = {"fits": True, "peak": 100, "seconds": 2.0, "configurations": 64}
    rows = [
        row | {"variant": "gst+efd", "nodes": 5_000},
        row | {"variant": "gst+efd", "nodes": 43_615, "peak": 110},
        row | {"variant": "dense", "nodes": 43_615, "configurations": 16, "seconds": 3.0},
    ]
    found = gst.requirements(rows, 64)
    assert found["growth"] == pytest.approx(0.1) and found["growth_holds"] and found["peak_holds"]
    assert found["dense_over_gst"] == 6 and found["dense_configurations"] == 16 and found["ratio_holds"]
    assert gst.requirements([{"fits": False, "variant": "dense", "nodes": 1}], 64)["dense_over_gst"] is None


def test_results_of_other_benchmarks_stay(tmp_path):
    path = tmp_path / "reports" / "benchmarks.json"
    measure.write("b", {"x": 1}, path)
    measure.write("a", {"y": 2}, path)
    measure.write("b", {"x": 3}, path)
    text = path.read_text()
    results = json.loads(text)
    assert list(results) == ["a", "b"] and results["b"]["x"] == 3 and results["a"]["machine"]["cores"] >= 1
    assert text.endswith("}\n") and '\n "a"' in text


def test_slow_things_are_repeated_less():
    calls = []
    assert measure.median_seconds(lambda: calls.append(1), 5, patience=0)[1] == 1
    assert len(calls) == 2
    assert measure.median_seconds(lambda: None, 5)[1] == 5


def named(members: dict[str, list[ModelGraph]], collection: str) -> dict[str, list[ModelGraph]]:
    """The graphs as those of a split and collection, for `graphs.write_data`."""
    return {
        split: [replace(member, split=split, collection=collection) for member in members.get(split, [])]
        for split in SPLITS
    }
