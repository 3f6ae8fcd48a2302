"""Which graphs are of one kind of program."""

from __future__ import annotations

import re

#: Words that say who packaged a program and not what it is, as in mlperf_bert, tf2_bert and experts_bert, are skipped.
_LEADING = re.compile("(?:(?:experts|mlperf|small|tf2?)_(?=[a-z]{2}))*([a-z]+)")


def family(graph: str) -> str:
    """The family of a program or kernel: the leading word of its id, "resnet" of resnet50.4x4.fp16.

    Coarser rather than finer than families of architectures (gated_conv and gated_mlp are one): siblings differ in
    batch, width or depth, a model that trained on one knows the others, so what is held out together only makes a
    judgement stricter. An id that begins with no word, as a hash may, is its own family.
    """
    word = _LEADING.match(graph.lower())
    return word.group(1) if word else graph
