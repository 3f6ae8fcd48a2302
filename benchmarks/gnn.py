"""Compares shared states with the first place's dense network: seconds of a step, of a graph, and to a quality.

python -m benchmarks.gnn               times steps and inference, float32, all of torch's threads
python -m benchmarks.gnn --quality     trains both on the sample, a thread each
python -m benchmarks.gnn --quick       tiny sizes, to see that it runs; writes only where --out says

Both networks are timed in one run on one machine. A step makes its tensors from the graph and the sampled
configurations, and runs forward, loss, backward and AdamW. Ours is the stage's own network with the stage's parameters,
except for the width. A first call, which is not timed, makes what stays the same from call to call: tensors of the
graph, and for ours those of its states and, if it takes all configurations, its whole batch. `first inference` makes
all of these anew except the states. --quality writes each training as soon as it is done; the next run goes on with the
missing ones.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import replace
from functools import partial
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import polars as pl
import torch
from torch import nn
from tqdm import tqdm

from benchmarks import measure, reference, synthetic
from benchmarks.knobs import network_settings
from stages import pad
from stages.engine import params
from stages.engine.errors import InputError
from stages.gnn import states
from stages.gnn.batch import join
from stages.gnn.identity import of_training
from stages.gnn.inference import predict
from stages.gnn.loss import LOSSES
from stages.gnn.memory import Caches
from stages.gnn.network import build
from stages.gnn.prepared_graph import prepare
from stages.gnn.settings import Settings
from stages.gnn.training import CLIP, Training, adamw, deterministic
from stages.graphs.collection import COLLECTIONS, SPLITS, folder, is_tile
from stages.graphs.dataset import ModelGraph, model_graphs
from stages.prune import stage as prune
from stages.scoring.metrics import collection_score, kendall
from stages.scoring.score import read_solution

LAYOUT_COLLECTIONS = [name for name in COLLECTIONS if not is_tile(name)]
REAL = "layout:xla:default"
SYNTHETIC_NODES, SYNTHETIC_CONFIGURABLE, SYNTHETIC_CONFIGURATIONS = 6000, 848, 1000  # about 2,850 nodes when pruned
LEARNING_RATE = 0.001


class Ours:
    """The stage's network on one graph, with the steps of `Training` and the scores of `predict`."""

    def __init__(self, graph: ModelGraph, settings: Settings):
        self.settings = settings
        self.static = prepare(graph, settings.view(graph.collection))
        self.network = build(graph.collection, self.static, settings)
        self.optimizer = adamw(self.network, settings)

    def step(self, sample: np.ndarray) -> float:
        self.network.train()
        batch = join([self.static], [sample])
        score = self.network.scores(self.network.states(batch), batch)
        loss = LOSSES["hinge"](score, batch.order, self.settings.margin, batch.mask)
        self.optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.network.parameters(), CLIP)
        self.optimizer.step()
        return float(loss.detach())

    def infer(self, sample: np.ndarray) -> np.ndarray:
        return predict(self.network, self.static, sample)

    def infer_first(self, sample: np.ndarray) -> np.ndarray:
        """Scores the graph with empty caches; only its states are at hand."""
        return predict(self.network, replace(self.static, caches=Caches()), sample)


class Theirs:
    """The first place's network on one graph."""

    def __init__(self, graph: ModelGraph, width: int, layers: int, input_layers: int, chunk: int = reference.CHUNK):
        self.inputs, self.chunk = reference.Inputs(graph), chunk
        self.network = reference.FirstPlace(graph.x.shape[1], width, layers, input_layers=input_layers)
        self.optimizer = reference.optimizer(self.network, LEARNING_RATE)

    def step(self, sample: np.ndarray) -> float:
        return reference.step(self.network, self.optimizer, self.inputs, sample)

    def infer(self, sample: np.ndarray) -> np.ndarray:
        return reference.predict(self.network, self.inputs, sample, self.chunk)


def compare(
    graph: ModelGraph,
    ours: list[int],
    theirs: list[int],
    repeat: int,
    width: int = 256,
    layers: int = 2,
    input_layers: int = 0,
    chunk: int = reference.CHUNK,
    scored: int | None = None,
) -> dict:
    """Measures the median seconds of steps and inference of both networks on one graph.

    Args:
        graph: the graph.
        ours: numbers of configurations of our steps and inference.
        theirs: numbers of configurations of the reference's steps.
        repeat: number of measurements at most.
        width, layers: of both networks.
        input_layers: of the reference, see `reference.FirstPlace`.
        chunk: configurations that the reference scores at a time.
        scored: configurations that the reference scores in all; None for all.

    Returns:
        Sizes of the graph, `sharing` (see there), and `rows` of work, network, configurations, seconds, repeats and,
        for ours, ratio: the reference's seconds for as many configurations divided by ours. If the reference did not
        take as many, its seconds for its largest number are scaled.
    """
    torch.manual_seed(0)
    rng = np.random.default_rng(0)
    total = graph.configurations
    settings = network_settings(graph.collection, width=width, layers=layers, gst="full")
    networks = {"reference": Theirs(graph, width, layers, input_layers, chunk), "ours": Ours(graph, settings)}
    every = total if scored is None else min(scored, total)
    work = [("step", "reference", count) for count in theirs] + [("step", "ours", count) for count in ours]
    work += [("inference", "reference", every)] + [("inference", "ours", count) for count in sorted({*ours, total})]
    work += [("first inference", "ours", total)]
    rows: list[dict] = []
    for kind, name, count in tqdm(dict.fromkeys((k, n, min(c, total)) for k, n, c in work), graph.id, leave=False):
        act = getattr(networks[name], {"step": "step", "inference": "infer", "first inference": "infer_first"}[kind])

        def call(act=act, count=count):
            act(np.sort(rng.choice(total, count, replace=False)))

        seconds, repeats = measure.median_seconds(call, repeat)
        row = {"work": kind, "network": name, "configurations": count, "seconds": seconds, "repeats": repeats}
        rows.append(row | {"ratio": None if name == "reference" else _ratio(rows, kind, count, seconds)})
    return {
        "nodes": len(graph.x),
        "configurable": len(graph.config_nodes),
        "configurations": total,
        "sharing": sharing(graph, settings),
        "rows": rows,
    }


def sharing(graph: ModelGraph, settings: Settings, sample: int = 64) -> dict:
    """Counts distinct states and times the work that is done once per graph.

    Args:
        graph: the graph.
        settings: of the network.
        sample: number of configurations of a sample.

    Returns:
        share, and share_of_SAMPLE for the sample: distinct states of each level as a share of nodes x configurations;
        states: their numbers; seconds_graph and seconds_states: to prepare the graph, and to find its states with all
        that a network needs of them.
    """
    start = time.perf_counter()
    static = prepare(graph, settings.view(graph.collection))
    middle = time.perf_counter()
    levels = static.states(0).levels
    end = time.perf_counter()
    count = min(sample, graph.configurations)
    picked = states.pick(levels, np.random.default_rng(0).choice(graph.configurations, count, replace=False))
    return {
        "share": states.share(levels, static.nodes, graph.configurations),
        f"share_of_{sample}": [len(part.states) / (static.nodes * count) for part in picked],
        "states": [level.size for level in levels],
        "seconds_graph": middle - start,
        "seconds_states": end - middle,
    }


def real(root: str | Path, data: str | Path) -> ModelGraph:
    """Prunes unet3d of layout:xla:default to one hop and pads it.

    It becomes a valid graph, because prune drops equal configurations of train graphs.

    Args:
        root: the folder that holds npz_all/ or npz/.
        data: the folder for the outputs.

    Returns:
        The graph with all its configurations.

    Raises:
        InputError: there is no such file.
    """
    root = Path(root, "npz_all") if Path(root, "npz_all").is_dir() else Path(root)
    files = sorted(folder(root, REAL, "train").glob("unet3d*.npz"))
    if not files:
        raise InputError(f"{folder(root, REAL, 'train')}: holds no unet3d*.npz; name TpuGraphs with --tpugraphs DIR")
    for split in SPLITS:
        link = folder(Path(data, "root"), REAL, split) / files[0].name
        link.parent.mkdir(parents=True)
        link.symlink_to(files[0].resolve())
    prune.run(collection=REAL, root=str(Path(data, "root")), hops=1, data=str(data))
    pad.run(collection=REAL, data=str(data))
    return model_graphs(data, REAL, "valid")[0]


def sample_graphs(data: str | Path, collection: str, most: int | None = None) -> list[ModelGraph]:
    """The sample's train and valid graphs, whose run times are known; at most `most`."""
    return [graph for split in ("train", "valid") for graph in model_graphs(data, collection, split)][:most]


def on_sample(graphs: list[ModelGraph], repeat: int, **sizes: int) -> dict:
    """Medians over the graphs of `compare` with all configurations of each graph."""
    results = []
    for graph in tqdm(graphs, graphs[0].collection):
        results.append(compare(graph, [graph.configurations], [graph.configurations], repeat, **sizes))
    rows = pl.DataFrame([row for result in results for row in result["rows"]])
    medians = rows.group_by("work", "network", maintain_order=True).agg(
        pl.median("configurations"), pl.median("seconds"), pl.min("repeats"), pl.median("ratio")
    )
    names = ("nodes", "configurable", "configurations")
    sharings = [result["sharing"] for result in results]
    return {
        "graphs": len(graphs),
        **{name: float(np.median([result[name] for result in results])) for name in names},
        "sharing": {name: np.median([shares[name] for shares in sharings], axis=0).tolist() for name in sharings[0]},
        "rows": medians.to_dicts(),
    }


def timings(data: str | Path, tpugraphs: str | Path, repeat: int, quick: bool = False, input_layers: int = 0) -> dict:
    """Runs all timings; `quick` takes tiny sizes, whose times mean nothing."""
    width = 16 if quick else 256
    sizes = {"width": width, "layers": 2, "input_layers": input_layers}
    sample = {name: sample_graphs(data, name, 1 if quick else None) for name in LAYOUT_COLLECTIONS}
    results: dict = {"settings": sizes | {"repeat": repeat}}
    with tempfile.TemporaryDirectory() as work:
        graph = real(tpugraphs, Path(work, "real"))
        ours, theirs = ([8, 16], [8]) if quick else ([64, 512, graph.configurations], [64, 512])
        scored = 16 if quick else None
        results["unet3d"] = compare(graph, ours, theirs, repeat, scored=scored, **sizes)
        made = (300, 8, 20) if quick else (SYNTHETIC_NODES, SYNTHETIC_CONFIGURATIONS, SYNTHETIC_CONFIGURABLE)
        synthetic.write(Path(work, "synthetic"), synthetic.arrays(*made))
        graph = synthetic.read(Path(work, "synthetic"))
        ours = [8] if quick else [16, 64, graph.configurations]
        results["synthetic"] = compare(graph, ours, ours[:1], repeat, chunk=ours[0], scored=scored, **sizes)
    for name, graphs in sample.items():
        results[f"sample {name}"] = on_sample(graphs, repeat, **sizes)
    return results


def timing_table(results: dict) -> pl.DataFrame:
    """A row per graph or collection, work and network."""
    parts = {name: part for name, part in results.items() if "rows" in part}
    rows = [{"graph": name} | row for name, part in parts.items() for row in part["rows"]]
    return pl.DataFrame(rows, infer_schema_length=None).drop("repeats")


def sharing_table(results: dict) -> pl.DataFrame:
    """A row per graph or collection: distinct states and the seconds to find them."""
    rows = []
    for name, part in results.items():
        if "sharing" in part:
            counts = part["sharing"]
            shares = {f"level {level}": share for level, share in enumerate(counts["share"])}
            sampled = {f"of 64, level {level}": share for level, share in enumerate(counts["share_of_64"])}
            seconds = {key: counts[key] for key in ("seconds_graph", "seconds_states")}
            rows.append({"graph": name, "nodes": part["nodes"]} | shares | sampled | seconds)
    return pl.DataFrame(rows, infer_schema_length=None)


class Timed(Training):
    """A training that records its processor seconds at the end of each epoch, over all threads, without validation."""

    def __init__(self, *arguments, seconds: float = 0.0):
        super().__init__(*arguments)
        self.seconds, self.reached = seconds, []

    def _timed(self, call, *arguments):
        start = time.process_time()
        result = call(*arguments)
        self.seconds += time.process_time() - start
        return result

    def _network_step(self, *arguments):
        return self._timed(super()._network_step, *arguments)

    def _head_step(self, *arguments):
        return self._timed(super()._head_step, *arguments)

    def _refresh(self):
        return self._timed(super()._refresh)

    def _epoch_ends(self, *arguments):
        super()._epoch_ends(*arguments)
        self.reached.append((self.seconds, self.progress.curve[-1]["valid"]))


def train_ours(
    train: list[ModelGraph], valid: list[ModelGraph], settings: Settings, seed: int
) -> tuple[nn.Module, list[tuple[float, float]]]:
    """Trains as the stage does.

    Returns:
        The network of the best epoch; and per epoch the processor seconds so far and the mean Kendall tau-b on `valid`.
        The seconds include the preparation of the train graphs, with their states.
    """
    view, collection = settings.view(train[0].collection), train[0].collection
    with deterministic(seed):
        start = time.process_time()
        statics = [prepare(graph, view) for graph in train]
        seconds = time.process_time() - start
        network = build(collection, statics[0], settings)
        watched = [prepare(graph, view) for graph in valid]
        training = Timed(network, statics, watched, settings, collection, seed, seconds=seconds)
        training.run()
    return network, training.reached


def quality_of(
    task: tuple[str, int],
    data: str,
    solution: str | None,
    knobs: dict[str, dict],
    limit: float,
    epochs: int,
    width: int,
    input_layers: int,
) -> dict:
    """Trains both networks with one seed on one collection, one after the other, on one thread.

    Returns:
        A row of the results, with the tau of both on test, which neither training saw.
    """
    collection, seed = task
    train, valid, test = (model_graphs(data, collection, split) for split in SPLITS)
    runtimes = read_solution(solution) if solution else {}
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    network, theirs = reference.train_reference(
        train,
        valid,
        configurations=64,
        epochs=epochs,
        learning_rate=LEARNING_RATE,
        seconds_limit=limit,
        seed=seed,
        width=width,
        attention=collection.endswith(":default"),  # as the first place: off for the random collections
        input_layers=input_layers,
    )
    reference_test = _tau(test, runtimes, lambda graph: reference.predict(network, reference.Inputs(graph)))
    settings = Settings(**knobs[collection])
    shared, ours = train_ours(train, valid, settings, seed)
    ours_test = _tau(test, runtimes, lambda graph: predict(shared, prepare(graph, settings.view(collection))))
    torch.set_num_threads(threads)
    seconds, tau = reference.best(theirs)
    reached = next((when for when, value in ours if value >= tau), None)
    return {
        "collection": collection,
        "seed": seed,
        "reference_tau": tau,
        "reference_test": reference_test,
        "reference_seconds": seconds,
        "reference_epochs": len(theirs),
        "reference_all_seconds": theirs[-1][0],
        "ours_seconds": reached,
        "ours_tau": reference.best(ours)[1],
        "ours_test": ours_test,
        "ours_all_seconds": ours[-1][0],
        "ratio": None if reached is None else seconds / reached,
        "reference_curve": _improvements(theirs),
        "ours_curve": _improvements(ours),
    }


def _tau(
    graphs: list[ModelGraph], runtimes: dict[str, np.ndarray], score: Callable[[ModelGraph], np.ndarray]
) -> float | None:
    """Mean Kendall tau-b over the graphs; None without their run times."""
    if not runtimes:
        return None
    return collection_score(kendall(score(graph), runtimes[f"{graph.collection}:{graph.id}"]) for graph in graphs)


def quality(
    data: str = "data",
    solution: str | None = None,
    knobs: dict[str, dict] | None = None,
    collections: list[str] = LAYOUT_COLLECTIONS,
    seeds: int = 3,
    limit: float = 300.0,
    epochs: int = 1000,
    width: int = 256,
    input_layers: int = 0,
    workers: int = 2,
    out: str | Path | None = None,
) -> dict:
    """Measures how long ours trains until it is as good on valid as the reference's best epoch, on the sample.

    Seconds are the processor's, on which other work on the machine has little effect; a training has one thread.
    solution: CSV of the run times of test, for the scores of both there; knobs: settings of ours for each collection,
    those of params.yaml by default; limit: seconds of one training of the reference; workers: seeds trained at a time;
    out: file that each seed is written to under "gnn_quality", and whose trainings of the same code, settings and data
    are not run again.
    """
    knobs = knobs or {name: stage_knobs(name) for name in collections}
    sizes = {"limit": limit, "epochs": epochs, "width": width, "input_layers": input_layers}
    setting = {"seconds_limit": limit, "epochs": epochs, "width": width, "input_layers": input_layers, "seeds": seeds}
    results = {"settings": setting | {"threads": 1, "workers": workers, "ours": knobs}, "collections": {}, "runs": []}
    identities = {}
    for name in collections:
        graphs = [graph for split in ("train", "valid") for graph in model_graphs(data, name, split)]
        for seed in range(seeds):
            training = of_training(name, seed, Settings(**knobs[name]), "cpu", graphs)
            identities[name, seed] = measure.identity(training, sizes)
    before = measure.read("gnn_quality", out).get("runs", []) if out else []
    results["runs"] = [
        run
        for run in before
        if run["collection"] not in collections or run["identity"] == identities.get((run["collection"], run["seed"]))
    ]
    done = {(run["collection"], run["seed"]) for run in results["runs"]}
    tasks = [task for task in identities if task not in done]
    train = partial(quality_of, data=data, solution=solution, knobs=knobs, **sizes)
    for run in tqdm(_runs(train, tasks, workers), "quality", len(tasks)):
        results["runs"].append(run | {"identity": identities[run["collection"], run["seed"]]})
        results["runs"].sort(key=lambda run: (run["collection"], run["seed"]))
        if out:
            measure.write("gnn_quality", _with_summaries(results), out)
    return _with_summaries(results)


def _runs(run: partial, tasks: list[tuple[str, int]], workers: int) -> Iterator[dict]:
    """Yields the result of `run` for each task as soon as it is done."""
    if workers == 1:
        yield from map(run, tasks)
        return
    # Not forked, because torch's threads do not go on in a forked child.
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        for done in as_completed([pool.submit(run, task) for task in tasks]):
            yield done.result()


def _with_summaries(results: dict) -> dict:
    names = dict.fromkeys(run["collection"] for run in results["runs"])
    summaries = {name: _summary([run for run in results["runs"] if run["collection"] == name]) for name in names}
    return results | {"collections": summaries}


def stage_knobs(collection: str, path: str | Path = "params.yaml") -> dict:
    """Knobs of the gnn stage for a collection."""
    return params.section(path, "gnn", collection)


def quality_table(results: dict) -> pl.DataFrame:
    return pl.DataFrame(
        [{"collection": name} | summary for name, summary in results["collections"].items()], infer_schema_length=None
    )


def _summary(runs: list[dict]) -> dict:
    """Means over the seeds; those of our seconds and of the ratio over the seeds that reached the reference's tau."""
    reached = [run for run in runs if run["ratio"] is not None]
    ratios = [run["ratio"] for run in reached]

    def mean(name: str, rows: list[dict]) -> float | None:
        values = [row[name] for row in rows if row[name] is not None]
        return float(np.mean(values)) if values else None

    return {
        "reached": f"{len(reached)} of {len(runs)}",
        "reference_tau": mean("reference_tau", runs),
        "ours_tau": mean("ours_tau", runs),
        "reference_test": mean("reference_test", runs),
        "ours_test": mean("ours_test", runs),
        "reference_seconds": mean("reference_seconds", runs),
        "ours_seconds": mean("ours_seconds", reached),
        "ratio_mean": float(np.mean(ratios)) if ratios else None,
        "ratio_sd": float(np.std(ratios, ddof=1)) if len(ratios) > 1 else None,
    }


def _improvements(curve: list[tuple[float, float]]) -> list[list[float]]:
    """The epochs that were better than all before them; they tell when each quality was reached."""
    better: list[list[float]] = []
    for seconds, tau in curve:
        if tau > (better[-1][1] if better else -np.inf):
            better.append([seconds, tau])
    return better


def _ratio(rows: list[dict], work: str, count: int, seconds: float) -> float | None:
    """The reference's seconds for `count` configurations, divided by `seconds`."""
    theirs = [row for row in rows if row["work"] == work.split()[-1] and row["network"] == "reference"]
    if not theirs:
        return None
    same = [row for row in theirs if row["configurations"] == count]
    row = same[0] if same else max(theirs, key=lambda row: row["configurations"])
    return row["seconds"] * count / row["configurations"] / seconds


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--tpugraphs", default=os.environ.get("TPUGRAPHS_DIR"), metavar="DIR", help="holds npz_all/; TPUGRAPHS_DIR"
    )
    parser.add_argument("--data", default="data", metavar="DIR", help="where prune and pad have run on the sample")
    parser.add_argument("--repeat", type=int, default=7, metavar="N", help="measurements a median is taken of")
    parser.add_argument("--quick", action="store_true", help="tiny sizes, to see that it runs")
    parser.add_argument("--quality", action="store_true", help="time to quality on the sample instead of timings")
    parser.add_argument(
        "--collections", nargs="+", choices=LAYOUT_COLLECTIONS, default=LAYOUT_COLLECTIONS, help="of --quality"
    )
    parser.add_argument("--solution", default="data/sample/solution.csv", metavar="FILE", help="run times of test")
    parser.add_argument("--seconds", type=float, default=300.0, help="limit of one training of the reference")
    parser.add_argument("--seeds", type=int, default=3, help="of each training")
    parser.add_argument("--workers", type=int, default=2, help="trainings at a time, a thread each")
    parser.add_argument("--input-layers", type=int, default=0, metavar="N", help="see reference.FirstPlace; it had 2")
    parser.add_argument("--out", metavar="FILE", help=f"file of results, {measure.RESULTS} unless --quick")
    options = parser.parse_args(arguments)
    out = options.out or (None if options.quick else measure.RESULTS)
    if options.quality:
        sizes = {"limit": options.seconds, "seeds": options.seeds}
        if options.quick:
            sizes = {"limit": 2.0, "seeds": 1, "width": 16}
        sizes |= {"collections": options.collections, "workers": options.workers, "input_layers": options.input_layers}
        tables = [quality_table(quality(options.data, options.solution, **sizes, out=out))]
    else:
        if not options.tpugraphs:
            parser.error("where are the TpuGraphs files? give --tpugraphs DIR or set TPUGRAPHS_DIR")
        repeat = 1 if options.quick else options.repeat
        results = timings(options.data, options.tpugraphs, repeat, options.quick, options.input_layers)
        tables = [timing_table(results), sharing_table(results)]
        if out:
            measure.write("gnn", results, out)
    with pl.Config(tbl_rows=-1, tbl_cols=-1, tbl_width_chars=160, tbl_hide_dataframe_shape=True, float_precision=4):
        for table in tables:
            print(table)


if __name__ == "__main__":
    try:
        main()
    except InputError as error:
        sys.exit(str(error))
