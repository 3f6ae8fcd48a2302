"""Which of the nodes that a configurable node consumes is its input, and which its kernel.

The published edges do not say: those of a node are distinct, sorted by the producers' numbers, and the roots of called
computations are among them. A reduce's first edge leads to the addition it applies, not to what it sums.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from itertools import permutations

import numpy as np

from stages.graphs.opcodes import CONVOLUTION, DOT, REDUCE, RESHAPE, TRANSPOSE
from stages.graphs.tensors import ELEMENTS, ROOT, dimensions, shape

#: columns of a convolution: batch and feature dimension of the input, input and output feature dimension of the kernel,
#: batch and feature dimension of the output, groups of features, groups of batches
_CONVOLUTION_COLUMNS = [93, 94, 99, 100, 105, 106, 107, 108]


def config_operands(
    node_feat: np.ndarray, node_opcode: np.ndarray, edge_index: np.ndarray, config_nodes: np.ndarray
) -> np.ndarray:
    """Finds the nodes that compute the input and the kernel of each configurable node.

    They are told apart by what must hold of the shapes. Where it holds of either order of a convolution's or a dot's
    producers, they stay as in edge_index.

    Args:
        node_feat: (n, 140) as published.
        node_opcode: (n,).
        edge_index: (m, 2); an edge [u, v] says that u consumes the output of v.
        config_nodes: Configurable nodes (nc,).

    Returns:
        (nc, 2) int64; input and kernel, -1 where a node has none.
    """
    order = np.argsort(edge_index[:, 0], kind="stable")
    consumers, producers = edge_index[order, 0], edge_index[order, 1]
    # No node of a computation consumes the computation's root: a root is that of a computation the node calls.
    computed = node_feat[producers, ROOT] == 0
    consumers, producers = consumers[computed], producers[computed]
    starts, ends = (np.searchsorted(consumers, config_nodes, side) for side in ("left", "right"))
    operands = np.full((len(config_nodes), 2), -1)
    for row, node, start, end in zip(operands, config_nodes, starts, ends, strict=True):
        chosen = _chosen(node_feat, int(node_opcode[node]), node, producers[start:end])
        row[: len(chosen)] = chosen
    return operands


def _chosen(node_feat: np.ndarray, opcode: int, node: int, producers: np.ndarray) -> Sequence[int]:
    """Input and kernel, or the input alone, or nothing."""
    if opcode == REDUCE:
        ranks = (dimensions(node_feat[producers]) > 0).sum(axis=1)
        return producers[ranks > (dimensions(node_feat[[node]]) > 0).sum()][:1]
    if opcode in (RESHAPE, TRANSPOSE):
        return producers[node_feat[producers, ELEMENTS] == node_feat[node, ELEMENTS]][:1]
    if opcode not in (CONVOLUTION, DOT):
        return producers[:2]
    if len(producers) == 1:  # of both operands, as in dot(x, x): there is one edge for the two
        return [producers[0]] * 2
    output = shape(dimensions(node_feat[[node]])[0])
    shapes = {producer: shape(dims) for producer, dims in zip(producers, dimensions(node_feat[producers]), strict=True)}
    numbers = node_feat[node, _CONVOLUTION_COLUMNS].astype(int).tolist()
    for pair in permutations(producers, 2):
        left, right = (shapes[producer] for producer in pair)
        fits = (
            _convolves(output, left, right, numbers)
            if opcode == CONVOLUTION
            else dot_split(output, left, right) is not None
        )
        if fits:
            return pair
    return producers[:2]


def _convolves(output: tuple, input: tuple, kernel: tuple, numbers: list[int]) -> bool:
    """Whether the features and batches of a convolution's shapes fit each other. numbers: _CONVOLUTION_COLUMNS."""
    batch, feature, kernel_in, kernel_out, output_batch, output_feature, feature_groups, batch_groups = numbers
    if not len(output) == len(input) == len(kernel) > max(numbers[:6]):
        return False
    return (
        input[feature] == kernel[kernel_in] * feature_groups
        and output[output_feature] == kernel[kernel_out]
        and input[batch] == output[output_batch] * batch_groups
    )


def dot_split(output: tuple, left: tuple, right: tuple) -> tuple[int, int] | None:
    """Where a dot's output goes over from batch dimensions to the left's free ones, and from those to the right's.

    A dot has batch dimensions of both sides, then free ones of the left, then of the right. What is left of the two
    sides is contracted, and so of the same sizes. Free dimensions keep their order.

    Returns:
        The two places in the output, the first that fit; None where the shapes are not those of a dot.
    """
    for first in range(len(output) + 1):
        for second in range(first, len(output) + 1):
            batch, free, other = output[:first], output[first:second], output[second:]
            if not (_within(free, left) and _within(other, right)):
                continue
            rest = Counter(left) - Counter(free)
            if rest == Counter(right) - Counter(other) and Counter(batch) <= rest:
                return first, second
    return None


def _within(part: tuple, whole: tuple) -> bool:
    """Whether `part` is `whole` with dimensions left out."""
    remaining = iter(whole)
    return all(size in remaining for size in part)
