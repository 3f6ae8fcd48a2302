"""Columns of relayout copies: how many the layouts of a configuration force, and how large they are.

Idea: copies implied by mismatched layouts, from the 11th place of the TpuGraphs competition (trees alone); copies
inside transposes and reshapes from this project.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from stages.statistics import orders
from stages.statistics.copies import COPY_KINDS, PossibleCopies, SlotTensors
from stages.statistics.layout_pairs import bits
from stages.statistics.node_kinds import KINDS

COLUMNS = {
    "copies": "copies that the layouts force: between nodes, from row-major operands, inside transposes and reshapes",
    "copies_bytes": "bytes of these copies",
    "copies_share": "bytes of these copies, as a share of the bytes of all configured tensors",
    "copies_largest": "bytes of the largest of these copies",
    "copies_bits": "binary digits of their bytes, summed",
    "copies_minor": "these copies, where the minor dimension moves",
    "copies_minor_bytes": "bytes of the copies where the minor dimension moves",
    "copies_direct": "copies between configurable nodes that are neighbours",
    "copies_direct_bytes": "bytes of the copies between neighbours",
    "copies_indirect": "copies between configurable nodes with a path of other nodes between them",
    "copies_indirect_bytes": "bytes of the copies along such paths",
    "copies_fixed": "copies of operands that no configurable node computes and that are taken to be row-major",
    "copies_fixed_bytes": "bytes of the copies of such operands",
    "copies_transpose": "transposes whose two layouts make them move data",
    "copies_transpose_bytes": "bytes of the transposes that move data",
    "copies_reshape": "reshapes whose two layouts make them move data",
    "copies_reshape_bytes": "bytes of the reshapes that move data",
    "copies_reduce": "reduces whose two layouts order the kept dimensions differently",
    "copies_reduce_bytes": "bytes of the operands of these reduces",
    **{f"copies_at_{kind}_bytes": f"bytes of the copies that nodes of opcode {kind} ask for or make" for kind in KINDS},
}
#: by the opcodes of the nodes at both ends
BETWEEN_COLUMNS = {
    f"copies_{producer}_to_{consumer}_bytes": f"bytes of the copies between results of {producer} and operands of "
    f"{consumer}"
    for producer in KINDS
    for consumer in KINDS
}
#: columns that count only where the minor dimension moves
_MINOR_COLUMNS = ("copies_minor", "copies_minor_bytes")


def weights(copies: PossibleCopies, tensors: SlotTensors) -> dict[str, np.ndarray]:
    """What each of e possible copies adds to a column if it happens.

    Args:
        copies: the possible ones.
        tensors: of the configurable nodes' slots.

    Returns:
        column -> (e,) whole numbers as float64. `copies_share` and `copies_largest`, which are no sums, are left out.
    """
    one, size = np.ones(len(copies.kind)), copies.bytes.astype(np.float64)
    is_copy = copies.kind != COPY_KINDS.index("reduce")
    columns = {
        "copies": is_copy * one,
        "copies_bytes": is_copy * size,
        "copies_bits": is_copy * bits(np.maximum(copies.bytes, 1)),
        "copies_minor": is_copy * one,
        "copies_minor_bytes": is_copy * size,
    }
    for number, kind in enumerate(COPY_KINDS):
        columns[f"copies_{kind}"] = (copies.kind == number) * one
        columns[f"copies_{kind}_bytes"] = (copies.kind == number) * size
    between = copies.consumer != copies.producer
    for consumer, consumer_opcode in KINDS.items():
        at_consumer = tensors.opcode[copies.consumer] == consumer_opcode
        columns[f"copies_at_{consumer}_bytes"] = (is_copy & at_consumer) * size
        for producer, producer_opcode in KINDS.items():
            from_producer = between & (tensors.opcode[copies.producer] == producer_opcode)
            columns[f"copies_{producer}_to_{consumer}_bytes"] = (from_producer & at_consumer) * size
    return columns


def sums(happens: np.ndarray, weights: Mapping[str, np.ndarray]) -> np.ndarray:
    """The columns of configurations.

    Args:
        happens: (c, e) uint8 of `copies.happening`.
        weights: of the e possible copies.

    Returns:
        (c, w) float64, COLUMNS and then BETWEEN_COLUMNS; `copies_share` is 0.
    """
    names = [*COLUMNS, *BETWEEN_COLUMNS]
    values = np.zeros((len(happens), len(names)))
    wherever = [name for name in weights if name not in _MINOR_COLUMNS]
    for bit, summed in ((0xFF, wherever), (orders.MINOR, _MINOR_COLUMNS)):
        matrix = np.stack([weights[name] for name in summed], axis=1)
        values[:, [names.index(name) for name in summed]] = (happens & bit > 0).astype(np.float64) @ matrix
    values[:, names.index("copies_largest")] = np.where(happens > 0, weights["copies_bytes"], 0).max(axis=1)
    return values
