"""Measures one CUDA device at full size: agreement with the CPU, seconds, memory, and the hours of a full run.

python -m benchmarks.gpu               eight minutes at most on a GPU; writes reports/gpu.json
python -m benchmarks.gpu --quick       tiny sizes, to see that it runs

The winners' networks are measured by benchmarks/gpu_winners.py.

Without a CUDA device all of it runs on the CPU with smaller sizes, to see that it runs. Then, and with --quick, results
are written only if --out is given. Each row is written as soon as it is measured. A part that fails becomes a row with
`error`, and the other parts go on. Networks: `ours` is the stage's, which trains as the stage does (deterministic,
bfloat16 on a GPU) and scores in float32; `first place` is benchmarks/reference.py, in float32. A step makes its tensors
and runs forward, loss, backward and optimizer. Seconds are medians and end when the device has finished. The parts:

agreement   scores of one trained network on the CPU and on the device; `tau` is Kendall's between both
training    losses of the same steps on the CPU, on the device in float32, and on the device as the stage trains
speed       seconds and peak memory; `fits` is false where memory ran out. Of a step of ours also its parts: `batch`
            (tensors made on the CPU), `copy` (to the device), `network` (the rest, in float32). `fill`: all segments
            computed once, as before the first epoch
precision   scores under autocast against float32, and seconds
profile     where the time of a step goes, see benchmarks/gpu_profile.py
full run    hours on the competition's data by these rates, see benchmarks/gpu_hours.py
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import traceback
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from pathlib import Path

import torch

from benchmarks import gnn, gpu_hours, gpu_profile, gst, synthesize, synthetic
from benchmarks.gpu_networks import FirstPlace, Ours
from benchmarks.gpu_place import CPU, FULL, QUICK, RESULTS, Place, difference, report
from benchmarks.knobs import network_settings
from stages import pad
from stages.engine.errors import InputError
from stages.graphs import npz
from stages.graphs.collection import SPLITS, folder
from stages.graphs.dataset import ModelGraph, model_graphs
from stages.prune import stage as prune

TILE = "tile:xla"
PRUNED, WHOLE, KERNEL, UNET = "pruned", "whole", "kernel", "unet3d"  # the graphs, by the rows' `graph`
KERNELS = 4  # of a step on tiles
TYPES = {"bfloat16": torch.bfloat16, "float16": torch.float16}


def layout_graph(place: Place, name: str, arrays: npz.LayoutArrays, hops: int | str = 1) -> ModelGraph:
    """A made-up layout graph as prune and pad leave it, below a folder of this name."""
    synthetic.write(place.data / name, arrays, hops)
    return synthetic.read(place.data / name)


def tile_graph(place: Place) -> ModelGraph:
    """A made-up kernel as prune and pad leave it."""
    nodes, tiles = place.sizes.kernel
    data, root = place.data / KERNEL, place.data / KERNEL / "root"
    for split in SPLITS:  # prune wants a file of each
        folder(root, TILE, split).mkdir(parents=True, exist_ok=True)
        synthesize.write_file(root, synthesize.Size(TILE, split, KERNEL, nodes, 2, tiles, seed=0))
    prune.run(collection=TILE, root=str(root), data=str(data))
    pad.run(collection=TILE, data=str(data))
    return model_graphs(data, TILE, "train")[0]


def agreement(place: Place) -> Iterator[dict]:
    """Compares scores and losses on the CPU and the device, for ours on layouts and tiles and for the first place's."""
    nodes, configurable, configurations = place.sizes.small
    graph = layout_graph(place, "small", synthetic.arrays(nodes, configurations, configurable))
    cpu = torch.device("cpu")
    for example in (graph, tile_graph(place)):
        count = example.configurations  # all of them, so that every step takes the same
        sizes = {"width": 32, "layers": 2, "configurations": count}
        without_masks = {"gst": "full", "dropout": 0.0}  # masks are drawn on the device
        settings = network_settings(example.collection, **sizes, **without_masks)
        on_cpu, on_device, staged = (Ours([example], settings, device) for device in (cpu, place.device, place.device))
        batch = on_device.batch(count).to(place.device)
        for number in range(place.sizes.steps):
            row = {"part": "training", "collection": example.collection, "network": "ours", "step": number}
            yield row | {"cpu": on_cpu.step(count), "device": on_device.descend(batch), "staged": staged.step(count)}
        expected = on_cpu.infer(count)
        on_device.network.load_state_dict(on_cpu.network.state_dict())
        row = {"part": "agreement", "collection": example.collection, "network": "ours"}
        yield row | difference(expected, on_device.infer(count))
    first = FirstPlace(graph, 32, cpu)
    for _ in range(place.sizes.steps):
        first.step(graph.configurations)
    moved = FirstPlace(graph, 32, place.device)
    moved.network.load_state_dict(first.network.state_dict())
    row = {"part": "agreement", "collection": graph.collection, "network": first.name}
    yield row | difference(first.infer(graph.configurations), moved.infer(graph.configurations))


def precision(place: Place, network: Ours | FirstPlace, row: dict, count: int) -> Iterator[dict]:
    """Scores of the network under autocast. On a CPU ours cannot use it, because its sparse products need float32."""
    exact = network.infer(count)
    for name in ("float32", *TYPES) if place.cuda or network.name != "ours" else ("float32",):
        cast = lambda name=name: torch.autocast(place.device.type, TYPES[name]) if name in TYPES else nullcontext()  # noqa: E731

        def scores(cast=cast):
            with cast():
                return network.infer(count)

        yield row | {"part": "precision", "type": name} | difference(exact, scores()) | place.attempt(scores)


def one_graph(place: Place, name: str, graph: ModelGraph) -> Iterator[dict]:
    """Speed, precision and profile of both networks on a graph that is trained on whole."""
    about = {"part": "speed", "graph": name, "nodes": len(graph.x), "configurable": len(graph.config_nodes)}
    settings = network_settings(
        graph.collection, width=place.sizes.width, layers=2, gst="full", configurations=graph.configurations
    )
    yield from one_network(place, Ours([graph], settings, place.device), about, graph.configurations)
    yield from one_network(place, FirstPlace(graph, settings.width, place.device), about, graph.configurations)


def one_network(place: Place, network: Ours | FirstPlace, about: dict, total: int) -> Iterator[dict]:
    """The rows of a network on a graph with `total` configurations."""
    counts = sorted({min(count, total) for count in place.sizes.counts})
    row, ours = about | {"network": network.name}, isinstance(network, Ours)
    fitting: list[int] = []
    for count in counts:
        step = {"fits": False}
        while not step["fits"] and count >= 2:  # if they do not fit, try half as many
            step = place.attempt(lambda count=count: network.step(count))
            yield row | {"work": "step", "configurations": count} | step
            fitting += [count] * step["fits"]
            count //= 2
        if step["fits"] and ours:
            yield from parts(place, network, row, fitting[-1])
    every = row | {"configurations": total}
    inference = place.attempt(lambda: network.infer(total))
    yield every | {"work": "inference"} | inference
    if ours:
        yield every | {"work": "first inference"} | place.attempt(lambda: network.infer_first(total))
    if inference["fits"]:
        yield from precision(place, network, every, total)
    if fitting:
        middle = sorted(fitting)[(len(fitting) - 1) // 2]
        yield from profiled(place, lambda: network.step(middle), row | {"work": "step", "configurations": middle})


def parts(place: Place, network: Ours, row: dict, count: int) -> Iterator[dict]:
    """Seconds of the parts of a step of ours."""
    batch = network.batch(count)
    on_device = batch.to(place.device)
    calls = {
        "batch": lambda: network.batch(count),
        "copy": lambda: batch.to(place.device),
        "network": lambda: network.descend(on_device),
    }
    for work, call in calls.items():
        yield row | {"work": work, "configurations": count} | place.attempt(call)


def profiled(place: Place, call: Callable[[], object], row: dict) -> Iterator[dict]:
    seconds = place.seconds(call)["seconds"]
    for measured_row in gpu_profile.profiled(call, place.device, seconds):
        yield row | measured_row | {"part": "profile"}


def unet(place: Place) -> Iterator[dict]:
    """The real graph."""
    if "TPUGRAPHS_DIR" not in os.environ:
        print("unet3d: left out; set TPUGRAPHS_DIR to the folder that holds TpuGraphs", file=sys.stderr)
        return
    try:
        graph = gnn.real(os.environ["TPUGRAPHS_DIR"], place.data / UNET)
    except InputError as error:
        print(f"unet3d: left out; {error}", file=sys.stderr)
        return
    yield from one_graph(place, UNET, graph)


def pruned(place: Place) -> Iterator[dict]:
    """A made-up graph, pruned to about half of its nodes."""
    nodes, configurable, configurations = place.sizes.pruned
    arrays = synthetic.arrays(nodes, configurations, configurable)
    yield from one_graph(place, PRUNED, layout_graph(place, PRUNED, arrays))


def kernels(place: Place) -> Iterator[dict]:
    """Steps of ours on a few kernels with tiles."""
    graph = model_graphs(place.data / KERNEL, TILE, "train")[0]
    knobs = network_settings(TILE, width=place.sizes.width, layers=1, graphs=KERNELS)
    network, total = Ours([graph] * KERNELS, knobs, place.device), graph.configurations
    row = {"part": "speed", "graph": KERNEL, "nodes": len(graph.x), "network": "ours"}
    count = min(place.sizes.counts[0], total)
    yield row | {"work": "step", "configurations": count} | place.attempt(lambda: network.step(count))
    for work, call in (("inference", network.infer), ("first inference", network.infer_first)):
        yield row | {"work": work, "configurations": total} | place.attempt(lambda call=call: call(total))


def whole(place: Place) -> Iterator[dict]:
    """The largest graph, unpruned: ours with Graph Segment Training, the first place's network on all of it."""
    graph = layout_graph(place, WHOLE, synthetic.arrays(*place.sizes.whole), hops="all")
    row = {"part": "speed", "graph": WHOLE, "nodes": len(graph.x), "configurable": len(graph.config_nodes)}
    yield from in_segments(place, graph, row)
    every, dense = graph.configurations, place.sizes.dense
    network = FirstPlace(graph, place.sizes.width, place.device)
    row |= {"network": network.name}
    yield row | {"work": "step", "configurations": dense} | place.attempt(lambda: network.step(dense))
    yield row | {"work": "inference", "configurations": every} | place.attempt(lambda: network.infer(every))


def in_segments(place: Place, graph: ModelGraph, row: dict) -> Iterator[dict]:
    """Ours on segments of a graph."""
    every, count = graph.configurations, min(64, graph.configurations)
    settings = gst.settings("gst+efd", place.sizes.width, count, place.sizes.segment_nodes)
    network = Ours([graph], settings, place.device, str(place.data / WHOLE))
    row = row | {"network": network.name, "segments": len(network.prepared[0].segments)}
    step = row | {"work": "step", "configurations": count}
    yield row | {"work": "fill", "configurations": every} | place.attempt(network.training._refresh)
    attempt = place.attempt(lambda: network.step(count))
    yield step | attempt
    yield row | {"work": "inference", "configurations": every} | place.attempt(lambda: network.infer(every))
    if attempt["fits"]:
        yield from profiled(place, lambda: network.step(count), step)


#: the most important first, in case time runs out
PARTS = (agreement, unet, pruned, kernels, whole)


def measured(place: Place, rows: list[dict]) -> Iterator[dict]:
    """Yields all rows.

    Args:
        place: sizes, device and folder.
        rows: the list to which the caller adds each row; the full run is computed from it.
    """
    for part in PARTS:
        try:
            yield from part(place)
        except RuntimeError as error:  # the device lacks an operation; the other parts may still work
            traceback.print_exc()
            yield {"part": part.__name__, "error": f"{type(error).__name__}: {error}".splitlines()[0]}
        if part is kernels:
            yield from ({"part": "full run"} | row for row in gpu_hours.full_run(rows, PRUNED, KERNEL))


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="tiny sizes, to see that it runs")
    parser.add_argument("--out", metavar="FILE", help=f"file of results, {RESULTS} on a GPU without --quick")
    options = parser.parse_args(arguments)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    sizes = QUICK if options.quick else FULL if device.type == "cuda" else CPU
    out = options.out or (RESULTS if sizes is FULL else None)
    rows: list[dict] = []
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # before cuBLAS starts: steps are deterministic
    with tempfile.TemporaryDirectory() as data:
        report("gpu", measured(Place(sizes, device, Path(data)), rows), rows, device, out)


if __name__ == "__main__":
    try:
        main()
    except InputError as error:
        sys.exit(str(error))
