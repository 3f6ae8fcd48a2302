"""Blends the scores of the members; entry point `run`."""

from stages.blend.stage import run

__all__ = ["run"]
