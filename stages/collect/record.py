"""What the collector keeps of one measured graph: a file per graph, written whole or not at all.

Arrays of every record: `proto`, the serialized HloProto (uint8), and `passes`, (2, c) int64 nanoseconds, the smallest
of each configuration in either timing pass. A layout's record has `configurations`, (c, nc, 3, 6) int8; a kernel's has
`config_feat`, (c, 24) float32, and `untiled`, (2,) int64 nanoseconds. Meta data: `id`, `family`, `split`, `kin` and
`settings`, and of a layout's record `source`, `search`, `compile_s`, `tau` and `nodes`, the names of its nc nodes.
"""

from __future__ import annotations

import io
import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from stages.engine import files


@dataclass(frozen=True)
class Planned:
    """A graph that was to be measured, whether or not it has a record."""

    collection: str  # 'tile:xla', or 'layout:xla' and the like, without a search; '' if unknown
    split: str | None
    family: str | None


def path(out: Path, collection: str, identifier: str) -> Path:
    """File of one graph's record; ``collection`` as in 'layout:xla:random'."""
    return out / collection.replace(":", "/") / f"{identifier}.npz"


def write(target: Path, meta: dict, **arrays: np.ndarray) -> None:
    """Writes the record beside its target, then renames it: a kill leaves the old state or the new one."""
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
