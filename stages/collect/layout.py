"""Measures the layout configurations of one program, by both searches."""

from __future__ import annotations

import time
import zlib
from pathlib import Path

import numpy as np

from stages.collect import compiling, record, search, timing
from stages.collect.hlo_text import configurable_nodes, constrained, layouts_of
from stages.collect.program import Program

SEARCHES = ("random", "default")
#: rounds after each generation of the evolutionary search, and runs in a turn
QUICK_ROUNDS, QUICK_REPEATS = 4, 3
#: after this many random configurations a program whose layouts hardly matter is given up
EARLY_LOOK, EARLY_SPREAD = 12, 1.17


class Unmeasurable(Exception):
    """A program that cannot become a graph of the data set; the message is the reason that stands in dropped.csv."""


class Later(Exception):
    """A program that costs more to compile than this run may spend on one."""


def seed_of(text: str) -> int:
    """The same seed for the same name in every run and on every machine."""
    return zlib.crc32(text.encode())


def example_arguments(leaves: list, rng: np.random.Generator, integers_below: int = 2) -> list:
    """Arrays on the device: the leaves that are arrays, and for shapes small positive numbers (no denormals, no square
    root of a negative variance) or integers."""
    import jax

    arrays = []
    for leaf in leaves:
        if isinstance(leaf, np.ndarray):
            arrays.append(leaf)
        elif np.issubdtype(leaf.dtype, np.floating):
            arrays.append(rng.uniform(0.01, 0.11, leaf.shape).astype(leaf.dtype))
        else:
            arrays.append(rng.integers(0, integers_below, leaf.shape).astype(leaf.dtype))
    return [jax.device_put(array) for array in arrays]


class LayoutProgram:
    """A program's module before layout assignment, with executables of its configurations."""

    def __init__(self, program: Program, compile_limit_s: float):
        import jax

        function, arguments = program.build()
        self.proto, self.text, assigned = compiling.dumped(function, arguments)
        self.nodes = configurable_nodes(self.text)
        if not self.nodes:
            raise Unmeasurable("no configurable node")
        self.row_major = layouts_of("", self.nodes)
        self.compilers_choice = layouts_of(assigned, self.nodes)
        self.arguments = example_arguments(jax.tree.leaves(arguments), np.random.default_rng(seed_of(program.id)))
        self._compiled: dict[bytes, object | None] = {}
        self._expected: list[np.ndarray] | None = None
        begin = time.process_time()
        if self.executable(self.row_major) is None:
            raise Unmeasurable("the compiler refuses the row-major configuration")
        self.compile_s = time.process_time() - begin
        if self.compile_s > compile_limit_s:
            raise Later(f"a compilation takes {self.compile_s:.2f} s")

    def known(self, configuration: np.ndarray) -> bool:
        """Whether the configuration was compiled, or refused, before."""
        return configuration.tobytes() in self._compiled

    def executable(self, configuration: np.ndarray):
        """Executable of a configuration, None if XLA refuses to compile or to run it (an FFT wants some layouts).

        Raises Unmeasurable if its results are not the row-major configuration's to rounding.
        """
        import jax

        key = configuration.tobytes()
        if key not in self._compiled:
            try:
                loaded = compiling.executable(constrained(self.text, self.nodes, configuration))
                outputs = [np.asarray(output, np.float64) for output in loaded.execute(self.arguments)]
            except jax.errors.JaxRuntimeError:
                self._compiled[key] = None
                return None
            if self._expected is None:
                self._expected = outputs
            for output, expected in zip(outputs, self._expected, strict=True):
                tolerance = 1e-3 * (1e-6 + np.nanmax(np.abs(expected), initial=0.0))
                if not np.allclose(output, expected, rtol=1e-2, atol=tolerance, equal_nan=True):
                    raise Unmeasurable("a configuration changes the program's results")
            self._compiled[key] = loaded
        return self._compiled[key]


def measure(
    program: Program, searches: tuple[str, ...], configurations: int, out: Path, compile_limit_s: float, tick
) -> None:
    """Measures the searches of a program that have no record yet and writes their records.

    tick: called with no argument after each configuration that is done.
    Raises Unmeasurable, or Later when one compilation takes more than ``compile_limit_s`` processor seconds.
    """
    wanted = [name for name in searches if not record.path(out, f"layout:{program.source}:{name}", program.id).exists()]
    if not wanted:
        return
    loaded = LayoutProgram(program, compile_limit_s)
    for name in wanted:
        seed = seed_of(f"{program.id}:{name}")
        rng = np.random.default_rng(seed)

        def accept(member):
            if not loaded.known(member):
                tick()
            return loaded.executable(member) is not None

        def executables(members):
            return [loaded.executable(member) for member in members]

        def quick(members, rng=rng):
            turns = timing.rounds(executables(members), loaded.arguments, QUICK_ROUNDS, rng, QUICK_REPEATS)
            return turns.min(axis=0)

        if name == "random":
            same = np.random.default_rng(seed)  # the first of the same configurations: compiled once, kept
            early = quick(search.random_search(loaded.row_major, loaded.nodes, EARLY_LOOK, same, accept), same)
            if early.max() / early.min() < EARLY_SPREAD:
                spread = early.max() / early.min()
                raise Unmeasurable(f"layouts hardly matter: slowest/fastest {spread:.2f} of {EARLY_LOOK}")
            found = search.random_search(loaded.row_major, loaded.nodes, configurations, rng, accept)
        else:
            found = search.evolutionary_search(
                loaded.compilers_choice, loaded.nodes, configurations, rng, quick, accept
            )
        passes, agreement = timing.two_passes(executables(found), loaded.arguments, rng)
        meta = {
            "id": program.id,
            "source": program.source,
            "search": name,
            "family": program.family,
            "split": program.split,
            "kin": program.kin,
            "compile_s": round(loaded.compile_s, 3),
            "tau": agreement,
            "settings": compiling.settings(),
            "nodes": [node.instruction.name.lstrip("%") for node in loaded.nodes],
        }
        proto = np.frombuffer(loaded.proto, np.uint8)
        record.write(
            record.path(out, f"layout:{program.source}:{name}", program.id),
            meta,
            proto=proto,
            configurations=found,
            passes=passes,
        )
