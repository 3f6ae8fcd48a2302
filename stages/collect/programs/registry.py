"""All programs by id, each with its kin.

A family's programs stand in one module. Splits are written beside the programs: families of which every program is in
valid or in test are unseen, the others' valid and test programs are siblings of what is trained on.
"""

from __future__ import annotations

from dataclasses import replace

from stages.collect.programs import (
    detection,
    encoder_decoder,
    generative,
    language_decoder,
    language_encoder,
    recommender,
    science,
    segmentation,
    speech,
    text_designs,
    vision_classification,
    vision_designs,
)
from stages.collect.programs.program import Program

MODULES = (
    vision_classification,
    vision_designs,
    segmentation,
    detection,
    generative,
    recommender,
    science,
    language_encoder,
    language_decoder,
    encoder_decoder,
    text_designs,
    speech,
)


def registered(programs: list[Program]) -> dict[str, Program]:
    """Programs by id, with their kin: whether their family is trained on.

    Raises:
        ValueError: two programs have the same id.
    """
    trained = {(program.kind, program.family) for program in programs if program.split == "train"}
    by_id: dict[str, Program] = {}
    for program in programs:
        if program.id in by_id:
            raise ValueError(f"{program.id}: two programs have this id")
        kin = "sibling" if (program.kind, program.family) in trained else "unseen"
        by_id[program.id] = replace(program, kin="train" if program.split == "train" else kin)
    return by_id


PROGRAMS: dict[str, Program] = registered([program for module in MODULES for program in module.PROGRAMS])
