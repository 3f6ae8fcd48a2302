"""What the collector keeps of one measured graph: a file per graph, written whole or not at all."""

from __future__ import annotations

import io
import json
from pathlib import Path

import numpy as np

from stages import files


def path(out: Path, collection: str, identifier: str) -> Path:
    """File of one graph's record; ``collection`` as in 'layout:xla:random'."""
    return out / collection.replace(":", "/") / f"{identifier}.npz"


def write(target: Path, meta: dict, **arrays: np.ndarray) -> None:
    """Writes the record beside its place, then renames it there: a kill leaves the old state or the new one."""
    content = io.BytesIO()
    np.savez_compressed(content, meta=_bytes(json.dumps(meta, sort_keys=True)), **arrays)
    files.replace(target, content.getvalue())


def read(source: Path) -> tuple[dict, dict[str, np.ndarray]]:
    """Meta data and arrays of a record."""
    with np.load(source, allow_pickle=False) as stored:
        arrays = {key: stored[key] for key in stored.files}
    return json.loads(arrays.pop("meta").tobytes()), arrays


def _bytes(text: str) -> np.ndarray:
    return np.frombuffer(text.encode(), np.uint8)
