"""The tenth place's idea: a graph is encoded once, and a configuration meets its nodes in the middle of the network.

Iafoss and drhabib; Kaggle discussion 456129. Their code is not published. The write-up says, of layouts: log(x + 3) of
the columns; transformer blocks with linear attention of several heads over all nodes, ELU + 1 in it, and graph networks
in place of MLPs, of which APPNP was slightly best, 12 blocks 256 wide; then the configurable nodes with their
configurations, an MLP, a pool over these nodes. Of tiles: residual graph blocks, self-attention, and cross-attention
from configurations to nodes. ListMLE on 256 (xla) to 1,000 configurations of a graph, AdamW at 5e-4 with decay 0.01 and
a cosine, 16 epochs of layouts and 5 of tiles. xla's collections share networks, and so have nlp's. How many blocks
tiles have is of the write-up's picture, as github.com/changQiangXia/KStarter describes it (analysis/deep): 8, 2 and 4.

What it leaves open, and is chosen here:
- norms before each part of a block, heads, the width of an opcode, means as pools, what is in the MLPs;
- APPNP with its paper's ten steps and share 0.1 (Klicpera et al. 2019), along edges both ways, behind an MLP;
- SAGE in tiles' graph blocks, as wide;
- configurations of layouts over their largest number, tiles' by the same logarithm;
- a step of layouts has one graph, whose configurations come in passes, by the hours that an epoch took; of tiles, 16.

What is theirs and not here: DIFFormer for nlp, gates in place of sums, averages of weights in some runs, folds, and 10
to 20 networks of different kinds together; here two of each.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import nn
from torch.nn.functional import elu, gelu, scaled_dot_product_attention
from torch_geometric.nn import APPNP, SAGEConv

from stages.graphs.collection import is_tile
from stages.graphs.dataset import PackedGraph
from stages.graphs.opcodes import OPCODES
from stages.graphs.tensors import LAYOUT, LAYOUT_FEATURES, NODE_FEATURES, TILE_FEATURES
from stages.winners import parts
from stages.winners.parts import JoinedLinear, LayoutInputs, Prepared, TileInputs, Training, fit_nothing

ABOVE = 3  # added before logarithms; theirs, "Data"
LARGEST = 5.0  # number of a dimension
MIXING = 4  # an MLP's states are so many times wider inside


@dataclass(frozen=True)
class Settings(Training):
    """Attributes as in `Training`, and:

    Attributes:
        layers: Transformer blocks of layouts.
        heads: Of attention.
        steps_apart, back: How far APPNP carries a state, and the share of the own one that each step puts back.
        configuration_share: Work for a configuration over the graph's own, about: a tenth of the nodes, in one MLP.
    """

    width: int = 256  # theirs, "Model"
    layers: int = 12  # theirs, "Model"
    heads: int = 8
    opcode_width: int = 32
    steps_apart: int = 10
    back: float = 0.1
    configuration_share: float | None = 0.003

    graphs: int = 1
    configurations: int | None = 1000  # theirs, "Training"
    drawn: str = "passes"
    epochs: float | None = 16  # theirs, "Training", and so are the next three
    learning_rate: float = 5e-4
    schedule: str = "cosine"
    weight_decay: float = 0.01
    kept: str = "last"
    chunk: int | None = 1000
    networks: int = 2  # theirs, "Final model"
    together: str = "min-max mean"


@dataclass(frozen=True)
class TileSettings(Settings):
    """Attributes as in `Settings`, and:

    Attributes:
        near, among, across: Residual graph blocks, blocks of self-attention, and of cross-attention.
    """

    layers: int = 0  # of layouts
    near: int = 8  # theirs, the picture, and so are the next two
    among: int = 2
    across: int = 4
    configuration_share: float | None = None

    graphs: int = 16
    drawn: str = "uniform"
    epochs: float | None = 5  # theirs, "Training"


class LinearAttention(nn.Module):
    """phi(Q) (phi(K)^T V) / (phi(Q) sum of phi(K)) of each head, phi = elu + 1, over the nodes of x (n, width).

    Katharopoulos et al. 2020; theirs is after Cai et al. (arXiv 2205.14756) with ReLU replaced.
    """

    def __init__(self, width: int, heads: int):
        super().__init__()
        self.heads = heads
        self.queries, self.keys, self.values = (nn.Linear(width, width) for _ in range(3))
        self.out = nn.Linear(width, width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        queries, keys, values = (
            layer(x).unflatten(-1, (self.heads, -1)).transpose(0, 1) for layer in (self.queries, self.keys, self.values)
        )
        queries, keys = elu(queries) + 1, elu(keys) + 1
        heard = queries @ (keys.transpose(1, 2) @ values)
        weight = queries @ keys.sum(dim=1, keepdim=True).transpose(1, 2)
        return self.out((heard / weight).transpose(0, 1).flatten(1))


class Attention(nn.Module):
    """softmax(Q K^T / sqrt(d)) V of each head: x (q, width) hears of y (n, width). Vaswani et al. 2017."""

    def __init__(self, width: int, heads: int):
        super().__init__()
        self.heads = heads
        self.queries, self.keys, self.values = (nn.Linear(width, width) for _ in range(3))
        self.out = nn.Linear(width, width)

    def forward(self, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        queries, keys, values = (
            layer(each).unflatten(-1, (self.heads, -1)).transpose(0, 1)
            for layer, each in ((self.queries, x), (self.keys, y), (self.values, y))
        )
        return self.out(scaled_dot_product_attention(queries, keys, values).transpose(0, 1).flatten(1))


class Block(nn.Module):
    """x + linear attention of its norm, then + MLP and APPNP of its norm."""

    def __init__(self, settings: Settings):
        super().__init__()
        width = settings.width
        self.attention = LinearAttention(width, settings.heads)
        self.mixing, self.spread = mlp(width), APPNP(settings.steps_apart, settings.back)
        self.norms = nn.ModuleList(nn.LayerNorm(width) for _ in range(2))

    def forward(self, x: torch.Tensor, edges: torch.Tensor) -> torch.Tensor:
        x = x + self.attention(self.norms[0](x))
        return x + self.spread(self.mixing(self.norms[1](x)), edges)


class Across(nn.Module):
    """x + attention from its norm to y's, or to its own where there is no y, then + MLP of its norm."""

    def __init__(self, settings: Settings):
        super().__init__()
        width = settings.width
        self.attention, self.mixing = Attention(width, settings.heads), mlp(width)
        self.norms = nn.ModuleList(nn.LayerNorm(width) for _ in range(2))

    def forward(self, x: torch.Tensor, y: torch.Tensor | None = None) -> torch.Tensor:
        own = self.norms[0](x)
        x = x + self.attention(own, own if y is None else y)
        return x + self.mixing(self.norms[1](x))


class Network(parts.Network):
    """[columns | opcode] -> blocks -> configurable nodes, each with its configuration, -> MLP -> mean -> linear."""

    def __init__(self, settings: Settings):
        super().__init__()
        width = settings.width
        self.opcodes = nn.Embedding(OPCODES, settings.opcode_width)
        self.first = nn.Linear(NODE_FEATURES + settings.opcode_width, width)
        self.blocks = nn.ModuleList(Block(settings) for _ in range(settings.layers))
        self.norm = nn.LayerNorm(width)
        self.fused, self.mixed = JoinedLinear(width + LAYOUT_FEATURES, width), nn.Linear(width, width)
        self.head = nn.Linear(width, 1)

    def forward(self, inputs: LayoutInputs) -> torch.Tensor:
        x = self.first(torch.cat([inputs.x, self.opcodes(inputs.opcode)], dim=1))
        edges = torch.cat([inputs.edge_index, inputs.edge_index.flip(0)], dim=1)
        for block in self.blocks:
            x = block(x, edges)
        configurations = inputs.triples.to(x.dtype) / LARGEST
        x = gelu(self.fused(configurations, self.norm(x[inputs.config_nodes])))  # from here (k, nc, width)
        return self.head(gelu(self.mixed(x)).mean(dim=1)).squeeze(-1)


class TileNetwork(parts.Network):
    """[columns | opcode] -> x + GELU(SAGE(norm)) -> self-attention; configurations hear of the nodes -> linear."""

    def __init__(self, settings: TileSettings):
        super().__init__()
        width = settings.width
        self.opcodes = nn.Embedding(OPCODES, settings.opcode_width)
        self.first = nn.Linear(NODE_FEATURES + settings.opcode_width, width)
        self.norms = nn.ModuleList(nn.LayerNorm(width) for _ in range(settings.near))
        self.near = nn.ModuleList(SAGEConv(width, width) for _ in range(settings.near))
        self.among = nn.ModuleList(Across(settings) for _ in range(settings.among))
        self.nodes_norm = nn.LayerNorm(width)
        self.configurations = nn.Linear(TILE_FEATURES, width)
        self.across = nn.ModuleList(Across(settings) for _ in range(settings.across))
        self.head = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, 1))

    def forward(self, inputs: TileInputs) -> torch.Tensor:
        x = self.first(torch.cat([inputs.x, self.opcodes(inputs.opcode)], dim=1))
        edges = torch.cat([inputs.edge_index, inputs.edge_index.flip(0)], dim=1)
        for norm, messages in zip(self.norms, self.near, strict=True):
            x = x + gelu(messages(norm(x), edges))
        for block in self.among:
            x = block(x)
        x, found = self.nodes_norm(x), self.configurations(inputs.config)
        for block in self.across:
            found = block(found, x)
        return self.head(found).squeeze(-1)


def mlp(width: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(width, MIXING * width), nn.GELU(), nn.Linear(MIXING * width, width))


def logarithms(columns: np.ndarray) -> np.ndarray:
    """log(x + 3) of (rows, F); 0 below -2, which the columns of nodes hardly have."""
    return np.log(np.maximum(columns + ABOVE, 1))


def prepare(graph: PackedGraph, scaling: None) -> Prepared:
    """Logarithms."""
    config = None if graph.config_feat is None else logarithms(graph.config_feat)
    return Prepared(graph, logarithms(graph.node_feat), graph.node_feat[:, LAYOUT], config=config)


def settings(collection: str) -> tuple[Settings, ...]:
    """xla's graphs are larger; theirs, "Training"."""
    if is_tile(collection):
        return (TileSettings(),)
    return (Settings(configurations=256, chunk=256),) if ":xla:" in collection else (Settings(),)


def build(settings: Settings, scaling: None) -> parts.Network:
    return TileNetwork(settings) if isinstance(settings, TileSettings) else Network(settings)


def labels(graph: PackedGraph, scaling: object) -> np.ndarray:
    """What is ranked (c,), float64: run times, of tiles over their normalisers."""
    return graph.target


def loss(scores: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """ListMLE."""
    return parts.listmle(scores, labels)


def optimizer(network: nn.Module, settings: Training) -> torch.optim.Optimizer:
    """AdamW."""
    return torch.optim.AdamW(network.parameters(), lr=settings.learning_rate, weight_decay=settings.weight_decay)


LAYOUT_RECIPE, TILE_RECIPE = (
    parts.Recipe(f"middle fusion {kind}", settings, fit_nothing, prepare, build, labels, loss, optimizer)
    for kind in ("layout", "tile")
)
