"""All programs by id, each with its kin."""

from __future__ import annotations

from dataclasses import replace

from stages.collect.programs import vision_classification
from stages.collect.programs.program import Program

MODULES = (vision_classification,)


def registered(programs: list[Program]) -> dict[str, Program]:
    """Programs by id, with their kin: whether their family is trained on.

    Raises:
        ValueError: two programs have the same id.
    """
    trained = {program.family for program in programs if program.split == "train"}
    by_id: dict[str, Program] = {}
    for program in programs:
        if program.id in by_id:
            raise ValueError(f"{program.id}: two programs have this id")
        unseen = "sibling" if program.family in trained else "unseen"
        by_id[program.id] = replace(program, kin="train" if program.split == "train" else unseen)
    return by_id


PROGRAMS: dict[str, Program] = registered([program for module in MODULES for program in module.PROGRAMS])
