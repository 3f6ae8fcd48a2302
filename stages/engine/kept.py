"""What a stage trained, kept outside its outputs under an identity, so that it is trained once.

DVC removes a stage's outputs before it runs the stage again, also where only its page has changed. What was trained is
then brought back from here. One result a collection is kept, the last: earlier ones are in DVC's cache.
"""

from __future__ import annotations

import shutil
from pathlib import Path

from stages.engine import files

NAME = "identity"  # of the file that says whose result it is; written last, removed first


def keep(outputs: Path, folder: Path, identity: str) -> None:
    """Keeps a copy of a stage's outputs in the place of what was kept before.

    Args:
        outputs: the folder of the outputs, whole.
        folder: where to keep them; made where it is missing.
        identity: a digest of all that decides the result: code, settings, data.
    """
    (folder / NAME).unlink(missing_ok=True)
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(outputs, folder)
    files.replace(folder / NAME, identity.encode())


def restored(outputs: Path, folder: Path, identity: str) -> bool:
    """Whether what is kept has this identity; if so, it stands in `outputs` now, and nothing else does."""
    try:
        if (folder / NAME).read_text() != identity:
            return False
    except (OSError, ValueError):  # nothing is kept, or not to its end
        return False
    shutil.rmtree(outputs, ignore_errors=True)
    shutil.copytree(folder, outputs, ignore=shutil.ignore_patterns(NAME))
    return True
