"""The stages of the pipeline, a module or subpackage each, and what they share."""

from stages.engine import processor  # noqa: F401 (before any library of arithmetic is loaded)
