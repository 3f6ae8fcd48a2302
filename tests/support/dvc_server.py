"""DVC's command line with its modules loaded once: to load them takes longer than most commands.

Reads a call a line, as JSON, from standard input, does it in a process of its own, and writes the exit status. It ends
with its input.
"""

import json
import os
import sys

# What the commands of the tests load, which DVC itself loads as late as it can.
import dvc.commands.repro  # noqa: F401
import dvc.repo.experiments
import dvc.repo.reproduce
import dvc.stage.run  # noqa: F401
from dvc.cli import main, parser  # noqa: F401


def call(folder: str, environment: dict[str, str], output: str, error: str, arguments: list[str]) -> None:
    """Does a call in this process and ends it.

    Args:
        folder: where it works.
        environment: all its variables.
        output, error: files of what it shows; they are there.
        arguments: of the command line, without `dvc`.
    """
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    for descriptor, path in enumerate((os.devnull, output, error)):
        opened = os.open(path, os.O_RDONLY if descriptor == 0 else os.O_WRONLY)
        os.dup2(opened, descriptor)
        os.close(opened)
    status = 1
    try:
        status = main(arguments)
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


for line in sys.stdin:
    if not (process := os.fork()):
        call(*json.loads(line))
    print(os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]), flush=True)
