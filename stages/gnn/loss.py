"""Ranking losses over the configurations of each graph."""

from __future__ import annotations

import torch
from torch.nn.functional import softplus


def pairwise_hinge(
    score: torch.Tensor, order: torch.Tensor, margin: float, mask: torch.Tensor | None = None
) -> torch.Tensor:
    """Mean over graphs of the mean hinge max(0, margin - (score of slower - score of faster)) over pairs; a scalar.

    score (b, k) float; order (b, k): anything that orders the run times of a graph (their rank: the loss sees only the
    order, so logarithm or standardisation of the run times would not change it); mask (b, k) bool: False is padding.
    Pairs of equal run time are left out; a graph with no other pair, a single configuration for one, adds nothing, and
    a batch of such graphs gives 0. The loss of the first-place solution, without its ties.
    """
    return _pairs((margin - _differences(score)).clamp(min=0), order, mask)


def pairwise_logistic(
    score: torch.Tensor, order: torch.Tensor, margin: float, mask: torch.Tensor | None = None
) -> torch.Tensor:
    """The same with log(1 + exp(-(score of slower - score of faster))), RankNet's (Burges et al. 2005); no margin."""
    return _pairs(softplus(-_differences(score)), order, mask)


def pairwise_margin(
    score: torch.Tensor, order: torch.Tensor, margin: float, mask: torch.Tensor | None = None
) -> torch.Tensor:
    """The hinge with a margin that grows with the pair's distance in the ranking, `margin` on average over pairs.

    Equal run times share the mean of their places, so that the order in which configurations were drawn says nothing.
    """
    mask = torch.ones_like(order, dtype=torch.bool) if mask is None else mask
    faster = (order[:, None, :] < order[:, :, None]) & mask[:, None]
    slower = (order[:, None, :] > order[:, :, None]) & mask[:, None]
    rank = (faster.sum(dim=2) - slower.sum(dim=2)).to(score.dtype) / 2
    typical = (mask.sum(dim=1) + 1) / 3  # mean distance between two of so many places
    distance = _differences(rank).abs() / typical[:, None, None]
    return _pairs((margin * distance - _differences(score)).clamp(min=0), order, mask)


def listmle(score: torch.Tensor, order: torch.Tensor, margin: float, mask: torch.Tensor | None = None) -> torch.Tensor:
    """Mean over graphs of the negative log-likelihood of the true order, divided by its length (Xia et al. 2008).

    The probability of an order is that of drawing the configurations one after the other, fastest first, with
    probabilities softmax(-score) of those left. In float32, maxima subtracted, whatever the type of the scores; of
    equal run times the first counts as faster. No margin.
    """
    mask = torch.ones_like(order, dtype=torch.bool) if mask is None else mask
    fastest_first = order.masked_fill(~mask, order.max() + 1).argsort(dim=1, stable=True)
    utility = -score.float().gather(1, fastest_first)
    valid = mask.gather(1, fastest_first)
    left = utility.masked_fill(~valid, -torch.inf).flip(1).logcumsumexp(1).flip(1)
    loss = torch.where(valid, left - utility, 0).sum(dim=1) / valid.sum(dim=1)
    several = (order.masked_fill(~mask, -1).amax(dim=1) > order.masked_fill(~mask, order.max()).amin(dim=1)).to(loss)
    return (loss * several).sum() / several.sum().clamp(min=1)


LOSSES = {
    "hinge": pairwise_hinge,
    "logistic": pairwise_logistic,
    "margin": pairwise_margin,
    "listmle": listmle,
}


def _differences(score: torch.Tensor) -> torch.Tensor:
    return score[:, :, None] - score[:, None, :]


def _pairs(loss: torch.Tensor, order: torch.Tensor, mask: torch.Tensor | None) -> torch.Tensor:
    """Mean over graphs of the mean over pairs [slower, faster] of loss (b, k, k)."""
    slower = order[:, :, None] > order[:, None, :]
    if mask is not None:
        slower = slower & mask[:, :, None] & mask[:, None, :]
    pairs = slower.sum(dim=(1, 2))
    graphs = torch.where(slower, loss, 0).sum(dim=(1, 2)) / pairs.clamp(min=1)
    return graphs.sum() / (pairs > 0).sum().clamp(min=1)
