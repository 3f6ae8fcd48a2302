"""Statistics of configurations, named columns for the trees and the baselines.

`layout_statistics` and `tile_statistics` compute them for configurations of one packed graph; `DESCRIPTIONS` says what
each column measures.
"""

import numpy as np

from stages.statistics import layout, tile
from stages.statistics.hardware import DEFAULT, Hardware
from stages.statistics.layout import layout_statistics
from stages.statistics.tile import tile_statistics

__all__ = [
    "DESCRIPTIONS",
    "Hardware",
    "describe",
    "layout_statistics",
    "shared",
    "standardised",
    "statistics",
    "tile_statistics",
]

#: column name -> one line that says what it measures. Columns of the whole, unpruned program: see `describe`.
DESCRIPTIONS: dict[str, str] = {**layout.DESCRIPTIONS, **tile.DESCRIPTIONS}


def statistics(
    graph, rows: np.ndarray | None = None, searched: bool = False, hardware: Hardware = DEFAULT
) -> tuple[list[str], np.ndarray]:
    """Names and (c, f) float64 statistics of the configurations at `rows`, else of all, of a packed graph.

    searched: of a layout graph also the columns that say how often the search tried a node's layouts.
    """
    if graph.codes is None:
        return tile_statistics(graph, rows, hardware)
    return layout_statistics(graph, rows, searched, hardware)


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
    spread = np.where(np.ptp(values, axis=0) > 0, values.std(axis=0), 0.0)
    return np.divide(values - values.mean(axis=0), spread, out=np.zeros(values.shape), where=spread > 0)
