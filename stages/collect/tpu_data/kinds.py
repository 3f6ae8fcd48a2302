"""What sort of work a kernel does, and which kernels of a program are tiled."""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Iterable, Sequence

from stages.collect.tpu.hlo import parse

#: in the order in which a kernel is asked: a convolution with a reduction behind it is a convolution
KINDS = ("convolution", "dot", "reduction", "copy", "elementwise")
_REDUCTIONS = {"reduce", "reduce-window", "select-and-scatter", "sort"}
#: what only moves elements
_MOVES = {
    "bitcast",
    "broadcast",
    "concatenate",
    "constant",
    "copy",
    "dynamic-slice",
    "dynamic-update-slice",
    "fusion",
    "gather",
    "get-tuple-element",
    "iota",
    "pad",
    "parameter",
    "reshape",
    "reverse",
    "slice",
    "transpose",
    "tuple",
}
#: no kind has more than this share of a program's tiled kernels
MOST_OF_A_KIND = 0.5


def kind_of(text: str) -> str:
    """The kind of a kernel, of `KINDS`.

    Args:
        text: The kernel's own module. The TPU compiler writes dots as convolutions without places.
    """
    instructions = [each for computation in parse(text).computations.values() for each in computation.instructions]
    for each in instructions:
        labels = re.search(r"dim_labels=(\w+)_", each.attributes)
        if each.opcode == "convolution" and labels:
            return "convolution" if re.search(r"\d", labels[1]) else "dot"
    opcodes = {each.opcode for each in instructions}
    if "dot" in opcodes:
        return "dot"
    if opcodes & _REDUCTIONS:
        return "reduction"
    return "copy" if opcodes <= _MOVES else "elementwise"


def key_of(text: str) -> str:
    """The name of a kernel: of its canonical text, so that the same kernel of two programs has one name."""
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def chosen(kernels: Iterable[tuple[str, str]], count: int) -> list[str]:
    """The kernels of a program that are tiled: drawn by their names, so in the shares that the kinds have.

    Args:
        kernels: Key and kind of the program's distinct kernels that can be tiled.
        count: How many are chosen at most, `MOST_OF_A_KIND` of them of one kind.

    Returns:
        Their keys. What one program chooses does not depend on other programs.
    """
    of_kind: Counter[str] = Counter()
    keys: list[str] = []
    for key, kind in sorted(set(kernels)):
        if len(keys) < count and of_kind[kind] < max(1, int(count * MOST_OF_A_KIND)):
            keys.append(key)
            of_kind[kind] += 1
    return keys


def splits(programs: Sequence[tuple[str, Iterable[str]]]) -> dict[str, str]:
    """The one split of each kernel: test if a test program has it, else valid if a valid program has it, else train.

    So a kernel of a test program is never trained on, and none stands in two splits.

    Args:
        programs: Split and kernels' keys of each program.
    """
    rank = {"train": 0, "valid": 1, "test": 2}
    result: dict[str, str] = {}
    for split, keys in programs:
        for key in keys:
            result[key] = max(result.get(key, split), split, key=rank.__getitem__)
    return result
