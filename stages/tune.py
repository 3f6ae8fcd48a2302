"""Searches the layouts of your own JAX program: `python -m stages.tune MODULE:FUNCTION`.

Trained models judge thousands of configurations, and Google's TPU compiler, which needs no TPU, compiles the best few.
Gains are by the compiler's static schedule, not by a clock.

FUNCTION takes arrays, whose shapes `--shapes "f32[32,224,224,3]" ...` gives; or it takes nothing and returns the
function to tune and a tuple of its arguments, trees of jax.ShapeDtypeStruct. An id of a program of the data set will do
too. The same command goes on where it was, also with more compilations.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from stages.runner import failures


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; a fault is one line on standard error and status 1, an interrupt keeps the best and gives 130."""
    given = _parser().parse_args(arguments)

    def work() -> int:
        from stages.engine.errors import InputError

        try:
            from stages.tuning import command
        except ModuleNotFoundError as fault:
            raise InputError(
                f"{fault.name} is not installed here; run make tune, which makes .venv-collect, or use its python"
            ) from None
        options = command.Options(**vars(given))
        result, folder = command.tune(options)
        print(command.shown(result, folder))
        return command.INTERRUPTED if result.interrupted else 0

    return failures.exit_status(work, "interrupted before anything was compiled; start again")


def _parser() -> argparse.ArgumentParser:
    description, _, more = __doc__.partition("\n\n")
    parser = argparse.ArgumentParser(
        prog="python -m stages.tune",
        description=description,
        epilog=more,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("program", metavar="MODULE:FUNCTION", help="or the id of a program of the data set")
    parser.add_argument("--shapes", nargs="+", metavar="SHAPE", help="of the function's arguments")
    parser.add_argument(
        "--compile", type=int, default=50, dest="compilations", metavar="N", help="compilations (default: 50)"
    )
    parser.add_argument("--judge", default="models", help="models, or without a model random or evolution")
    parser.add_argument("--models", default="data", help="the pipeline's data folder, or a bundle (default: data)")
    parser.add_argument("--collection", help="whose models; by default the program's convolutions tell")
    parser.add_argument("--target", default="v3", help="v3 or v2 (default: v3, which the models learnt)")
    parser.add_argument(
        "--out", type=Path, default=Path("data/tune"), help="folder of what is made (default: data/tune)"
    )
    parser.add_argument("--cache", type=Path, help="file of compiled kernels (default: kernels.sqlite in --out)")
    parser.add_argument("--seed", type=int, default=0, help="of the search (default: 0)")
    return parser


if __name__ == "__main__":
    sys.exit(main())
