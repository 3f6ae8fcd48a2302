"""Bundles the trained models into one file: `python -m stages.bundle`, or `make bundle`.

`python -m stages.rank --models FILE` then needs nothing else of the pipeline. `stages.ranking.bundles` says what is in
the file.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from stages.engine.errors import InputError

OUT = Path("data", "bundle.zip")


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; a fault is one line on standard error and status 1."""
    parser = argparse.ArgumentParser(prog="python -m stages.bundle", description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=OUT, help=f"the bundle; default: {OUT}")
    parser.add_argument(
        "--data", type=Path, default=Path("data"), help="folder of the pipeline's outputs; default: data"
    )
    given = parser.parse_args(arguments)
    try:
        from stages.ranking import bundles  # it imports what trains, which takes seconds

        contents = bundles.write(given.data, given.out)
    except InputError as fault:
        print(fault, file=sys.stderr)
        return 1
    size = given.out.stat().st_size
    print(f"{given.out}: {size:,} bytes, models of {', '.join(contents['collections'])}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
