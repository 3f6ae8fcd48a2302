"""All programs with their kin, in the order in which they are measured.

The order decides which programs a collection that is cut short has: any beginning of it holds the splits, the kins and
the families in about the shares that they have in the whole.
"""

from __future__ import annotations

import itertools
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import replace

from stages.collect.cpu.programs.nlp import decoders, designs, encoder_decoders, encoders
from stages.collect.cpu.programs.program import Program
from stages.collect.cpu.programs.xla import (
    convolutional_classifiers,
    dense_prediction,
    generative,
    hub_classifiers,
    patch_mixers,
    sets_and_graphs,
    tables,
    time_series,
    vision_attention,
)

XLA_MODULES = (
    hub_classifiers,
    convolutional_classifiers,
    vision_attention,
    patch_mixers,
    dense_prediction,
    generative,
    time_series,
    tables,
    sets_and_graphs,
)
NLP_MODULES = (encoders, decoders, encoder_decoders, designs)

#: Families of source 'xla' in the order of their programs: each time that a family stands here one of its programs
#: follows, and the last time all that are left.
XLA_ORDER = """
resnet mobilenet densenet efficientnet cspnet vgg unet unet3d vit mixer lstm autoencoder dcgan yolo deeplab edsr
xception mit gru resnext pointnet convnext swin inception hgnet convlstm shufflenet fcn resnet mobilenet resnet
mobilenet densenet efficientnet cspnet vgg unet unet3d vit mixer mixer mixer mixer lstm autoencoder dcgan yolo deeplab
edsr xception gru resnext convnext swin inception ts_mixer dlrm non_local axial patch_tst nerf experts spatial_gate
perceptron graph tabular deep_sets pointnet perceiver capsules codebook tcn mixer shufflenet fcn
""".split()

#: Families of source 'nlp', likewise.
NLP_ORDER = """
bert gpt2 t5 llama lstm_tagger text_cnn fnet mixtral albert whisper mixer gemma lstm_seq2seq opt bloom roberta mistral
transformer distilbert qwen gated_mlp electra gptneox phi3 gru_tagger separable_conv bart deberta falcon qwen_moe
gated_conv roformer
""".split()

#: A training step takes about three times as long to compile as a forward program. Two of three come last, so that a
#: collection cut short has measured many programs and not few.
STEPS_FIRST = 3


def by_family(modules: Iterable) -> dict[str, list[Program]]:
    """The modules' programs by family, in the order in which the modules have them."""
    families = defaultdict(list)
    for module in modules:
        for program in module.PROGRAMS:
            families[program.family].append(program)
    return dict(families)


def in_order(order: Sequence[str], families: dict[str, list[Program]]) -> list[Program]:
    """All programs in the order of their families.

    Args:
        order: Families; a family may stand more than once. Each time one of its programs follows, and the last time
            all that are left.
        families: Programs by family.

    Raises:
        ValueError: `order` does not name the same families.
    """
    if set(order) != set(families):
        raise ValueError(f"named or programmed, but not both: {sorted(set(order) ^ set(families))}")
    rest = {family: iter(programs) for family, programs in families.items()}
    last = {family: position for position, family in enumerate(order)}
    result = []
    for position, family in enumerate(order):
        result += itertools.islice(rest[family], None if position == last[family] else 1)
    return result


def with_kin(programs: list[Program]) -> list[Program]:
    """The programs, each told whether its family is trained on."""
    trained = {program.family for program in programs if program.split == "train"}

    def kin(program: Program) -> str:
        if program.split == "train":
            return "train"
        return "sibling" if program.family in trained else "unseen"

    return [replace(program, kin=kin(program)) for program in programs]


def interleaved(programs: list[Program]) -> list[Program]:
    """Programs so ordered that every prefix holds the splits and kins in about their final shares."""
    groups = defaultdict(list)
    for program in programs:
        groups[program.split, program.kin].append(program)
    turns = []
    for group in groups.values():
        turns += [((i + 0.5) / len(group), program) for i, program in enumerate(_round_robin(group))]
    return [program for _, program in sorted(turns, key=lambda turn: turn[0])]


def _round_robin(programs: list[Program]) -> list[Program]:
    """First one program of every family, then a second of every family that has one, and so on."""
    seen: dict[str, int] = defaultdict(int)
    rounds = []
    for program in programs:
        rounds.append(seen[program.family])
        seen[program.family] += 1
    return [program for _, program in sorted(zip(rounds, programs, strict=True), key=lambda pair: pair[0])]


def _registered(modules: Iterable, order: Sequence[str]) -> list[Program]:
    """The modules' programs with their kin, in the order of measuring; `order` as in `in_order`."""
    return interleaved(with_kin(in_order(order, by_family(modules))))


XLA_PROGRAMS: list[Program] = _registered(XLA_MODULES, XLA_ORDER)
NLP_PROGRAMS: list[Program] = _registered(NLP_MODULES, NLP_ORDER)


def programs() -> dict[str, Program]:
    """All programs by id, in the order of measuring: xla and nlp take turns, most training steps come last."""
    turns = []
    for source in (XLA_PROGRAMS, NLP_PROGRAMS):
        steps = 0
        for index, program in enumerate(source):
            is_step = program.id.endswith(("_train", "_tune"))
            turns.append((is_step and steps % STEPS_FIRST != 0, index / len(source), program))
            steps += is_step
    return {program.id: program for *_, program in sorted(turns, key=lambda turn: turn[:2])}
