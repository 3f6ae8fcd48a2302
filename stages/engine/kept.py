"""What a stage trained or computed, kept outside its outputs under an identity, so that the work is done once.

DVC removes the outputs of a stage before it runs the stage again, even if only its page has changed. This module then
brings back what was trained. It keeps the last result of each collection; DVC's cache has the earlier ones.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping
from pathlib import Path

import polars as pl

from stages.engine import files

#: file that holds the identity of a result; it is written last and removed first, so that half a result has none
NAME = "identity"


def keep(outputs: Path, folder: Path, identity: str) -> None:
    """Keeps a copy of a stage's outputs and removes what was kept before.

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
    """Restores a stage's outputs if the kept copy has this identity.

    Args:
        outputs: the folder of the outputs; a restored copy replaces all that it holds.
        folder: where the copy is kept.
        identity: the digest of the result that is asked for.

    Returns:
        Whether the outputs were restored.
    """
    try:
        if (folder / NAME).read_text() != identity:
            return False
    except (OSError, ValueError):  # nothing is kept, or not to its end
        return False
    shutil.rmtree(outputs, ignore_errors=True)
    shutil.copytree(folder, outputs, ignore=shutil.ignore_patterns(NAME))
    return True


def tables(folder: Path, identity: str, compute: Callable[[], Mapping[str, pl.DataFrame]]) -> dict[str, pl.DataFrame]:
    """Tables that are computed once under an identity, and read from their folder after that.

    Args:
        folder: where to keep the tables; made where it is missing.
        identity: a digest of all that decides the tables.
        compute: returns the tables by their names; neither a name nor the identity has a space.

    Returns:
        Name -> table.
    """
    try:
        kept_identity, *names = (folder / NAME).read_text().split()
        if kept_identity == identity:
            return {name: pl.read_parquet(folder / f"{name}.parquet") for name in names}
    except (OSError, ValueError, pl.exceptions.PolarsError):  # nothing is kept, or not to its end
        pass
    (folder / NAME).unlink(missing_ok=True)
    shutil.rmtree(folder, ignore_errors=True)
    computed = dict(compute())
    for name, table in computed.items():
        with files.replacing(folder / f"{name}.parquet") as beside:
            table.write_parquet(beside)
    files.replace(folder / NAME, " ".join([identity, *computed]).encode())
    return computed
