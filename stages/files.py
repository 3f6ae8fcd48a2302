"""Files that are there whole or not at all."""

from __future__ import annotations

import os
from pathlib import Path


def replace(path: str | Path, content: bytes) -> None:
    """Writes `content` to `path`, whose folder need not exist: to a file beside it first, which then takes its name."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        beside.write_bytes(content)
        os.replace(beside, path)
    finally:
        beside.unlink(missing_ok=True)
