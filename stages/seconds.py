"""How long a training took, beside the outputs of its stage: the pipeline's outputs have the same bytes every time.

DATA/seconds/STAGE-SLUG.json holds processor seconds, which do not depend on what else the machine does, and the digest
of the scores that came of them: a result that was restored from DVC's cache says nothing of how long it took.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

from stages import files
from stages.collection import slug


def file(data: str | Path, stage: str, collection: str) -> Path:
    """Where the seconds of a stage and collection lie. No output of the stage: what is missing was not measured."""
    return Path(data, "seconds", f"{stage}-{slug(collection)}.json")


def write(data: str | Path, stage: str, collection: str, seconds: float) -> None:
    """Keeps the processor seconds, of all seeds together, in which the scores that lie there now were trained."""
    content = {"scores": _digest(data, stage, collection), "seconds": round(seconds, 3)}
    files.replace(file(data, stage, collection), (json.dumps(content) + "\n").encode())


def read(data: str | Path, stage: str, collection: str) -> float | None:
    """The processor seconds of the scores that lie there now; None where nobody measured them."""
    try:
        content = json.loads(file(data, stage, collection).read_text())
        return content["seconds"] if content["scores"] == _digest(data, stage, collection) else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _digest(data: str | Path, stage: str, collection: str) -> str:
    return hashlib.sha256(Path(data, stage, slug(collection), "scores.parquet").read_bytes()).hexdigest()
