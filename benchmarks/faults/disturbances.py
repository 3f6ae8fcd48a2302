"""The faults: each function copies a finished project, disturbs a run in the copy, and judges the next run."""

from __future__ import annotations

import contextlib
import functools
import json
import os
import random
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from benchmarks.faults import runs
from benchmarks.faults.judging import judged
from benchmarks.faults.machine import Cgroup, mounted, read_only, used_bytes
from benchmarks.faults.runs import DVC, HUNG, LIMIT, MAKE, REPRO
from benchmarks.namespaces import PLACES, Cluster
from tests.support import pipeline

COLLECTION = "layout-xla-random"
#: parameters that are changed between a run whose parent is killed and the next one
OTHER: dict[str, dict[str, object]] = {"gbdt": {"seeds": 1, "trees": 4}}
#: process that is killed alone -> pattern of its command line
ALONE = {"make": r"^make ", "DVC": r"-m stages\.repro", "the runner": r"-m stages\.run "}
TRIES = 4  # to disturb a stage before it ends
CRAWL = 5.0  # times the undisturbed seconds, after which a run with little memory is killed
#: runs the pipeline up to the networks with one thread, as Ray gives its workers, because sums depend on it
NETWORKS = ("env", "OMP_NUM_THREADS=1", *REPRO, f"gnn@{COLLECTION}")
#: parameters that make the tiny pipeline's trainings long enough to disturb them; one seed for each node
LONG = {"seeds": 3, "epochs": 400, "patience": 400, "finetune": 2}
PACK_SECONDS = 4  # seconds that packing a file takes there


def at_work(folder: Path, source: Path, stage: str, reference: Mapping, kill: bool, share: float = 0.6) -> dict:
    """Kills the notebook's process, or interrupts the process group, when `share` of the stage's time is over.

    If the stage had ended by then, it tries again, earlier.
    """
    times = json.loads((source / "data" / "times" / f"{stage.replace('@', '-')}.json").read_text())
    for _ in range(TRIES):
        runs.copy(source, folder, stage)
        process, console = runs.start(folder, (*REPRO, stage))
        number = runs.kernel(folder, process)
        time.sleep(share * times["seconds"])
        if disturbed := number in runs.processes(folder):
            with contextlib.suppress(ProcessLookupError):
                os.kill(number, signal.SIGKILL) if kill else os.killpg(process.pid, signal.SIGINT)
        if (ended := runs.finish(process, console)).status and disturbed:
            break
        share /= 2
    return judged(folder, ended, reference, where=stage.partition("@")[0])


def orphaned(folder: Path, source: Path, target: str, number: int, reference: Mapping) -> dict:
    """Sends a signal to one process of a run while gbdt works, changes `OTHER` parameters and runs again at once."""
    stage = f"gbdt@{COLLECTION}"
    expected = _with_other_parameters(source, stage)
    runs.copy(source, folder, stage)
    process, console = runs.start(folder, MAKE)
    while process.poll() is None and not any("run gbdt " in words for words in runs.processes(folder).values()):
        time.sleep(0.05)
    runs.kernel(folder, process)
    time.sleep(2)  # by then the notebook works, with workers
    (victim,) = (pid for pid, words in runs.processes(folder).items() if re.search(ALONE[target], words))
    os.kill(victim, number)
    ended = runs.finish(process, console)
    left_over = runs.left(folder)
    runs.set_parameters(folder, **OTHER)
    row = judged(folder, ended, expected, where=f"{signal.Signals(number).name} to {target} alone, gbdt")
    return row | {"orphans": left_over, "clear": "Traceback" not in ended.text and ended.status != 0}


@functools.cache
def _with_other_parameters(source: Path, stage: str) -> dict:
    """The state after an undisturbed run with `OTHER` parameters; cached, because it takes a minute."""
    folder = runs.copy(source, source.with_name("other"), stage)
    runs.set_parameters(folder, **OTHER)
    if (ended := runs.run(folder)).status:
        raise RuntimeError(f"the run with other parameters failed undisturbed: {ended.message}")
    state = runs.state(folder)
    shutil.rmtree(folder)
    return state


def full(folder: Path, source: Path, stage: str, reference: Mapping, room: float) -> dict:
    """Runs the stage on a disk with room for a share of its outputs, whose size is measured first; then on a larger."""
    with mounted(folder, "-t", "tmpfs", "-o", "size=75%", "tmpfs") as disk:
        project = runs.copy(source, disk / "project", stage)
        before = used_bytes(disk)
        if runs.run(project, stage).status:
            raise RuntimeError(f"{stage} failed undisturbed")
        needed = used_bytes(disk) - before
        project = runs.copy(source, disk / "project", stage)
        resize = ["mount", "-o", f"remount,size={int(used_bytes(disk) + room * needed)}", str(disk)]
        subprocess.run(resize, check=True)
        ended = runs.run(project, stage)
        subprocess.run(["mount", "-o", "remount,size=75%", str(disk)], check=True)
        return judged(project, ended, reference, where=stage.partition("@")[0], room=room)


def starved(folder: Path, source: Path, stage: str, reference: Mapping) -> dict:
    """Runs the stage with less and less memory until it fails.

    With almost enough memory Linux may kill no process and slow all of them down, because it drops pages that they read
    again at once. Such a run is killed, and the next one has less memory.
    """
    with Cgroup() as group:
        runs.copy(source, folder, stage)
        began = time.monotonic()
        if runs.run(folder, stage, preexec_fn=group.enter).status:
            raise RuntimeError(f"{stage} failed undisturbed")
        peak, limit = group.peak(), CRAWL * (time.monotonic() - began)
        for tenths in range(9, 0, -1):
            runs.copy(source, folder, stage)
            group.limit(peak * tenths // 10)
            ended = runs.run(folder, stage, limit=limit, preexec_fn=group.enter)
            runs.left(folder)  # before the limit goes with the group
            if ended.status not in (0, HUNG):
                break
    return judged(folder, ended, reference, where=stage.partition("@")[0], peak=peak, limit=peak * tenths // 10)


def together(folder: Path, source: Path, command: Sequence[str], reference: Mapping) -> dict:
    """Starts two runs at the same time, with work for about ten seconds; at least one should succeed."""
    runs.copy(source, folder, f"gbdt@{COLLECTION}", "blend")
    first, second = runs.start(folder, command), runs.start(folder, command)
    both = [runs.finish(*first), runs.finish(*second)]
    succeeded = [ended.status == 0 for ended in both]
    refused = both[succeeded.index(False)] if False in succeeded else both[1]
    row = judged(
        folder, refused, reference, where="dvc repro" if command == DVC else "make repro", ended_well=sum(succeeded)
    )
    return row | {"clear": row["clear"] or all(succeeded)}


def unwritable(folder: Path, source: Path, stage: str, name: str, reference: Mapping) -> dict:
    """Runs the stage while a folder of the project is read-only."""
    runs.copy(source, folder, stage)
    with read_only(folder / name):
        ended = runs.run(folder, stage)
    return judged(folder, ended, reference, where=f"{name}/, {stage.partition('@')[0]}")


def torn(folder: Path, source: Path, name: str, draw: str, reference: Mapping) -> dict:
    """Truncates a file of DVC at a random byte, drawn with the seed `draw`; the message is that of the next run."""
    runs.copy(source, folder)
    path = folder / name
    if name.endswith("rwlock"):
        path.write_text(json.dumps({"write": {"data/blend": {"pid": 1, "cmd": "dvc repro"}}, "read": {}}))
    content = path.read_bytes()
    path.write_bytes(content[: random.Random(draw).randrange(1, len(content))])
    ended = runs.run(folder)
    return judged(folder, ended, reference, where=name) | {"clear": "Traceback" not in ended.text}


def made_long(folder: Path) -> Path:
    """Copies the tiny pipeline, makes its stages long enough to lose a node in them, and runs it up to the networks."""
    pipeline.copy(folder)
    for name, pattern, instead in (
        ("gnn/training.py", r"^PRINT_SECONDS = \d+$", "PRINT_SECONDS = 2"),
        ("prune/jobs.py", r"^BYTES_PER_WORKER = 1 << 25 ", "BYTES_PER_WORKER = 1 "),
        ("prune/jobs.py", r"^( +)source = job\.source\(\)$", rf'\1__import__("time").sleep({PACK_SECONDS})\n\g<0>'),
    ):
        file = folder / "stages" / name
        text, count = re.subn(pattern, instead, file.read_text(), flags=re.MULTILINE)
        if count != 1:
            raise RuntimeError(f"{file}: has {count} lines like {pattern}")
        file.write_text(text)
    runs.set_parameters(folder, gnn=LONG)
    if (ended := runs.run(folder, command=NETWORKS)).status:
        raise RuntimeError(f"the undisturbed run failed: {ended.message}")
    return folder


def node_lost(
    folder: Path,
    source: Path,
    stage: str,
    driver: int,
    node: int,
    reference: Mapping,
    cut: bool = False,
    mended: float | None = None,
) -> dict:
    """Kills a node of a cluster, or cuts it off, while a stage works.

    Args:
        folder: of the copy.
        source: the finished project.
        stage: the stage.
        driver: the node on which the stage's driver runs.
        node: the node that is lost.
        reference: `runs.state` of an undisturbed run.
        cut: whether the node is cut off and not killed.
        mended: seconds after which a cut node is connected again; None for never.
    """
    runs.copy(source, folder, f"{stage}@{COLLECTION}")
    with Cluster() as cluster:
        runs.set_parameters(folder, engine={"kind": "ray", "address": cluster.address})
        process, console = runs.start(folder, cluster.inside(driver, NETWORKS))
        _until_amid(folder, stage, process)
        if cut:
            cluster.cut(node)
        else:
            cluster.kill(node)
        began = time.monotonic()
        if mended:
            time.sleep(mended)
            cluster.mend(node)
        ended = runs.finish(process, console)
        took = time.monotonic() - began
    how = ("cut off, mended" if mended else "cut off") if cut else "killed"
    about = {"where": f"{stage}, {PLACES[node]} {how}, driver on {PLACES[driver]}", "after_seconds": took}
    with Cluster() if ended.status else contextlib.nullcontext() as cluster:
        command = cluster.inside(driver, NETWORKS) if cluster else NETWORKS
        row = judged(folder, ended, reference, command, **about)
    return row | {"clear": row["clear"] if node == 0 else ended.status == 0 and "Traceback" not in ended.text}


def _until_amid(folder: Path, stage: str, process: subprocess.Popen) -> None:
    """Waits until a stage has written a checkpoint or record for each of its parallel tasks."""
    kept, count = {"prune": ("records/*/*.json", 2), "gnn": ("*.safetensors", LONG["seeds"])}[stage]
    end = time.monotonic() + LIMIT
    while process.poll() is None and time.monotonic() < end:
        if len(list((folder / "data" / "checkpoints" / stage / COLLECTION).glob(kept))) >= count:
            return
        time.sleep(0.1)
    os.killpg(process.pid, signal.SIGKILL)
    raise RuntimeError(f"{stage} was not met at work")
