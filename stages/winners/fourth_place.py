"""The fourth place's idea, as a short description has it (Rib~; Kaggle discussion 456462): pairs of nodes, and no GNN.

Their code is not published, and neither this project nor a search had more than a summary of the discussion: about 12
columns of a node; edges at configurable nodes become samples with both ends' columns and opcodes; 8 columns of a
configuration; an MLP of the nodes and one of the configuration, joined by a matrix product; a mean, and an MLP of it;
the label is the percentile of the rank.

So this is not their network. What the summary leaves open is this project's choice:
- the 12 columns: the dimensions of a node's tensor, in logarithms, and its own layout;
- the 8 columns: those that vary most among train's layouts;
- whose configuration a sample has: that of its configurable end, so an edge between two of them makes two samples;
- the matrix product: of node states (d, samples) and configuration states (samples, g), their mean (d, g) flattened;
- every width, the squared error, the optimiser and how long it trains.

Tiles are not in the summary.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from stages.graphs.dataset import PackedGraph
from stages.graphs.opcodes import OPCODES
from stages.graphs.tensors import LAYOUT, MAX_RANK, SHAPE
from stages.winners import parts
from stages.winners.parts import LayoutInputs, Prepared, Pruning, Training

COLUMNS = 2 * MAX_RANK  # of a node
CONFIGURATION_COLUMNS = 8
SCALE = 5.0  # the largest number of a dimension


@dataclass(frozen=True)
class Settings(Training):
    """Attributes as in `Training`, and:

    Attributes:
        width: Of the layers' states.
        node_width: Of a sample's state in the matrix product.
        configuration_width: Of a configuration's.
    """

    opcode_width: int = 16
    width: int = 128
    node_width: int = 32
    configuration_width: int = 32

    pruning: Pruning = Pruning(hops=1)  # theirs: edges at configurable nodes
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
    """MLP(mean over samples of MLP(nodes) outer MLP(configuration))."""

    def __init__(self, settings: Settings, fitted: Fitted):
        super().__init__()
        self.columns = list(fitted.columns)
        width, left, right = settings.width, settings.node_width, settings.configuration_width
        self.opcodes = nn.Embedding(OPCODES, settings.opcode_width)
        self.nodes = mlp(2 * (COLUMNS + settings.opcode_width) + 1, width, left)
        self.configurations = mlp(CONFIGURATION_COLUMNS, width, right)
        self.head = mlp(left * right, width, 1)

    def forward(self, inputs: LayoutInputs) -> torch.Tensor:
        end, other, place, consumes = samples(inputs)
        ends = torch.cat([inputs.x, self.opcodes(inputs.opcode)], dim=1)
        nodes = self.nodes(torch.cat([ends[end], ends[other], consumes[:, None].to(ends.dtype)], dim=1))
        # Samples of a configurable node share its configuration, so their sum is multiplied once.
        of_node = nodes.new_zeros(len(inputs.config_nodes), nodes.shape[1]).index_add(0, place, nodes)
        configurations = self.configurations(inputs.triples[..., self.columns].to(ends.dtype) / SCALE)
        mean = of_node.T @ configurations / max(1, len(nodes))
        return self.head(mean.flatten(1)).squeeze(-1)


def samples(inputs: LayoutInputs) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    """One for each configurable end of an edge.

    Returns:
        (s,) that end; (s,) the other; (s,) the first's place among the configurable nodes; (s,) whether it consumes.
    """
    consumer, producer = inputs.edge_index
    place = torch.full_like(inputs.opcode, -1)
    place[inputs.config_nodes] = torch.arange(len(inputs.config_nodes), device=place.device)
    end, other = torch.cat([consumer, producer]), torch.cat([producer, consumer])
    consumes = torch.arange(len(end), device=end.device) < len(consumer)
    kept = place[end] >= 0
    return end[kept], other[kept], place[end[kept]], consumes[kept]


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
