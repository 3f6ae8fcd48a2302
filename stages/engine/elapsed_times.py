"""Records how long runs and trainings took, outside the stages' outputs, which have the same bytes in every run.

DATA/times/REPORT.json holds the times of a stage's last run. DATA/seconds/STAGE-SLUG.json maps the digest of a scores
file to the processor seconds of the training that made it. Processor seconds depend little on the machine's other work.
The digest finds the seconds of a result again that DVC restores from its cache.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

from stages.engine import files
from stages.graphs.collection import slug


def ran(data: str | Path, name: str, stage: str, collection: str | None, seconds: float, processor: float) -> None:
    """Records how long the last run of a stage took.

    Args:
        data: the folder of all data.
        name: of the report, STAGE or STAGE-SLUG.
        stage: the stage's name.
        collection: official name; None for a stage that sees all collections.
        seconds: wall-clock seconds.
        processor: processor seconds, with those of the workers.
    """
    content = {"stage": stage, "collection": collection, "seconds": round(seconds, 3), "processor": round(processor, 3)}
    files.replace(Path(data, "times", f"{name}.json"), (json.dumps(content) + "\n").encode())


def write(data: str | Path, stage: str, collection: str, seconds: float) -> None:
    """Records the processor seconds, of all seeds together, of the training that made the stage's present scores."""
    file = _folder(data) / f"{stage}-{slug(collection)}.json"
    _add(file, {_digest(data, stage, collection): round(seconds, 3)})


def read(data: str | Path, stage: str, collection: str) -> float | None:
    """The processor seconds of the training that made the present scores; None if they were not recorded."""
    return _recorded(_folder(data) / f"{stage}-{slug(collection)}.json").get(_digest(data, stage, collection))


def merge(source: str | Path, target: str | Path) -> None:
    """Adds the records of training times in one data folder to those in another."""
    for file in sorted(_folder(source).glob("*.json")):
        _add(_folder(target) / file.name, _recorded(file))


def _folder(data: str | Path) -> Path:
    return Path(data, "seconds")


def _add(file: Path, measured: dict[str, float]) -> None:
    content = json.dumps(_recorded(file) | measured, indent=1, sort_keys=True)
    files.replace(file, (content + "\n").encode())


def _recorded(file: Path) -> dict[str, float]:
    """The records of a file: digest of scores -> processor seconds; empty if the file is missing or damaged."""
    try:
        content = json.loads(file.read_text())
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def _digest(data: str | Path, stage: str, collection: str) -> str:
    return hashlib.sha256(Path(data, stage, slug(collection), "scores.parquet").read_bytes()).hexdigest()
