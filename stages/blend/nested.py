"""The nested evaluation: weights are chosen without a family of programs and judged on it.

A choice and its score on the same graphs flatter each other; this takes them apart. One thing stays: the epochs of a
network were chosen on the same valid graphs.
"""

import numpy as np

from stages.blend.member_scores import MemberScores
from stages.graphs.families import family


def families(member_scores: MemberScores) -> dict[str, list[str]]:
    """Family -> its valid graphs whose metric is defined."""
    result: dict[str, list[str]] = {}
    for graph, value in member_scores.values("rank", member_scores.equal).items():
        if not np.isnan(value):
            result.setdefault(family(graph), []).append(graph)
    return result


def nested(member_scores: MemberScores, rule: str, shrink: float) -> dict[str, float]:
    """The metric of each valid graph under weights that were chosen on the graphs of all other families.

    Args:
        member_scores: the members' scores of one collection.
        rule, shrink: as in `MemberScores.weights`.

    Returns:
        graph -> official metric. Empty where there are fewer than two families: nothing is left to choose on.
    """
    grouped = families(member_scores)
    if len(grouped) < 2:
        return {}
    result = {}
    for name, graphs in grouped.items():
        others = [graph for other, members in grouped.items() if other != name for graph in members]
        values = member_scores.values(rule, member_scores.weights(rule, shrink, others))
        result |= {graph: values[graph] for graph in graphs}
    return result
