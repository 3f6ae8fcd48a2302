"""Every fault that is tried, with the function that makes it and a name that does not change when others are added."""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from benchmarks.faults import changes, disturbances
from benchmarks.faults.disturbances import ALONE, COLLECTION
from benchmarks.faults.runs import DVC, REPRO

ONE_EACH = ("prune", "configuration", "pad", "gnn", "gbdt")
STAGES = (*ONE_EACH, "blend", "leaderboard")
#: share of what a stage writes, DVC's copies in its cache included, that a disk has room for: with little the stage
#: itself meets the end of it, with more DVC does
ROOM = (0.2, 0.7)
FUNCTIONS = {
    "interrupted": disturbances.at_work,
    "kernel": disturbances.at_work,
    "orphaned": disturbances.orphaned,
    "disk": disturbances.full,
    "memory": disturbances.starved,
    "together": disturbances.together,
    "read-only": disturbances.unwritable,
    "torn": disturbances.torn,
    "content": changes.content,
    "interpreter": changes.interpreter,
    "root": changes.root,
    "no kernel": changes.no_kernel,
    "ray": disturbances.node_lost,
}


@dataclass(frozen=True)
class Fault:
    """A fault of a kind, one of `FUNCTIONS`, and what its function is given beside the project."""

    kind: str
    arguments: Mapping[str, object] = field(hash=False)

    @property
    def name(self) -> str:
        """What the results keep its row under."""
        told = {key: "dvc" if value == DVC else "stages" if value == REPRO else value for key, value in self._items()}
        return f"{self.kind} {json.dumps(told)}"

    def _items(self) -> list[tuple[str, object]]:
        return sorted(self.arguments.items())


def planned(seed: int) -> Iterator[Fault]:
    """Every fault but the kills, in the order in which they are made and shown."""
    whole = {stage: f"{stage}@{COLLECTION}" if stage in ONE_EACH else stage for stage in STAGES}
    for stage in ("prune", "gnn", "gbdt", "leaderboard"):
        yield Fault("interrupted", {"stage": whole[stage], "kill": False})
        yield Fault("kernel", {"stage": whole[stage], "kill": True})
    for target in ALONE:
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGKILL):
            yield Fault("orphaned", {"target": target, "number": int(number)})
    for stage in ("prune", "pad", "gnn", "gbdt", "blend", "leaderboard"):
        for room in ROOM:
            yield Fault("disk", {"stage": whole[stage], "room": room})
    for stage in STAGES:
        yield Fault("memory", {"stage": whole[stage]})
    for command in (REPRO, DVC):
        yield Fault("together", {"command": command})
    for stage, name in (("gbdt", "reports"), ("leaderboard", "reports"), ("gbdt", "data"), ("blend", "data")):
        yield Fault("read-only", {"stage": whole[stage], "name": name})
    for number in range(3):
        yield Fault("torn", {"name": "dvc.lock", "draw": f"{seed} {number}"})
    yield Fault("torn", {"name": ".dvc/tmp/rwlock", "draw": str(seed)})
    for name in changes.NAMED:
        yield Fault("content", {"name": name})
    for path in ("bare", "wrong"):
        yield Fault("interpreter", {"stage": "pad@tile-xla", "path": path})
    for fault in changes.ROOTS:
        yield Fault("root", {"fault": fault})
    yield Fault("no kernel", {"stage": whole["pad"]})
    for stage in ("prune", "gnn"):
        yield Fault("ray", {"stage": stage, "driver": 0, "node": 1})
    for mended in (20.0, None):
        yield Fault("ray", {"stage": "gnn", "driver": 0, "node": 1, "cut": True, "mended": mended})
    for driver in (1, 0):
        yield Fault("ray", {"stage": "gnn", "driver": driver, "node": 0})
