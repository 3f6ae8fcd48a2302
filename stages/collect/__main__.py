"""`python -m stages.collect`: makes a data set of layout and tile configurations; may be killed and started again.

--target tpu (the default) asks Google's TPU compiler what each configuration costs on a TPU v3: simulated times.
--target cpu compiles for XLA:CPU and takes the time on this machine: measured times, of another kind.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

TARGETS = ("tpu", "cpu")


def target_of(arguments: Sequence[str]) -> tuple[str, list[str]]:
    """Takes --target out of a command line, wherever it stands.

    Returns:
        The target, and the arguments that are left.

    Raises:
        ValueError: There is no such target.
    """
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False, exit_on_error=False)
    parser.add_argument("--target", choices=TARGETS, default=TARGETS[0])
    try:
        options, rest = parser.parse_known_args(arguments)
    except argparse.ArgumentError:
        raise ValueError(f"--target: no such target; give {' or '.join(TARGETS)}") from None
    return options.target, rest


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the collector of a target; the exit status."""
    try:
        target, rest = target_of(sys.argv[1:] if arguments is None else arguments)
    except ValueError as fault:
        print(fault, file=sys.stderr)
        return 1
    if target == "tpu":
        from stages.collect.tpu_data.__main__ import main as collect
    else:
        from stages.collect.cpu.__main__ import main as collect
    return collect(rest)


if __name__ == "__main__":
    sys.exit(main())
