"""The tensors of one small packed layout graph, for tests of the files that hold them."""

from __future__ import annotations

import numpy as np


def layout_tensors(configurations: int = 3, configurable: int = 2) -> dict[str, np.ndarray]:
    """Tensors of `dataset.PACKED_LAYOUT`, without whole_stats: of all dtypes, two of them empty.

    Args:
        configurations: their number c, at most 3.
        configurable: the number of configurable nodes, at most 2.
    """
    rng = np.random.default_rng(0)
    return {
        "node_feat": rng.random((4, 140)).astype(np.float32),
        "node_opcode": np.array([63, 34, 2, 120], np.uint8),
        "edge_index": np.empty((0, 2), np.int32),
        "node_split": np.array([1, 1, 2, 2], np.int32),
        "runtime": np.array([2**40 + 1, 5, 7][:configurations], np.int64),
        "config_index": np.arange(configurations),
        "whole_opcodes": np.arange(121),
        "config_nodes": np.array([1, 2][:configurable], np.int32),
        "codes": rng.integers(0, 3, (configurations, configurable)).astype(np.uint16),
        "triples": rng.integers(-1, 6, (3, 18)).astype(np.int8),
        "contracted": np.empty((0, 2), np.int32),
        "config_operands": np.array([[0, -1], [1, 0]][:configurable], np.int32),
        "whole_nodes": rng.integers(0, 9, (5, 21)).astype(np.int32),
        "whole_edges": np.array([[1, 0], [4, 3]], np.int32),
        "whole_slots": np.array([[1, 0, -1], [2, 1, 0]][:configurable], np.int32),
    }
