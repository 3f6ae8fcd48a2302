"""The first line of a notebook's kernel, before the notebook's cells."""

from __future__ import annotations

import os
from pathlib import Path

from stages.engine import lifetime
from stages.runner import failures

#: environment variable of a kernel: the lock file that it holds together with its runner
LOCK = "STAGES_LOCK"
#: the kernel's first line, which leaves no name behind
FIRST_LINE = "from stages.runner import kernel as _kernel; _kernel.begin(); del _kernel"


def begin() -> None:
    """Makes this process end with its runner, hold the runner's lock, and be ended first when memory runs out."""
    lifetime.end_with_parent()
    lifetime.join(Path(os.environ.pop(LOCK)))
    failures.goes_first()
