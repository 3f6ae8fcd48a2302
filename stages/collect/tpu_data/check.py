"""Makes programs and kernels of a data set anew, and compares them with what stands there."""

from __future__ import annotations

import sys
import tempfile
from argparse import Namespace
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars

from stages.collect import official
from stages.collect.programs.registry import PROGRAMS
from stages.collect.tpu import cutting, libtpu, time_model, windows
from stages.collect.tpu.simulate import Simulator
from stages.collect.tpu_data import export, layouts, plan, record_arrays, tiles, tracing, work
from stages.collect.tpu_data.compiled import Compiled, TiledKernel, check_killed, compiled
from stages.collect.tpu_data.kinds import key_of, kind_of
from stages.collect.tpu_data.store import Store
from stages.engine.errors import InputError
from stages.graphs.collection import folder, is_tile

#: arrays of a layout graph that all its configurations share
GRAPH = ("node_feat", "node_opcode", "edge_index", "node_config_ids", "node_splits")
#: the search whose first configurations are those of a shorter one; the other search goes by what it leaves
SEARCH = "random"


@dataclass(frozen=True)
class KernelJob:
    """A kernel to make anew: a program that it stands in, its key, how many windows, and where to."""

    identifier: str
    key: str
    windows: int
    records: str
    cache: str


@dataclass(frozen=True)
class PartJob:
    """The first configurations of a program's random search to make anew: how many, and where to."""

    identifier: str
    configurations: int
    records: str
    cache: str


def perform(job: plan.Job | PartJob | KernelJob, progress: Callable[[int], None]) -> None:
    """Makes the records of a program, of a part of it or of one kernel, in this process."""
    if isinstance(job, plan.Job):
        work.perform(job, progress)
        return
    libtpu.set_environment()
    store = Store(Path(job.records))
    with Simulator(Path(job.cache)) as simulator:
        if isinstance(job, PartJob):
            program = compiled(tracing.module_text(job.identifier), simulator)
            program.write(store.program(job.identifier), job.identifier)
            collections = {SEARCH: work.collections_of(job.identifier)[SEARCH]}
            layouts.measure(
                job.identifier, collections, program, simulator, store, job.configurations, lambda search, done: None
            )
            return
        before = simulator.stages(tracing.module_text(job.identifier)).before
        kernels = cutting.kernels(simulator.stages(before).optimised)
        kernel = next((each for each in kernels if key_of(each.text) == job.key), None)
        if kernel is None:
            raise libtpu.CompileError(f"has no kernel {job.key}")
        (answer,) = simulator.records([kernel.text])
        check_killed(answer.get("fault", ""))
        window = windows.own_window(answer)
        if window is None:
            raise libtpu.CompileError(f"kernel {job.key} has no window: {answer.get('fault', 'none')}")
        time_ns = time_model.kernel_ns(answer)
        kind = kind_of(kernel.text)
        bounds = window.kernel, window.output, window.input
        again = TiledKernel(job.key, kind, kernel.name, 1, time_ns, kernel.text, *bounds)
        tiles.measure(again, simulator, store, job.windows)


def drawn(table: polars.DataFrame, count: int, rng: np.random.Generator) -> tuple[list[str], list[str]]:
    """Programs and kernels at random: programs' ids that have layout graphs, and kernels' ids, `count` of each at most.

    Args:
        table: Lines of programs.csv.
    """
    is_kernel = polars.col("collection") == tiles.COLLECTION
    names = []
    for condition in (~is_kernel, is_kernel):
        there = np.array(table.filter(condition)["id"].unique().sort().to_list())
        names.append(sorted(rng.permutation(there)[:count].tolist()))
    return names[0], names[1]


def committed(sample: Path, collection: str, split: str, identifier: str) -> dict[str, np.ndarray]:
    """Arrays of a graph's file, of a test graph with the line of solution.csv as `solution`."""
    with np.load(folder(sample / "npz_all", collection, split) / f"{identifier}.npz", allow_pickle=False) as stored:
        arrays = {key: stored[key] for key in stored.files}
    if split == "test":
        rows = polars.read_csv(sample / "solution.csv", infer_schema=False)
        (line,) = rows.filter(polars.col("ID") == f"{collection}:{identifier}")["Runtimes"]
        arrays["solution"] = np.array(line)
    return arrays


def remade(store: Store, collection: str, split: str, identifier: str) -> dict[str, np.ndarray]:
    """The same of the graph that was made anew."""
    arrays = _with_times(store, collection, identifier)
    if split == "test":
        arrays = official.hidden(arrays) | {"solution": np.array(official.solution_line(collection, arrays))}
    return arrays


def _with_times(store: Store, collection: str, identifier: str) -> dict[str, np.ndarray]:
    """Arrays of the graph that was made anew, run times and all."""
    if is_tile(collection):
        arrays, *_ = export.tile_graph(store, identifier.rpartition("_")[2])
    else:
        proto = Compiled.read(store.program(identifier)).proto
        arrays, *_ = export.layout_graph(store, PROGRAMS[identifier], collection, proto)
    return arrays


def missing(whole: dict[str, np.ndarray], part: dict[str, np.ndarray]) -> str | None:
    """What of a layout graph with some of its configurations is not in the graph with all; None where all is.

    Args:
        whole: As `committed` gives it.
        part: With run times.
    """
    if differs := record_arrays.same(*({name: arrays[name] for name in GRAPH} for arrays in (whole, part))):
        return differs
    times = whole["config_runtime"]
    if "solution" in whole:
        times = np.array(str(whole["solution"]).split(";"), np.int64)
    rows = {row.tobytes(): int(time) for row, time in zip(whole["node_config_feat"], times, strict=True)}
    for row, time in zip(part["node_config_feat"], part["config_runtime"], strict=True):
        if rows.get(row.tobytes()) != time:
            return "a configuration" if row.tobytes() not in rows else "a run time"
    return None


def run(options: Namespace) -> int:
    """Makes `options.check` programs and kernels of `options.sample` anew, and says of each whether it is the same.

    Args:
        options: Of the command line: check, part, sample, programs, seed, workers, cache.

    Returns:
        The exit status: 0 if all are the same.

    Raises:
        InputError: The data set is not there, or nothing in it matches.
    """
    path = options.sample / "programs.csv"
    if not path.is_file():
        raise InputError(f"{path}: not there; export a data set, or name one with --sample")
    seed = int(np.random.SeedSequence().entropy % 10**6) if options.seed is None else options.seed
    wanted = {program.id for program in plan.matching(PROGRAMS.values(), options.programs)}
    table = polars.read_csv(path, infer_schema_length=None).filter(polars.col("program").is_in(wanted))
    programs, kernels = drawn(table, options.check, np.random.default_rng(seed))
    if not programs and not kernels:
        raise InputError(f"{path}: no graph of {' '.join(options.programs)}; name programs that stand there")
    print(f"seed {seed}: {' '.join([*programs, *kernels])}", flush=True)
    with tempfile.TemporaryDirectory(prefix="check-") as beside:
        cache = str(options.cache or Path(beside) / "kernels.sqlite")
        rows = {(row["collection"], row["id"]): row for row in table.iter_rows(named=True)}
        jobs: list[plan.Job | PartJob | KernelJob] = []
        for name in programs:
            asked = next(row["asked"] for (_, identifier), row in rows.items() if identifier == name)
            part = options.part and PartJob(name, min(options.part, asked), beside, cache)
            jobs.append(part or plan.Job(name, asked, 0, 0, beside, cache))
        for name in kernels:
            row = rows[tiles.COLLECTION, name]
            jobs.append(KernelJob(row["program"], name.rpartition("_")[2], row["asked"], beside, cache))
        faults = {}
        for job, kind, what in work.run(jobs, max(1, options.workers), perform):
            if kind not in ("tick", "done"):
                faults[getattr(job, "key", job.identifier)] = what
        good = True
        for (collection, name), row in rows.items():
            if name not in (kernels if is_tile(collection) else programs):
                continue
            if options.part and not is_tile(collection) and not collection.endswith(SEARCH):
                continue
            good &= _compared(options.sample, Store(Path(beside)), row, faults, options.part)
    return 0 if good else 1


def _compared(sample: Path, store: Store, row: dict, faults: dict[str, str], part: int | None) -> bool:
    """Prints whether a graph that was made anew is what stands in the data set; whether it is."""
    collection, split, name = row["collection"], row["split"], row["id"]
    key = name.rpartition("_")[2] if is_tile(collection) else name
    if key in faults or not store.graph(collection, key).exists():
        print(f"{collection}:{name}: cannot be made anew: {faults.get(key, 'no record')}", file=sys.stderr)
        return False
    standing = committed(sample, collection, split, name)
    if part and not is_tile(collection):
        arrays = _with_times(store, collection, name)
        same = f"the same in {len(arrays['config_runtime'])} configurations"
        differs = missing(standing, arrays)
    else:
        same, differs = "the same", record_arrays.same(standing, remade(store, collection, split, name))
    print(f"{collection}:{name}: {same if differs is None else f'{differs} differs'}", flush=True)
    return differs is None
