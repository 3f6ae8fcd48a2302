"""Runs one stage's notebook with its section of params.yaml: `python -m stages.run STAGE [key=value ...]`.

Papermill executes the notebook. stages/runner adds what papermill lacks: it refuses parameters that are unknown or of
the wrong type, tells a failure in one line, and writes a report whose bytes depend on the notebook's results alone.
"""
# ruff: noqa: E402

import logging
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

INTERRUPTED = "" if "STAGES_REPRO" in os.environ else "interrupted\n"  # stages.repro prints a line of its own
if __name__ == "__main__":  # the imports below take a second, and an interrupt during them must print one line too
    signal.signal(signal.SIGINT, lambda *_: (os.write(2, INTERRUPTED.encode()), os._exit(130)))

from stages.engine import lifetime
from stages.runner import failures, notebook, parameters, stage


def main(arguments: Sequence[str] | None = None, project: str | Path = ".") -> int:
    """Runs a stage from the command line.

    Returns:
        The exit status: 0, 130 after an interrupt, or 1 after one line on stderr.
    """
    arguments = sys.argv[1:] if arguments is None else arguments
    logging.getLogger("asyncio").setLevel(logging.CRITICAL)  # it reports the remains of an interrupted notebook

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
