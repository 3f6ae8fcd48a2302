"""Writes files whole or not at all."""

from __future__ import annotations

import contextlib
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


def replace(path: str | Path, content: bytes) -> None:
    """Writes a file, whole or not at all.

    Args:
        path: the file; its folder need not exist.
        content: its bytes.

    Raises:
        OSError: the file cannot be written; it names the path.
    """
    with replacing(path) as beside:
        beside.write_bytes(content)


@contextmanager
def replacing(path: str | Path) -> Iterator[Path]:
    """Yields a path beside `path` to write to, which is renamed to `path` at the end of the block.

    If the block fails, the file beside is removed, and an earlier file under `path` stays as it was.

    Args:
        path: the file; its folder need not exist.

    Raises:
        OSError: the file cannot be written; it names `path`.
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
        raise OSError(error.errno, error.strerror, str(path)) from None  # the error of a full disk names no file
    finally:
        with contextlib.suppress(OSError):
            beside.unlink(missing_ok=True)
