"""What each program is just before TPU layout assignment, and whether the zoo has what it must."""

from __future__ import annotations

import multiprocessing
import os
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from stages.collect.programs.program import SPLITS, Program
from stages.collect.programs.registry import PROGRAMS as REGISTERED
from stages.engine import files

#: quotas of the data set: programs and families of a kind, nodes of a program, their median, training steps
PROGRAMS = 60
FAMILIES = {"xla": 20, "nlp": 15}
NODES = (200, 9000)
MEDIAN_NODES = 1000
TRAINING_SHARE = 1 / 3
TIMEOUT_S = 240
#: the sizes as last recorded, with libtpu 0.0.42.1
RECORD = Path(__file__).with_name("sizes.csv")


@dataclass(frozen=True)
class Measured:
    """Size of one program just before layout assignment."""

    id: str
    nodes: int
    convolutions: int  # configurable ones, as the next two
    dots: int
    reshapes: int
    trace_s: float
    passes_s: float
    error: str = ""

    @property
    def counts(self) -> tuple[int, int, int, int]:
        """What stands in `RECORD`."""
        return self.nodes, self.convolutions, self.dots, self.reshapes

    @property
    def configurable(self) -> int:
        return self.convolutions + self.dots + self.reshapes


def measure(program: Program, folder: Path | None) -> Measured:
    """Traces the program and runs the compiler's passes up to layout assignment, in this process.

    Args:
        folder: where to write the module's text, as ID.txt; None to keep none.
    """
    from stages.collect.programs import before_layout
    from stages.collect.tpu import passes

    begin = time.perf_counter()
    module = before_layout.module_text(program)
    traced = time.perf_counter()
    text = passes.run(module).before
    passed = time.perf_counter()
    if folder is not None:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{program.id}.txt").write_text(text)
    opcodes = Counter(node.instruction.opcode for node in before_layout.configurable_nodes(text))
    counts = [opcodes[name] for name in ("convolution", "dot", "reshape")]
    return Measured(program.id, before_layout.node_count(text), *counts, traced - begin, passed - traced)


def _child(identifier: str, folder: Path | None, connection) -> None:
    quiet = os.open(os.devnull, os.O_WRONLY)  # the libraries' warnings of a machine without accelerators
    os.dup2(quiet, 2)
    try:
        connection.send(measure(REGISTERED[identifier], folder))
    except Exception as error:
        reason = " ".join(f"{type(error).__name__}: {error}".split())
        connection.send(Measured(identifier, 0, 0, 0, 0, 0.0, 0.0, reason[:300]))


def measured(programs: list[Program], folder: Path | None) -> Iterator[Measured]:
    """Measures each program in a process of its own: the compiler ends its process where a check of it fails."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["stages.collect.programs.preload"])
    for program in programs:
        receiver, sender = context.Pipe(duplex=False)
        process = context.Process(target=_child, args=(program.id, folder, sender))
        process.start()
        sender.close()
        try:
            answer = receiver.recv() if receiver.poll(TIMEOUT_S) else None
            reason = f"no answer in {TIMEOUT_S} s"
        except EOFError:
            answer, reason = None, "the compiler ended its process"
        process.kill()
        process.join()
        yield answer or Measured(program.id, 0, 0, 0, 0, 0.0, 0.0, reason)


def line(program: Program, size: Measured) -> str:
    """One line of the table."""
    head = f"{program.kind} {program.split:5s} {program.family:18s} {program.id:44s}"
    if size.error:
        return f"{head} {size.error}"
    mode = "train" if program.training else "     "
    return (
        f"{head} {mode} {size.nodes:5d} nodes {size.configurable:4d} configurable ({size.convolutions:3d} convolutions"
        f" {size.dots:3d} dots {size.reshapes:4d} reshapes) trace {size.trace_s:5.1f} s passes {size.passes_s:5.1f} s"
    )


def summary(programs: list[Program], sizes: dict[str, Measured]) -> tuple[list[str], bool]:
    """Lines that hold the zoo against the quotas, and whether it meets them all."""
    lines, good = [], True

    def quota(text: str, met: bool) -> None:
        nonlocal good
        good = good and met
        lines.append(f"{'met    ' if met else 'NOT MET'} {text}")

    for kind in sorted({program.kind for program in programs}):
        families = FAMILIES[kind]
        of_kind = [p for p in programs if p.kind == kind and not sizes[p.id].error]
        usable = [p for p in of_kind if NODES[0] <= sizes[p.id].nodes <= NODES[1] and sizes[p.id].configurable]
        nodes = [sizes[p.id].nodes for p in usable] or [0]
        training = sum(p.training for p in usable)
        quota(f"{kind}: {len(usable)} programs of {NODES[0]} to {NODES[1]} nodes (at least {PROGRAMS})",
              len(usable) >= PROGRAMS)  # fmt: skip
        count = len({p.family for p in usable})
        quota(f"{kind}: {count} families (at least {families})", count >= families)
        quota(f"{kind}: median {np.median(nodes):.0f} nodes (at least {MEDIAN_NODES})",
              np.median(nodes) >= MEDIAN_NODES)  # fmt: skip
        quota(f"{kind}: {training} training steps (at least a third)", training >= TRAINING_SHARE * len(usable))
        for split in SPLITS:
            part = [p for p in usable if p.split == split]
            median = np.median([sizes[p.id].nodes for p in part] or [0])
            kins = Counter(p.kin for p in part)
            share = len(part) / max(1, len(usable))
            told = ", ".join(f"{count} {kin}" for kin, count in sorted(kins.items()))
            lines.append(
                f"        {kind} {split}: {len(part)} programs ({share:.0%}), median {median:.0f} nodes, {told}"
            )
    return lines, good


def run(programs: list[Program], folder: Path | None, record: bool) -> int:
    """Prints a line for each program, what differs from the recorded sizes, and the summary.

    Args:
        folder: where to write the modules' texts; None to keep none.
        record: write the sizes to `RECORD`, where those of other programs stay.

    Returns:
        The exit status: 0 if every program compiles, as recorded, and all of them together meet the quotas.
    """
    sizes, recorded = {}, {} if record else recorded_sizes()
    same = True
    for program, size in zip(programs, measured(programs, folder), strict=True):
        sizes[program.id] = size
        print(line(program, size), flush=True)
        if not size.error and recorded.get(program.id, size.counts) != size.counts:
            print(f"    {program.id}: nodes, convolutions, dots, reshapes were {recorded[program.id]}")
            same = False
    if record:
        _record(sizes)
    good = same and not any(size.error for size in sizes.values())
    if len(programs) == len(REGISTERED):  # the quotas are those of all programs together
        lines, met = summary(programs, sizes)
        print("\n".join(lines))
        good = good and met
    return 0 if good else 1


def recorded_sizes() -> dict[str, tuple[int, int, int, int]]:
    """Nodes and configurable convolutions, dots and reshapes of each program, as last recorded."""
    import polars

    if not RECORD.exists():
        return {}
    return {row[0]: row[1:] for row in polars.read_csv(RECORD).iter_rows()}


def _record(sizes: dict[str, Measured]) -> None:
    import polars

    counts = recorded_sizes() | {name: size.counts for name, size in sizes.items() if not size.error}
    rows = [(name, *counts[name]) for name in REGISTERED if name in counts]
    columns = ("id", "nodes", "convolutions", "dots", "reshapes")
    with files.replacing(RECORD) as beside:
        polars.DataFrame(rows, schema=columns, orient="row").write_csv(beside)
