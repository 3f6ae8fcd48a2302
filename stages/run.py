"""Run one stage's notebook with its section of params.yaml: `python -m stages.run STAGE [key=value ...]`.

Papermill executes; stages/runner adds what it lacks: parameters that are refused when unknown or of the wrong type,
failures in one line, and a report whose bytes depend on nothing but the notebook's results.
"""
# ruff: noqa: E402

import logging
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

INTERRUPTED = "" if "STAGES_REPRO" in os.environ else "interrupted\n"  # stages.repro says so itself
if __name__ == "__main__":  # what follows takes a second to import, and an interrupt there is to be one line too
    signal.signal(signal.SIGINT, lambda *_: (os.write(2, INTERRUPTED.encode()), os._exit(130)))

from stages.engine import lifetime
from stages.runner import failures, notebook, parameters, stage


def main(arguments: Sequence[str] | None = None, project: str | Path = ".") -> int:
    """Runs a stage from the command line.

    Returns:
        The exit status: 0, 130 after an interrupt, or 1 after one line on stderr.
    """
    arguments = sys.argv[1:] if arguments is None else arguments
    logging.getLogger("asyncio").setLevel(logging.CRITICAL)  # what it finds left of an interrupted notebook is no news

    def work() -> int | None:
        if not arguments or arguments[0] in ("-h", "--help"):
            stages = ", ".join(notebook.names(Path(project)))
            print("usage: python -m stages.run STAGE [key=value ...]; stages:", stages)
            return 0 if arguments else 1
        stage.run(arguments[0], dict(map(parameters.parse, arguments[1:])), project)
        return None

    return failures.exit_status(work)


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.default_int_handler)
    lifetime.end_with_starters(signal.SIGKILL, lambda: (lifetime.end_all_below(), os._exit(1)))
    sys.exit(main())
