"""A Ray cluster of three nodes on one machine, each in a network namespace with an address of its own.

A node can be killed, or cut off from the others and connected again; that is impossible for processes that share one
network. One bridge connects the namespaces. Nothing outside can reach them, so a driver runs in one of them too, see
`Cluster.inside`. Each node also has a namespace of processes, because Ray searches all processes that a driver can see
for the node of the driver. This needs root, iproute2's `ip`, and util-linux.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

ADDRESSES = ("10.77.0.1", "10.77.0.2", "10.77.0.3")  # the head's, and those of two other nodes
PLACES = ("head", "second node", "third node")
PORT = 6379
BRIDGE = "faults"
STARTED = "Ray runtime started"
LIMIT = 120.0  # seconds for a node to start on a busy machine
TRIES = 3
COMMAND = 30.0  # seconds for a command of iproute2
NODE = ("--num-cpus=1", "--object-store-memory=100000000", "--disable-usage-stats", "--block")
#: The head asks a node every second, waits 5 s for the answer, and gives the node up after 5 missing answers. With
#: Ray's own settings it notices a cut twice as late. With shorter ones a busy machine loses healthy nodes.
WATCHFUL = {"RAY_health_check_period_ms": "1000", "RAY_health_check_timeout_ms": "5000"}


class Missing(Exception):
    """This machine cannot have network namespaces, or no Ray."""


class Cluster:
    """A context with three nodes; node 0 is the head. At its end all processes in their namespaces are killed.

    Raises:
        Missing: without root, iproute2 or Ray.
        RuntimeError: a node does not start.
    """

    def __init__(self) -> None:
        self._ray = Path(sys.executable).with_name("ray")
        self._nodes: dict[int, subprocess.Popen] = {}
        self._holders: list[int] = []  # for each node, the first process in its namespaces, which keeps them

    def __enter__(self) -> Cluster:
        if os.geteuid() != 0 or not all(map(shutil.which, ("ip", "unshare", "nsenter"))):
            raise Missing("needs root, iproute2 and util-linux, for namespaces of networks and processes")
        if not self._ray.exists():
            raise Missing("needs Ray: make cluster")
        _remove()
        self._folder = Path(tempfile.mkdtemp(prefix="ray-", dir="/tmp"))  # sockets' paths have 107 bytes at most
        try:
            try:
                _connect()
                self._holders = [_hold(node) for node in range(len(ADDRESSES))]
            except subprocess.CalledProcessError as error:
                raise Missing(f"cannot make network namespaces: {error.stderr.strip()}") from None
            for node in range(len(ADDRESSES)):  # one after the other, because a busy machine starts even one slowly
                self._start(node)
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        _remove()
        for process in self._nodes.values():
            process.wait(COMMAND)
        shutil.rmtree(self._folder, ignore_errors=True)

    @property
    def address(self) -> str:
        return f"{ADDRESSES[0]}:{PORT}"

    def inside(self, node: int, command: Sequence[str]) -> tuple[str, ...]:
        """The command line that runs a command in a node's namespaces, in the caller's folder."""
        return "nsenter", f"--target={self._holders[node]}", "--net", "--pid", "--mount", "--wd=.", *command

    def _start(self, node: int) -> None:
        """Starts a node and waits until it has joined; tries again if that takes longer than Ray waits, 30 s."""
        for tries in range(TRIES, 0, -1):
            try:
                return self._start_once(node)
            except RuntimeError:
                if tries == 1:
                    raise
                self.kill(node)

    def _start_once(self, node: int) -> None:
        role = (
            ("--head", f"--port={PORT}", "--include-dashboard=false") if node == 0 else (f"--address={self.address}",)
        )
        folder = self._folder / str(node)
        command = [self._ray, "start", *role, f"--node-ip-address={ADDRESSES[node]}", f"--temp-dir={folder}", *NODE]
        log = folder.with_suffix(".txt")
        with log.open("wb") as output:
            process = self._nodes[node] = subprocess.Popen(
                self.inside(node, [str(word) for word in command]),
                env=os.environ | WATCHFUL,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        end = time.monotonic() + LIMIT
        while STARTED not in log.read_text(errors="replace"):
            if process.poll() is not None or time.monotonic() > end:
                raise RuntimeError(f"Ray's node {node} does not start: {log.read_text(errors='replace')[-1000:]}")
            time.sleep(0.2)

    def kill(self, node: int) -> None:
        """Kills Ray's processes of a node with SIGKILL, those of its tasks too, and no others."""
        process = self._nodes.pop(node)
        for number in _processes(node):
            with contextlib.suppress(ProcessLookupError):
                if os.getsid(number) == process.pid:
                    os.kill(number, signal.SIGKILL)
        process.wait(COMMAND)

    def cut(self, node: int) -> None:
        """Disconnects a node from the others."""
        _ip("link", "set", f"{BRIDGE}{node}", "down")

    def mend(self, node: int) -> None:
        """Connects a node again."""
        _ip("link", "set", f"{BRIDGE}{node}", "up")


def _hold(node: int) -> int:
    """Makes a node's namespace of processes, with a /proc of its own; returns the number of its first process."""
    command = ["unshare", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc", "sleep", "infinity"]
    outer = subprocess.Popen(["ip", "netns", "exec", _name(node), *command], stdin=subprocess.DEVNULL)
    children = Path(f"/proc/{outer.pid}/task/{outer.pid}/children")
    end = time.monotonic() + COMMAND
    while time.monotonic() < end:
        for child in children.read_text().split():
            if Path(f"/proc/{child}/comm").read_text().strip() == "sleep":
                return int(child)
        time.sleep(0.05)
    raise Missing("cannot make a namespace of processes")


def _connect() -> None:
    """Makes the bridge and the network namespaces that it connects."""
    _ip("link", "add", BRIDGE, "type", "bridge")
    _ip("link", "set", BRIDGE, "up")
    for node, address in enumerate(ADDRESSES):
        name, outer = _name(node), f"{BRIDGE}{node}"
        _ip("netns", "add", name)
        _ip("link", "add", outer, "type", "veth", "peer", "name", "eth0", "netns", name)
        _ip("link", "set", outer, "master", BRIDGE)
        _ip("link", "set", outer, "up")
        _ip("-n", name, "address", "add", f"{address}/24", "dev", "eth0")
        for device in ("lo", "eth0"):
            _ip("-n", name, "link", "set", device, "up")


def _remove() -> None:
    """Kills the processes in the namespaces and removes the namespaces and the bridge, also those of an earlier run."""
    existing = _ip("netns", "list").split()
    for node in range(len(ADDRESSES)):
        if _name(node) not in existing:
            continue
        for number in _processes(node):
            with contextlib.suppress(ProcessLookupError):
                os.kill(number, signal.SIGKILL)
        _ip("netns", "delete", _name(node))
    for device in (*(f"{BRIDGE}{node}" for node in range(len(ADDRESSES))), BRIDGE):
        if Path("/sys/class/net", device).exists():
            with contextlib.suppress(subprocess.CalledProcessError):  # it may go with its namespace just now
                _ip("link", "delete", device)


def _processes(node: int) -> list[int]:
    return [int(number) for number in _ip("netns", "pids", _name(node)).split()]


def _name(node: int) -> str:
    return f"{BRIDGE}-{node}"


def _ip(*arguments: str) -> str:
    done = subprocess.run(["ip", *arguments], capture_output=True, text=True, check=True, timeout=COMMAND)
    return done.stdout
