"""`python -m stages.collect.programs --check [PATTERN]`: sizes of the programs before TPU layout assignment."""

from __future__ import annotations

import argparse
import fnmatch
import sys
from pathlib import Path

from stages.collect.programs import check
from stages.collect.programs.registry import PROGRAMS


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m stages.collect.programs", description=__doc__)
    parser.add_argument("pattern", nargs="?", default="*", help="ids, or families, as a shell pattern (default: all)")
    parser.add_argument("--check", action="store_true", help="compile and measure them; else they are only listed")
    parser.add_argument("--texts", type=Path, help="folder to write the modules' texts to")
    parser.add_argument("--table", type=Path, help="CSV file to write the sizes to")
    options = parser.parse_args()
    chosen = [
        program
        for program in PROGRAMS.values()
        if fnmatch.fnmatch(program.id, options.pattern) or fnmatch.fnmatch(program.family, options.pattern)
    ]
    if not chosen:
        print(f"{options.pattern}: no program or family is so named; without a pattern all are listed", file=sys.stderr)
        return 1
    if options.check:
        return check.run(chosen, options.texts, options.table)
    for program in chosen:
        print(f"{program.kind} {program.split:5s} {program.kin:7s} {program.family:18s} {program.id}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
