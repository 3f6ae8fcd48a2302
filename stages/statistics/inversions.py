"""Columns of how far layouts are from row-major order, and what their minor dimensions mean for rows and tiles.

Ideas: sizes of the minor dimensions and their padding from the 11th place of the TpuGraphs competition (trees alone);
inversions from this project.
"""

from __future__ import annotations

import numpy as np

from stages.graphs.tensors import SLOTS
from stages.statistics import hardware
from stages.statistics.layout_pairs import LayoutPairs, bits, padding
from stages.statistics.node_kinds import KINDS

COLUMNS = {
    "inversions": "pairs of dimensions that stand the other way round than in row-major order, all configured layouts",
    **{f"inversions_{slot}": f"the same pairs in the {slot} layouts" for slot in SLOTS},
    **{f"inversions_{kind}": f"the same pairs at the nodes of opcode {kind}" for kind in KINDS},
    "inversions_bytes": "the same pairs, each times the tensor's bytes",
    **{f"not_row_major_{slot}": f"nodes whose {slot} layout is not row-major" for slot in SLOTS},
    **{f"not_row_major_{kind}": f"nodes of opcode {kind} with a layout that is not row-major" for kind in KINDS},
    "not_row_major_bytes": "bytes of the tensors whose layout is not row-major",
    "minor_moved": "tensors whose minor dimension is not the last one (sizes of one aside)",
    "minor_moved_bytes": "bytes of the tensors whose minor dimension is not the last one",
    **{
        f"minor_bits_{slot}": f"binary digits of the minor dimension's size, summed over the {slot} layouts"
        for slot in SLOTS
    },
    "second_minor_bits": "binary digits of the second minor dimension's size, summed over the output layouts",
    "short_rows": "tensors whose minor dimension is shorter than a cache line",
    "short_rows_bytes": "bytes of the tensors with rows shorter than a cache line",
    "tile_padding_bytes": "bytes added when the two minor dimensions are padded to whole tiles",
    "disagreeing": "nodes, transposes aside, whose input and output have one rank and different layouts",
    "disagreeing_bytes": "bytes of the outputs of these nodes",
    "unconfigured": "nodes whose layouts are all left to the compiler",
}


def contributions(pairs: LayoutPairs) -> dict[str, np.ndarray]:
    """What each of p pairs adds to `COLUMNS`.

    Args:
        pairs: of a node and a layout triple.

    Returns:
        column -> (p,) whole numbers.
    """
    size, opcode, inversions, known = pairs.bytes, pairs.opcode, pairs.inversions, pairs.known
    not_row_major = inversions > 0
    minor, second = pairs.minor_size, pairs.second_size
    short = known & (minor * pairs.element_bytes < hardware.CACHE_LINE) & (size >= hardware.CACHE_LINE)
    minor_moved = known & (pairs.minor != pairs.last)
    disagreeing = pairs.disagreeing & (opcode != KINDS["transpose"])
    values = {
        "inversions": inversions.sum(1),
        "inversions_bytes": (inversions * size).sum(1),
        "not_row_major_bytes": (not_row_major * size).sum(1),
        "minor_moved": minor_moved.sum(1),
        "minor_moved_bytes": (minor_moved * size).sum(1),
        "second_minor_bits": bits(second[:, 0]) * known[:, 0],
        "short_rows": short.sum(1),
        "short_rows_bytes": (short * size).sum(1),
        "tile_padding_bytes": padding(pairs)[:, 0],
        "disagreeing": disagreeing,
        "disagreeing_bytes": disagreeing * size[:, 0],
        "unconfigured": ~pairs.configured.any(axis=1),
    }
    for slot, name in enumerate(SLOTS):
        values[f"inversions_{name}"] = inversions[:, slot]
        values[f"not_row_major_{name}"] = not_row_major[:, slot]
        values[f"minor_bits_{name}"] = bits(minor[:, slot]) * known[:, slot]
    for name, number in KINDS.items():
        values[f"inversions_{name}"] = inversions.sum(1) * (opcode == number)
        values[f"not_row_major_{name}"] = not_row_major.any(axis=1) & (opcode == number)
    return values
