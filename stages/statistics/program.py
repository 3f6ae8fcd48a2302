"""Columns of a layout graph's program, which all of its configurations share."""

from __future__ import annotations

import numpy as np

from stages.graphs.dataset import PackedGraph
from stages.graphs.opcodes import CONVOLUTION, DOT, OPCODE_NUMBERS
from stages.statistics.copies import SlotTensors
from stages.statistics.node_kinds import KINDS

#: opcodes whose share of a program tells programs apart
_SHARES = "add broadcast constant convert convolution divide dot gather multiply reduce reshape transpose".split()
#: opcodes whose share of the operations tells programs apart
_WORKERS = {"convolution": CONVOLUTION, "dot": DOT}

COLUMNS = {
    "program_nodes": "logarithm of the number of nodes of the pruned graph",
    "program_configurable": "logarithm of the number of configurable nodes",
    "program_configured_bytes": "logarithm of the bytes of all configured tensors",
    "program_largest_bytes": "logarithm of the bytes of the largest configured tensor",
    "program_rank": "mean rank of the configurable nodes' outputs",
    **{f"program_{kind}": f"share of opcode {kind} among the configurable nodes" for kind in KINDS},
    **{f"program_share_{name}": f"share of opcode {name} among the nodes of the unpruned program" for name in _SHARES},
    "program_operations": "logarithm of the floating-point operations of the configurable nodes",
    "program_intensity": "logarithm of these operations per byte of the configured tensors",
    **{f"program_operations_{kind}": f"share of these operations at nodes of opcode {kind}" for kind in _WORKERS},
    "program_possible_copies": "pairs of layouts that could force a copy, per configurable node",
}


def program_values(
    graph: PackedGraph, tensors: SlotTensors, possible_copies: int, operations: np.ndarray
) -> dict[str, float]:
    """Values of `COLUMNS`, and of a `whole_...` column for each statistic that the prune stage took.

    Args:
        graph: the program.
        tensors: of the slots of its nc configurable nodes.
        possible_copies: how many there are.
        operations: (nc,) floating-point operations of the configurable nodes.
    """
    nodes = len(tensors.opcode)
    work, size = float(operations.sum()), float(tensors.bytes.sum())
    values = {
        "program_nodes": np.log1p(graph.nodes),
        "program_configurable": np.log1p(nodes),
        "program_configured_bytes": np.log1p(size),
        "program_largest_bytes": np.log1p(tensors.bytes.max(initial=0)),
        "program_rank": (tensors.dims[:, 0] > 0).sum(axis=1).mean(),
        **{f"program_{name}": (tensors.opcode == opcode).mean() for name, opcode in KINDS.items()},
        "program_operations": np.log1p(work),
        "program_intensity": np.log1p(work / max(size, 1)),
        **{
            f"program_operations_{name}": operations[tensors.opcode == opcode].sum() / max(work, 1)
            for name, opcode in _WORKERS.items()
        },
        "program_possible_copies": possible_copies / nodes,
    }
    whole_nodes = max(int(graph.whole_opcodes.sum()), 1)
    for name in _SHARES:
        values[f"program_share_{name}"] = graph.whole_opcodes[OPCODE_NUMBERS[name]] / whole_nodes
    for name, value in sorted(graph.whole.items()):
        values[f"whole_{name}"] = value if name.startswith("log_") else np.log1p(max(value, 0.0))
    return values
