"""What the data set's own two networks share: Keras' layers, penalties, clipping and Adam.

github.com/google-research-datasets/tpu_graphs at ddd187c; the Keras of its time is 2. File names are of
tpu_graphs/baselines/.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch
from torch import nn
from torch.nn.functional import leaky_relu

from stages.graphs.opcodes import OPCODES
from stages.winners import parts
from stages.winners.parts import LayoutInputs, TileInputs, Training

PENALTY = 1e-4  # of kernels and of embedded opcodes; tiles/models.py:56 and 71
SLOPE = 0.2  # of tf.nn.leaky_relu
LEAST_SQUARE = 1e-12  # of tf.nn.l2_normalize


class Leaky(nn.Module):
    """x where positive, else 0.2 x."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return leaky_relu(x, SLOPE)


def mlp(inputs: int, widths: Sequence[int], bias: bool = True) -> nn.Sequential:
    """Dense layers with leaky ReLU between them, and none behind the last. tiles/models.py:56-65."""
    layers: list[nn.Module] = []
    for before, width in zip([inputs, *widths], widths, strict=False):
        dense = nn.Linear(before, width, bias=bias)
        nn.init.xavier_uniform_(dense.weight)
        if bias:
            nn.init.zeros_(dense.bias)
        layers += [Leaky()] * bool(layers) + [dense]
    return nn.Sequential(*layers)


def unit(x: torch.Tensor) -> torch.Tensor:
    """x over its Euclidean norm along the last axis."""
    return x * x.square().sum(dim=-1, keepdim=True).clamp(min=LEAST_SQUARE).rsqrt()


def neighbour_sums(x: torch.Tensor, edge_index: torch.Tensor) -> torch.Tensor:
    """Sums over each node's neighbours, consumers and producers, of x (k, n, f)."""
    consumer, producer = edge_index
    sums = torch.zeros_like(x).index_add_(1, producer, x[:, consumer])
    return sums.index_add_(1, consumer, x[:, producer])


def listmle(scores: torch.Tensor, labels: torch.Tensor, temperature: float = 1.0) -> torch.Tensor:
    """TF-Ranking's ListMLE: slowest first, of scores over a temperature."""
    return parts.listmle(scores / temperature, labels, smallest=0.0)


class Network(parts.Network):
    """A network with a table of opcodes and penalties, as Keras adds them to a loss.

    Keras 2 divides an output's penalty by the output's length, here the nodes of a step. It clips the gradient of a
    table before it adds up the rows of equal opcodes, so the norm is that of the nodes' own gradients.

    Args:
        opcode_width: Of the table. tiles/models.py:68-82.
    """

    def __init__(self, opcode_width: int):
        super().__init__()
        self.opcodes = nn.Embedding(OPCODES, opcode_width)
        nn.init.uniform_(self.opcodes.weight, -0.05, 0.05)
        self._embedded: list[torch.Tensor] = []

    def start_step(self) -> None:
        """Forgets the embedded opcodes of the step before."""
        self._embedded = []

    def embedded(self, opcode: torch.Tensor) -> torch.Tensor:
        """The opcodes' vectors (n, w); those of a training step are kept for its penalty and its clipping."""
        vectors = self.opcodes(opcode)
        if self.training and torch.is_grad_enabled():
            vectors.retain_grad()
            self._embedded.append(vectors)
        return vectors

    def penalty(self, batch: Sequence[LayoutInputs | TileInputs]) -> torch.Tensor:
        """Of all kernels, and of the vectors that this step embedded."""
        kernels = sum(dense.weight.square().sum() for dense in self.modules() if isinstance(dense, nn.Linear))
        vectors = torch.cat(self._embedded)
        return PENALTY * (kernels + vectors.square().sum() / len(vectors))

    def clip(self, settings: Training) -> None:
        """Clips each tensor's gradient by its own norm, as Keras does; no 1e-6 below the line."""
        for parameter in self.parameters():
            if parameter.grad is not None:
                rows = [parameter.grad]
                if parameter is self.opcodes.weight:
                    rows = [vectors.grad for vectors in self._embedded if vectors.grad is not None]
                norm = torch.cat([row.flatten() for row in rows]).norm()
                parameter.grad.mul_(settings.clip / norm.clamp(min=settings.clip))


class KerasAdam(torch.optim.Optimizer):
    """Adam as Keras has it: the epsilon is added to the root of the uncorrected mean square.

    Args:
        parameters: To train.
        lr: Learning rate.
    """

    def __init__(self, parameters: Iterable[nn.Parameter], lr: float) -> None:
        super().__init__(parameters, {"lr": lr, "betas": (0.9, 0.999), "eps": 1e-7})

    @torch.no_grad()
    def step(self) -> None:
        """One step by the gradients of all parameters that have one."""
        for group in self.param_groups:
            first, second = group["betas"]
            for parameter in group["params"]:
                if parameter.grad is None:
                    continue
                state = self.state[parameter]
                if not state:
                    state |= {"t": 0, "m": torch.zeros_like(parameter), "v": torch.zeros_like(parameter)}
                state["t"] += 1
                state["m"].lerp_(parameter.grad, 1 - first)
                state["v"].lerp_(parameter.grad.square(), 1 - second)
                corrected = group["lr"] * (1 - second ** state["t"]) ** 0.5 / (1 - first ** state["t"])
                parameter.sub_(corrected * state["m"] / (state["v"].sqrt() + group["eps"]))


def optimizer(network: nn.Module, settings: Training) -> torch.optim.Optimizer:
    """Keras' Adam; layout/train_lib.py:115 and tiles/train_lib.py:112."""
    return KerasAdam(network.parameters(), settings.learning_rate)
