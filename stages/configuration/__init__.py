"""Shows what a configuration is, on one small program or kernel; entry point `run`."""

from stages.configuration.stage import run

__all__ = ["run"]
