"""How members look in the reports and in which order they stand.

What is trained has a colour and a solid line. Baselines are grey and dashed, so that the eye finds the comparison.
"""

from collections.abc import Iterable

from stages.reporting.colours import BLUE, DARK, GREEN, GREY, ORANGE

_TRAINED = {"blend": BLUE, "gnn": ORANGE, "gbdt": GREEN}


def colour(member: str) -> str:
    """The colour of a member's bar or line."""
    return _TRAINED.get(member, GREY)


def line(member: str) -> dict[str, object]:
    """The keywords with which matplotlib draws a member's line; chance is dotted, the blend thick."""
    style = "-" if member in _TRAINED else ":" if member == "random" else "--"
    width = 2.2 if member == "blend" else 1.3
    return {"linestyle": style, "linewidth": width, "color": DARK if member == "random" else colour(member)}


def in_order(members: Iterable[str]) -> list[str]:
    """The members in the order of the reports: blend, what it blends, baselines by name, ceiling."""
    names = set(members)
    first = [name for name in _TRAINED if name in names]
    last = [name for name in ("ceiling",) if name in names]
    return first + sorted(names - {*first, *last}) + last
