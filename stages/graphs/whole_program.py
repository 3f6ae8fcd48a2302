"""What is kept of a whole program beside its pruned graph: what layout assignment needs, and its drawing."""

from __future__ import annotations

import numpy as np

from stages.graphs import npz
from stages.graphs.operands import config_operands
from stages.graphs.tensors import DIMENSIONS, MAX_RANK, ROOT, dimensions, element_bytes

#: columns of `whole_nodes`: opcode, bytes of an element, whether it is a computation's root, dimensions (0 beyond the
#: rank), the dimensions that the opcode names, and of a convolution batch and feature dimension of its input, input and
#: output feature dimension of its kernel, batch and feature dimension of its output
OPCODE, BYTES, IS_ROOT, SHAPE, AXES, ROLES = 0, 1, 2, slice(3, 9), slice(9, 15), slice(15, 21)
COLUMNS = 21
_ROLE_COLUMNS = [93, 94, 99, 100, 105, 106]


def whole_program(graph: npz.LayoutArrays | npz.LayoutFile) -> dict[str, np.ndarray]:
    """Takes from a whole layout graph what is kept of it.

    Args:
        graph: Of n nodes and nc configurable ones.

    Returns:
        whole_nodes (n, 21) int32, see the columns above; whole_edges (m, 2) int32, [consumer, producer], some of which
        lead to the roots of called computations; whole_slots (nc, 3) int32, the nodes that compute a configurable
        node's output, input and kernel, -1 for none.
    """
    features = graph.node_feat
    nodes = np.zeros((len(features), COLUMNS), np.int32)
    nodes[:, OPCODE] = graph.node_opcode
    nodes[:, BYTES] = element_bytes(features)
    nodes[:, IS_ROOT] = features[:, ROOT] > 0
    nodes[:, SHAPE] = dimensions(features)
    nodes[:, AXES] = features[:, DIMENSIONS][:, :MAX_RANK]
    nodes[:, ROLES] = features[:, _ROLE_COLUMNS]
    edges = np.asarray(graph.edge_index)
    operands = config_operands(features, graph.node_opcode, edges, graph.node_config_ids)
    slots = np.concatenate([np.asarray(graph.node_config_ids)[:, None], operands], axis=1)
    return {
        "whole_nodes": nodes,
        "whole_edges": edges.astype(np.int32),
        "whole_slots": slots.astype(np.int32),
    }
