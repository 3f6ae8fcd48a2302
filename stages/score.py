"""The official metric of a submission: `python -m stages.score SUBMISSION SOLUTION`."""

import sys

from stages.scoring.score import main

if __name__ == "__main__":
    sys.exit(main())
