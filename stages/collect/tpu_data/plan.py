"""Which programs are collected, in which order, and with how many configurations."""

from __future__ import annotations

import fnmatch
import hashlib
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

from stages.collect.programs.program import Program

#: configurations of a graph, and of the graphs of `LONG`
CONFIGURATIONS, MANY = 100, 1000
#: programs that are searched longer: small ones of both sources, of all splits, convolutions and dots
LONG = (
    "stylegan2_256_b8_forward",
    "shufflenetv2_2.0_b64_forward",
    "xception_b32_forward",
    "impala_deep_b512_train",
    "ecapa_1024_b64_forward",
    "convs2s_base_b32_forward",
    "t5_small_b32_forward",
    "wavenet_30_b4_forward",
)
#: kernels of a program whose windows are tried, and windows of a kernel
KERNELS, WINDOWS = 6, 24
#: how much larger a program counts for each smaller one of its family: the order is by size, yet families take turns
_NEXT_OF_FAMILY = 1.5
#: and how much larger one of `LONG`: it takes ten times as long, yet is to be there before the large ones
_LONGER = 2


def seed_of(text: str) -> int:
    """A seed from a name: what is drawn depends neither on the order of the programs nor on the process."""
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "little")


@dataclass(frozen=True)
class Job:
    """What is collected of one program.

    Attributes:
        identifier: The program's id.
        configurations: Of each of its two graphs; 0 for none.
        kernels: How many of its kernels are tiled at most; 0 for none.
        windows: Of a kernel at most.
        records, cache: Folder of the records and file of the compiled kernels.
    """

    identifier: str
    configurations: int
    kernels: int
    windows: int
    records: str
    cache: str

    @property
    def size(self) -> int:
        """Steps of the job's progress: configurations and kernels."""
        return 2 * self.configurations + self.kernels


def ordered(programs: Iterable[Program], nodes: Mapping[str, int]) -> list[Program]:
    """Programs in the order of collecting.

    Small programs come first, and of a family the small ones before its large ones. Sources, splits and training steps
    take turns in proportion to their numbers, so that a collection cut short holds all of them.

    Args:
        nodes: Of each program by id; one that is not there counts as the largest.
    """
    groups: dict[tuple[str, str, bool], list[Program]] = defaultdict(list)
    for program in programs:
        groups[program.kind, program.split, program.training].append(program)
    turns = []
    for name, group in groups.items():
        for index, program in enumerate(_by_size(group, nodes)):
            turns.append(((2 * index + 1) / (2 * len(group)), name, program))
    return [turn[-1] for turn in sorted(turns, key=lambda turn: turn[:2])]


def _by_size(group: Sequence[Program], nodes: Mapping[str, int]) -> list[Program]:
    largest = max(nodes.values(), default=0)
    sizes = {program.id: nodes.get(program.id, largest) * (_LONGER if program.id in LONG else 1) for program in group}
    smaller: dict[str, int] = defaultdict(int)
    weighted = []
    for program in sorted(group, key=lambda program: (sizes[program.id], program.id)):
        weighted.append((sizes[program.id] * _NEXT_OF_FAMILY ** smaller[program.family], program.id, program))
        smaller[program.family] += 1
    return [program for *_, program in sorted(weighted, key=lambda each: each[:2])]


def matching(programs: Collection[Program], patterns: Sequence[str]) -> list[Program]:
    """The programs whose id, family, source or split matches one of the shell patterns, pattern by pattern."""
    chosen: dict[str, Program] = {}
    for pattern in patterns:
        for program in programs:
            names = (program.id, program.family, program.kind, program.split)
            if any(fnmatch.fnmatchcase(name, pattern) for name in names):
                chosen.setdefault(program.id, program)
    return list(chosen.values())


def configurations_of(identifier: str, configurations: int = CONFIGURATIONS, many: int = MANY) -> int:
    """Configurations of each graph of a program."""
    return max(configurations, many) if identifier in LONG and configurations else configurations
