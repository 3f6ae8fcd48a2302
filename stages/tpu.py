"""Ranks real TPU runs: `python -m stages.tpu [FOLDER]`."""

import sys

from stages.studies.tpu import main

if __name__ == "__main__":
    sys.exit(main())
