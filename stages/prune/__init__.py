"""Cuts the graphs to what is near configurable nodes; entry point `run`."""

from stages.prune.stage import run

__all__ = ["run"]
