"""Checks npz files of TpuGraphs: `python -m stages.npz ROOT`, a whole data set or a folder of files."""

import sys

from stages.graphs.npz import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
