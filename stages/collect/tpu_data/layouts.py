"""The two graphs of a program: its configurations by the searches `random` and `default`, with simulated times."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping

import numpy as np

from stages.collect import record
from stages.collect.programs.before_layout import configurable_nodes, node_count
from stages.collect.tpu import libtpu
from stages.collect.tpu.choices import configuration, forced, slots_of
from stages.collect.tpu.constraints import constrained
from stages.collect.tpu.search import SEARCHES, Palette, Runs
from stages.collect.tpu.simulate import Simulator
from stages.collect.tpu_data.compiled import Compiled, identity, simulated, time_ns
from stages.collect.tpu_data.plan import seed_of
from stages.collect.tpu_data.store import Store, Tried


def measure(
    identifier: str,
    collections: Mapping[str, str],
    program: Compiled,
    simulator: Simulator,
    store: Store,
    count: int,
    progress: Callable[[str, int], None],
) -> None:
    """Searches a program's layouts and writes the records that are missing.

    What `random` finds to be crashing the compiler is left out by `default`, which comes after it: so `default` depends
    on `random`'s record, and on nothing else that was made before.

    Args:
        collections: Of each search, in the order of `SEARCHES`.
        count: Configurations of a graph.
        progress: Called with the search and its configurations so far after each one.

    Raises:
        libtpu.CompileError: Nothing can be chosen.
    """
    paths = {search: store.graph(collection, identifier) for search, collection in collections.items()}
    if all(path.exists() for path in paths.values()):
        return
    nodes = configurable_nodes(program.before)
    slots = slots_of(nodes, program.assigned)
    if not slots:
        raise libtpu.CompileError("no tensor has a choice of layouts")
    times = Tried(store.tried(identifier), identity(program.before))

    def cost(choice: np.ndarray) -> float | None:
        if choice not in times:
            text = constrained(program.before, forced(nodes, slots, choice))
            times[choice] = time_ns(lambda: simulated(simulator, text))
        progress(search, len(runs.choices))
        return times[choice]

    palette = Palette(slots, seed_of(f"{identifier}:moves"))
    banned: set[tuple[int, int]] = set()
    resumed = len(times) > 0
    for search, path in paths.items():
        if path.exists():
            meta, _ = record.read(path)
            banned = {tuple(pair) for pair in meta["banned"]}
            continue
        begin, tried_before = time.monotonic(), len(times)
        runs = Runs(slots, cost, set(banned))
        SEARCHES[search](runs, count, palette, np.random.default_rng(seed_of(f"{identifier}:{search}")))
        banned = runs.banned
        rows = np.stack([configuration(slots, choice, len(nodes)) for choice in runs.choices])
        size = node_count(program.before)
        meta = {
            "id": identifier,
            "libtpu": libtpu.VERSION,
            "asked": count,
            "names": [node.instruction.name.lstrip("%") for node in nodes],
            "banned": sorted(runs.banned),
            "errors": runs.errors,
            "own_ns": program.time_ns,
        }
        record.write(path, meta, configurations=rows, times_ns=np.array(runs.costs_ns))
        seconds = time.monotonic() - begin
        if not resumed:  # else its seconds are those of a part
            store.time(search, identifier, size, len(runs.choices), len(times) - tried_before, seconds)
        resumed = False
    times.close()
