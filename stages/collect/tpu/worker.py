"""What a compiling process does with a job; a failed check in the compiler ends it, and its parent starts another."""

from __future__ import annotations

import base64
import json
import os
import re
import shutil
import sys
import tempfile
from multiprocessing.connection import Connection
from pathlib import Path

from stages.collect.tpu import libtpu, passes, schedule

#: file that the compiler's messages go to; what it says as it dies stands there
MESSAGES = "messages.txt"
#: below this a dump may be cut off, and be read as a cheaper kernel
ROOM_BYTES = 256 * 2**20
#: dumps of the compiler's own start and end, and of its analysis: no kernel's code
_NOT_CODE = ("<late", "-TLP", "schedule-analysis")
_CONFIG = re.compile(rb'"window_config":(\{[^}]*\})')


def serve(pipe: Connection, folder: str, topology: str = libtpu.TOPOLOGY) -> None:
    """Answers jobs until the pipe closes, as it does when the parent ends. Bytes of JSON both ways: nothing is pickled.

    Args:
        pipe: Takes ``[kind, text]``, kind "kernel", "passes" or "optimised"; gives ``{"record": …}``,
            ``{"refused": reason}`` or ``{"full": folder}``.
        folder: Empty folder for the compiler's dumps and, in `MESSAGES`, for what it says; removed at the end.
        topology: That is compiled for, of `libtpu.TARGETS`.
    """
    messages = os.open(Path(folder) / MESSAGES, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(messages, sys.stdout.fileno())
    os.dup2(messages, sys.stderr.fileno())
    dumps = Path(folder) / "dumps"
    dumps.mkdir()
    libtpu.set_environment(dumps, topology)
    tempfile.tempdir = folder  # whatever a dying process leaves is removed with the folder
    tasks = {
        "kernel": lambda text: kernel_record(text, dumps, topology),
        "passes": lambda text: stages_record(text, topology),
        "optimised": lambda text: passes.optimised(text, topology),
    }
    while True:
        try:
            kind, text = json.loads(pipe.recv_bytes())
        except EOFError:
            shutil.rmtree(folder, ignore_errors=True)
            return
        if shutil.disk_usage(dumps).free < ROOM_BYTES:
            answer = {"full": folder}
        else:
            try:
                answer = {"record": tasks[kind](text)}
            except libtpu.CompileError as fault:
                answer = {"refused": str(fault).splitlines()[0][:300] if str(fault) else "refused without a word"}
        try:
            pipe.send_bytes(json.dumps(answer).encode())
        except BrokenPipeError:  # the parent has ended meanwhile
            shutil.rmtree(folder, ignore_errors=True)
            return


def stages_record(text: str, topology: str = libtpu.TOPOLOGY) -> dict:
    """Runs the HLO passes on a module: the fields of `passes.Stages`, the proto in base64."""
    stages = passes.run(text, topology)
    return {**vars(stages), "before_proto": base64.b64encode(stages.before_proto).decode()}


def kernel_record(text: str, dumps: Path, topology: str = libtpu.TOPOLOGY) -> dict:
    """Compiles a kernel and reads its schedule.

    Returns:
        ``schedules``, records of `schedule.Schedule`, one for each piece of code, and ``window``, the compiler's
        ``window_config`` of the kernel, None where it has none.
    """
    for path in dumps.iterdir():
        path.unlink()
    optimised = libtpu.compile_module(text, topology=topology)
    files = [
        path for path in sorted(dumps.glob("*final_bundles.txt")) if not any(part in path.name for part in _NOT_CODE)
    ]
    config = _CONFIG.search(optimised)
    return {
        "schedules": [schedule.read(path.read_text()).record() for path in files],
        "window": json.loads(config[1]) if config else None,
    }
