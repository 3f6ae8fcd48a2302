"""Estimates hours and memory for the competition's data by machines: `python -m benchmarks.plan [--gpu 2 20]`.

It prints the table of benchmarks/README.md and the sentences below it, and runs no stage. A model extrapolates the
measured rates in reports/benchmarks.json to full size: those of benchmarks/scale.py, at a tenth of full size on two
cores, and those of benchmarks/members.py, of the parts of gbdt. A simulation assigns the tasks to cores and GPUs as the
engine does.

Tasks run in parallel as in stages/engine/engine.py: files in prune; seeds in gnn, then graphs, each scored with the
networks of all seeds; (objective, seed) in gbdt, then graphs, each scored with all members, `IN_MEMORY` at a time on
one machine without Ray. The rest of a stage, and each other stage, is one task. This includes pad: a few processes
write its files, but their share of pad's time was not measured. The stages of a collection follow one another. Under
one `dvc repro` the collections do too; with five (`dvc repro -s`), one per collection, they run side by side.

Durations of tasks: those of prune's files are in proportion to configurations x configurable nodes, those of gnn's
seeds are equal, and both are scaled so that the simulation gives the measured time on the measured cores. When gnn was
measured, each seed did its own scoring. Durations of scoring are in proportion to a graph's configurations. Growth from
a tenth to full size: as in `scale.extrapolated`; for gbdt, training grows with the configurations that it draws and
scoring with those that it scores. The blend grows with the seeds, the leaderboard does not.

ASSUMED, not measured: every core is as fast as the measured ones, however many work at the same time; files and Ray
cost nothing; a share `SCORING` of a network's time is scoring; the tables of the gnn and gbdt reports, mainly SHAP
values, which were measured with the scoring, run in parallel with it, although one process computes them; a GPU runs
one task of gnn at a time, as fast as --gpu cores (two numbers, least and most); and all GPUs are used, for which the
engine needs Ray. gbdt stays on cores.

Memory: `least` is the measured memory at a tenth, as if it did not grow; `most` lets all of it except the memory of a
new process grow in proportion to the work. A task holds an equal share of the measured stage's memory, which had one
task per core, in training and in scoring.
"""

from __future__ import annotations

import argparse
import heapq
import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

from benchmarks import measure, scale, synthesize
from stages.engine import params
from stages.engine.errors import InputError
from stages.gbdt.training import IN_MEMORY
from stages.graphs.collection import COLLECTIONS, from_slug, slug

SEEDS = 3  # of params.yaml, with which the tenth was measured
ALONE = ("configuration", "pad")  # stages with one task for each collection
CORE, GPU = "core", "GPU"
GIB = 2**30
SCORING = 0.25  # of the time of a network: a guess
GPUS = (2.0, 20.0)  # cores that a GPU is worth: a guess, and wide
WINNERS = 20  # networks of a collection, at most, of the first place
NEAR = 1.1  # times the critical path; a plan so close to it needs no more cores


@dataclass(frozen=True)
class Task:
    """A task.

    Attributes:
        seconds: its duration on a slot.
        after: indices of the tasks that must end before it begins.
        slot: the kind of slot, `CORE` or `GPU`.
    """

    seconds: float
    after: tuple[int, ...] = ()
    slot: str = CORE


@dataclass(frozen=True)
class Phase:
    """Tasks of a stage that run in parallel.

    Attributes:
        tasks: seconds of each on a core, in the engine's order.
        most: how many run at the same time without Ray; None for no limit.
    """

    tasks: tuple[float, ...]
    most: int | None = None


@dataclass(frozen=True)
class Stage:
    """A stage.

    Attributes:
        name: the stage's name.
        collection: slug of its collection; "" for all.
        alone: seconds that one process works before the phases.
        phases: follow one another.
    """

    name: str
    collection: str
    alone: float = 0.0
    phases: tuple[Phase, ...] = ()

    @property
    def longest(self) -> float:
        """Seconds if every task has a core."""
        return self.alone + sum(max(phase.tasks, default=0.0) for phase in self.phases)


@dataclass(frozen=True)
class Machines:
    """Machines of one kind: cores and GPUs of each, and their number."""

    name: str
    cores: int
    gpus: int = 0
    count: int = 1

    @property
    def ray(self) -> bool:
        """Whether the engine needs Ray to use them all."""
        return self.count > 1 or self.gpus > 1


@dataclass(frozen=True)
class Held:
    """Bytes of each task of a stage: least, as measured at a tenth, and most, at full size."""

    stage: str
    collection: str
    least: float
    most: float


MACHINES = (
    Machines("2 cores", 2),
    Machines("16 cores", 16),
    Machines("16 cores, 1 GPU", 16, 1),
    Machines("64 cores, 8 GPUs", 64, 8),
    Machines("8 machines of 16 cores", 16, count=8),
    Machines("8 machines of 16 cores, 1 GPU", 16, 1, 8),
)


def simulate(tasks: Sequence[Task], slots: Mapping[str, int]) -> list[float]:
    """Simulates list scheduling: a free slot takes the first task of the list that may begin.

    Its total time is at most twice the optimum (Graham 1969).

    Args:
        tasks: the list.
        slots: kind -> number of slots.

    Returns:
        The time at which each task ends.

    Raises:
        ValueError: a task waits for one that is not before it in the list, or for a kind of slot that does not exist.
    """
    if any(before >= own for own, task in enumerate(tasks) for before in task.after):
        raise ValueError("a task waits for one that is not before it")
    if missing := {task.slot for task in tasks} - {name for name, count in slots.items() if count > 0}:
        raise ValueError(f"no slot for tasks of {', '.join(sorted(missing))}")
    free, left = dict(slots), [len(set(task.after)) for task in tasks]
    followers: list[list[int]] = [[] for _ in tasks]
    for number, task in enumerate(tasks):
        for before in set(task.after):
            followers[before].append(number)
    ready: dict[str, list[int]] = {name: [] for name in slots}
    for number, task in enumerate(tasks):
        if not left[number]:
            ready[task.slot].append(number)  # ascending, so the list is a heap
    running: list[tuple[float, int]] = []
    ends, now = [0.0] * len(tasks), 0.0
    while True:
        for name, waiting in ready.items():
            while waiting and free[name]:
                number = heapq.heappop(waiting)
                free[name] -= 1
                heapq.heappush(running, (now + tasks[number].seconds, number))
        if not running:
            return ends
        now = running[0][0]
        while running and running[0][0] == now:
            _, number = heapq.heappop(running)
            ends[number] = now
            free[tasks[number].slot] += 1
            for follower in followers[number]:
                left[follower] -= 1
                if not left[follower]:
                    heapq.heappush(ready[tasks[follower].slot], follower)


def tasks_of(stages: Sequence[Stage], together: bool = False, gpu: float | None = None, ray: bool = True) -> list[Task]:
    """The tasks of stages, in the order of the stages.

    Args:
        stages: in order.
        together: whether the collections run side by side, so that a stage waits only for those of its own collection
            and those of all; otherwise each stage waits for the one before it.
        gpu: number of cores that a GPU is worth, which then trains the networks and scores with them; None for cores.
        ray: whether Ray runs the tasks, so that no phase has a limit.
    """
    tasks: list[Task] = []
    last: dict[str, int] = {}  # the task with which a collection's last stage ends
    for stage in stages:
        chain = stage.collection if together else ""
        waits = tuple(last.values()) if not chain else tuple(last[name] for name in ("", chain) if name in last)
        tasks.append(Task(stage.alone, waits))
        slot, faster = (GPU, gpu) if gpu and stage.name == "gnn" else (CORE, 1.0)
        for phase in stage.phases:
            begins = len(tasks) - 1
            count = len(phase.tasks) if ray or not phase.most else min(phase.most, len(phase.tasks))
            lanes = [(0.0, begins)] * count  # when each lane is free, and its last task
            for seconds in phase.tasks:
                free, before = heapq.heappop(lanes)
                tasks.append(Task(seconds / faster, (before,), slot))
                heapq.heappush(lanes, (free + seconds, len(tasks) - 1))
            tasks.append(Task(0.0, tuple(range(begins, len(tasks)))))
        last = {**last, chain: len(tasks) - 1} if chain else {"": len(tasks) - 1}
    return tasks


def seconds(stages: Sequence[Stage], machines: Machines, together: bool = False, gpu: float | None = None) -> float:
    """Seconds of all stages on these machines."""
    slots = {CORE: machines.cores * machines.count, GPU: machines.gpus * machines.count}
    ends = simulate(tasks_of(stages, together, gpu if machines.gpus else None, machines.ray), slots)
    return max(ends, default=0.0)


def least(stages: Sequence[Stage], together: bool = False) -> float:
    """Seconds of the critical path, with a core for every task."""
    tasks = tasks_of(stages, together)
    return max(simulate(tasks, {CORE: len(tasks)}), default=0.0)


def calibrated(members: Sequence[float], total: float, cores: int) -> tuple[float, ...]:
    """Scales durations so that they take `total` seconds on `cores` cores; the longest comes first."""
    order = sorted(members, reverse=True)
    factor = total / max(simulate([Task(value) for value in order], {CORE: cores}))
    return tuple(value * factor for value in order)


@cache
def sizes(share: float = 1.0) -> dict[str, list[synthesize.Size]]:
    """The files of a data set that is a share of the published one, by collection, in the order train, valid, test."""
    files = synthesize.sizes(share)
    return {collection: [size for size in files if size.collection == collection] for collection in COLLECTIONS}


def rows(collection: str, share: float = 1.0) -> tuple[list[int], list[int]]:
    """Numbers of configurations of each graph that gbdt trains on, and that it scores, at a share of the data."""
    most = params.section(scale.PROJECT / "params.yaml", "gbdt", collection)["configurations"]
    graphs = [(size.split, size.configurations, min(size.configurations, most)) for size in sizes(share)[collection]]
    trained = [drawn for split, _, drawn in graphs if split != "test"]
    return trained, [drawn if split == "train" else every for split, every, drawn in graphs]


def trees(results: Mapping, collection: str, seeds: int, to: float = 1.0) -> Stage:
    """The gbdt stage at a share `to` of the data, from the measurements of benchmarks/members.py."""
    measured = results["members"]
    row = next(row for row in measured["rows"] if row["collection"] == collection)
    (trained, scored), (more_trained, graphs) = rows(collection, measured["scale"]), rows(collection, to)
    times = sum(more_trained) / sum(trained)
    rate = (row["scored"] + seeds * row["scoring"]) / sum(scored)  # seconds of a configuration
    members = tuple(value * times for _ in range(seeds) for value in row["members"].values())
    scoring = Phase(tuple(rate * configurations for configurations in graphs), IN_MEMORY)
    return Stage("gbdt", slug(collection), row["known"] * times, (Phase(members), scoring))


def networks(collection: str, seconds: float, seeds: int, scoring: float) -> Stage:
    """The gnn stage, of whose `seconds` for each network a share is scoring."""
    graphs = [size.configurations for size in sizes()[collection] if size.split != "train"]
    rate = seconds * scoring * seeds / sum(graphs)  # seconds of a configuration
    scored = tuple(rate * configurations for configurations in graphs)
    return Stage("gnn", slug(collection), 0.0, (Phase((seconds * (1 - scoring),) * seeds), Phase(scored)))


def pipeline(results: Mapping, seeds: int, scoring: float = SCORING) -> list[Stage]:
    """All stages on the competition's data; `scoring` is the share of a network's time."""
    whole = {(row["stage"], row["collection"]): row["seconds"] for row in results["scale"]["full"]}
    cores = results["scale"]["machine"]["cores"]
    stages = []
    for collection in COLLECTIONS:
        files = [size.configurations * size.configurable for size in sizes()[collection]]
        name = slug(collection)
        stages.append(Stage("prune", name, phases=(Phase(calibrated(files, whole["prune", name], cores)),)))
    for stage in ALONE:
        names = [slug(collection) for collection in COLLECTIONS if (stage, slug(collection)) in whole]
        stages += [Stage(stage, name, whole[stage, name]) for name in names]
    for collection in COLLECTIONS:
        network, *_ = calibrated([1.0] * SEEDS, whole["gnn", slug(collection)], cores)
        stages.append(networks(collection, network, seeds, scoring))
    stages += [trees(results, collection, seeds) for collection in COLLECTIONS]
    stages.append(Stage("blend", "", whole["blend", ""] * seeds / SEEDS))
    return [*stages, Stage("leaderboard", "", whole["leaderboard", ""])]


def agrees(results: Mapping) -> tuple[float, float]:
    """Compares the model with benchmarks/scale.py on the gbdt stages of all collections.

    Returns:
        The measured seconds; and those of the model with scoring in one process, as it was when they were measured.
    """
    measured = results["scale"]
    machine = Machines("measured", measured["machine"]["cores"])
    taken = sum(row["seconds"] for row in measured["rows"] if row["stage"] == "gbdt")
    stages = [trees(results, collection, SEEDS, measured["scale"]) for collection in COLLECTIONS]
    then = [replace(stage, phases=(stage.phases[0], replace(stage.phases[1], most=1))) for stage in stages]
    return taken, seconds(then, machine)


def held(results: Mapping, seeds: int) -> list[Held]:
    """The memory of each task of gnn and gbdt, and of the stages that hold the scores of every seed."""
    measured, cores = results["scale"], results["scale"]["machine"]["cores"]
    times = {(row["stage"], row["collection"]): row["times"] for row in measured["full"]}
    start = _start(results)
    network = min(row["begun"] for row in results["gst"]["rows"] if "begun" in row)  # of a process that trains
    tasks = []
    for row in measured["rows"]:
        stage, collection = row["stage"], row["collection"]
        more, size = times[stage, collection], ((row["peak_bytes"] or 0) - start) / cores
        if stage == "gnn":
            tasks.append(
                Held(
                    stage,
                    collection,
                    size,
                    min(network, size) + max(0, size - network) * more,
                )
            )
        elif stage == "gbdt":
            (trained, _), (full, _) = (rows(from_slug(collection), share) for share in (measured["scale"], 1.0))
            tasks.append(Held(stage, collection, size, size * sum(full) / sum(trained)))
        elif stage in ("blend", "leaderboard"):
            more = times["blend", ""] * seeds / SEEDS  # scores of valid and test
            tasks.append(Held(stage, collection, size * cores, size * cores * more))
    return tasks


def _start(results: Mapping) -> int:
    """Bytes of a stage with little data: the least of all stages."""
    return min(row["peak_bytes"] for row in results["scale"]["rows"] if row["peak_bytes"])


def memory(results: Mapping, machines: Machines, seeds: int) -> tuple[float, float]:
    """Least and most bytes of one machine with five `dvc repro` side by side.

    The machine may run as many tasks at the same time as it has cores, or GPUs, all of them of the largest kind.
    """
    bounds = []
    for task in held(results, seeds):
        alone = not task.collection
        slots = machines.gpus if task.stage == "gnn" and machines.gpus else machines.cores
        count = 1 if alone else slots
        begun = _start(results) * (1 if alone else len(COLLECTIONS))
        bounds.append((begun + count * task.least, begun + count * task.most))
    return max(low for low, _ in bounds), max(high for _, high in bounds)


def table(results: Mapping, grids: Iterable[int], gpus: Sequence[float]) -> str:
    """Hours by machines and grid, and memory, as a Markdown table."""
    grids = list(grids)
    orders = [f"{seeds} seeds, {order}" for seeds in grids for order in ("one `dvc repro`", "five side by side")]
    lines = [["machines", *orders, f"GiB a machine, {grids[-1]} seeds"]]
    plans = [pipeline(results, seeds) for seeds in grids]
    for machines in MACHINES:
        cells = [
            _span([seconds(stages, machines, together, gpu) / 3600 for gpu in (gpus if machines.gpus else (1.0,))])
            for stages in plans
            for together in (False, True)
        ]
        low, high = (value / GIB for value in memory(results, machines, grids[-1]))
        name = machines.name + (f" (worth {gpus[0]:g} to {gpus[1]:g} cores: assumed)" if machines.gpus else "")
        lines.append([name, *cells, f"{low:.0f} to {high:.0f}"])
    lines.insert(1, ["---"] * len(lines[0]))
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def _span(values: Sequence[float]) -> str:
    texts = dict.fromkeys(f"{value:.1f}" for value in sorted(values))
    return " to ".join([next(iter(texts)), *list(texts)[-1:]] if len(texts) > 1 else texts)


def enough(stages: Sequence[Stage], together: bool) -> int:
    """The smallest power of two of cores with which the stages take less than `NEAR` times the critical path."""
    bound, cores = NEAR * least(stages, together), 1
    while seconds(stages, Machines("", 1, count=cores), together) > bound:
        cores *= 2
    return cores


def path(stages: Sequence[Stage]) -> dict[str, float]:
    """Seconds of each stage with a core for every task, one collection after the other; the longest first."""
    seconds_of: dict[str, float] = {}
    for stage in stages:
        seconds_of[stage.name] = seconds_of.get(stage.name, 0.0) + stage.longest
    return dict(sorted(seconds_of.items(), key=lambda item: -item[1]))


def worth(stages: Sequence[Stage], machines: Machines) -> float:
    """Cores that a GPU must be worth for gnn, under one `dvc repro`, to be as fast on the GPUs as on the cores."""
    gnn = [stage for stage in stages if stage.name == "gnn"]
    return seconds(gnn, machines, gpu=1.0) / seconds(gnn, Machines("", machines.cores, count=machines.count))


def sentences(results: Mapping, seeds: int) -> list[str]:
    """Sentences on where more cores stop helping and why, and on how well the model fits."""
    stages = pipeline(results, seeds)
    bounds = [least(stages, together) / 3600 for together in (False, True)]
    parts = ", ".join(f"{name} {value / 3600:.1f}" for name, value in path(stages).items() if value > 0.05 * 3600)
    trained = [stage for stage in stages if stage.name in ("gnn", "gbdt")]
    longest = max(trained, key=lambda stage: stage.longest)
    training, scoring = (max(phase.tasks) / 60 for phase in longest.phases)
    spread = sum(sum(stage.phases[-1].tasks) for stage in trained if stage.name == "gbdt") / 3600
    none, half = (least(pipeline(results, seeds, share)) / 3600 for share in (0.0, 0.5))
    taken, modelled = agrees(results)
    tasks = sorted(held(results, seeds), key=lambda task: -task.most)
    largest = {task.stage: task for task in reversed(tasks)}
    bytes_each = ", ".join(
        f"{f'a task of {task.stage}' if task.collection else task.stage} {task.least / GIB:.1f} to "
        f"{task.most / GIB:.0f} GiB" + (f" ({task.collection})" if task.collection else "")
        for task in sorted(largest.values(), key=lambda task: task.stage)
    )
    return [
        f"With {seeds} seeds no number of cores takes less than {bounds[0]:.1f} hours under one `dvc repro` ({parts}) "
        f"or {bounds[1]:.1f} under five side by side; {enough(stages, False)} and {enough(stages, True)} cores come "
        f"within {NEAR - 1:.0%} of these.",
        f"The longest stage then is {longest.name} of {longest.collection}, {longest.longest / 60:.0f} minutes: its "
        f"longest training takes {training:.0f}, the scoring of its largest graph {scoring:.0f}, what is before them "
        f"{longest.alone / 60:.0f}.",
        f"Of gbdt {spread:.1f} hours on a core are taken for scoring, spread over graphs, {IN_MEMORY} at a time on one "
        f"machine without Ray. The report's SHAP values are in this number, but in one process and not measured apart: "
        f"what they take is missing in the least.",
        f"That {SCORING:.0%} of a network's time is scoring is a guess; were it none or half, no number of cores would "
        f"take less than {none:.1f} or {half:.1f} hours under one `dvc repro`.",
        f"A GPU beside 16 cores must be as fast as {worth(stages, MACHINES[2]):.1f} of them for gnn to "
        f"take no longer than on the cores alone.",
        f"Memory, as held at a tenth and at most at full size: {bytes_each}.",
        f"The parts of gbdt as measured at {results['members']['scale']:.0%} of the graphs make {modelled:.0f} seconds "
        f"of its stages at {results['scale']['scale']:.0%} on {results['scale']['machine']['cores']} cores; measured "
        f"were {taken:.0f}.",
    ]


def read(file: str | Path) -> dict:
    """Reads all results; InputError if one that the plan needs is missing."""
    results = json.loads(Path(file).read_text()) if Path(file).exists() else {}
    for name in ("scale", "gst", "members"):
        if name not in results:
            raise InputError(f"{file}: has no {name!r}; run python -m benchmarks.{name}")
    return results


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs="+", default=[SEEDS, WINNERS], help="models of each collection")
    parser.add_argument("--gpu", type=float, nargs=2, default=GPUS, metavar="CORES", help="a GPU is worth, from and to")
    parser.add_argument("--results", default=measure.RESULTS, help="file of results")
    options = parser.parse_args(arguments)
    results = read(options.results)
    print(table(results, options.seeds, options.gpu), end="\n\n")
    print("\n".join(f"- {sentence}" for sentence in sentences(results, options.seeds[-1])))


if __name__ == "__main__":
    try:
        main()
    except InputError as error:
        sys.exit(str(error))
