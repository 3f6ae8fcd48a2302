"""The columns of a graph of either kind: what they are worth, what they measure, which of them vary within a graph."""

from __future__ import annotations

import numpy as np

from stages.graphs.dataset import PackedGraph
from stages.statistics import layout, tile
from stages.statistics.layout import layout_statistics
from stages.statistics.tile import tile_statistics

#: column name -> one line that says what it measures. Columns of the whole, unpruned program: see `describe`.
DESCRIPTIONS: dict[str, str] = {**layout.DESCRIPTIONS, **tile.DESCRIPTIONS}


def statistics(
    graph: PackedGraph, rows: np.ndarray | None = None, searched: bool = False
) -> tuple[list[str], np.ndarray]:
    """Statistics of configurations of a packed graph.

    Args:
        graph: of layouts or of tiles.
        rows: (c,) the configurations; None: all.
        searched: whether a layout graph gets the columns too that say how often the search tried a node's layouts.

    Returns:
        Names (f,) of the columns and (c, f) float64 values.
    """
    if graph.codes is None:
        return tile_statistics(graph, rows)
    return layout_statistics(graph, rows, searched)


def describe(column: str) -> str:
    """What a column measures, in one line; also of the `whole_...` columns, whose names the prune stage chose."""
    if column.startswith("whole_"):
        name = column.removeprefix("whole_").removeprefix("log_").replace("_", " ")
        return f"logarithm of the unpruned program's {name}"
    return DESCRIPTIONS[column]


def shared(column: str) -> bool:
    """Whether all configurations of a graph have the same value in the column."""
    return column.startswith("whole_") or column in layout.PROGRAM_COLUMNS or column in tile.KERNEL_COLUMNS


def standardised(values: np.ndarray) -> np.ndarray:
    """Columns (c, f) of one graph with mean 0 and standard deviation 1; a column that does not vary is all 0."""
    deviation = np.where(np.ptp(values, axis=0) > 0, values.std(axis=0), 0.0)
    return np.divide(values - values.mean(axis=0), deviation, out=np.zeros(values.shape), where=deviation > 0)
