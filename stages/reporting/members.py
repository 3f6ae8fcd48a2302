"""The looks of members in the reports, and their order.

Trained members have a colour and a solid line. Baselines are grey and dashed, so that a reader sees the difference.
"""

from collections.abc import Iterable

from stages.reporting.colours import BLUE, DARK, GREEN, GREY, ORANGE

_TRAINED = {"blend": BLUE, "gnn": ORANGE, "gbdt": GREEN}


def colour(member: str) -> str:
    """The colour of a member's bar or line."""
    return _TRAINED.get(member, GREY)


def kind(member: str) -> str:
    """What a legend calls a member: its name, or that it is a baseline like the other grey ones."""
    return member if member in _TRAINED or member == "random" else "baselines"


def line(member: str) -> dict[str, object]:
    """Matplotlib's keywords for a member's line; that of chance is dotted, that of the blend thick."""
    style = "-" if member in _TRAINED else ":" if member == "random" else "--"
    width = 2.2 if member == "blend" else 1.3
    return {"linestyle": style, "linewidth": width, "color": DARK if member == "random" else colour(member)}


def in_order(members: Iterable[str]) -> list[str]:
    """The members in the order of the reports: the blend, its members, baselines by name, the ceiling."""
    names = set(members)
    first = [name for name in _TRAINED if name in names]
    last = [name for name in ("ceiling",) if name in names]
    return first + sorted(names - {*first, *last}) + last
