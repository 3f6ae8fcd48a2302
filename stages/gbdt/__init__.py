"""Gradient-boosted trees, and a ridge beside them, that rank the configurations of a graph by their statistics.

Idea: trees on handcrafted statistics from the 11th place of the TpuGraphs competition.
"""

from stages.gbdt.stage import run

__all__ = ["run"]
