"""The processes that train one network together, each with graphs of its own: data-parallel training.

A graph, and with it the rows of the table of historical embeddings, belongs to one process for the whole training.
Every process draws all of a step's random numbers, computes the loss of its own graphs in the batch, and adds up the
gradients with the others: the batch, and so the weights but for rounding, are those of one process. Dropout's masks are
drawn for what a process computes: with dropout the weights are others, and no worse.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import distributed, nn


class Team:
    """The processes that `torch.distributed` connects, or this one alone."""

    def __init__(self) -> None:
        connected = distributed.is_available() and distributed.is_initialized()
        self.rank, self.size = (distributed.get_rank(), distributed.get_world_size()) if connected else (0, 1)

    @property
    def leads(self) -> bool:
        """Whether this process speaks and writes for all."""
        return self.rank == 0

    def owner(self, place: int) -> int:
        """The process that a graph belongs to, by its place in a list that all of them have."""
        return int(place) % self.size

    def owns(self, place: int) -> bool:
        return self.owner(place) == self.rank

    def total(self, values: torch.Tensor) -> torch.Tensor:
        """The sum over the processes, in place, with the same bits in each of them."""
        if self.size > 1:
            distributed.all_reduce(values)
        return values

    def add_gradients(self, module: nn.Module) -> None:
        """Gives every process the sum of all gradients; a parameter that no loss depends on keeps none."""
        if self.size == 1:
            return
        parameters = list(module.parameters())
        zero = [torch.zeros_like(p) if p.grad is None else p.grad for p in parameters]
        has = torch.tensor([p.grad is not None for p in parameters]).to(zero[0])
        flat = self.total(torch.cat([*(gradient.flatten() for gradient in zero), has]))
        pieces = flat.split([*(p.numel() for p in parameters), len(parameters)])
        for parameter, piece, some in zip(parameters, pieces, pieces[-1].tolist(), strict=False):
            parameter.grad = piece.view_as(parameter) if some else None

    def scores(
        self, parts: Sequence[np.ndarray | None], sizes: Sequence[int], device: torch.device
    ) -> list[np.ndarray]:
        """All graphs' scores (c,) float64, of which each process gives its own, None for the others."""
        if self.size == 1:
            return list(parts)
        flat = np.concatenate([np.zeros(n) if part is None else part for part, n in zip(parts, sizes, strict=True)])
        found = self.total(torch.from_numpy(flat).to(device)).cpu().numpy()
        return np.split(found, np.cumsum(sizes)[:-1])

    def rows(self, parts: Sequence[np.ndarray], device: torch.device) -> np.ndarray:
        """On the process that leads all graphs' rows of the table, one graph after the other; on the others their own.

        parts: of each graph, with rows only where they are this process's own, but of the right shape.
        """
        if self.size == 1:
            return np.concatenate(parts)
        gathered = []
        for place, part in enumerate(parts):
            owner = self.owner(place)
            if owner == self.rank and not self.leads:
                distributed.send(torch.from_numpy(np.ascontiguousarray(part)).to(device), 0)
            if owner != self.rank and self.leads:
                there = torch.empty(part.shape, dtype=torch.float16, device=device)
                distributed.recv(there, owner)
                part = there.cpu().numpy()
            gathered.append(part)
        return np.concatenate(gathered) if self.leads else np.empty((0, parts[0].shape[1]), np.float16)
