"""Keeps what compiled kernels cost, on disk, so that a kernel is compiled once whatever program it stands in.

One SQLite file: a record is there whole or not at all, and processes share it.
"""

from __future__ import annotations

import hashlib
import json
import sqlite3
from collections.abc import Iterable
from contextlib import contextmanager
from pathlib import Path

from stages.collect.tpu import libtpu, schedule
from stages.engine.errors import InputError

#: seconds that a writer waits for another one
_PATIENCE_S = 60
#: SQLite takes at most this many values in one statement everywhere
_AT_ONCE = 500


def key_of(text: str, topology: str | None = None) -> str:
    """Key of a kernel: a hash of its text, the compiler's version, the topology and the reader's version.

    Args:
        topology: By default the data set's.
    """
    whole = "\0".join([text, libtpu.VERSION, topology or libtpu.TOPOLOGY, str(schedule.READER_VERSION)])
    return hashlib.sha256(whole.encode()).hexdigest()


class KernelCache:
    """Records of kernels by key.

    Args:
        path: The SQLite file, made where it is missing.

    Raises:
        InputError: The file is no such cache, or cannot be written.
    """

    def __init__(self, path: Path) -> None:
        self._path = Path(path)
        with self._explained():
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._connection = sqlite3.connect(self._path, timeout=_PATIENCE_S, isolation_level=None)
            # With a write-ahead log, readers go on while another process writes.
            self._connection.execute("PRAGMA journal_mode=WAL")
            self._connection.execute("PRAGMA synchronous=NORMAL")
            self._connection.execute("CREATE TABLE IF NOT EXISTS kernels (key TEXT PRIMARY KEY, record TEXT NOT NULL)")

    def get(self, keys: Iterable[str]) -> dict[str, dict]:
        """Records of those of the keys that are kept."""
        wanted = list(dict.fromkeys(keys))
        rows: dict[str, dict] = {}
        with self._explained():
            for first in range(0, len(wanted), _AT_ONCE):
                part = wanted[first : first + _AT_ONCE]
                marks = ",".join("?" * len(part))
                query = f"SELECT key, record FROM kernels WHERE key IN ({marks})"
                rows.update((key, json.loads(record)) for key, record in self._connection.execute(query, part))
        return rows

    def put(self, key: str, record: dict) -> None:
        """Keeps a record; the first one of a key stays."""
        with self._explained():
            self._connection.execute("INSERT OR IGNORE INTO kernels VALUES (?, ?)", (key, json.dumps(record)))

    def close(self) -> None:
        self._connection.close()

    @contextmanager
    def _explained(self):
        try:
            yield
        except (sqlite3.Error, OSError) as fault:
            raise InputError(
                f"{self._path}: the cache of kernels cannot be used ({fault}); make room, or remove the file, and "
                "start again: what is kept is not compiled anew"
            ) from None
