"""Ranks real TPU runs: `python -m stages.tpu [FOLDER]`."""

import sys

from stages.engine.errors import InputError
from stages.studies.tpu import main

if __name__ == "__main__":
    try:
        main()
    except InputError as error:
        sys.exit(str(error))
