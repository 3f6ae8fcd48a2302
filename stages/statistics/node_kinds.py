"""Columns by kind of configurable node: where its minor dimensions lie, how large they are, how they fill registers.

Ideas: counts of convolutions, dots and reshapes by layout, sizes of the minor dimensions and their padding from the
11th place of the TpuGraphs competition (trees alone).
"""

from __future__ import annotations

import numpy as np

from stages.graphs.opcodes import CONVOLUTION, DOT, REDUCE, RESHAPE, TRANSPOSE
from stages.graphs.tensors import SLOTS
from stages.statistics import hardware
from stages.statistics.layout_pairs import LayoutPairs, bits, padding

#: opcodes that a column of their own is worth
KINDS = {"convolution": CONVOLUTION, "dot": DOT, "reshape": RESHAPE, "transpose": TRANSPOSE, "reduce": REDUCE}
#: the least and the most dimensions that row-major has below the minor one
_MINOR_RANKS = {"before_last": (1, 1), "earlier": (2, 6)}
#: of a convolution: slot -> role of a dimension -> node column that names the dimension
ROLES = {
    "output": {"batch": 105, "feature": 106},
    "input": {"batch": 93, "feature": 94},
    "kernel": {"input_feature": 99, "output_feature": 100},
}

COLUMNS = {
    **{
        f"{kind}_{slot}_minor_{place}": f"nodes of opcode {kind} whose {slot}'s minor dimension is {what}"
        for kind in KINDS
        for slot in SLOTS[:2]
        for place, what in (("before_last", "the one before the last"), ("earlier", "an earlier one"))
    },
    **{
        f"convolution_{slot}_minor_{role}": f"convolutions whose {slot}'s minor dimension is the "
        f"{role.replace('_', ' ')}"
        for slot, roles in ROLES.items()
        for role in (*roles, "spatial")
    },
    **{
        f"{kind}_minor_bits": f"binary digits of the minor dimension's size, outputs of opcode {kind}" for kind in KINDS
    },
    **{
        f"{kind}_second_bits": f"binary digits of the second minor dimension's size, outputs of opcode {kind}"
        for kind in KINDS
    },
    **{
        f"{kind}_padding_bytes": f"bytes that padding to whole tiles adds to the tensors of nodes of opcode {kind}"
        for kind in KINDS
    },
    **{
        f"{kind}_disagreeing": f"nodes of opcode {kind} whose input and output have one rank and different layouts"
        for kind in KINDS
        if kind != "transpose"
    },
    "minor_below_sublanes": "tensors whose minor dimension is shorter than the sublanes",
    "minor_below_lanes": "tensors whose minor dimension is shorter than the lanes",
    "minor_whole_lanes": "tensors whose minor dimension is a whole number of lanes",
    "second_below_sublanes": "tensors whose second minor dimension is shorter than the sublanes",
    "second_whole_sublanes": "tensors whose second minor dimension is a whole number of sublanes",
    "ragged_vector_bytes": "bytes of the tensors whose rows are no whole number of vector registers",
    "ragged_line_bytes": "bytes of the tensors whose rows are no whole number of cache lines",
}


def contributions(pairs: LayoutPairs, node_feat: np.ndarray) -> dict[str, np.ndarray]:
    """What each of p pairs adds to `COLUMNS`.

    Args:
        pairs: of a node and a layout triple.
        node_feat: (nc, 140) of the configurable nodes.

    Returns:
        column -> (p,) whole numbers.
    """
    known, minor, second = pairs.known, pairs.minor_size, pairs.second_size
    row = minor * pairs.element_bytes
    return {
        "minor_below_sublanes": (known & (minor < hardware.SUBLANES)).sum(axis=1),
        "minor_below_lanes": (known & (minor < hardware.LANES)).sum(axis=1),
        "minor_whole_lanes": (known & (minor % hardware.LANES == 0)).sum(axis=1),
        "second_below_sublanes": (known & (second < hardware.SUBLANES)).sum(axis=1),
        "second_whole_sublanes": (known & (second % hardware.SUBLANES == 0)).sum(axis=1),
        "ragged_vector_bytes": (known * (row % hardware.VECTOR != 0) * pairs.bytes).sum(axis=1),
        "ragged_line_bytes": (known * (row % hardware.CACHE_LINE != 0) * pairs.bytes).sum(axis=1),
        **_by_kind(pairs),
        **_by_role(pairs, node_feat),
    }


def _by_kind(pairs: LayoutPairs) -> dict[str, np.ndarray]:
    """The columns of each opcode of `KINDS`."""
    known, minor_bits, second_bits = pairs.known, bits(pairs.minor_size[:, 0]), bits(pairs.second_size[:, 0])
    padding_bytes = padding(pairs).sum(axis=1)
    values = {}
    for kind, opcode in KINDS.items():
        of_kind = pairs.opcode == opcode
        for number, slot in enumerate(SLOTS[:2]):
            rank = pairs.minor_rank[:, number]
            for name, (least, most) in _MINOR_RANKS.items():
                in_range = (rank >= least) & (rank <= most)
                values[f"{kind}_{slot}_minor_{name}"] = of_kind & known[:, number] & in_range
        values[f"{kind}_minor_bits"] = of_kind * known[:, 0] * minor_bits
        values[f"{kind}_second_bits"] = of_kind * known[:, 0] * second_bits
        values[f"{kind}_padding_bytes"] = of_kind * padding_bytes
        if kind != "transpose":
            values[f"{kind}_disagreeing"] = of_kind & pairs.disagreeing
    return values


def _by_role(pairs: LayoutPairs, node_feat: np.ndarray) -> dict[str, np.ndarray]:
    """The columns of the roles that a convolution's minor dimensions have; one that has none is spatial."""
    values = {}
    for number, (slot, roles) in enumerate(ROLES.items()):
        minor = pairs.minor[:, number]
        rest = (pairs.opcode == CONVOLUTION) & pairs.known[:, number]
        for role, column in roles.items():
            has_role = rest & (node_feat[pairs.node, column] == minor)
            values[f"convolution_{slot}_minor_{role}"] = has_role
            rest = rest & ~has_role
        values[f"convolution_{slot}_minor_spatial"] = rest
    return values
