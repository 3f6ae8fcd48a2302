"""Files that are there whole or not at all."""

from __future__ import annotations

import contextlib
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


def replace(path: str | Path, content: bytes) -> None:
    """Writes `content` to `path`, whose folder need not exist, whole or not at all."""
    with replacing(path) as beside:
        beside.write_bytes(content)


@contextmanager
def replacing(path: str | Path) -> Iterator[Path]:
    """A file beside `path` to write to, which takes its name at the end; its folder need not exist.

    Where the writing fails there is neither of the two, or what was there before, and the OSError names the path.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f".{path.name}.{socket.gethostname()}.{os.getpid()}.part")  # machines may share the folder
    try:
        yield beside
        os.replace(beside, path)
    except OSError as error:
        if error.errno is None or error.filename not in (None, str(beside)):
            raise
        raise OSError(error.errno, error.strerror, str(path)) from None  # that of a full disk names no file
    finally:
        with contextlib.suppress(OSError):
            beside.unlink(missing_ok=True)
