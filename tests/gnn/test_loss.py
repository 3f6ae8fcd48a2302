"""Ranking losses, by hand and against their formulas."""

import math
from itertools import permutations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from stages.gnn.loss import LOSSES, listmle, pairwise_hinge, pairwise_logistic, pairwise_margin

PAIRWISE = {name: loss for name, loss in LOSSES.items() if name != "listmle"}


def gradient(loss, score, order, *rest):
    score = score.clone().requires_grad_()
    value = loss(score, order, *rest)
    value.backward()
    return value.detach(), score.grad


def test_hinge_by_hand():
    score = torch.tensor([[0.5, 0.0, 2.0], [1.0, 4.0, 7.0]])
    order = torch.tensor([[0, 1, 1], [0, 0, 0]])
    # slower than the first: the second, margin 1 - (0 - .5) = 1.5, and the third, 1 - 1.5 < 0; their tie is no pair.
    assert pairwise_hinge(score, order, 1.0).item() == pytest.approx(0.75)
    mask = torch.tensor([[True, True, False], [True, True, True]])
    assert pairwise_hinge(score, order, 1.0, mask).item() == pytest.approx(1.5)


def test_logistic_by_hand():
    score, order = torch.tensor([[0.5, 0.0, 2.0]]), torch.tensor([[0, 2, 1]])
    pairs = [math.log1p(math.exp(-gap)) for gap in (0.0 - 0.5, 2.0 - 0.5, 0.0 - 2.0)]
    assert pairwise_logistic(score, order, 1.0).item() == pytest.approx(np.mean(pairs), rel=1e-6)


def test_margin_by_hand():
    """Places 0, 1, 2 lie 1, 1 and 2 apart, 4 / 3 on average: margins .75, .75 and 1.5 times the one asked for."""
    score, order = torch.tensor([[0.5, 0.0, 2.0]]), torch.tensor([[3, 5, 9]])
    assert pairwise_margin(score, order, 1.0).item() == pytest.approx((0.75 + 0.5) / 3)
    assert pairwise_margin(score * 0, order, 2.0).item() == pytest.approx(2.0)
    # Of two equal run times both are half a place further: margins 1.5 / (4 / 3) for both pairs.
    assert pairwise_margin(score * 0, torch.tensor([[0, 4, 4]]), 1.0).item() == pytest.approx(1.125)


def test_listmle_by_hand():
    """The order 2, 0, 1 is drawn with probability softmax(-score) of all, then of 0 and 1."""
    score, order = torch.tensor([[0.5, 0.0, 2.0]]), torch.tensor([[1, 2, 0]])
    weight = np.exp([-0.5, 0.0, -2.0])
    likelihood = weight[2] / weight.sum() * weight[0] / weight[:2].sum()
    assert listmle(score, order, 1.0).item() == pytest.approx(-math.log(likelihood) / 3, rel=1e-6)


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 9999), configurations=st.integers(2, 6), ties=st.booleans())
def test_listmle_is_the_naive_formula_on_small_scores(seed, configurations, ties):
    """In float64, written out; of equal run times the first counts as faster."""
    rng = np.random.default_rng(seed)
    score = rng.normal(size=configurations)
    order = rng.integers(2, size=configurations) if ties else rng.permutation(configurations)
    order[:2] = 0, 1
    left, expected = sorted(range(configurations), key=lambda place: (order[place], place)), 0.0
    while left:
        expected -= np.log(np.exp(-score[left[0]]) / np.exp(-score[left]).sum())
        left.pop(0)
    found = listmle(torch.from_numpy(score)[None], torch.from_numpy(order)[None], 1.0)
    assert found.item() == pytest.approx(expected / configurations, rel=1e-5)


def test_the_likelihoods_of_all_orders_add_up_to_one():
    score = torch.tensor([[0.3, -1.0, 2.0, 0.0]])
    losses = [listmle(score, torch.tensor([order]), 1.0).item() for order in permutations(range(4))]
    assert sum(math.exp(-4 * loss) for loss in losses) == pytest.approx(1, rel=1e-5)


def test_listmle_of_large_scores_is_finite():
    score = torch.tensor([[1e4, 0.0, -1e4]])
    for order, expected in (([2, 1, 0], 0.0), ([0, 1, 2], 3e4 / 3)):
        value, slope = gradient(listmle, score, torch.tensor([order]), 1.0)
        assert value.item() == pytest.approx(expected) and torch.isfinite(slope).all()


@pytest.mark.parametrize("name", LOSSES)
def test_padding_takes_no_part_in_a_loss(name):
    """Beside a longer graph a padded one adds what it adds alone, whatever its padding scores; its slope is zero."""
    loss = LOSSES[name]
    rng = np.random.default_rng(0)
    score = torch.from_numpy(rng.normal(size=(2, 6)))
    order = torch.from_numpy(np.stack([rng.permutation(6), np.array([1, 2, 0, 1, 1, 1])]))
    mask = torch.tensor([[True] * 6, [True] * 3 + [False] * 3])
    found, slope = gradient(loss, score, order, 1.0, mask)
    parts = [gradient(loss, score[:1], order[:1], 1.0), gradient(loss, score[1:, :3], order[1:, :3], 1.0)]
    torch.testing.assert_close(found, (parts[0][0] + parts[1][0]) / 2)
    torch.testing.assert_close(slope[:1], parts[0][1] / 2)
    torch.testing.assert_close(slope[1:, :3], parts[1][1] / 2)
    assert not slope[1, 3:].any()
    assert torch.equal(gradient(loss, score.masked_fill(~mask, 50.0), order, 1.0, mask)[0], found)


@pytest.mark.parametrize("name", PAIRWISE)
def test_equal_run_times_pull_at_no_score(name):
    """The other pairs lie so far apart that nothing pulls at them either."""
    score, order = torch.tensor([[0.0, 1.5, 200.0]]), torch.tensor([[0, 0, 1]])
    assert not gradient(PAIRWISE[name], score, order, 1.0)[1].any()
    assert gradient(PAIRWISE[name], score, torch.tensor([[1, 0, 2]]), 1.0)[1].any()


@pytest.mark.parametrize("name", LOSSES)
def test_a_loss_does_not_depend_on_the_order_of_the_configurations(name):
    rng = np.random.default_rng(1)
    score, order = torch.from_numpy(rng.normal(size=(1, 8))), torch.from_numpy(rng.permutation(8)[None])
    if name in PAIRWISE:
        order = order // 2  # of equal run times listmle takes the first, by its definition
    shuffled = rng.permutation(8)
    torch.testing.assert_close(
        LOSSES[name](score, order, 1.0), LOSSES[name](score[:, shuffled], order[:, shuffled], 1.0)
    )


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("configurations", [1, 4])
def test_nothing_to_rank_is_a_loss_of_zero_with_zero_gradient(name, configurations):
    score = torch.arange(3.0, 3 + configurations)[None]
    value, slope = gradient(LOSSES[name], score, torch.zeros(1, configurations, dtype=torch.int64), 1.0)
    assert value.item() == 0 and not slope.any()
    # Nor does it water down the mean over the graphs of a batch.
    both, order = score.repeat(2, 1), torch.zeros(2, configurations, dtype=torch.int64)
    order[1] = torch.arange(configurations)
    torch.testing.assert_close(LOSSES[name](both, order, 1.0), LOSSES[name](score, order[1:], 1.0))
