"""Ranking loss over the configurations of each graph."""

import torch


def pairwise_hinge(
    score: torch.Tensor, order: torch.Tensor, margin: float, mask: torch.Tensor | None = None
) -> torch.Tensor:
    """Mean over graphs of the mean hinge max(0, margin - (score of slower - score of faster)) over pairs; a scalar.

    score (b, k) float; order (b, k): anything that orders the run times of a graph (their rank: the loss sees only the
    order, so logarithm or standardisation of the run times would not change it); mask (b, k) bool: False is padding.
    Pairs of equal run time are left out; a graph with no other pair, a single configuration for one, adds nothing, and
    a batch of such graphs gives 0. The loss of the first-place solution, without its ties.
    """
    slower = order[:, :, None] > order[:, None, :]
    if mask is not None:
        slower = slower & mask[:, :, None] & mask[:, None, :]
    hinge = (margin - (score[:, :, None] - score[:, None, :])).clamp(min=0)
    pairs = slower.sum(dim=(1, 2))
    graphs = torch.where(slower, hinge, 0).sum(dim=(1, 2)) / pairs.clamp(min=1)
    return graphs.sum() / (pairs > 0).sum().clamp(min=1)
