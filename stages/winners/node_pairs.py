"""The fourth place's idea: pairs of nodes, and no network over the graph (Rib~; Kaggle discussion 456462).

The write-up is its code alone; what is left of it, without numbers and most names of functions, is in
github.com/changQiangXia/KStarter (intel/predict-ai-model-runtime/bodies/456462.txt). It shows: 12 columns of a node
and 8 of a configuration; edges whose first end is configurable are samples, with both ends' columns and opcodes and the
first's configuration; an MLP of the nodes (d), one of [configuration | nodes] (g), each ending in an
activation; the matrix product of the two over the samples, (d, g) flattened, beside the mean of the second; an MLP of
these; labels are ranks over their number.

The numbers are gone, so this is not their network. Chosen here:
- the 12 columns: the dimensions of a node's tensor, in logarithms, and its own layout;
- the 8 columns: those that vary most among train's layouts;
- that the first end of an edge is its consumer, as files have it;
- the product is over the number of samples, as theirs does not show, so that large graphs are no larger;
- every width, the activation, the squared error, the optimiser and how long it trains.

Tiles are not in the write-up.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn
from torch.nn.functional import relu

from stages.graphs.dataset import PackedGraph
from stages.graphs.opcodes import OPCODES
from stages.graphs.tensors import LAYOUT, MAX_RANK, SHAPE
from stages.winners import parts
from stages.winners.parts import JoinedLinear, LayoutInputs, Prepared, Pruning, Training

COLUMNS = 2 * MAX_RANK  # of a node
CONFIGURATION_COLUMNS = 8
SCALE = 5.0  # the largest number of a dimension


@dataclass(frozen=True)
class Settings(Training):
    """Attributes as in `Training`, and:

    Attributes:
        width: Of the layers' states.
        node_width: Of a sample's state of its nodes, d.
        configuration_width: Of that of its configuration, g.
    """

    opcode_width: int = 16
    width: int = 128
    node_width: int = 32
    configuration_width: int = 32

    pruning: Pruning = Pruning(hops=1)  # edges at configurable nodes; discussion 456462
    graphs: int = 8
    configurations: int | None = 64
    steps: int | None = 20_000
    learning_rate: float = 1e-3
    schedule: str = "cosine"
    clip: float | None = 1.0
    evaluate: float = 1000


@dataclass(frozen=True)
class Fitted:
    """Which of the 18 columns of a configuration are taken."""

    columns: tuple[int, ...]


class Network(parts.Network):
    """MLP of [nodes^T configurations over the samples, (d, g) flattened | mean of configurations]."""

    def __init__(self, settings: Settings, fitted: Fitted):
        super().__init__()
        self.columns = list(fitted.columns)
        width, left, right = settings.width, settings.node_width, settings.configuration_width
        self.opcodes = nn.Embedding(OPCODES, settings.opcode_width)
        self.nodes = nn.Sequential(*mlp(2 * (COLUMNS + settings.opcode_width), width, left), nn.ReLU())
        self.first, self.then = JoinedLinear(left + CONFIGURATION_COLUMNS, width), nn.Linear(width, right)
        self.head = mlp(left * right + right, width, 1)

    def forward(self, inputs: LayoutInputs) -> torch.Tensor:
        end, other, place = samples(inputs)
        ends = torch.cat([inputs.x, self.opcodes(inputs.opcode)], dim=1)
        nodes = self.nodes(torch.cat([ends[end], ends[other]], dim=1))
        layouts = inputs.triples[..., self.columns].to(ends.dtype) / SCALE
        states = relu(self.then(relu(self.first(layouts[:, place], nodes))))  # (k, s, g)
        count = max(1, len(end))
        product = (nodes.T @ states / count).flatten(1)
        return self.head(torch.cat([product, states.sum(dim=1) / count], dim=1)).squeeze(-1)


def samples(inputs: LayoutInputs) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """The edges whose consumer is configurable.

    Returns:
        (s,) consumers; (s,) producers; (s,) the consumers' places among the configurable nodes.
    """
    consumer, producer = inputs.edge_index
    place = torch.full_like(inputs.opcode, -1)
    place[inputs.config_nodes] = torch.arange(len(inputs.config_nodes), device=place.device)
    kept = place[consumer] >= 0
    return consumer[kept], producer[kept], place[consumer[kept]]


def mlp(inputs: int, width: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Linear(inputs, width), nn.ReLU(), nn.Linear(width, width), nn.ReLU(), nn.Linear(width, outputs)
    )


def fit(graphs: Iterable[PackedGraph]) -> Fitted:
    """The columns with the largest variance over the distinct layouts of each graph's nodes, all graphs together."""
    layouts = np.concatenate([graph.triples for graph in graphs]).astype(np.float64)
    order = np.argsort(-layouts.var(axis=0), kind="stable")
    return Fitted(tuple(sorted(order[:CONFIGURATION_COLUMNS].tolist())))


def prepare(graph: PackedGraph, fitted: Fitted) -> Prepared:
    """The 12 columns."""
    sizes = np.log1p(graph.node_feat[:, SHAPE])
    own = graph.node_feat[:, LAYOUT]
    return Prepared(graph, np.concatenate([sizes, own / np.float32(SCALE)], axis=1), own)


def build(settings: Settings, fitted: Fitted) -> Network:
    return Network(settings, fitted)


def labels(graph: PackedGraph, fitted: object) -> np.ndarray:
    """Ranks of the run times over their number (c,), float32: 0 is the fastest."""
    order = np.argsort(graph.runtime, kind="stable")
    return (np.argsort(order, kind="stable") / len(order)).astype(np.float32)


def loss(scores: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Mean squared error."""
    return (scores - labels).square().mean()


def optimizer(network: nn.Module, settings: Training) -> torch.optim.Optimizer:
    """AdamW."""
    return torch.optim.AdamW(network.parameters(), lr=settings.learning_rate, weight_decay=settings.weight_decay)


RECIPE = parts.Recipe("node pairs", lambda collection: (Settings(),), fit, prepare, build, labels, loss, optimizer)
