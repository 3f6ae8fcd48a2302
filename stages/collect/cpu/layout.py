"""Measures the layout configurations of one program, by both searches."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from stages.collect import record
from stages.collect.cpu import compiling, search, timing
from stages.collect.cpu.constraints import configurable_nodes, constrained
from stages.collect.cpu.programs.program import Program
from stages.collect.hlo_text import layouts_of
from stages.collect.pool import Later, Unmeasurable
from stages.collect.seed import seed_of

#: rounds after each generation of the evolutionary search, and runs in a turn
QUICK_ROUNDS, QUICK_REPEATS = 4, 3
#: after this many random configurations a program whose layouts hardly matter is given up
EARLY_LOOK, EARLY_SPREAD = 12, 1.17


class LayoutProgram:
    """A program's module before layout assignment, with executables of its configurations.

    A configuration is (nc, 3, 6) int8: minor-to-major orders of each configurable node's slots, padded with -1.

    Raises:
        Unmeasurable: it has no configurable node, or the compiler refuses the row-major configuration.
        Later: one compilation takes more than ``compile_limit_s`` processor seconds.
    """

    def __init__(self, program: Program, compile_limit_s: float, tick: Callable):
        import jax

        function, arguments = program.build()
        self.proto, self.text, assigned = compiling.dumped(function, arguments)
        self.nodes = configurable_nodes(self.text)
        if not self.nodes:
            raise Unmeasurable("no configurable node")
        self.row_major = layouts_of("", self.nodes)
        self.compilers_choice = layouts_of(assigned, self.nodes)
        rng = np.random.default_rng(seed_of(program.id))
        self.arguments = compiling.example_arguments(jax.tree.leaves(arguments), rng)
        self._tick = tick
        self._compiled: dict[bytes, object | None] = {}
        self._expected: list[np.ndarray] | None = None
        begin = time.process_time()
        if self.executable(self.row_major) is None:
            raise Unmeasurable("the compiler refuses the row-major configuration")
        self.compile_s = time.process_time() - begin
        if self.compile_s > compile_limit_s:
            raise Later(f"a compilation takes {self.compile_s:.2f} s")

    def accepts(self, configuration: np.ndarray) -> bool:
        """Whether the configuration can be had; ticks for one that was neither compiled nor refused before."""
        if configuration.tobytes() not in self._compiled:
            self._tick()
        return self.executable(configuration) is not None

    def executable(self, configuration: np.ndarray):
        """Executable of a configuration, None if XLA refuses to compile or to run it (an FFT wants some layouts).

        Raises:
            Unmeasurable: its results are not the row-major configuration's to rounding.
        """
        key = configuration.tobytes()
        if key not in self._compiled:
            self._compiled[key] = self._compile(configuration)
        return self._compiled[key]

    def _compile(self, configuration: np.ndarray):
        import jax

        try:
            executable = compiling.executable(constrained(self.text, self.nodes, configuration))
            outputs = [np.asarray(output, np.float64) for output in executable.execute(self.arguments)]
        except jax.errors.JaxRuntimeError:
            return None
        if self._expected is None:
            self._expected = outputs
        for output, expected in zip(outputs, self._expected, strict=True):
            tolerance = 1e-3 * (1e-6 + np.nanmax(np.abs(expected), initial=0.0))
            if not np.allclose(output, expected, rtol=1e-2, atol=tolerance, equal_nan=True):
                raise Unmeasurable("a configuration changes the program's results")
        return executable

    def quick_times(self, configurations: list[np.ndarray] | np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """(c,) nanoseconds, of few rounds: good enough to choose parents by."""
        turns = timing.rounds(self.executables(configurations), self.arguments, QUICK_ROUNDS, rng, QUICK_REPEATS)
        return turns.min(axis=0)

    def executables(self, configurations: list[np.ndarray] | np.ndarray) -> list:
        """Executables of accepted configurations."""
        return [self.executable(configuration) for configuration in configurations]


def measure(
    program: Program, searches: tuple[str, ...], configurations: int, out: Path, compile_limit_s: float, tick: Callable
) -> None:
    """Measures the searches of a program that have no record yet and writes their records.

    Args:
        configurations: Of each search, at most.
        out: Folder of the records.
        compile_limit_s: Processor seconds that one compilation may take.
        tick: Called with no argument after each configuration that is done.

    Raises:
        Unmeasurable: the program cannot become a graph.
        Later: one compilation takes more than ``compile_limit_s``.
    """
    targets = {name: record.path(out, f"layout:{program.source}:{name}", program.id) for name in searches}
    missing = {name: target for name, target in targets.items() if not target.exists()}
    if not missing:
        return
    module = LayoutProgram(program, compile_limit_s, tick)
    for name, target in missing.items():
        seed = seed_of(f"{program.id}:{name}")
        rng = np.random.default_rng(seed)
        if name == "random":
            _look_early(module, seed)
        members = _searched(module, name, configurations, rng)
        passes, agreement = timing.two_passes(module.executables(members), module.arguments, rng)
        proto = np.frombuffer(module.proto, np.uint8)
        meta = _meta(program, name, module, agreement)
        record.write(target, meta, proto=proto, configurations=members, passes=passes)


def _look_early(module: LayoutProgram, seed: int) -> None:
    """Raises Unmeasurable where the times of the first random configurations hardly differ.

    They are the first that the random search with the same seed finds, so they are compiled only once.
    """
    rng = np.random.default_rng(seed)
    members = search.random_search(module.row_major, module.nodes, EARLY_LOOK, rng, module.accepts)
    times = module.quick_times(members, rng)
    spread = times.max() / times.min()
    if spread < EARLY_SPREAD:
        raise Unmeasurable(f"layouts hardly matter: slowest/fastest {spread:.2f} of {EARLY_LOOK}")


def _searched(module: LayoutProgram, name: str, configurations: int, rng: np.random.Generator) -> np.ndarray:
    """The configurations of one search, (c, nc, 3, 6)."""
    if name == "random":
        return search.random_search(module.row_major, module.nodes, configurations, rng, module.accepts)

    def measured(members):
        return module.quick_times(members, rng)

    return search.evolutionary_search(
        module.compilers_choice, module.nodes, configurations, rng, measured, module.accepts
    )


def _meta(program: Program, search_name: str, module: LayoutProgram, agreement: float) -> dict:
    """Meta data of a record, as stages.collect.record describes them."""
    return {
        "id": program.id,
        "source": program.source,
        "search": search_name,
        "family": program.family,
        "split": program.split,
        "kin": program.kin,
        "compile_s": round(module.compile_s, 3),
        "tau": agreement,
        "settings": compiling.settings(),
        "nodes": [node.instruction.name.lstrip("%") for node in module.nodes],
    }
