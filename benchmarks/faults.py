"""Takes the pipeline through what breaks, and checks that the next run ends with the bytes of an undisturbed one.

    python -m benchmarks.faults [--kills 20] [--seed 0] [--only FAULT ...] [--out reports/benchmarks.json]

It works in a fresh clone of what is committed, in a temporary folder, with the project's .venv and a DVC cache of its
own, on the sample with `SMALL` parameters. The clone is run undisturbed once; each fault then begins with a copy of it
in which one stage is not done yet, and is followed by a run that is to end with the same dvc.lock and the same bytes of
every output. The faults:

killed       kill -9 of the process group of `make repro` at random moments: the run is started, killed, started again,
             until it ends; its bytes are compared; it begins from nothing again until it was killed so often
interrupted  SIGINT to the process group while a stage works, as Ctrl-C sends it
kernel       kill -9 of the process of a stage's notebook
orphaned     SIGTERM, SIGINT or SIGKILL to make alone, to DVC alone or to the runner alone while gbdt works; then other
             parameters, `OTHER`, and at once the next run, which is to end with the bytes of a run of these
disk         the copy lies on a tmpfs with room for `ROOM` of what the stage makes; then it is given more
memory       a limit for all processes together, by a cgroup, lowered by a tenth until the stage fails
together     two runs at once: `make repro`'s own command twice, and plain `dvc repro` twice
read-only    reports/ or data/ mounted read-only
torn         dvc.lock, or DVC's own list of locks, cut off at a random place, as a kill at that moment leaves it
ray          a Ray cluster of three nodes with addresses of their own, benchmarks/namespaces.py, of which one is killed
             or cut off while it works: on the tiny data of tests/support/pipeline.py, `made_long`, up to the networks.
             Where the head is lost the run fails, and the next one has a new cluster

Disk, read-only and ray need root to mount and to divide the network, memory a cgroup of the first version too; without,
they are left out and said to be. A row for each is written to reports/benchmarks.json as soon as it is there, and what
was cut short goes on. At the end it writes the table beside that file, as faults.md.
"""

from __future__ import annotations

import argparse
import contextlib
import functools
import hashlib
import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import textwrap
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import yaml

from benchmarks import measure, namespaces
from benchmarks.namespaces import PLACES, Cluster, Missing
from stages import files
from tests.support import pipeline

PROJECT = Path(__file__).parents[1]
COLLECTION = "layout-xla-random"
SHOWN = 300  # characters of what a run says, in the table; of Ray's, results have the rest
#: what makes an undisturbed run of the clone short; other parameters are those of params.yaml
SMALL: dict[str, dict[str, object]] = {
    "gnn": {"seeds": 2, "epochs": 4, "finetune": 2},
    "gbdt": {"seeds": 2, "trees": 30},
}
#: parameters that are changed between a run whose parent is killed and the next one
OTHER: dict[str, dict[str, object]] = {"gbdt": {"seeds": 1, "trees": 4}}
#: who is killed alone, by a pattern of the command line
ALONE = {"make": r"^make ", "DVC": r"-m stages\.repro", "the runner": r"-m stages\.run "}
#: share of what a stage writes, DVC's copies in its cache included, that a disk has room for: with little the stage
#: itself meets the end of it, with more DVC does
ROOM = (0.2, 0.7)
PATIENCE = 5.0  # seconds for processes of a run that was killed to end by themselves
TRIES = 4  # to meet a stage at work
LIMIT = 600.0  # seconds after which a run counts as hanging
HUNG = 124  # its status then, as that of `timeout`
CRAWL = 5.0  # times as long as undisturbed, after which a run with little memory is given up
CGROUP = Path("/sys/fs/cgroup/memory")
ONE_EACH = ("prune", "configuration", "pad", "gnn", "gbdt")
STAGES = (*ONE_EACH, "blend", "leaderboard")
INTRODUCTION = f"""\
# What breaks, and what the run after it makes of it

By `python -m benchmarks.faults`, which says what each fault is: on the sample with `{SMALL}`,
those of Ray on the tests' tiny data. "What it says" is all of the console but progress; "same bytes after": the next
`make repro` ended with the dvc.lock, and the bytes of every output, of a run that nothing disturbed.
"""
#: lines on the console that are no message: DVC's progress, the stages' own
_PROGRESS = (
    "Stage '",
    "Running stage",
    "> ",
    "Updating lock",
    "Use `dvc push`",
    "To track",
    "To enable",
    "git add",
    "dvc config",
)
_COLOUR = re.compile(r"\x1b\[[0-9;]*m")
_RAY = re.compile(r"\(raylet\)(?= The node with node id: \w+)")  # which it prints at the end of a line of progress
_BAR = re.compile(r"[^\r\n]*\d%\|[^\r\n]*?\[[^\]\r\n]*\]")  # of progress; who ends then speaks on its line
_EACH = "ERROR: failed to transfer"  # DVC's, one for every file; another line follows
_SECOND = "ERROR: failed to reproduce"  # DVC's own line after that of a stage
REPRO = (sys.executable, "-m", "stages.repro")
DVC = (sys.executable, "-m", "dvc", "repro")
MAKE = ("make", "repro", "RUN=")  # without looking at what is installed
#: up to the networks; one thread each, as Ray gives its workers: sums depend on it
NETWORKS = ("env", "OMP_NUM_THREADS=1", *REPRO, f"gnn@{COLLECTION}")
#: what makes the tiny pipeline's trainings long enough to be met in their middle; one seed a node
LONG = {"seeds": 3, "epochs": 400, "patience": 400, "finetune": 2}
PACK_SECONDS = 4  # for which a file is packed there


@dataclass(frozen=True)
class Ended:
    """A run that is over: its exit status, negative for a signal's, and what it wrote to the console."""

    status: int
    text: str

    @property
    def message(self) -> str:
        """What it said beside its progress; its lines parted by " / "."""
        text = _BAR.sub("", _RAY.sub("\n(raylet)", _COLOUR.sub("", self.text)))
        said = [line.rpartition("\r")[2].strip() for line in text.split("\n")]
        words = [line for line in said if line and not line.startswith(_PROGRESS) and " epoch " not in line]
        words = [line for line in words if not line.startswith(_EACH)] or words
        own = [line for line in words if not (line.startswith(_SECOND) and "failed to run" in line)]
        return " / ".join(own or words)

    @property
    def clear(self) -> bool:
        """Whether it failed in words: some, and no traceback."""
        return self.status not in (0, HUNG) and bool(self.message) and "Traceback" not in self.text


def start(folder: Path, command: Sequence[str] = REPRO, **options) -> tuple[subprocess.Popen, Path]:
    """Starts a command in a process group of its own; its process, and the file of what it writes to the console."""
    environment = os.environ | {
        "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]),
        "DVC_NO_ANALYTICS": "1",
    }
    for name in ("PYTHONPATH", "PYTEST_CURRENT_TEST"):
        environment.pop(name, None)
    with tempfile.NamedTemporaryFile(prefix="faults-", suffix=".txt", delete=False) as console:
        process = subprocess.Popen(
            command,
            cwd=folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=console,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            **options,
        )
    return process, Path(console.name)


def finish(process: subprocess.Popen, console: Path, limit: float = LIMIT) -> Ended:
    """Waits for the end of what `start` began; what takes more seconds than the limit is killed, and `HUNG`."""
    try:
        status = process.wait(limit)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        status = HUNG
    text = console.read_text(errors="replace")
    console.unlink()
    return Ended(status, text)


def run(folder: Path, *targets: str, command: Sequence[str] = REPRO, limit: float = LIMIT, **options) -> Ended:
    return finish(*start(folder, (*command, *targets), **options), limit)


def locked(folder: Path) -> dict[str, dict]:
    """The stages in dvc.lock."""
    return yaml.safe_load((folder / "dvc.lock").read_text())["stages"]


def state(folder: Path) -> dict:
    """What a run made: dvc.lock, and the digest of every file of every output."""
    stages = locked(folder)
    digests = {}
    for stage in stages.values():
        for out in stage["outs"]:
            path = folder / out["path"]
            for file in sorted(path.rglob("*")) if path.is_dir() else [path]:
                if file.is_file():
                    digests[str(file.relative_to(folder))] = hashlib.sha256(file.read_bytes()).hexdigest()
    return {"stages": stages, "files": digests}


def copy(source: Path, folder: Path, *undone: str) -> Path:
    """A copy of a finished project in which these stages are not done: without their outputs, in dvc.lock and in the
    cache either, and without what the stages keep for themselves. DVC's cache of runs would bring them back, so it goes
    with them."""
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(source, folder, symlinks=True)
    content = yaml.safe_load((folder / "dvc.lock").read_text())
    for name in undone:
        for out in content["stages"].pop(name)["outs"]:
            path = folder / out["path"]
            shutil.rmtree(path) if path.is_dir() else path.unlink()
            _forget(folder / ".dvc" / "cache" / "files" / "md5", out["md5"])
    (folder / "dvc.lock").write_text(yaml.safe_dump(content, sort_keys=False))
    for name in (".dvc/cache/runs", "data/states", "data/checkpoints") if undone else ():
        shutil.rmtree(folder / name, ignore_errors=True)
    return folder


def _forget(cache: Path, digest: str) -> None:
    path = cache / digest[:2] / digest[2:]
    if digest.endswith(".dir") and path.exists():
        for entry in json.loads(path.read_text()):
            _forget(cache, entry["md5"])
    path.unlink(missing_ok=True)


def processes(folder: Path) -> dict[int, str]:
    """Processes that work in a folder: number and command line."""
    found = {}
    for path in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if Path(os.readlink(path / "cwd")).is_relative_to(folder):
                words = (path / "cmdline").read_text(errors="replace").split("\0")
                if words != [""]:  # of a process that has ended
                    found[int(path.name)] = " ".join(words)
    return found


def left(folder: Path) -> list[str]:
    """Command lines of processes that do not end by themselves; they are ended."""
    end = time.monotonic() + PATIENCE
    while (found := processes(folder)) and time.monotonic() < end:
        time.sleep(0.2)
    for number in found:
        with contextlib.suppress(ProcessLookupError):
            os.kill(number, signal.SIGKILL)
    return sorted(found.values())


def parts(folder: Path) -> list[str]:
    """Files of outputs that are not written to their end and stand where whole ones are looked for."""
    found = (path.relative_to(folder) for name in ("data", "reports") for path in (folder / name).rglob("*.part"))
    return sorted(str(path) for path in found if path.parts[1] not in ("checkpoints", "states"))


def kernel(folder: Path, process: subprocess.Popen) -> int | None:
    """The process of the notebook, as soon as it is there; None where the run ends before."""
    while process.poll() is None:
        for number, words in processes(folder).items():
            if "ipykernel_launcher" in words:
                return number
        time.sleep(0.05)
    return None


def judged(folder: Path, ended: Ended, reference: Mapping, command: Sequence[str] = REPRO, **about: object) -> dict:
    """A row: how the run ended that was disturbed, and whether the next one, by the command, ends with the reference's
    bytes."""
    orphans = left(folder)
    half = parts(folder)
    after = run(folder, command=command)
    same = after.status == 0 and state(folder) == reference
    return (
        about
        | {
            "status": ended.status,
            "message": ended.message.replace(f"{folder}/", "").replace(f"{PROJECT}/", ""),
            "clear": ended.clear,
            "orphans": orphans,
            "half_written": half,
            "same": same,
        }
        | ({} if same else {"after": after.message[-2000:]})
    )


def at_work(folder: Path, source: Path, stage: str, reference: Mapping, kill: bool, share: float = 0.6) -> dict:
    """Kills the notebook's process, or interrupts the process group, when `share` of the stage's time is over; again
    and earlier where the stage had ended by then."""
    times = json.loads((source / "data" / "times" / f"{stage.replace('@', '-')}.json").read_text())
    for _ in range(TRIES):
        copy(source, folder, stage)
        process, console = start(folder, (*REPRO, stage))
        number = kernel(folder, process)
        time.sleep(share * times["seconds"])
        if met := number in processes(folder):
            with contextlib.suppress(ProcessLookupError):
                os.kill(number, signal.SIGKILL) if kill else os.killpg(process.pid, signal.SIGINT)
        if (ended := finish(process, console)).status and met:
            break
        share /= 2
    return judged(folder, ended, reference, where=stage.partition("@")[0])


def orphaned(folder: Path, source: Path, target: str, number: int, reference: Mapping) -> dict:
    """Sends a signal to one process of a run while gbdt works, changes `OTHER` parameters and runs again at once."""
    stage = f"gbdt@{COLLECTION}"
    copy(source, folder, stage)
    _set(folder, **OTHER)
    if (ended := run(folder)).status:
        raise RuntimeError(f"the run with other parameters failed undisturbed: {ended.message}")
    expected = state(folder)
    copy(source, folder, stage)
    process, console = start(folder, MAKE)
    while process.poll() is None and not any("run gbdt " in words for words in processes(folder).values()):
        time.sleep(0.05)
    kernel(folder, process)
    time.sleep(2)  # the notebook is at its work then, with workers
    (victim,) = (pid for pid, words in processes(folder).items() if re.search(ALONE[target], words))
    os.kill(victim, number)
    ended = finish(process, console)
    left_over = left(folder)
    _set(folder, **OTHER)
    row = judged(folder, ended, expected, where=f"{signal.Signals(number).name} to {target} alone, gbdt")
    return row | {"orphans": left_over, "clear": "Traceback" not in ended.text and ended.status != 0}


def needs_root() -> None:
    if os.geteuid() != 0 or not shutil.which("mount"):
        raise Missing("needs root, to mount")
    done = subprocess.run(["unshare", "--mount", "true"], capture_output=True)
    if done.returncode:
        raise Missing("needs the right to mount")


@contextlib.contextmanager
def mounted(folder: Path, *options: str) -> Iterator[Path]:
    """A folder with something mounted on it, for as long as that."""
    needs_root()
    folder.mkdir(parents=True, exist_ok=True)
    subprocess.run(["mount", *options, str(folder)], check=True)
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


@contextlib.contextmanager
def read_only(folder: Path) -> Iterator[None]:
    with mounted(folder, "--bind", str(folder)):
        subprocess.run(["mount", "-o", "remount,ro,bind", str(folder)], check=True)
        yield


def full(folder: Path, source: Path, stage: str, reference: Mapping, room: float) -> dict:
    """The stage on a disk that has room for a share of what it writes, which is found out first; then on a larger."""
    with mounted(folder, "-t", "tmpfs", "-o", "size=75%", "tmpfs") as disk:
        place = copy(source, disk / "project", stage)
        before = _used(disk)
        if run(place, stage).status:
            raise RuntimeError(f"{stage} failed undisturbed")
        needed = _used(disk) - before
        place = copy(source, disk / "project", stage)
        resize = ["mount", "-o", f"remount,size={int(_used(disk) + room * needed)}", str(disk)]
        subprocess.run(resize, check=True)
        ended = run(place, stage)
        subprocess.run(["mount", "-o", "remount,size=75%", str(disk)], check=True)
        return judged(place, ended, reference, where=stage.partition("@")[0], room=room)


def _used(folder: Path) -> int:
    found = os.statvfs(folder)
    return (found.f_blocks - found.f_bfree) * found.f_frsize


class Cgroup:
    """A limit for the memory of all processes in it together."""

    def __init__(self) -> None:
        self.path = CGROUP / f"faults-{os.getpid()}"
        self._mounted = False

    def __enter__(self) -> Cgroup:
        needs_root()
        try:
            if not (CGROUP / "cgroup.procs").exists():
                subprocess.run(["mount", "-t", "cgroup", "-o", "memory", "none", str(CGROUP)], check=True)
                self._mounted = True
            self.path.mkdir()
            self.limit(1 << 60)
        except (OSError, subprocess.CalledProcessError):
            raise Missing("needs the memory controller of cgroups, version 1") from None
        return self

    def __exit__(self, *_: object) -> None:
        for _ in range(50):
            with contextlib.suppress(OSError):
                self.path.rmdir()
                break
            time.sleep(0.1)
        if self._mounted:
            subprocess.run(["umount", str(CGROUP)], check=True)

    def limit(self, size: int) -> None:
        (self.path / "memory.limit_in_bytes").write_text(str(size))
        (self.path / "memory.max_usage_in_bytes").write_text("0")

    def peak(self) -> int:
        return int((self.path / "memory.max_usage_in_bytes").read_text())

    def enter(self) -> None:
        """Puts the calling process in: what a child does before its command."""
        (self.path / "cgroup.procs").write_text(str(os.getpid()))


def starved(folder: Path, source: Path, stage: str, reference: Mapping) -> dict:
    """The stage with less and less memory until it fails. With almost enough Linux may end nobody, and have all crawl,
    reading again what it just took from them; such a run is given up, and the next has less."""
    with Cgroup() as group:
        copy(source, folder, stage)
        began = time.monotonic()
        if run(folder, stage, preexec_fn=group.enter).status:
            raise RuntimeError(f"{stage} failed undisturbed")
        peak, limit = group.peak(), CRAWL * (time.monotonic() - began)
        for tenths in range(9, 0, -1):
            copy(source, folder, stage)
            group.limit(peak * tenths // 10)
            ended = run(folder, stage, limit=limit, preexec_fn=group.enter)
            left(folder)  # before the limit goes with the group
            if ended.status not in (0, HUNG):
                break
    return judged(folder, ended, reference, where=stage.partition("@")[0], peak=peak, limit=peak * tenths // 10)


def together(folder: Path, source: Path, command: Sequence[str], reference: Mapping) -> dict:
    """Two runs at once, with work for some ten seconds; at least one of them ends well."""
    copy(source, folder, f"gbdt@{COLLECTION}", "blend")
    first, second = start(folder, command), start(folder, command)
    both = [finish(*first), finish(*second)]
    good = [ended.status == 0 for ended in both]
    refused = both[good.index(False)] if False in good else both[1]
    row = judged(
        folder, refused, reference, where="dvc repro" if command == DVC else "make repro", ended_well=sum(good)
    )
    return row | {"clear": row["clear"] or all(good)}


def unwritable(folder: Path, source: Path, stage: str, name: str, reference: Mapping) -> dict:
    copy(source, folder, stage)
    with read_only(folder / name):
        ended = run(folder, stage)
    return judged(folder, ended, reference, where=f"{name}/, {stage.partition('@')[0]}")


def torn(folder: Path, source: Path, name: str, draw: random.Random, reference: Mapping) -> dict:
    """A file of DVC's cut off; the message is that of the run that mends it."""
    copy(source, folder)
    path = folder / name
    if name.endswith("rwlock"):
        path.write_text(json.dumps({"write": {"data/blend": {"pid": 1, "cmd": "dvc repro"}}, "read": {}}))
    content = path.read_bytes()
    path.write_bytes(content[: draw.randrange(1, len(content))])
    ended = run(folder)
    return judged(folder, ended, reference, where=name) | {"clear": "Traceback" not in ended.text}


def made_long(folder: Path) -> Path:
    """The tiny pipeline, made so that a node can be lost in the middle of its stages; run undisturbed on this machine,
    up to the networks."""
    pipeline.copy(folder)
    for name, pattern, instead in (
        ("gnn/training.py", r"^PRINT_SECONDS = \d+$", "PRINT_SECONDS = 2"),
        ("prune/stage.py", r"^BYTES_PER_WORKER = 1 << 25 ", "BYTES_PER_WORKER = 1 "),
        ("prune/stage.py", r"^( +)source = job\.source\(\)$", rf'\1__import__("time").sleep({PACK_SECONDS})\n\g<0>'),
    ):
        file = folder / "stages" / name
        text, count = re.subn(pattern, instead, file.read_text(), flags=re.MULTILINE)
        if count != 1:
            raise RuntimeError(f"{file}: has {count} lines like {pattern}")
        file.write_text(text)
    _set(folder, gnn=LONG)
    if (ended := run(folder, command=NETWORKS)).status:
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
    """A node of a cluster killed, or cut off and, perhaps, mended after so many seconds, while a stage works whose
    driver runs on a node too."""
    copy(source, folder, f"{stage}@{COLLECTION}")
    with Cluster() as cluster:
        _set(folder, engine={"kind": "ray", "address": cluster.address})
        process, console = start(folder, cluster.inside(driver, NETWORKS))
        _until_amid(folder, stage, process)
        if cut:
            cluster.cut(node)
        else:
            cluster.kill(node)
        began = time.monotonic()
        if mended:
            time.sleep(mended)
            cluster.mend(node)
        ended = finish(process, console)
        took = time.monotonic() - began
    how = ("cut off, mended" if mended else "cut off") if cut else "killed"
    about = {"where": f"{stage}, {PLACES[node]} {how}, driver on {PLACES[driver]}", "after_seconds": took}
    with Cluster() if ended.status else contextlib.nullcontext() as cluster:
        command = cluster.inside(driver, NETWORKS) if cluster else NETWORKS
        row = judged(folder, ended, reference, command, **about)
    return row | {"clear": row["clear"] if node == 0 else ended.status == 0 and "Traceback" not in ended.text}


def _until_amid(folder: Path, stage: str, process: subprocess.Popen) -> None:
    """Waits until a stage has left something of each of its tasks that run at the same time."""
    kept, count = {"prune": ("records/*/*.json", 2), "gnn": ("*.safetensors", LONG["seeds"])}[stage]
    end = time.monotonic() + LIMIT
    while process.poll() is None and time.monotonic() < end:
        if len(list((folder / "data" / "checkpoints" / stage / COLLECTION).glob(kept))) >= count:
            return
        time.sleep(0.1)
    os.killpg(process.pid, signal.SIGKILL)
    raise RuntimeError(f"{stage} was not met at work")


def _set(folder: Path, **sections: Mapping) -> None:
    """Changes values of params.yaml."""
    values = yaml.safe_load((folder / "params.yaml").read_text())
    for stage, changes in sections.items():
        values[stage] |= changes
    (folder / "params.yaml").write_text(yaml.safe_dump(values, sort_keys=False))


def clone(folder: Path) -> Path:
    """What is committed, with `SMALL` parameters and the environment of this project."""
    subprocess.run(["git", "clone", "--quiet", str(PROJECT), str(folder)], check=True)
    (folder / ".venv").symlink_to(PROJECT / ".venv")
    _set(folder, **SMALL)
    (folder / "dvc.lock").unlink()
    return folder


def killed(
    work: Path, fresh: Path, kills: int, seed: int, seconds: float, reference: Mapping, results: dict
) -> Iterator:
    """Yields after each kill and each end, with its row in results["kills"]; goes on in `work` where it was."""
    while _kills_left(kills, results):
        if not work.exists():
            shutil.copytree(fresh, work, symlinks=True)
        process, console = start(work, MAKE)
        enough = len(results["kills"]) >= kills
        draw = random.Random(f"{seed} {results['begun']}").uniform(0.02, 0.5) * seconds
        results["begun"] += 1
        try:
            process.wait(LIMIT if enough else draw)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            text = finish(process, console).text
            running = [line for line in text.splitlines() if line.startswith("Running stage")]
            where = running[-1].split("'")[1] if running else "between stages"
            results["kills"].append({"where": where, "seconds": draw, "same": None})
        else:
            ended = finish(process, console)
            same = ended.status == 0 and state(work) == reference
            for row in results["kills"]:
                if row["same"] is None:
                    row |= {"same": same} | ({} if same else {"after": ended.message[-2000:]})
            left(work)
            shutil.rmtree(work)
        yield


def _kills_left(kills: int, results: Mapping) -> bool:
    return len(results["kills"]) < kills or any(row["same"] is None for row in results["kills"])


def planned(seed: int) -> Iterator[tuple[str, dict]]:
    """Every fault but the kills, and what its function is told."""
    whole = {stage: f"{stage}@{COLLECTION}" if stage in ONE_EACH else stage for stage in STAGES}
    for stage in ("prune", "gnn", "gbdt", "leaderboard"):
        yield "interrupted", {"stage": whole[stage], "kill": False}
        yield "kernel", {"stage": whole[stage], "kill": True}
    for target in ALONE:
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGKILL):
            yield "orphaned", {"target": target, "number": int(number)}
    for stage in ("prune", "pad", "gnn", "gbdt", "blend", "leaderboard"):
        for room in ROOM:
            yield "disk", {"stage": whole[stage], "room": room}
    for stage in STAGES:
        yield "memory", {"stage": whole[stage]}
    for command in (REPRO, DVC):
        yield "together", {"command": command}
    for stage, name in (("gbdt", "reports"), ("leaderboard", "reports"), ("gbdt", "data"), ("blend", "data")):
        yield "read-only", {"stage": whole[stage], "name": name}
    for number in range(3):
        yield "torn", {"name": "dvc.lock", "draw": random.Random(f"{seed} {number}")}
    yield "torn", {"name": ".dvc/tmp/rwlock", "draw": random.Random(seed)}
    for stage in ("prune", "gnn"):
        yield "ray", {"stage": stage, "driver": 0, "node": 1}
    for mended in (20.0, None):
        yield "ray", {"stage": "gnn", "driver": 0, "node": 1, "cut": True, "mended": mended}
    for driver in (1, 0):
        yield "ray", {"stage": "gnn", "driver": driver, "node": 0}


FUNCTIONS = {
    "interrupted": at_work,
    "kernel": at_work,
    "orphaned": orphaned,
    "disk": full,
    "memory": starved,
    "together": together,
    "read-only": unwritable,
    "torn": torn,
    "ray": node_lost,
}


def measured(kills: int, seed: int, only: Sequence[str], out: str | Path) -> dict:
    """Makes the faults that are not in `out` yet; returns what is written there under "faults"."""
    code = [Path(module) for module in (__file__, namespaces.__file__, pipeline.__file__)]
    known = measure.identity(_committed(), SMALL, kills, seed, modules=(), files=code)
    folder = Path(tempfile.gettempdir(), f"faults-{known}")
    results = measure.read("faults", out)
    if results.get("identity") != known:
        results = {"identity": known, "parameters": SMALL, "kills": [], "begun": 0, "rows": {}}
    fresh, source, work = folder / "fresh", folder / "undisturbed", folder / "work"

    @functools.cache
    def undisturbed(fault: str) -> tuple[Path, dict]:
        """The project that a fault begins with, run undisturbed, and what that made."""
        place = folder / "tiny" if fault == "ray" else source
        mark = place.with_suffix(".whole")
        if not mark.exists():
            shutil.rmtree(place, ignore_errors=True)
            if fault == "ray":
                made_long(place)
            else:
                shutil.rmtree(fresh, ignore_errors=True)
                shutil.copytree(clone(fresh), place, symlinks=True)
                began = time.monotonic()
                ended = run(place, command=("make", "repro", "RUN="))
                if ended.status:
                    raise RuntimeError(f"the undisturbed run failed: {ended.message}")
                mark.with_suffix(".seconds").write_text(str(time.monotonic() - began))
            mark.touch()
        return place, state(place)

    plan = list(planned(seed))
    for place, (fault, told) in enumerate(plan, 1):
        name = f"{place:02d} {fault}"
        if name in results["rows"] or (only and fault not in only):
            continue
        began_with, reference = undisturbed(fault)
        began = time.monotonic()
        try:
            row = FUNCTIONS[fault](folder / "copy", began_with, reference=reference, **told)
        except Missing as reason:
            row = {"where": told.get("stage", ""), "left_out": str(reason)}
        results["rows"][name] = {"fault": fault, "seconds": time.monotonic() - began} | row
        measure.write("faults", results, out)
        said = row.get("left_out") or f"{'same bytes after' if row['same'] else 'OTHER BYTES AFTER'}; {row['message']}"
        print(f"{place} of {len(plan)}: {fault}, {row['where']}: {said}"[:300], flush=True)
        shutil.rmtree(folder / "copy", ignore_errors=True)
    if (not only or "killed" in only) and _kills_left(kills, results):
        _, reference = undisturbed("killed")
        seconds = float(source.with_suffix(".seconds").read_text())
        print(f"undisturbed: {seconds:.0f} s", flush=True)
        for _ in killed(work, fresh, kills, seed, seconds, reference, results):
            measure.write("faults", results, out)
            row = results["kills"][-1] if results["kills"] else None
            print(f"{len(results['kills'])} of {kills} kills, the last in {row['where'] if row else '-'}", flush=True)
    return results


def _committed() -> list[str]:
    """What the clone is made of, by git's digests."""
    names = [f"HEAD:{name}" for name in ("stages", "notebooks", "data/sample", "params.yaml", "dvc.yaml", "Makefile")]
    done = subprocess.run(["git", "rev-parse", *names], cwd=PROJECT, capture_output=True, text=True, check=True)
    return done.stdout.split()


def good(row: Mapping) -> bool:
    """Whether the fault did what it may: one clear line, nothing left behind, the same bytes after."""
    return bool(row["same"] and row["clear"] and not row["orphans"] and not row["half_written"])


def table(results: Mapping) -> str:
    """The results as Markdown."""
    kills = results["kills"]
    lines = ["| fault | where | what it says | same bytes after |", "|---|---|---|---|"]
    if kills:
        count = sum(bool(row["same"]) for row in kills)
        places = sorted({row["where"].partition("@")[0] for row in kills})
        where = f"{len(kills)} random moments, in {', '.join(places)}"
        lines.append(f"| kill -9 of `make repro` | {where} | – | {count} of {len(kills)} |")
    for _, row in sorted(results["rows"].items()):
        if "left_out" in row:
            lines.append(f"| {row['fault']} | {row['where']} | left out: {row['left_out']} | – |")
            continue
        where = row["where"] + (f", room for {row['room']:.0%}" if "room" in row else "")
        where += f", {row['limit'] / 2**20:.0f} MiB" if "limit" in row else ""
        words = ["goes on to its end"] * (row["status"] == 0) + [row["message"]] * bool(row["message"])
        said = textwrap.shorten("; ".join(words), SHOWN, placeholder=" …").replace("|", "\\|")
        faults = [name for name in ("orphans", "half_written") if row[name]] + ([] if row["clear"] else ["not clear"])
        lines.append(
            f"| {row['fault']} | {where} | {said} | {'yes' if row['same'] else 'NO'}"
            f"{'; ' + ', '.join(faults) if faults else ''} |"
        )
    return "\n".join(lines)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", nargs="+", default=(), choices=["killed", *FUNCTIONS], metavar="FAULT")
    parser.add_argument("--out", default=measure.RESULTS, metavar="FILE", help="file of results")
    given = parser.parse_args()
    results = measured(given.kills, given.seed, given.only, given.out)
    page = Path(given.out).with_name("faults.md")
    files.replace(page, f"{INTRODUCTION}\n{table(results)}\n".encode())
    print(page)
    rows = [row for row in results["rows"].values() if "left_out" not in row]
    return 0 if all(map(good, rows)) and all(row["same"] for row in results["kills"]) else 1


if __name__ == "__main__":
    sys.exit(main())
