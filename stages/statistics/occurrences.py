"""How often a node's layouts occur among the configurations of its graph.

Only for graphs whose search began at a default: it keeps what was fast and tries more of it, so a rare choice is a bad
sign. That is a property of the search and no physics (the 11th place of the TpuGraphs competition says so of its own
column), and these are the only columns that look at other configurations than their own; none looks at a run time.
"""

from __future__ import annotations

import numpy as np

from stages.statistics.layout_pairs import LayoutPairs

#: below this share of the configurations a choice is rare
RARE = 0.1
#: logarithms are rounded to 1 / 1024, so that their sums are exact
_STEP = 1024

COLUMNS = {
    "occurrence": "share of the graph's configurations that have a node's layouts, mean over the nodes",
    "occurrence_bits": "binary logarithm of that share, mean over the nodes",
    "rare": "nodes whose layouts fewer than a tenth of the graph's configurations have",
    "off_mode": "nodes whose layouts are not those that most configurations of the graph have",
    "off_mode_bytes": "bytes of the tensors of these nodes, as a share of all configured tensors",
    "off_mode_operations": "floating-point operations of these nodes, as a share of all",
}


def contributions(
    pairs: LayoutPairs, count: np.ndarray, is_mode: np.ndarray, configurations: int, operations: np.ndarray
) -> dict[str, np.ndarray]:
    """What each of p pairs adds to `COLUMNS`; means and shares are divided later.

    Args:
        pairs: of a node and a layout triple.
        count: (p,) configurations that have the pair.
        is_mode: (p,) whether it is the node's most frequent one.
        configurations: of the graph.
        operations: (nc,) floating-point operations of the configurable nodes.

    Returns:
        column -> (p,), exact in float64.
    """
    off = ~is_mode
    return {
        "occurrence": count,
        "occurrence_bits": np.rint(_STEP * np.log2(count / configurations)) / _STEP,
        "rare": count < RARE * configurations,
        "off_mode": off,
        "off_mode_bytes": off * pairs.bytes.sum(axis=1),
        "off_mode_operations": off * operations[pairs.node],
    }
