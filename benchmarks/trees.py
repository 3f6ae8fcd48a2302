"""The trees' speed and memory: statistics of a graph's configurations, and the stage on all five collections.

python -m benchmarks.trees            writes reports/benchmarks.json
python -m benchmarks.trees --quick    tiny sizes, to see that it runs; writes only where --out says

Statistics are timed on made-up packed graphs of the size of the largest published file, in a process of their own. Its
memory is what is not a mapped file's, beyond what it held before, looked at every few milliseconds.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from threading import Event, Thread

import numpy as np
import polars as pl

from benchmarks import measure, synthetic
from stages import gbdt
from stages.engine import params
from stages.engine.errors import InputError
from stages.gbdt.feature_table import whole
from stages.gbdt.settings import Settings
from stages.graphs import dataset
from stages.graphs.collection import COLLECTIONS, SPLITS
from stages.statistics.columns import statistics

#: nodes, configurable nodes and configurations of the graphs: as many configurable as the issue names, and as many
#: configurations as the largest published file has
SIZES = {"848 configurable": (6000, 848, 100_040), "56 configurable": (2774, 56, 100_040)}
QUICK = {"8 configurable": (200, 8, 500)}
#: configurations made in the official format, of whose layouts the others are mixed
MADE = 200
MUTATED = 0.03  # share of the nodes at which a configuration differs from one of those made
LOOK = 0.005  # seconds between two looks at the memory


def write(folder: str | Path, nodes: int, configurable: int, configurations: int, seed: int = 0) -> None:
    """Writes a packed graph as the only train graph of `synthetic.COLLECTION`.

    Its codes are made directly: in the official format they would fill 6 GB and more.

    Args:
        folder: of data, below which it lies.
        nodes: of the graph.
        configurable: nodes of these that can be configured.
        configurations: of the graph.
        seed: of the draws.
    """
    official = min(MADE, configurations)
    pruned = dataset.prune_folder(folder, synthetic.COLLECTION)
    file = dataset.graph_file(pruned, "train", "synthetic")
    synthetic.pack(synthetic.arrays(nodes, official, configurable, seed), file)
    listed = {split: [{"id": "synthetic"}] if split == "train" else [] for split in SPLITS}
    dataset.write_json(pruned / "manifest.json", {"collection": synthetic.COLLECTION, "graphs": listed})
    packed = dataset.graph(folder, synthetic.COLLECTION, "train", "synthetic")
    rng, official_codes = np.random.default_rng(seed), packed.codes
    codes = np.empty((configurations, configurable), np.uint16)
    for start in range(0, configurations, 10_000):
        part = codes[start : start + 10_000]
        part[:] = official_codes[rng.integers(official, size=len(part))]
        changed = rng.random(part.shape) < MUTATED
        part[changed] = official_codes[rng.integers(official, size=changed.sum()), np.nonzero(changed)[1]]
    tensors = {name: getattr(packed, name) for name in dataset.PACKED_LAYOUT if name != "whole_stats"}
    tensors |= {"codes": codes, "runtime": rng.integers(1, 10**9, configurations)}
    tensors |= {"config_index": np.arange(configurations)}
    dataset.write_packed(file, tensors, packed.whole)


def timed(folder: str) -> dict:
    """Times the statistics of all configurations of the graph that `write` left in a folder.

    Returns:
        A row of the results: the graph's sizes, seconds, configurations per second, and bytes of memory at most.
    """
    (graph,) = dataset.graphs(folder, synthetic.COLLECTION, "train")
    statistics(graph, np.arange(2), searched=True)  # what is imported and compiled on a first call
    before, most, over = measure.anonymous_bytes(), [0], Event()

    def look() -> None:
        while not over.wait(LOOK):
            most[0] = max(most[0], measure.anonymous_bytes())

    watch = Thread(target=look)
    watch.start()
    start = time.perf_counter()
    names, values = statistics(graph, searched=True)
    seconds = time.perf_counter() - start
    over.set()
    watch.join()
    return {
        "nodes": graph.nodes,
        "configurable": graph.codes.shape[1],
        "configurations": len(values),
        "columns": len(names),
        "seconds": seconds,
        "configurations_per_second": len(values) / seconds,
        "bytes": max(0, max(most[0], measure.anonymous_bytes()) - before),
    }


def speed(sizes: dict[str, tuple[int, int, int]]) -> dict[str, dict]:
    """`timed` of a graph of each size (nodes, configurable nodes, configurations), by name."""
    rows = {}
    for name, size in sizes.items():
        with tempfile.TemporaryDirectory() as folder:
            write(folder, *size)
            # Not forked: a child would begin with what the writing left in this process.
            with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
                rows[name] = pool.submit(timed, folder).result()
    return rows


def collections(data: str, **changes) -> dict[str, dict]:
    """Times the stage on each collection, and the statistics alone.

    Args:
        data: the data folder, in which the prune stage has run.
        changes: of the settings in params.yaml.

    Returns:
        collection -> a row of the results.
    """
    rows = {}
    for collection in COLLECTIONS:
        knobs = params.section("params.yaml", "gbdt", collection) | changes
        with tempfile.TemporaryDirectory() as folder:
            Path(folder, "prune").symlink_to(Path(data, "prune").resolve())
            start = time.perf_counter()
            settings = Settings(**knobs | {"objectives": tuple(knobs["objectives"])})
            ids = [(split, id) for split in SPLITS for id in dataset.graph_ids(folder, collection, split)]
            tables = [whole(folder, collection, split, id, settings) for split, id in ids]
            described = time.perf_counter() - start
            result = gbdt.run(collection=collection, knobs=knobs, data=folder)
        rows[collection] = {
            "graphs": len(tables),
            "configurations": sum(table.rows for table in tables),
            "statistics_seconds": described,
            "training_seconds": result.seconds,
            "seconds": time.perf_counter() - start - described,
        }
    return rows


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", default="data", metavar="DIR", help="where prune has run on the sample")
    parser.add_argument("--quick", action="store_true", help="tiny sizes, to see that it runs")
    parser.add_argument("--out", metavar="FILE", help=f"file of results, {measure.RESULTS} unless --quick")
    options = parser.parse_args(arguments)
    out = options.out or (None if options.quick else measure.RESULTS)
    changes = {"seeds": 1, "trees": 3, "folds": 2} if options.quick else {}
    results = {
        "statistics": speed(QUICK if options.quick else SIZES),
        "collections": collections(options.data, **changes),
    }
    results["seconds"] = sum(row["seconds"] for row in results["collections"].values())
    if out:
        measure.write("trees", results, out)
    with pl.Config(tbl_rows=-1, tbl_cols=-1, tbl_width_chars=160, tbl_hide_dataframe_shape=True, float_precision=2):
        for name in ("statistics", "collections"):
            print(pl.DataFrame([{name: key} | row for key, row in results[name].items()]))
    print(f"all collections: {results['seconds']:.1f} s")


if __name__ == "__main__":
    try:
        main()
    except InputError as error:
        sys.exit(str(error))
