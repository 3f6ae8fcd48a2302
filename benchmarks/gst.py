"""Compares Graph Segment Training with training on whole graphs: memory and seconds of a step by the graph's size.

python -m benchmarks.gst               made-up unpruned graphs of 5,000 to 160,000 nodes
python -m benchmarks.gst --quick       tiny ones, to see that it runs; writes only where --out says

gst+efd: gradients flow through one segment of about 1,000 nodes, and the other segments come from the table of
embeddings. shared: the whole graph, with equal states computed once. dense: the whole graph, with every node computed
in every configuration. Each is measured in a process of its own. Its peak is that of the steps alone: the graph lies
ready in a folder, the table is filled, and the peak is reset before the first step. A row is written as soon as it is
measured. The next run goes on with the missing rows, and repeats those of other code or sizes.
"""

from __future__ import annotations

import argparse
import resource
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import replace
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path

import numpy as np
import polars as pl
import torch
from tqdm import tqdm

from benchmarks import measure, synthetic
from benchmarks.knobs import network_settings
from stages.gnn import memory
from stages.gnn.batch import Batch, join
from stages.gnn.graph_view import GraphView
from stages.gnn.inference import embeddings
from stages.gnn.network import build
from stages.gnn.prepared_graph import prepare
from stages.gnn.sampling import sample
from stages.gnn.settings import Settings
from stages.gnn.training import Training

NODES = (5_000, 20_000, 43_615, 160_000)  # the largest published graph has 43,615
REFERENCE_NODES = 43_615
VARIANTS = ("gst+efd", "shared", "dense")
#: how often a step of two layers holds the values of each state (a node in a configuration, or a distinct state);
#: measured: 36.8 KB per state of the dense network at width 256
HELD = 36
MOST_BYTES = 18 * 2**30
GROWTH, PEAK, RATIO = 0.2, 4 * 2**30, 3.0  # requirements: growth and bytes of the peak; how much slower dense is


def settings(variant: str, width: int, configurations: int, segment_nodes: int) -> Settings:
    gst = variant if variant.startswith("gst") else "full"
    sizes = {"width": width, "layers": 2, "configurations": configurations, "segment_nodes": segment_nodes}
    return network_settings(synthetic.COLLECTION, gst=gst, segments=1, keep=0.5, **sizes)


def view(variant: str, knobs: Settings) -> GraphView:
    return replace(knobs.view(synthetic.COLLECTION), shared=variant != "dense")


def make(folder: str, nodes: int, configurations: int, width: int, segment_nodes: int) -> None:
    """Writes an unpruned graph as prune and pad do, and the states of its segments.

    The states are no part of a step, because the stage finds them once for all trainings.
    """
    synthetic.write(folder, synthetic.arrays(nodes, configurations), hops="all")
    knobs = settings("gst+efd", width, configurations, segment_nodes)
    static = prepare(synthetic.read(folder), view("gst+efd", knobs), folder)
    for number in range(len(static.segments)):
        static.states(number)


def step(
    folder: str, variant: str, width: int, configurations: int, segment_nodes: int, repeat: int, most_bytes: int
) -> dict:
    """Peak memory of this process and median seconds of a training step on the graph in the folder.

    Before the steps all segments are computed once, as training does to fill its table.

    Returns:
        variant, nodes, configurations of a step, segments, states (of all levels), estimate (bytes) and fits. If it
        fits also: seconds; seconds_batch, the part that makes the tensors; repeats; and in bytes peak of the steps,
        prepared, the peak before them, begun, the memory when they begin, and anonymous, the memory at the end without
        mapped files.
    """
    graph = synthetic.read(folder)
    count = min(configurations, graph.configurations)
    row = {"variant": variant, "nodes": len(graph.x), "configurations": count}
    if variant == "dense" and (estimate := held_bytes(3 * len(graph.x) * count, width)) > most_bytes:
        return row | {"fits": False, "estimate": estimate}
    torch.manual_seed(0)
    knobs = settings(variant, width, count, segment_nodes)
    static = prepare(graph, view(variant, knobs), folder if variant.startswith("gst") else None)
    training = Training(build(graph.collection, static, knobs), [static], [], knobs, graph.collection, seed=0)
    rng = np.random.default_rng(0)
    if training.history is not None:
        training.history.array[:] = 0  # in training every row is written before the first step
        chosen = sample(static, knobs, rng)
        training.network.eval()
        with torch.no_grad():
            for number in range(len(static.segments)):
                values = embeddings(training.network, static, chosen, number)
                training.history.write(0, chosen, number, values.numpy())
    parts = lambda: [rng.choice(len(static.segments), 1)] if training.history is not None else None  # noqa: E731
    batch = lambda: join([static], [sample(static, knobs, rng)], parts())  # noqa: E731
    row |= {"segments": len(static.segments), "states": states(batch())}
    row["estimate"] = held_bytes(row["states"], width)
    if row["estimate"] > most_bytes:
        return row | {"fits": False}
    memory.trim()
    prepared, begun = measure.peak_bytes(), measure.resident_bytes()
    measure.reset_peak()
    seconds, repeats = measure.median_seconds(lambda: training._network_step(np.array([0]), rng), repeat)
    peak = measure.peak_bytes()
    of_batch, _ = measure.median_seconds(batch, repeat)
    return row | {
        "fits": True,
        "seconds": seconds,
        "seconds_batch": of_batch,
        "repeats": repeats,
        "prepared": prepared,
        "begun": begun,
        "peak": peak,
        "anonymous": measure.anonymous_bytes(),
    }


def states(batch: Batch) -> int:
    """States of a batch, on all of its levels."""
    return len(batch.graph) + sum(len(layer.own) for layer in batch.layers)


def held_bytes(states: int, width: int) -> int:
    """Estimated bytes of a step with this many states on its three levels; decides only which steps are not tried."""
    return states // 3 * width * 4 * HELD


def in_child(function: Callable, *arguments, most_bytes: int | None = None):
    """Calls a function in a process of its own.

    Args:
        function: the function.
        arguments: its arguments.
        most_bytes: limit of memory, beyond which the function fails; None for no limit.

    Returns:
        The function's result.

    Raises:
        MemoryError: the function needs more memory.
        RuntimeError: the function fails otherwise, or its process ends without a result.
    """
    context = get_context("spawn")  # a forked child would start with the memory of this process
    receiver, sender = context.Pipe(duplex=False)
    child = context.Process(target=_answer, args=(sender, function, arguments, most_bytes))
    child.start()
    sender.close()
    try:
        result = receiver.recv()
    except EOFError:
        child.join()
        raise RuntimeError(f"{function.__name__} ended with code {child.exitcode}") from None
    child.join()
    if isinstance(result, Exception):
        raise result
    return result


def measured(
    sizes: tuple[int, ...] = NODES,
    width: int = 256,
    configurations: int = 64,
    graph_configurations: int = 256,
    segment_nodes: int = 1000,
    repeat: int = 20,
    most_bytes: int = MOST_BYTES,
    out: str | Path | None = None,
) -> dict:
    """Measures `step` for every size and variant, and checks the requirements.

    Args:
        sizes: nodes of the graphs.
        width: of a state.
        configurations: of a step. If the dense network does not fit with as many, it is measured with half as many,
            and so on.
        graph_configurations: of each graph, from which a step draws.
        segment_nodes: nodes of a segment at most.
        repeat: number of measured steps at most.
        most_bytes: limit of memory.
        out: file to which each row is written under "gst"; its rows of the same sizes and code are not repeated.

    Returns:
        settings, identity, rows and requirements.
    """
    sizing = {
        "width": width,
        "configurations": configurations,
        "graph_configurations": graph_configurations,
        "segment_nodes": segment_nodes,
        "repeat": repeat,
        "most_bytes": most_bytes,
    }
    results = {"settings": sizing, "identity": measure.identity(sizing), "rows": []}
    if out and (before := measure.read("gst", out)).get("identity") == results["identity"]:
        results["rows"] = before["rows"]
    done = {(row["nodes"], row["variant"], row["configurations"]): row for row in results["rows"]}
    with tempfile.TemporaryDirectory() as work, tqdm(total=len(sizes) * len(VARIANTS), desc="gst") as progress:
        for nodes in sizes:
            folder = Path(work, str(nodes))
            for variant in VARIANTS:
                count = configurations
                while True:
                    row = done.get((nodes, variant, count))
                    if row is None:
                        if not folder.exists():
                            in_child(make, str(folder), nodes, graph_configurations, width, segment_nodes)
                        row = attempt(str(folder), variant, width, count, segment_nodes, repeat, most_bytes)
                        results["rows"].append(row | {"nodes": nodes})
                        if out:
                            checked = requirements(results["rows"], configurations)
                            measure.write("gst", results | {"requirements": checked}, out)
                    if row["fits"] or variant != "dense" or count <= 2 or nodes != min(sizes, key=_distance):
                        break
                    count //= 2
                progress.update()
            shutil.rmtree(folder, ignore_errors=True)
    return results | {"requirements": requirements(results["rows"], configurations)}


def attempt(
    folder: str, variant: str, width: int, count: int, segment_nodes: int, repeat: int, most_bytes: int
) -> dict:
    """Runs `step` in a process of its own; if memory runs out, the row does not fit."""
    try:
        return in_child(step, folder, variant, width, count, segment_nodes, repeat, most_bytes, most_bytes=most_bytes)
    except (MemoryError, RuntimeError) as error:
        if not isinstance(error, MemoryError) and "allocate" not in str(error) and "code -9" not in str(error):
            raise
        return {"variant": variant, "configurations": count, "fits": False, "error": str(error)[:200]}


def requirements(rows: list[dict], configurations: int) -> dict:
    """Growth of the GST step's peak from the smallest to the largest graph, and how much slower the dense step is.

    If dense does not fit with as many configurations, its seconds for fewer are scaled, because the work is in
    proportion to them; `dense_configurations` is the number that was measured.
    """
    fitting = [row for row in rows if row["fits"]]
    ours = sorted((row for row in fitting if row["variant"] == "gst+efd"), key=lambda row: row["nodes"])
    checked: dict = {"growth": None, "peak": None, "dense_over_gst": None}
    if ours:
        largest = max(row["peak"] for row in ours)
        growth = ours[-1]["peak"] / ours[0]["peak"] - 1
        checked |= {"growth": growth, "growth_holds": growth < GROWTH, "peak": largest, "peak_holds": largest < PEAK}
        row = min(ours, key=lambda row: _distance(row["nodes"]))
        dense = [other for other in fitting if other["variant"] == "dense" and other["nodes"] == row["nodes"]]
        if dense:
            quotient = configurations / dense[0]["configurations"]
            ratio = dense[0]["seconds"] * quotient / row["seconds"]
            checked |= {"ratio_nodes": row["nodes"], "dense_configurations": dense[0]["configurations"]}
            checked |= {"dense_over_gst": ratio, "ratio_holds": ratio >= RATIO}
    return checked


def table(results: dict) -> pl.DataFrame:
    """A row per measurement, memory in GiB."""
    rows = pl.DataFrame(results["rows"], infer_schema_length=None)
    gibibytes = [name for name in ("estimate", "prepared", "begun", "peak", "anonymous") if name in rows.columns]
    names = ["nodes", "variant", "configurations", "segments", "states", "fits", "seconds", "seconds_batch", *gibibytes]
    return rows.with_columns(pl.col(gibibytes) / 2**30).select([name for name in names if name in rows.columns])


def _answer(connection: Connection, function: Callable, arguments: tuple, most_bytes: int | None) -> None:
    try:
        if most_bytes is not None:
            _limit(most_bytes)
        connection.send(function(*arguments))
    except Exception as error:
        connection.send(error if isinstance(error, MemoryError) else RuntimeError(f"{type(error).__name__}: {error}"))


def _limit(most_bytes: int) -> None:
    """Makes an allocation beyond the limit fail here; otherwise the system would end some process."""
    soft, hard = resource.getrlimit(resource.RLIMIT_DATA)
    wanted = most_bytes + 2 * 2**30
    if hard == resource.RLIM_INFINITY or wanted < hard:
        resource.setrlimit(resource.RLIMIT_DATA, (wanted, hard))


def _distance(nodes: int) -> int:
    return abs(nodes - REFERENCE_NODES)


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--nodes", type=int, nargs="+", default=list(NODES), help="sizes of the graphs")
    parser.add_argument("--width", type=int, default=256, help="of a state")
    parser.add_argument("--configurations", type=int, default=64, help="of a step")
    parser.add_argument("--graph-configurations", type=int, default=256, help="of a graph: sizes the table")
    parser.add_argument("--segment-nodes", type=int, default=1000, help="nodes of a segment at most")
    parser.add_argument("--repeat", type=int, default=20, metavar="N", help="steps a median is taken of at most")
    parser.add_argument("--most-gib", type=float, default=MOST_BYTES / 2**30, help="estimates beyond do not fit")
    parser.add_argument("--quick", action="store_true", help="tiny sizes, to see that it runs")
    parser.add_argument("--out", metavar="FILE", help=f"file of results, {measure.RESULTS} unless --quick")
    options = parser.parse_args(arguments)
    most, out = int(options.most_gib * 2**30), options.out or (None if options.quick else measure.RESULTS)
    if options.quick:
        results = measured((300, 900), 16, 8, 16, 100, 1, most, out)
    else:
        sizes = (options.width, options.configurations, options.graph_configurations, options.segment_nodes)
        results = measured(tuple(options.nodes), *sizes, options.repeat, most, out)
    with pl.Config(tbl_rows=-1, tbl_cols=-1, tbl_width_chars=160, tbl_hide_dataframe_shape=True, float_precision=3):
        print(table(results))
    for name, value in results["requirements"].items():
        print(f"{name}: {value}")


if __name__ == "__main__":
    main()
