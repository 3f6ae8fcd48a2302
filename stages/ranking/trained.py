"""Where trained models are: the pipeline's data folder, or a bundle while it is unpacked."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

#: where the pipeline leaves the models
MODELS = "data"


@contextmanager
def opened(models: str | Path) -> Iterator[Path]:
    """The folder of models: the pipeline's, or a bundle's while it is unpacked.

    A bundle that other code made is used, with a warning on standard error.

    Raises:
        InputError: The bundle is missing or damaged. A folder is not looked into.
    """
    origin = Path(models)
    if origin.is_dir() or (str(models) == MODELS and not origin.exists()):
        yield origin
        return
    from stages.ranking import bundles

    with bundles.unpacked(origin) as folder:
        if bundles.other_code(origin):
            print(f"{origin}: was made by other code than this, so its scores may be others", file=sys.stderr)
        yield folder
