"""How long runs and trainings took, beside the outputs of their stages, which have the same bytes every time.

DATA/times/REPORT.json is about the last run of a stage. DATA/seconds/STAGE-SLUG.json maps the digest of the scores that
came of a training to its processor seconds, which do not depend on what else the machine does. A result that DVC
restores from its cache is found there again.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

from stages.engine import files
from stages.graphs.collection import slug


def ran(data: str | Path, name: str, stage: str, collection: str | None, seconds: float, processor: float) -> None:
    """Keeps how long the last run of a stage took: wall-clock and processor seconds, its workers' with them."""
    content = {"stage": stage, "collection": collection, "seconds": round(seconds, 3), "processor": round(processor, 3)}
    files.replace(Path(data, "times", f"{name}.json"), (json.dumps(content) + "\n").encode())


def write(data: str | Path, stage: str, collection: str, seconds: float) -> None:
    """Keeps the processor seconds, of all seeds together, in which the scores that lie there now were trained."""
    file = _folder(data) / f"{stage}-{slug(collection)}.json"
    _add(file, {_digest(data, stage, collection): round(seconds, 3)})


def read(data: str | Path, stage: str, collection: str) -> float | None:
    """The processor seconds of the scores that lie there now; None where nobody measured them."""
    return _known(_folder(data) / f"{stage}-{slug(collection)}.json").get(_digest(data, stage, collection))


def merge(source: str | Path, target: str | Path) -> None:
    """Adds what was measured below one data folder to what is known below another."""
    for file in sorted(_folder(source).glob("*.json")):
        _add(_folder(target) / file.name, _known(file))


def _folder(data: str | Path) -> Path:
    return Path(data, "seconds")


def _add(file: Path, measured: dict[str, float]) -> None:
    content = json.dumps(_known(file) | measured, indent=1, sort_keys=True)
    files.replace(file, (content + "\n").encode())


def _known(file: Path) -> dict[str, float]:
    """What a file holds; nothing, where it is not there or damaged: that is measured again."""
    try:
        content = json.loads(file.read_text())
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def _digest(data: str | Path, stage: str, collection: str) -> str:
    return hashlib.sha256(Path(data, stage, slug(collection), "scores.parquet").read_bytes()).hexdigest()
