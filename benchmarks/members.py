"""Times the parts of the gbdt stage on the stand-in: `python -m benchmarks.members FOLDER [--scale 0.03]`.

benchmarks/plan.py needs to know which parts of the stage run in parallel by members, which by graphs, and which do not.
This benchmark writes the stand-in (benchmarks/synthesize.py) below FOLDER, prunes it, and runs the parts of the stage
one by one, in one process, with one thread and one seed. For every collection it writes to reports/benchmarks.json, in
processor seconds, which depend little on other work of the machine:

known     statistics of the training rows: at most gbdt.configurations of each train and valid graph
members   the training of each objective by itself
scored    statistics of all configurations of valid and test
scoring   the rest: scores of all these configurations by the members of one seed, and the tables of the report
rows      training rows, with whose number `known` and `members` grow
scores    configurations of valid and test, with which `scored` grows; `scoring` grows with these and those of train

Measured collections and the files of the stand-in are kept, so the run after an interrupted one goes on.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from multiprocessing import get_context
from pathlib import Path

import polars as pl

from benchmarks import measure, synthesize
from stages import gbdt
from stages.engine import elapsed_times, params
from stages.gbdt.ensemble import fit
from stages.gbdt.feature_table import labelled, whole
from stages.gbdt.settings import Settings
from stages.gbdt.training import SCORED
from stages.graphs import dataset
from stages.graphs.collection import COLLECTIONS
from stages.prune import stage as prune

#: environment variables that hold LightGBM and polars to one thread; they must be set before the import
ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "OMP_THREAD_LIMIT", "POLARS_MAX_THREADS"), "1")


def spent(function: Callable[[], object]) -> tuple[float, object]:
    """Processor seconds of a call, and its result."""
    start = time.process_time()
    result = function()
    return time.process_time() - start, result


def parts(data: str, collection: str, **changes) -> dict:
    """A row, as the module says, of the stage with one seed and the parameters of params.yaml, on what prune left."""
    knobs = params.section("params.yaml", "gbdt", collection) | changes | {"seeds": 1}
    settings = Settings(**knobs)
    known, sheets = spent(lambda: labelled(data, collection, settings))
    graphs = [(split, id) for split in SCORED for id in dataset.graph_ids(data, collection, split)]
    scored, scores = spent(lambda: sum(whole(data, collection, *graph, settings).rows for graph in graphs))
    members = {
        name: spent(lambda name=name: fit(sheets, replace(settings, objectives=(name,))))[0]
        for name in settings.objectives
    }
    shutil.rmtree(Path(data, "trained"), ignore_errors=True)  # or an earlier training would be taken from there
    total, _ = spent(lambda: gbdt.run(collection=collection, knobs=knobs, data=data))
    training = elapsed_times.read(data, "gbdt", collection)
    return {
        "collection": collection,
        "known": known,
        "members": members,
        "scored": scored,
        "scoring": total - training - known - scored,
        "rows": sum(sheet.rows for sheet in sheets),
        "scores": scores,
    }


@contextmanager
def one_thread() -> Iterator[None]:
    """Sets `ONE_THREAD` in the environment of processes that the block starts."""
    before = dict(os.environ)
    os.environ.update(ONE_THREAD)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


def measured(folder: Path, scale: float, out: str | Path, collections: Iterable[str] = COLLECTIONS, **changes) -> dict:
    """What is written to `out` under "members"; the stand-in lies below `folder`."""
    knobs = {name: params.section("params.yaml", "gbdt", name) | changes for name in collections}
    identity = measure.identity(knobs, scale)
    results = measure.read("members", out)
    if results.get("identity") != identity:
        results = {"identity": identity, "scale": scale, "rows": []}
    synthesize.main([str(folder), "--scale", str(scale)])
    for collection in knobs:
        if any(row["collection"] == collection for row in results["rows"]):
            continue
        data = str(folder / "data")
        prune.run(collection=collection, root=str(folder / "npz_all"), data=data)
        with one_thread(), ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
            results["rows"].append(pool.submit(parts, data, collection, **changes).result())
        measure.write("members", results, out)
    return results


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="where the stand-in is kept")
    parser.add_argument("--scale", type=float, default=0.03, help="share of the published number of graphs")
    parser.add_argument("--out", type=Path, default=measure.RESULTS, help="file of results")
    options = parser.parse_args(arguments)
    results = measured(options.folder, options.scale, options.out)
    with pl.Config(tbl_rows=-1, tbl_cols=-1, tbl_width_chars=160, float_precision=1):
        print(pl.DataFrame([row | row["members"] for row in results["rows"]]).drop("members"))


if __name__ == "__main__":
    sys.exit(main())
