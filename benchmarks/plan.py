"""Hours and memory for the competition's data, by the machines there are: `python -m benchmarks.plan [--gpu 2 20]`.

Prints the README's table and the sentences below it. Nothing is run: a model takes reports/benchmarks.json's measured
rates (benchmarks/scale.py, a tenth of full size on two cores; benchmarks/members.py, the parts of gbdt) to full size,
and a simulation hands the tasks to cores and GPUs as the engine does.

What is spread are the tasks of stages/engine/engine.py: files in prune; seeds in gnn, then graphs, each scored with the
networks of all seeds; (objective, seed) in gbdt, then graphs, each scored with all members, `IN_MEMORY` at a time on
one machine without Ray. What comes before and after them in a stage, and each of the other stages, is one task: pad
too, whose writing the engine spreads over a few processes, because how much of pad that is was not measured. Stages of
a collection follow one another; collections do too under one `dvc repro`, and go side by side under five, of a
collection each (`dvc repro -s`).

From two cores to one task: the files of prune, by configurations x configurable nodes, have the durations with which
the simulation gives the measured time on the measured cores, and so have the seeds of gnn, each of which scored for
itself when it was measured. Scoring's durations are in proportion to a graph's configurations. From a tenth to full
size: `scale.extrapolated`'s straight lines; of gbdt, training by the configurations it draws and scoring by those it
scores. Blend is taken to grow with the seeds, the leaderboard not.

ASSUMED, not measured: every core is as fast as those measured, however many work beside it; files and Ray cost nothing;
a share `SCORING` of a network's time is scoring; what the reports of gnn and gbdt show, SHAP values above all, was
measured with the scoring and is taken to be spread with it, but is in one process; a GPU has one task of gnn at a time
and does it as fast as --gpu cores (two numbers, for least and most), and more than one GPU is used (the engine needs
Ray for that). gbdt stays on cores.

Memory: `least` is what was measured at a tenth, were it not to grow; `most` what a straight line in the work makes of
all but what processes start with. A task takes an equal share of what the measured stage took for one a core, be it
training or scoring.
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
ALONE = ("configuration", "pad")  # stages of one task for each collection
CORE, GPU = "core", "GPU"
GIB = 2**30
SCORING = 0.25  # of the time of a network: a guess
GPUS = (2.0, 20.0)  # cores that a GPU is worth: a guess, and wide
WINNERS = 20  # networks of a collection, at most, of the first place
NEAR = 1.1  # times the least time there can be: more cores are not worth it


@dataclass(frozen=True)
class Task:
    """seconds on a slot of a kind, once the tasks at the places `after` have ended."""

    seconds: float
    after: tuple[int, ...] = ()
    slot: str = CORE


@dataclass(frozen=True)
class Phase:
    """Tasks that are spread, in the engine's order: seconds of each on a core, and how many at a time without Ray."""

    tasks: tuple[float, ...]
    most: int | None = None


@dataclass(frozen=True)
class Stage:
    """A stage of a collection ("": of all): seconds of one process, and phases after it, one after the other."""

    name: str
    collection: str
    alone: float = 0.0
    phases: tuple[Phase, ...] = ()

    @property
    def longest(self) -> float:
        """Seconds with a core for every task."""
        return self.alone + sum(max(phase.tasks, default=0.0) for phase in self.phases)


@dataclass(frozen=True)
class Machines:
    """So many alike, by what each has."""

    name: str
    cores: int
    gpus: int = 0
    count: int = 1

    @property
    def ray(self) -> bool:
        """The engine needs it to use them all."""
        return self.count > 1 or self.gpus > 1


@dataclass(frozen=True)
class Held:
    """Bytes that each of a stage's tasks takes: at a tenth, and at most at full size."""

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
    """When each task ends: whenever a slot is free, the first task of the list that may begin takes it.

    This is list scheduling, at most twice the least time there is (Graham 1969). ValueError where a task waits for one
    that is not before it in the list, or for a slot of which there is none.
    """
    if any(place >= own for own, task in enumerate(tasks) for place in task.after):
        raise ValueError("a task waits for one that is not before it")
    if missing := {task.slot for task in tasks} - {name for name, count in slots.items() if count > 0}:
        raise ValueError(f"no slot for tasks of {', '.join(sorted(missing))}")
    free, left = dict(slots), [len(set(task.after)) for task in tasks]
    followers: list[list[int]] = [[] for _ in tasks]
    for place, task in enumerate(tasks):
        for before in set(task.after):
            followers[before].append(place)
    ready: dict[str, list[int]] = {name: [] for name in slots}
    for place, task in enumerate(tasks):
        if not left[place]:
            ready[task.slot].append(place)  # in order, so a heap
    running: list[tuple[float, int]] = []
    ends, now = [0.0] * len(tasks), 0.0
    while True:
        for name, waiting in ready.items():
            while waiting and free[name]:
                place = heapq.heappop(waiting)
                free[name] -= 1
                heapq.heappush(running, (now + tasks[place].seconds, place))
        if not running:
            return ends
        now = running[0][0]
        while running and running[0][0] == now:
            _, place = heapq.heappop(running)
            ends[place] = now
            free[tasks[place].slot] += 1
            for follower in followers[place]:
                left[follower] -= 1
                if not left[follower]:
                    heapq.heappush(ready[tasks[follower].slot], follower)


def tasks_of(stages: Sequence[Stage], together: bool = False, gpu: float | None = None, ray: bool = True) -> list[Task]:
    """The stages' tasks, in the order of the stages.

    together: stages wait for those of their own collection and of all alone, else each waits for the one before it.
    gpu: cores that a GPU is worth, on which networks are then trained and score. ray: no phase is bounded.
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
            lanes = [(0.0, begins)] * count  # when each has nothing to do, and the task that it then waited for
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
    """Seconds with a core for every task: the critical path."""
    tasks = tasks_of(stages, together)
    return max(simulate(tasks, {CORE: len(tasks)}), default=0.0)


def calibrated(members: Sequence[float], total: float, cores: int) -> tuple[float, ...]:
    """Members in these proportions that take `total` seconds on so many cores, the longest first."""
    order = sorted(members, reverse=True)
    factor = total / max(simulate([Task(value) for value in order], {CORE: cores}))
    return tuple(value * factor for value in order)


@cache
def sizes(share: float = 1.0) -> dict[str, list[synthesize.Size]]:
    """The files of a data set of so large a share of the published one, by collection; train, valid, test."""
    found = synthesize.sizes(share)
    return {collection: [size for size in found if size.collection == collection] for collection in COLLECTIONS}


def rows(collection: str, share: float = 1.0) -> tuple[list[int], list[int]]:
    """Configurations that gbdt trains on of each graph of a data set of this share, and that it scores of each."""
    most = params.section(scale.PROJECT / "params.yaml", "gbdt", collection)["configurations"]
    known = [(size.split, size.configurations, min(size.configurations, most)) for size in sizes(share)[collection]]
    trained = [few for split, _, few in known if split != "test"]
    return trained, [few if split == "train" else every for split, every, few in known]


def trees(results: Mapping, collection: str, seeds: int, to: float = 1.0) -> Stage:
    """The gbdt stage at a scale, from what benchmarks/members.py measured."""
    measured = results["members"]
    row = next(row for row in measured["rows"] if row["collection"] == collection)
    (trained, scored), (more_trained, graphs) = rows(collection, measured["scale"]), rows(collection, to)
    times = sum(more_trained) / sum(trained)
    each = (row["scored"] + seeds * row["scoring"]) / sum(scored)  # of a configuration
    members = tuple(value * times for _ in range(seeds) for value in row["members"].values())
    scoring = Phase(tuple(each * configurations for configurations in graphs), IN_MEMORY)
    return Stage("gbdt", slug(collection), row["known"] * times, (Phase(members), scoring))


def networks(collection: str, seconds: float, seeds: int, scoring: float) -> Stage:
    """The gnn stage: each network has so many seconds, of which a share is scoring."""
    graphs = [size.configurations for size in sizes()[collection] if size.split != "train"]
    each = seconds * scoring * seeds / sum(graphs)  # of a configuration
    scored = tuple(each * configurations for configurations in graphs)
    return Stage("gnn", slug(collection), 0.0, (Phase((seconds * (1 - scoring),) * seeds), Phase(scored)))


def pipeline(results: Mapping, seeds: int, scoring: float = SCORING) -> list[Stage]:
    """All stages on the competition's data. scoring: share of a network's time."""
    whole = {(row["stage"], row["collection"]): row["seconds"] for row in results["scale"]["full"]}
    cores = results["scale"]["machine"]["cores"]
    found = []
    for collection in COLLECTIONS:
        files = [size.configurations * size.configurable for size in sizes()[collection]]
        name = slug(collection)
        found.append(Stage("prune", name, phases=(Phase(calibrated(files, whole["prune", name], cores)),)))
    for stage in ALONE:
        names = [slug(collection) for collection in COLLECTIONS if (stage, slug(collection)) in whole]
        found += [Stage(stage, name, whole[stage, name]) for name in names]
    for collection in COLLECTIONS:
        network, *_ = calibrated([1.0] * SEEDS, whole["gnn", slug(collection)], cores)
        found.append(networks(collection, network, seeds, scoring))
    found += [trees(results, collection, seeds) for collection in COLLECTIONS]
    found.append(Stage("blend", "", whole["blend", ""] * seeds / SEEDS))
    return [*found, Stage("leaderboard", "", whole["leaderboard", ""])]


def agrees(results: Mapping) -> tuple[float, float]:
    """Seconds of gbdt on all collections as they were measured by benchmarks/scale.py, and as the model has them with
    scoring in one process, as it then was."""
    measured = results["scale"]
    machine = Machines("measured", measured["machine"]["cores"])
    taken = sum(row["seconds"] for row in measured["rows"] if row["stage"] == "gbdt")
    stages = [trees(results, collection, SEEDS, measured["scale"]) for collection in COLLECTIONS]
    then = [replace(stage, phases=(stage.phases[0], replace(stage.phases[1], most=1))) for stage in stages]
    return taken, seconds(then, machine)


def held(results: Mapping, seeds: int) -> list[Held]:
    """What each task of gnn and gbdt holds, and the stages that hold every seed's scores."""
    measured, cores = results["scale"], results["scale"]["machine"]["cores"]
    times = {(row["stage"], row["collection"]): row["times"] for row in measured["full"]}
    start = _start(results)
    network = min(row["begun"] for row in results["gst"]["rows"] if "begun" in row)  # of a process that trains
    found = []
    for row in measured["rows"]:
        stage, collection = row["stage"], row["collection"]
        more, each = times[stage, collection], ((row["peak_bytes"] or 0) - start) / cores
        if stage == "gnn":
            found.append(Held(stage, collection, each, min(network, each) + max(0, each - network) * more))
        elif stage == "gbdt":
            (trained, _), (full, _) = (rows(from_slug(collection), share) for share in (measured["scale"], 1.0))
            found.append(Held(stage, collection, each, each * sum(full) / sum(trained)))
        elif stage in ("blend", "leaderboard"):
            more = times["blend", ""] * seeds / SEEDS  # scores of valid and test
            found.append(Held(stage, collection, each * cores, each * cores * more))
    return found


def _start(results: Mapping) -> int:
    """Bytes of a stage with next to no data: the least that one took."""
    return min(row["peak_bytes"] for row in results["scale"]["rows"] if row["peak_bytes"])


def memory(results: Mapping, machines: Machines, seeds: int) -> tuple[float, float]:
    """Least and most bytes of one machine under five `dvc repro` side by side; it may get as many tasks at a time as
    it has cores, or GPUs, for, all of the largest kind."""
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
    shown = dict.fromkeys(f"{value:.1f}" for value in sorted(values))
    return " to ".join([next(iter(shown)), *list(shown)[-1:]] if len(shown) > 1 else shown)


def enough(stages: Sequence[Stage], together: bool) -> int:
    """The fewest cores, of powers of two, that take less than `NEAR` times the critical path."""
    bound, cores = NEAR * least(stages, together), 1
    while seconds(stages, Machines("", 1, count=cores), together) > bound:
        cores *= 2
    return cores


def path(stages: Sequence[Stage]) -> dict[str, float]:
    """Seconds of each stage with a core for every task, one collection after the other; the longest first."""
    found: dict[str, float] = {}
    for stage in stages:
        found[stage.name] = found.get(stage.name, 0.0) + stage.longest
    return dict(sorted(found.items(), key=lambda item: -item[1]))


def worth(stages: Sequence[Stage], machines: Machines) -> float:
    """Cores that a GPU must be worth for gnn, under one `dvc repro`, to be as fast on the GPUs as on the cores."""
    gnn = [stage for stage in stages if stage.name == "gnn"]
    return seconds(gnn, machines, gpu=1.0) / seconds(gnn, Machines("", machines.cores, count=machines.count))


def sentences(results: Mapping, seeds: int) -> list[str]:
    """Where it stops scaling and why, and how far the model is to be trusted."""
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
    """All results. InputError where what the plan takes was not measured."""
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
    given = parser.parse_args(arguments)
    results = read(given.results)
    print(table(results, given.seeds, given.gpu), end="\n\n")
    print("\n".join(f"- {sentence}" for sentence in sentences(results, given.seeds[-1])))


if __name__ == "__main__":
    try:
        main()
    except InputError as error:
        sys.exit(str(error))
