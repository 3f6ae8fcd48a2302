"""Losses, layers, scalers and schedules on cases that are computed by hand."""

import math

import numpy as np
import pytest
import torch

from stages.winners import parts
from stages.winners.parts import Standard, Training


def test_hinges_are_the_pairs_whose_first_is_slower():
    scores, labels = torch.tensor([1.0, 0.5, 2.0]), torch.tensor([3, 1, 1])
    found = parts.hinges(scores, labels, margin=1.0)
    # Only 0 is slower than another: 1 - (1 - 0.5) and 1 - (1 - 2).
    assert found.tolist() == [[0, 0.5, 2.0], [0, 0, 0], [0, 0, 0]]


def test_hinges_of_several_graphs_stay_apart():
    scores, labels = torch.zeros(2, 3), torch.tensor([[1, 2, 3], [5, 5, 5]])
    assert parts.hinges(scores, labels, margin=0.1).sum(dim=(1, 2)).tolist() == pytest.approx([0.3, 0])


def test_logistic_is_the_cross_entropy_of_pairs_in_order():
    scores, labels = torch.tensor([[0.0, 1.0, 3.0]]), torch.tensor([[1, 2, 2]])
    # Pairs (0, 1), (0, 2): the second is slower, and scores say so; (1, 2): equal, which counts as not slower.
    by_hand = [math.log1p(math.exp(-1)), math.log1p(math.exp(-3)), math.log1p(math.exp(2))]
    assert float(parts.logistic(scores, labels)) == pytest.approx(sum(by_hand) / 3, rel=1e-6)


def test_listmle_draws_the_slowest_first():
    scores, labels = torch.tensor([[0.0, 1.0, 2.0]]), torch.tensor([[10, 30, 20]])
    e = math.exp
    by_hand = -math.log(e(1) / (e(0) + e(1) + e(2))) - math.log(e(2) / (e(2) + e(0)))
    assert float(parts.listmle(scores, labels)) == pytest.approx(by_hand, rel=1e-6)
    # A network that scores slow configurations high has the smaller loss.
    assert parts.listmle(torch.tensor([[0.0, 2.0, 1.0]]), labels) < parts.listmle(scores, labels)


def test_listmle_is_the_mean_over_graphs():
    scores, labels = torch.tensor([[0.0, 1.0], [1.0, 0.0]]), torch.tensor([[1, 2], [1, 2]])
    each = [float(parts.listmle(scores[i : i + 1], labels[i : i + 1])) for i in range(2)]
    assert float(parts.listmle(scores, labels)) == pytest.approx(sum(each) / 2)


def test_upper_margin_asks_differences_for_their_sign():
    scores, labels = torch.tensor([[0.0, 0.05, -1.0]]), torch.tensor([[1.0, 2.0, 2.0]])
    # (0, 1): 0.1 - 0.05; (0, 2): 0.1 + 1; (1, 2): equal, the margin.
    assert float(parts.upper_margin(scores, labels, 0.1)) == pytest.approx((0.05 + 1.1 + 0.1) / 3)


def test_mape_has_a_smallest_divisor():
    scores, labels = torch.tensor([[3.0, 1.17e-6]]), torch.tensor([[2.0, 0.0]])
    assert float(parts.mape(scores, labels)) == pytest.approx((0.5 + 1.0) / 2)


def test_clip_norm_shortens_long_rows_alone():
    clipped = parts.clip_norm(torch.tensor([[3.0, 4.0], [0.3, 0.4]]), 1.0)
    assert clipped.flatten().tolist() == pytest.approx([0.6, 0.8, 0.3, 0.4])


def test_instance_norm_is_of_the_nodes_of_one_configuration():
    x = torch.tensor([[[1.0], [3.0]], [[10.0], [50.0]]])
    assert parts.instance_norm(x).flatten().tolist() == pytest.approx([-1, 1, -1, 1], abs=1e-4)
    assert parts.instance_norm(x[:, :1]).flatten().tolist() == [0, 0]


def test_cross_attention_weighs_configurations_of_one_channel():
    attention = parts.CrossConfigurationAttention()
    x = torch.tensor([[[0.0]], [[0.5]]])
    weight = math.exp(1) / (1 + math.exp(1))
    assert attention(x).flatten().tolist() == pytest.approx([0, 0.5 * weight])


def test_standard_leaves_constant_columns_unscaled():
    blocks = [np.array([[1.0, 5.0], [3.0, 5.0]]), np.array([[5.0, 5.0]])]
    scaler = parts.fit_standard(blocks)
    assert scaler.mean.tolist() == pytest.approx([3, 5])
    assert scaler.deviation.tolist() == pytest.approx([math.sqrt(8 / 3), 1])
    assert scaler(np.array([[3.0, 7.0]], np.float32)).tolist() == [[0, 2]]
    assert scaler(np.zeros((1, 2), np.float32)).dtype == np.float32


def test_standard_is_the_same_for_any_blocks():
    rows = np.random.default_rng(0).normal(1e6, 3, (50, 4))
    whole, cut = parts.fit_standard([rows]), parts.fit_standard(np.array_split(rows, 7))
    np.testing.assert_allclose(cut.mean, whole.mean, rtol=1e-12)
    np.testing.assert_allclose(cut.deviation, rows.std(0), rtol=1e-9)


def test_min_max_drops_constant_columns():
    scaler = parts.fit_min_max([np.array([[0, 7, -1], [4, 7, 1]], np.float32), np.array([[2, 7, 3]], np.float32)])
    assert scaler.varies.tolist() == [True, False, True]
    assert scaler(np.array([[2, 9, 3], [8, 7, -1]], np.float32)).tolist() == [[0.5, 1], [2, 0]]


def test_cosine_rises_then_falls_to_nothing():
    rates = [parts.cosine(step, 100, 0.05) for step in range(101)]
    assert rates[:6] == pytest.approx([0, 0.2, 0.4, 0.6, 0.8, 1])
    assert rates[5 + 95 // 2] == pytest.approx(0.5, abs=0.02)
    assert rates[100] == pytest.approx(0)
    assert parts.cosine(0, 100, 0.0) == 1


def test_cosine_to_a_thousandth_has_that_floor():
    rates = [parts.cosine_to_a_thousandth(step, 100, 0) for step in (0, 50, 100)]
    assert rates == pytest.approx([1, 0.5005, 0.001])


def test_drops_divide_by_the_root_of_ten():
    rates = [parts.drops(step, 400_000, 0) for step in (0, 239_999, 240_000, 280_000, 320_000, 360_000)]
    assert rates == pytest.approx([1, 1, 10**-0.5, 10**-1, 10**-1.5, 10**-2])


def test_rate_is_the_schedule_of_the_settings():
    assert parts.rate(Training(schedule="constant"), 3, 10) == 1
    assert parts.rate(Training(schedule="cosine", warm_up=0.5), 1, 10) == pytest.approx(0.2)


def test_clipping_is_of_all_gradients_together():
    network = parts.Network()
    network.weights = torch.nn.ParameterList([torch.nn.Parameter(torch.zeros(1)) for _ in range(2)])
    for weight, gradient in zip(network.weights, (3.0, 4.0), strict=True):
        weight.grad = torch.tensor([gradient])
    network.clip(Training(clip=None))
    assert [float(weight.grad) for weight in network.weights] == [3, 4]
    network.clip(Training(clip=1.0))
    assert [float(weight.grad) for weight in network.weights] == pytest.approx([0.6, 0.8], rel=1e-5)


def test_standard_is_what_it_was_fitted_to():
    scaler = Standard(np.array([1.0]), np.array([2.0]))
    assert scaler(np.array([[5]], np.int64)).tolist() == [[2.0]]


def test_a_shared_part_is_joined_before_the_other():
    torch.manual_seed(0)
    layer = parts.JoinedLinear(5, 4).double()
    x, shared = torch.randn(2, 3, 2, dtype=torch.float64), torch.randn(3, 3, dtype=torch.float64)
    joined = torch.cat([shared.expand(2, -1, -1), x], dim=-1)
    torch.testing.assert_close(layer(x, shared), joined @ layer.weight.T + layer.bias)
    torch.testing.assert_close(layer(joined), layer(x, shared))
