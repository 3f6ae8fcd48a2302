"""Phrases that sentences of several pages share."""

from collections.abc import Sequence

#: nanoseconds of a unit, the largest first
UNITS = {"s": 1e9, "ms": 1e6, "µs": 1e3, "ns": 1.0}


def counted(count: int, noun: str) -> str:
    """'1 graph', '2 graphs'."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def listed(names: Sequence[str]) -> str:
    """'a', 'a and b', 'a, b and c'."""
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def against(score: float, other: float) -> str:
    """'0.100 above' or '0.100 below': the distance of a score to another."""
    return f"{abs(score - other):.3f} {'above' if score >= other else 'below'}"


def unit(nanoseconds: float) -> str:
    """The largest unit of `UNITS` of which a time has at least one."""
    return next((name for name, size in UNITS.items() if nanoseconds >= size), "ns")


def duration(nanoseconds: float) -> str:
    """'633 ns', '5.22 µs', '110.7 ms': a time in the unit that fits it."""
    name = unit(nanoseconds)
    value = nanoseconds / UNITS[name]
    return f"{value:.0f} {name}" if name == "ns" else f"{value:.{1 if value >= 100 else 2}f} {name}"
