"""What `python -m stages.tune` does: from a program to a page."""

from __future__ import annotations

import contextlib
import hashlib
import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from tqdm import tqdm

from stages.collect.tpu import libtpu
from stages.collect.tpu.simulate import Simulator
from stages.collect.tpu_data.compiled import Interrupted
from stages.collect.tpu_data.store import Tried
from stages.engine.errors import InputError
from stages.ranking.trained import MODELS, opened
from stages.runner import failures
from stages.tuning import judging, outcome, problem, report, snippet, source, tuner
from stages.tuning.attempts import Attempts, Picks
from stages.tuning.outcome import Outcome
from stages.tuning.surrogate import Layouts

JUDGES = ("models", *tuner.BASELINES)
#: of the kernels that were compiled for any program
KERNELS = "kernels.sqlite"
INTERRUPTED = 130
#: of `libtpu.TARGETS` those of which a program is a plain list of kernels
TARGETS = ("v3", "v2")


@dataclass(frozen=True)
class Options:
    """A command line.

    Attributes:
        program: MODULE:FUNCTION, or an id of the data set.
        shapes: Of the function's arguments, None for none.
        compilations: The budget.
        judge: Of `JUDGES`.
        models: The pipeline's data folder, or a bundle.
        collection: Whose models; None: told by the program.
        target: Of `TARGETS`.
        out: Folder of all programs.
        seed: Of the search.
        cache: File of compiled kernels, which the collector may share; None: one in `out`.
    """

    program: str
    shapes: Sequence[str] | None = None
    compilations: int = 50
    judge: str = "models"
    models: str = MODELS
    collection: str | None = None
    target: str = "v3"
    out: Path = Path("data/tune")
    seed: int = 0
    cache: Path | None = None


def _tell(text: str) -> None:
    print(text, file=sys.stderr)


def tune(options: Options, tell: Callable[[str], None] = _tell) -> tuple[Outcome, Path]:
    """Tunes a program and writes its page and files; what was compiled stays, so that it goes on where it was.

    Args:
        tell: Takes a line for the user, beside the progress bar.

    Returns:
        The outcome, of what was compiled until then where the user interrupted it, and the folder of its files.

    Raises:
        InputError: A fault in what was given.
    """
    _check(options)
    libtpu.set_environment(topology=libtpu.TARGETS[options.target])
    os.environ["PYTHONHASHSEED"] = "0"  # names that libraries keep in sets would come in another order in each process
    with opened(options.models) if options.judge == "models" else contextlib.nullcontext() as trained:
        if trained is not None:
            # Early, before minutes of compiling.
            judging.check(trained, options.collection and judging.layout_collection(options.collection))
        failures.check_writable(options.out)
        tell(f"tracing {options.program}")
        traced = source.read(options.program, options.shapes)
        folder = options.out / (traced.name if options.target == "v3" else f"{traced.name}-{options.target}")
        if options.target != "v3":
            tell(f"--target {options.target}: {outcome.OTHER_TARGET}")
        cache, topology = options.cache or options.out / KERNELS, libtpu.TARGETS[options.target]
        tell(f"compiling {traced.name} with the compiler's own layouts")
        try:
            with Simulator(cache, topology=topology) as simulator:
                given = problem.read(traced.name, options.target, traced.text, simulator, folder)
                attempts, about = _search(options, given, trained, simulator, folder)
            with Simulator(cache, topology=topology) as simulator:  # an interrupt ended the processes of the other one
                result, text = _ended(given, attempts, simulator, about)
                tuned = snippet.make(traced, given, result.layouts, simulator) if result.layouts else None
        except Interrupted as fault:
            raise InputError(f"{options.program}: {fault}: what was compiled is kept") from None
    report.write(folder, result, text, tuned)
    if result.layouts:
        tell(report.in_jax(result, tuned).replace("`", ""))
    return result, folder


def _check(options: Options) -> None:
    if options.compilations < 1:
        raise InputError(f"--compile {options.compilations}: is no number of compilations; give 1 or more")
    if options.judge not in JUDGES:
        raise InputError(f"--judge {options.judge}: is none of {', '.join(JUDGES)}; give one of these")
    if options.target not in libtpu.TARGETS:
        raise InputError(f"--target {options.target}: is no TPU that libtpu compiles for; give {' or '.join(TARGETS)}")
    if options.target not in TARGETS:
        raise InputError(
            f"--target {options.target}: cannot be simulated kernel by kernel, because there the compiler copies "
            f"beside kernels and keeps tensors between them in the core's memory; give {' or '.join(TARGETS)}"
        )
    libtpu.require()


def _search(
    options: Options, given: problem.Problem, trained: Path | None, simulator: Simulator, folder: Path
) -> tuple[Attempts, dict]:
    """Spends the budget, or a part of it where the user interrupts; what was compiled, and fields of `Outcome`."""
    tried = Tried(folder / "tried.jsonl", given.identity)
    about = {"judge": options.judge, "collection": None, "judged": 0, "interrupted": False}
    with tqdm(total=options.compilations, unit="compilation", file=sys.stderr, dynamic_ncols=True) as bar:

        def tick() -> None:
            bar.set_description(f"best {given.own_ns / attempts.best[1]:.3f}")
            bar.update()

        attempts = Attempts(
            given.free,
            given.own_ns,
            lambda choice: given.time_ns(simulator, choice),
            tried,
            options.compilations,
            tick,
        )
        try:
            if options.judge in tuner.BASELINES:
                tuner.by_baseline(options.judge, given, attempts, options.seed)
            else:
                collection = about["collection"] = judging.collection_of(given, options.collection)
                layouts = Layouts(given)
                models = judging.Judge(given, judging.read(trained, collection), layouts)
                key = f"{given.identity} {options.seed} {judging.digest(trained, collection)}"
                name = hashlib.sha256(key.encode()).hexdigest()[:16]
                picks = Picks(folder / f"picks-{name}.json", key)
                try:
                    tuner.by_judge(given, models, layouts, attempts, picks, options.seed, bar.set_postfix_str)
                finally:
                    about["judged"] = sum(each["judged"] for each in picks)
        except KeyboardInterrupt:
            about["interrupted"] = True
        finally:
            tried.close(keep=True)
    return attempts, about


def _ended(given: problem.Problem, attempts: Attempts, simulator: Simulator, about: dict) -> tuple[Outcome, str]:
    """The outcome, and the text of the program with the layouts found."""
    best, best_ns = attempts.best
    if best_ns >= given.own_ns:
        return outcome.of(given, attempts, given.free, given.own_ns, None, **about), given.text
    own = given.simulation(simulator, given.free)
    simple = outcome.simplified(Layouts(given), best)
    found = given.simulation(simulator, simple)
    if found.time_ns is None or round(found.time_ns) > best_ns:  # the replay does not tell all: what was timed stays
        simple, found = best, given.simulation(simulator, best)
    result = outcome.of(given, attempts, simple, float(round(found.time_ns)), (own, found), **about)
    return result, given.constrained(simple)


def shown(result: Outcome, folder: Path) -> str:
    """What the screen shows at the end."""
    lines = [result.finding(), f"Times are {outcome.TIMES}, for a TPU {result.target}."]
    if result.target != "v3":
        lines.append(f"Mind that {outcome.OTHER_TARGET}.")
    for kind, saved in outcome.by_kind(result.kernels).items():
        lines.append(f"  {kind:<12} {saved / 1000:+12,.1f} µs saved")
    best = result.own_ns / result.best_so_far()
    marks = [mark for mark in np.unique([5, 10, 20, 50, 100, 200, len(best) - 1]) if 0 < mark < len(best)]
    steps = [f"{best[mark]:.3f} after {mark}" for mark in marks]
    lines.append("Gain by compilations: " + ", ".join(steps))
    names = (report.PAGE, report.HLO, report.LAYOUTS, report.OUTCOME, report.TUNED)
    lines.append(f"{folder}: {', '.join(name for name in names if (folder / name).exists())}")
    return "\n".join(lines)
