"""Phrases that sentences of several pages share."""

from collections.abc import Sequence


def counted(count: int, noun: str) -> str:
    """'1 graph', '2 graphs'."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def listed(names: Sequence[str]) -> str:
    """'a', 'a and b', 'a, b and c'."""
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def against(score: float, other: float) -> str:
    """'0.100 above' or '0.100 below': the distance of a score to another."""
    return f"{abs(score - other):.3f} {'above' if score >= other else 'below'}"
