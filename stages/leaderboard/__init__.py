"""Official metrics, baselines and the submission; entry point `run`."""

from stages.leaderboard.stage import run

__all__ = ["run"]
