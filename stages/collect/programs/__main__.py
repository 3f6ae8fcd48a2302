"""`python -m stages.collect.programs --check [PATTERN …]`: sizes of the programs before TPU layout assignment."""

from __future__ import annotations

import argparse
import fnmatch
import sys
from pathlib import Path

from stages.collect.programs import check
from stages.collect.programs.registry import PROGRAMS


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m stages.collect.programs", description=__doc__)
    parser.add_argument("patterns", nargs="*", default=["*"], help="ids, families or kinds, as shell patterns")
    parser.add_argument("--check", action="store_true", help="compile and measure them; else they are only listed")
    parser.add_argument("--texts", type=Path, help="folder to write the modules' texts to")
    parser.add_argument("--record", action="store_true", help="write the sizes to sizes.csv beside the programs")
    options = parser.parse_args()
    chosen = [
        program
        for program in PROGRAMS.values()
        if any(
            fnmatch.fnmatch(name, pattern)
            for name in (program.id, program.family, program.kind)
            for pattern in options.patterns
        )
    ]
    if not chosen:
        print(f"{' '.join(options.patterns)}: nothing is so named; without a pattern all are listed", file=sys.stderr)
        return 1
    if options.check or options.record:
        return check.run(chosen, options.texts, options.record)
    for program in chosen:
        print(f"{program.kind} {program.split:5s} {program.kin:7s} {program.family:18s} {program.id}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
