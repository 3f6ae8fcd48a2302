"""The nested evaluation: weights chosen without a family and judged on it."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stages.blend.member_scores import combine
from stages.blend.nested import families, nested
from stages.scoring import metrics
from tests.support.blending import (
    ALPHA,
    MEMBERS,
    OPPOSED,
    TARGETS,
    member_scores,
)


def test_the_nested_choice_by_hand():
    opposed = member_scores(OPPOSED, TARGETS)
    assert families(opposed) == {"alpha": ALPHA, "beta": ["beta_1"]}
    # Chosen on all: gnn, right on three of four.
    assert opposed.weights("rank", 0.0) == (0.55, 0.45)
    assert opposed.score("rank", (0.55, 0.45)) == pytest.approx((3 - 1) / 4)
    # Without alpha gbdt is chosen, without beta gnn: each is wrong on the family left out, also half way to equal.
    for rule, shrink in (("rank", 0.0), ("rank", 0.5), ("single", 0.5)):
        assert nested(opposed, rule, shrink) == pytest.approx(dict.fromkeys(TARGETS, -1))
    assert nested(opposed, "rank", 1.0) == nested(opposed, "borda", 0.0) == pytest.approx(dict.fromkeys(TARGETS, 1 / 3))


names = st.lists(st.sampled_from(["ant", "bee", "cat"]), min_size=2, max_size=5)


@settings(max_examples=30, deadline=None)
@given(names, st.integers(0, 2**32 - 1), st.sampled_from(["rank", "single"]), st.sampled_from([0.0, 0.3]))
def test_nested_scores_are_those_of_weights_chosen_without_the_family(families, seed, rule, shrink):
    rng = np.random.default_rng(seed)
    graphs = [f"{family}_{number}" for number, family in enumerate(families)]
    members = {name: {each: rng.permutation(6) for each in graphs} for name in MEMBERS}
    targets = {each: rng.integers(1, 4, 6) for each in graphs}
    values = nested(member_scores(members, targets), rule, shrink)
    defined = [each for each in graphs if len(set(targets[each])) > 1]
    if len({each[:3] for each in defined}) < 2:
        assert values == {}
        return
    assert sorted(values) == sorted(defined)
    for each in defined:
        others = [other for other in defined if other[:3] != each[:3]]
        left = member_scores(
            {name: {other: part[other] for other in others} for name, part in members.items()},
            {other: targets[other] for other in others},
        )
        scored = combine(
            {name: {each: part[each].astype(float)} for name, part in members.items()}, left.weights(rule, shrink)
        )
        assert values[each] == metrics.kendall(scored[each], targets[each])
