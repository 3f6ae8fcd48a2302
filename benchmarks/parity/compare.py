"""One recipe on one graph: ours computed here, theirs by a driver in a process of its own, and the differences."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import torch

from benchmarks.parity.cases import Case
from benchmarks.parity.graphs import Graph
from stages.graphs.collection import is_tile
from stages.graphs.dataset import PackedGraph, graph, graph_file, prune_folder
from stages.graphs.opcodes import CONVOLUTION, DOT
from stages.graphs.operands import config_operands
from stages.prune.packing import Options, pack
from stages.winners import first_place_layout, gst_paper, official_layout, parts, third_place

ROUNDING = 1e-4  # of features in float32, standardised ones far from the mean among them
FEW = 4  # configurations of a large graph in a network that has all of its nodes


@dataclass(frozen=True)
class Row:
    """A line of the table; see `benchmarks.parity`."""

    recipe: str
    what: str
    graph: str
    largest_difference: float
    note: str = ""


@dataclass(frozen=True, eq=False)
class Trial:
    """A recipe on a graph, ready for both sides.

    Attributes:
        case: The recipe.
        given: The graph.
        whole: The graph as the recipe has it pruned.
        fitted: What the recipe's features take from train.
        indices: The configurations that are compared.
        network: Ours.
        settings: Of it.
        told: What the driver gets.
        work: Folder of its case.npz, where the driver's result.npz is looked for.
    """

    case: Case
    given: Graph
    whole: PackedGraph
    fitted: object
    indices: np.ndarray
    network: parts.Network
    settings: parts.Training
    told: dict[str, np.ndarray]
    work: Path


def trial(case: Case, given: Graph, work: Path, wide: bool) -> Trial:
    """Makes what both sides need, and writes the driver's case to `work`.

    Args:
        case: The recipe.
        given: The graph.
        work: An empty folder.
        wide: Whether to compute in float64 too.
    """
    settings = case.recipe.settings(case.collection)[case.member]
    whole = packed(case, given.arrays, settings.pruning)
    fitted = case.recipe.fit(_fitted_on(case, given, settings))
    wide = wide or not case.heavy
    # GST's code draws 32 configurations whatever it is told.
    count = case.configurations if wide or case.recipe is gst_paper.RECIPE else min(case.configurations, FEW)
    indices = np.sort(np.random.default_rng(0).permutation(whole.configurations)[:count])
    stretch = case.extra.get("stretch")
    if stretch is not None:
        settings = replace(settings, stretch=None if stretch < 0 else -(-whole.nodes // 2))
    network = case.recipe.build(settings, fitted)
    fill(network)
    told = _told(case, given, whole, indices, network, settings, work) | {"wide": np.array(wide)}
    np.savez(work / "case.npz", **told)
    return Trial(case, given, whole, fitted, indices, network, settings, told, work)


def rows(made: Trial) -> Iterator[Row]:
    """The table's lines of a trial whose driver has ended."""
    with np.load(made.work / "result.npz", allow_pickle=False) as file:
        theirs = dict(file)
    yield from _data_rows(made, theirs)
    yield from _network_rows(made, theirs)


def packed(case: Case, arrays: dict[str, np.ndarray], pruning: parts.Pruning) -> PackedGraph:
    """A graph as the prune stage packs it; equal configurations stay unless the pruning says which remains."""
    tile = is_tile(case.collection)
    options = None
    if not tile:
        options = Options(pruning.hops, pruning.neighbour_edges, pruning.direction, pruning.duplicates or "first")
    split = "train" if pruning.duplicates and not tile else "test"  # in test equal configurations stay
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "graph.npz")
        np.savez(file, **arrays)
        pack(file, graph_file(prune_folder(folder, case.collection), split, "graph"), split, options)
        made = graph(folder, case.collection, split, "graph")
        return replace(made, codes=None if tile else np.array(made.codes))


def fill(network: parts.Network) -> None:
    """Gives weights values that no version of a library changes; means and deviations, which stand for data, stay."""
    for place, (name, weight) in enumerate(network.named_parameters()):
        if not name.endswith((".mean", ".deviation")):
            inputs = weight.shape[-1] if weight.ndim > 1 else 100
            values = np.random.RandomState(place).uniform(-1, 1, weight.numel()) * np.sqrt(3 / inputs)
            weight.data.copy_(torch.from_numpy(values.reshape(weight.shape)))


def _fitted_on(case: Case, given: Graph, settings: parts.Training) -> list[PackedGraph]:
    """The graphs that features are fitted on, pruned where the original fits on pruned ones."""
    pruned = case.recipe is first_place_layout.RECIPE
    train = packed(case, given.train, settings.pruning if pruned else parts.Pruning())
    if case.recipe is gst_paper.RECIPE:  # over all splits, in theirs
        return [packed(case, given.arrays, parts.Pruning()), train]
    return [train]


def _told(
    case: Case,
    given: Graph,
    whole: PackedGraph,
    indices: np.ndarray,
    network: parts.Network,
    settings: parts.Training,
    work: Path,
) -> dict[str, np.ndarray]:
    """What the driver gets; files are written to folders of their own, for originals that read folders."""
    files = {"whole": given.arrays, "chosen": _only(given.arrays, whole.config_index[indices]), "train": given.train}
    told = {name: np.array(value) for name, value in case.extra.items()}
    tile = is_tile(case.collection)
    for name, arrays in files.items():
        if case.recipe is first_place_layout.RECIPE:
            arrays = _padded(arrays)
        folder = work / name / "train" if tile else work / name
        folder.mkdir(parents=True)
        np.savez(folder / "graph.npz", **arrays)
        told[name] = np.array([str(folder / "graph.npz")]) if name == "train" else np.array(str(folder / "graph.npz"))
        # The first place's reader of tiles wants the folder above `train`.
        told[f"{name}_folder"] = np.array(str(folder.parent if tile and case.driver == "first_place" else folder))
    if not tile:
        told["layout"] = np.array(True)
    for name, weight in network.state_dict().items():
        value = weight.numpy().copy()
        if case.driver in ("first_place", "second_place") and name == "opcodes.weight":
            value = value[:120]  # their rows; opcode 120 has none
        told[f"weight/{case.theirs(name)}"] = value
    if case.recipe is third_place.LAYOUT_RECIPE:
        told |= _operands(given.arrays)
    if "stretch" in told:
        told["stretch"] = np.array(settings.stretch or -1)
    if case.recipe is gst_paper.RECIPE:
        told |= _drawn(whole, len(indices))
    return told


def _drawn(whole: PackedGraph, configurations: int) -> dict[str, np.ndarray]:
    """What a step by segments draws: the segment, stale scores of the others, and which are kept."""
    rng = np.random.default_rng(0)
    segments = len(gst_paper.boundaries(whole.nodes)) - 1
    shape = (configurations, segments - 1)
    return {
        "segment": np.array(segments - 1),
        "stale": rng.normal(size=shape).astype(np.float32),
        "kept": rng.integers(0, 2, shape).astype(np.float32),
    }


def _operands(arrays: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Convolutions and dots with their operands, whose order the protobuf has and the npz file has not."""
    rows = np.flatnonzero(np.isin(arrays["node_opcode"], (CONVOLUTION, DOT)))
    found = config_operands(arrays["node_feat"], arrays["node_opcode"], arrays["edge_index"], rows)
    return {"consumers": rows, "operands": found}


def _only(arrays: dict[str, np.ndarray], indices: np.ndarray) -> dict[str, np.ndarray]:
    names = ("config_runtime", "config_runtime_normalizers", "config_feat", "node_config_feat")
    return {name: array[indices] if name in names else array for name, array in arrays.items()}


def _padded(arrays: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The first place's own files: the columns with -1 behind lists of dimensions."""
    columns = first_place_layout.columns(SimpleNamespace(**arrays))
    layout = first_place_layout.pad.own_layout(arrays["node_feat"])
    return arrays | {"node_feat": np.concatenate([columns, layout], axis=1).astype(np.float32)}


def _data_rows(made: Trial, theirs: dict[str, np.ndarray]) -> Iterator[Row]:
    """What is compared before any network."""
    case, given, whole, fitted, indices = made.case, made.given, made.whole, made.fitted, made.indices
    inputs = case.recipe.prepare(whole, fitted).inputs(indices)

    def row(what: str, ours: np.ndarray, other: np.ndarray, note: str = "") -> Row:
        return Row(case.name, what, given.name, difference(ours, other), note)

    if "nodes" in theirs:
        published = whole.node_feat if case.recipe is not first_place_layout.RECIPE else _published(whole)
        yield row("nodes", published, theirs["nodes"], f"{whole.nodes} of {len(given.arrays['node_feat'])}")
        kept = f"{len(whole.edge_index)} of {len(given.arrays['edge_index'])}"
        ours, other = (np.unique(edges.astype(np.int64), axis=0) for edges in (whole.edge_index, theirs["edges"]))
        yield row("edges", ours, other, kept)
    if "distinct" in theirs and not is_tile(case.collection):
        note = f"{whole.configurations} of {len(given.arrays['config_runtime'])}; {made.settings.pruning.duplicates}"
        yield row("duplicates", np.sort(whole.runtime), np.sort(theirs["distinct"]), note)
    if "features" in theirs:
        yield row("features", inputs.x.numpy(), theirs["features"], f"largest {np.abs(theirs['features']).max():.3g}")
    for name in ("mean", "deviation"):
        if name in theirs:
            yield row(name, getattr(fitted, name)[None], theirs[name], f"largest {np.abs(theirs[name]).max():.3g}")
    if "opcode" in theirs:
        yield row("opcode", inputs.opcode.numpy(), theirs["opcode"])
    if "configurations" in theirs and isinstance(inputs, parts.TileInputs):
        yield row("configurations", inputs.config.numpy(), theirs["configurations"])
    elif "configurations" in theirs and case.recipe is official_layout.RECIPE:
        scaled = fitted.layouts(whole.layouts(indices).astype(np.float32))
        yield row("configurations", scaled.reshape(-1, scaled.shape[-1]), theirs["configurations"])
    for name in ("labels", "target"):
        if name in theirs:
            yield row("labels", chosen_labels(made), theirs[name])
    if "segments" in theirs:
        ours = gst_paper.boundaries(whole.nodes).numpy()
        yield row("segments", ours, theirs["segments"], f"{len(ours) - 1} of {whole.nodes} nodes")


def _published(whole: PackedGraph) -> np.ndarray:
    layout = first_place_layout.pad.own_layout(whole.node_feat)
    return np.concatenate([first_place_layout.columns(whole), layout], axis=1)


def _network_rows(made: Trial, theirs: dict[str, np.ndarray]) -> Iterator[Row]:
    """Outputs, losses, gradients and a step."""
    case, network = made.case, made.network
    start = {name: weight.clone() for name, weight in network.state_dict().items()}
    labels = torch.from_numpy(np.array(chosen_labels(made)))
    inputs = _same_features(case.recipe.prepare(made.whole, made.fitted).inputs(made.indices), theirs)
    for width in ("float32", "float64"):
        if f"{width}/scores" not in theirs:
            continue
        if width == "float64":
            inputs, labels = inputs.double(), labels.double() if labels.is_floating_point() else labels
            network.double()
        network.load_state_dict(start)
        ours = _computed(made, inputs, labels, theirs)
        for what in ("outputs", "estimate", "pushed", "loss", "gradients", "step"):
            if what == "step" and width == "float32" and not case.tensorflow:
                continue  # of which rounding makes what it wants
            pairs = list(_pairs(what, ours, theirs, width, case))
            if pairs:
                worst = max(difference(own, other) for own, other in pairs)
                largest = max(np.abs(other).max() for _, other in pairs)
                note = f"{width}; largest {largest:.3g}; {made.given.note}".removesuffix("; ")
                yield Row(case.name, what, made.given.name, worst, note)


def chosen_labels(made: Trial) -> np.ndarray:
    """Labels of the chosen configurations alone, as the original has a file with no others."""
    normalizer = None if made.whole.normalizer is None else made.whole.normalizer[made.indices]
    chosen = replace(made.whole, runtime=made.whole.runtime[made.indices], normalizer=normalizer)
    return made.case.recipe.labels(chosen, made.fitted)


def _same_features(
    inputs: parts.LayoutInputs | parts.TileInputs, theirs: dict[str, np.ndarray]
) -> parts.LayoutInputs | parts.TileInputs:
    """Our inputs with the original's features, where these differ by rounding alone; so networks are compared alone."""
    names = {"x": "features"} | ({"config": "configurations"} if isinstance(inputs, parts.TileInputs) else {})
    for name, other in names.items():
        if other in theirs and rounded(getattr(inputs, name).numpy(), theirs[other]):
            inputs = replace(inputs, **{name: torch.from_numpy(theirs[other].astype(np.float32))})
    return inputs


def _pairs(
    what: str, ours: dict, theirs: dict[str, np.ndarray], width: str, case: Case
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Our arrays and theirs of one kind; a weight without a gradient in theirs has 0."""
    if what not in ours:
        return
    if not isinstance(ours[what], dict):
        yield ours[what], theirs[f"{width}/{'scores' if what == 'outputs' else what}"]
        return
    for name, own in ours[what].items():
        other = theirs.get(f"{width}/{what.removesuffix('s')}/{case.theirs(name)}", np.zeros_like(own))
        yield (own[: len(other)] if own.ndim else own), other  # our table of opcodes may have more rows


def _computed(
    made: Trial, inputs: parts.LayoutInputs | parts.TileInputs, labels: torch.Tensor, theirs: dict[str, np.ndarray]
) -> dict[str, np.ndarray | dict[str, np.ndarray]]:
    """Our scores, loss, gradients and weights after a step, without dropout."""
    case, network, settings, told = made.case, made.network, made.settings, made.told
    dtype = inputs.x.dtype
    network.zero_grad()
    network.eval()
    network.start_step()
    found: dict[str, np.ndarray | dict[str, np.ndarray]] = {}
    optimizer = case.recipe.optimizer(network, settings)
    if case.tensorflow:  # whose penalty is of training; no dropout is there to be switched off
        network.train()
        if "selected" in theirs and network.stretch is not None:
            network.chosen = lambda nodes: torch.from_numpy(theirs["selected"])
    if case.recipe is gst_paper.RECIPE:
        found["outputs"] = network(inputs).detach().numpy()
        fresh = network.segment_scores(inputs, int(told["segment"]))[:, 0]
        found["pushed"] = fresh.detach().numpy()
        scores = gst_paper.estimate(fresh, *(torch.from_numpy(told[name]).to(dtype) for name in ("stale", "kept")))
        found["estimate"] = scores.detach().numpy()
    else:
        scores = network(inputs)
        found["outputs"] = scores.detach().numpy()
    loss = case.recipe.loss(scores[None], labels[None]) + network.penalty([inputs])
    loss.backward()
    found["loss"] = loss.detach().numpy()
    named = dict(network.named_parameters())
    found["gradients"] = {n: w.grad.numpy().copy() for n, w in named.items() if w.grad is not None}
    network.clip(settings)
    optimizer.step()
    found["step"] = {name: weight.detach().numpy().copy() for name, weight in named.items()}
    return found


def rounded(ours: np.ndarray, theirs: np.ndarray) -> bool:
    """Whether arrays differ by rounding alone, each number in its own size where it is above 1."""
    return difference(*(part / np.maximum(1, np.abs(theirs)) for part in (ours, theirs))) < ROUNDING


def difference(ours: np.ndarray, theirs: np.ndarray) -> float:
    """The largest absolute difference; infinite where shapes differ or one of them alone is no number."""
    ours, theirs = np.asarray(ours, np.float64), np.asarray(theirs, np.float64)
    if ours.shape != theirs.shape or (np.isnan(ours) != np.isnan(theirs)).any():
        return float("inf")
    return float(np.nanmax(np.abs(ours - theirs), initial=0.0))
