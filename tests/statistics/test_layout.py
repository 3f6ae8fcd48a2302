"""Statistics of layouts, against slow ones and in small chunks."""

import itertools

import numpy as np

from stages.graphs import dataset
from stages.statistics import layout
from stages.statistics.layout import layout_statistics
from tests.support.statistics import columns


def slow_inversions(graph):
    """Inversions and bytes times inversions, one configuration, node and slot at a time."""
    count, weighted = np.zeros(graph.configurations), np.zeros(graph.configurations)
    for c, j, slot in np.ndindex(graph.configurations, len(graph.config_nodes), 3):
        nodes = [graph.config_nodes[j], *graph.config_operands[j]]
        shape = [int(s) for s in graph.node_feat[nodes[slot], 21:27] if s] if nodes[slot] >= 0 else []
        order = [int(axis) for axis in graph.layouts()[c, j, 6 * slot : 6 * slot + 6] if axis >= 0]
        if not order:
            continue
        order += [axis for axis in reversed(range(len(shape))) if axis not in order]
        order = [axis for axis in order if axis >= len(shape) or shape[axis] != 1]
        pairs = sum(first < second for first, second in itertools.combinations(order, 2))
        count[c] += pairs
        weighted[c] += pairs * (4 * np.prod(shape) if nodes[slot] >= 0 else 0)
    return count, weighted


def test_the_fast_path_agrees_with_a_slow_one(sample, monkeypatch):
    for graph in dataset.graphs(sample, "layout:xla:random", "train"):
        whole = layout_statistics(graph, searched=True)[1]
        found = columns(graph)
        count, weighted = slow_inversions(graph)
        np.testing.assert_array_equal(found["inversions"], count)
        np.testing.assert_array_equal(found["inversions_bytes"], weighted)
        with monkeypatch.context() as patch:
            patch.setattr(layout, "_CELLS", 7)
            patch.setattr(layout, "_PAIRS", 1)
            np.testing.assert_array_equal(layout_statistics(graph, searched=True)[1], whole)
