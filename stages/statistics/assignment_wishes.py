"""The layouts that libtpu asks for where the hardware multiplies: at dots and convolutions.

Read off modules after libtpu's layout assignment: its own rules are not published.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import permutations

from stages.graphs.operands import dot_split
from stages.statistics.hardware import LANES, SUBLANES
from stages.statistics.orders import Order


def row_major(rank: int) -> Order:
    """Minor to major."""
    return tuple(range(rank - 1, -1, -1))


def padded(dims: Sequence[int], order: Order) -> int:
    """Elements of a tensor in tiled memory."""
    sizes = list(dims)
    for axis, tile in zip(order, (LANES, SUBLANES), strict=False):
        sizes[axis] = -(-sizes[axis] // tile) * tile
    return math.prod(sizes)


def convolution_layouts(
    shapes: list[Order], node: int, pair: list[int], roles: list[int]
) -> tuple[tuple[Order | None, ...] | None, tuple[int, int]]:
    """Layouts of a convolution: features minor, then the batch; of the kernel output features, then input ones.

    Returns:
        The layouts of output, input and kernel, and the nodes of input and kernel; None for the layouts where
        shapes or dimension numbers are not those of a convolution.
    """
    batch, feature, kernel_in, kernel_out, output_batch, output_feature = roles
    rank = len(shapes[node])
    if min(roles) < 0 or batch == feature or kernel_in == kernel_out or output_batch == output_feature:
        return None, (pair[0], pair[1])

    def order(minor: int, second: int) -> Order:
        return (minor, second, *(axis for axis in row_major(rank) if axis not in (minor, second)))

    for left, right in permutations(pair):
        if len(shapes[left]) == len(shapes[right]) == rank > max(roles) and (
            shapes[node][output_feature] == shapes[right][kernel_out]
        ):
            layouts = order(output_feature, output_batch), order(feature, batch), order(kernel_out, kernel_in)
            return layouts, (left, right)
    return None, (pair[0], pair[1])


def dot_layouts(output: Order, left: Order, right: Order) -> tuple[Order | None, Order | None, Order | None] | None:
    """Layouts that libtpu gives a dot: batch dimensions major, and of the two last others the larger tiles minor.

    What is contracted is not in the published columns; it is told from the shapes.

    Returns:
        Of output, left and right, None of one where there are not two dimensions to choose from; None where the shapes
        are not those of a dot.
    """
    split = dot_split(output, left, right)
    if split is None:
        return None
    batch, free = split
    batch_left, free_left, gone_left = _dot_roles(left, output[:batch], output[batch:free])
    batch_right, free_right, gone_right = _dot_roles(right, output[:batch], output[free:])
    of_left = of_right = of_output = None
    if free_left and gone_left:
        of_left = _better(left, max(gone_left), max(free_left), batch_left, max(gone_left) > max(free_left))
    if free_right and gone_right:
        of_right = _better(right, max(free_right), max(gone_right), batch_right, max(free_right) > max(gone_right))
    if batch < free < len(output):
        turned = batch > 0 and of_right is not None and of_right[0] in gone_right
        of_output = _better(output, len(output) - 1, free - 1, list(range(batch)), not turned)
    return of_output, of_left, of_right


def _better(dims: Order, first: int, second: int, batch: list[int], tie: bool) -> Order:
    """The less padded of two layouts with `first` and `second` minor; the first of them on a tie if so told."""
    rest = [axis for axis in row_major(len(dims)) if axis not in (first, second)]
    rest = [axis for axis in rest if axis not in batch] + [axis for axis in rest if axis in batch]
    one, other = (first, second, *rest), (second, first, *rest)
    sizes = padded(dims, one), padded(dims, other)
    return one if sizes[0] < sizes[1] or (sizes[0] == sizes[1] and tie) else other


def _dot_roles(side: Order, batch: Order, free: Order) -> tuple[list[int], list[int], list[int]]:
    """Batch, free and contracted dimensions of a side, the first that fit."""
    taken: list[int] = []
    for size in batch:
        taken += [axis for axis, own in enumerate(side) if own == size and axis not in taken][:1]
    kept: list[int] = []
    for size in free:
        later = range(kept[-1] + 1 if kept else 0, len(side))
        kept += [axis for axis in later if side[axis] == size and axis not in taken][:1]
    return taken, kept, [axis for axis in range(len(side)) if axis not in taken and axis not in kept]
