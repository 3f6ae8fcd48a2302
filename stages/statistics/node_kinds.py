"""Columns by kind of configurable node: where its minor dimensions lie, how large they are, how they fill registers.

Ideas: counts of convolutions, dots and reshapes by layout, sizes of the minor dimensions and their padding from the
11th place of the TpuGraphs competition (trees alone).
"""

from __future__ import annotations

import numpy as np

from stages.graphs.opcodes import CONVOLUTION, DOT, REDUCE, RESHAPE, TRANSPOSE
from stages.statistics.hardware import Hardware
from stages.statistics.layout_pairs import Pairs, bits, padding

SLOTS = ("output", "input", "kernel")
#: opcodes that a column of their own is worth
KINDS = {"convolution": CONVOLUTION, "dot": DOT, "reshape": RESHAPE, "transpose": TRANSPOSE, "reduce": REDUCE}
#: how many dimensions row-major has after the minor one
_PLACES = {"before_last": (1, 1), "earlier": (2, 6)}
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


def facts(pairs: Pairs, node_feat: np.ndarray, hardware: Hardware) -> dict[str, np.ndarray]:
    """What each of p pairs adds to `COLUMNS`, (p,) each. node_feat (nc, 140): of the configurable nodes."""
    known, minor, second = pairs.known, pairs.minor_size, pairs.second_size
    row = minor * pairs.item
    extra = padding(pairs, hardware.lanes, hardware.sublanes).sum(axis=1)
    values = {
        "minor_below_sublanes": (known & (minor < hardware.sublanes)).sum(axis=1),
        "minor_below_lanes": (known & (minor < hardware.lanes)).sum(axis=1),
        "minor_whole_lanes": (known & (minor % hardware.lanes == 0)).sum(axis=1),
        "second_below_sublanes": (known & (second < hardware.sublanes)).sum(axis=1),
        "second_whole_sublanes": (known & (second % hardware.sublanes == 0)).sum(axis=1),
        "ragged_vector_bytes": (known * (row % hardware.vector != 0) * pairs.bytes).sum(axis=1),
        "ragged_line_bytes": (known * (row % hardware.cache_line != 0) * pairs.bytes).sum(axis=1),
    }
    for kind, opcode in KINDS.items():
        here = pairs.opcode == opcode
        for number, slot in enumerate(SLOTS[:2]):
            for name, (least, most) in _PLACES.items():
                place = pairs.place[:, number]
                values[f"{kind}_{slot}_minor_{name}"] = here & known[:, number] & (place >= least) & (place <= most)
        values[f"{kind}_minor_bits"] = here * known[:, 0] * bits(minor[:, 0])
        values[f"{kind}_second_bits"] = here * known[:, 0] * bits(second[:, 0])
        values[f"{kind}_padding_bytes"] = here * extra
        if kind != "transpose":
            values[f"{kind}_disagreeing"] = here & pairs.disagreeing
    return values | _roles(pairs, node_feat)


def _roles(pairs: Pairs, node_feat: np.ndarray) -> dict[str, np.ndarray]:
    values = {}
    for number, (slot, roles) in enumerate(ROLES.items()):
        minor = pairs.minor[:, number]
        rest = (pairs.opcode == CONVOLUTION) & pairs.known[:, number]
        for role, column in roles.items():
            values[f"convolution_{slot}_minor_{role}"] = found = rest & (node_feat[pairs.node, column] == minor)
            rest = rest & ~found
        values[f"convolution_{slot}_minor_spatial"] = rest
    return values
