"""The fifth place's networks (knshnb; github.com/knshnb/kaggle-tpu-graph-5th-place at 3f2dfb8).

One network is trained on all four layout collections and, as config/default.yaml has it, on tile:xla beside them: steps
of either kind come in random order. Submitted tiles are from a network of their own (config/tile.yaml) with attention
over the six dimensions of a node.

Bidirectional SAGE and ReLU, no norm, no residual; a sum over nodes. A configuration's output layout takes the place of
a configurable node's own; other nodes have their own in all three slots.

What is theirs and not here:
- Columns of dimensions were meant as tokens, six of 23 numbers. `reshape` of dataset.py:53 cuts them in another order,
  [6 columns of dimensions 0-5, 6 of the next group, ...] in pieces of nine; here it does as well.
- A column below its smallest value on their data gives NaN by its logarithm (dataset.py:35); here it counts as that.
- The virtual node of kernels (dataset.py:177-192): more than 10,000 nodes, which no kernel has, would have several.
- `train_data` of config/layout_all.yaml is no key that they read; so valid graphs train nothing here either.

File names are of src/; train: stands for scripts/train.py, default: and tile: for config/default.yaml and tile.yaml.
"""

from __future__ import annotations

import random
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn
from torch.nn.functional import pad as extended
from torch.nn.functional import relu
from torch_geometric.nn import SAGEConv
from torch_geometric.utils import dropout_edge

from stages.graphs.dataset import PackedGraph
from stages.graphs.opcodes import OPCODE_NUMBERS, OPCODES
from stages.graphs.tensors import CONVOLUTION_NUMBERS, LAYOUT, LAYOUT_FEATURES, MAX_RANK, SLOTS
from stages.winners import parts
from stages.winners.parts import LayoutInputs, Prepared, TileInputs, Training, fit_nothing, hinges

#: Columns brought to [-1, 1] by their largest value; the smallest is 0. constants.py:162-269
NORMAL = {
    0: 1, 3: 1, 6: 1, 7: 1, 10: 1, 13: 1, 15: 1, 18: 1, 20: 1, 30: 35, 91: 3, 92: 5, 113: 1, 114: 1, 115: 5, 125: 1,
    128: 1, 133: 1,
}  # fmt: skip
#: Columns whose logarithm is taken, one more than the difference from these smallest values. constants.py:162-269
NORMAL_LOG = {
    27: 0, 28: 1, 29: 0, 43: 0, 44: 1, 51: 0, 52: 1, 59: 0, 60: 0, 67: -2, 68: 0, 75: 0, 76: 1, 83: 0, 84: 1, 107: 0,
    108: 0, 109: 0, 110: 0, 111: 0, 112: 0, 117: 0, 118: 0, 119: 0, 120: 1, 121: 0, 122: 0, 123: 0, 124: 1, 126: 0,
    127: -39, 129: 0, 130: 0, 131: -24, 132: 0,
}  # fmt: skip
#: Columns of six dimensions by their first: smallest and largest value, constants.py:270-379; then those of logarithms
DIMENSIONS = {31: (0, 5), 45: (0, 4), 61: (-1, 4), 69: (0, 4), 77: (0, 4), 85: (0, 1)}
DIMENSIONS_LOG = (21, 37, 53)
#: Opcodes that all count as the first of them. constants.py:122-144
UNARY = [
    OPCODE_NUMBERS[name]
    for name in (
        "abs ceil cosine sine exponential exponential-minus-one floor is-finite log log-plus-one logistic not negate"
        " round-nearest-even round-nearest-afz sqrt rsqrt cbrt sign tan tanh"
    ).split()
]
COLUMNS = len(NORMAL) + len(NORMAL_LOG)
NUMBERS = CONVOLUTION_NUMBERS.stop - CONVOLUTION_NUMBERS.start
TOKEN = len(DIMENSIONS) + len(DIMENSIONS_LOG) + NUMBERS  # numbers of a dimension; 23
ABSENT = -1.0  # no layout entry; dataset.py:62
VIRTUAL = -2.0  # layout entries of the virtual node; dataset.py:192
MILLISECOND = 1e6  # nanoseconds; dataset.py:169
MARGIN, MARGIN_TILE = 1.0, 0.1  # train:240 and 238
TILE_BOUNDS = (0, 8, 16)  # first columns of kernel, output and input bounds; dataset.py:138


@dataclass(frozen=True)
class Settings(Training):
    """Attributes as in `Training`, and:

    Attributes:
        edge_dropout: A step drops a share of the edges that is drawn between 0 and this.
        token_width: Width of the attention over dimensions; None for the network without.
        token_layers: Its layers.
        heads: Its heads.
        tile_graphs: As `graphs`, of the steps with tiles among those with layouts.
        tile_configurations: As `configurations`, of these steps.
    """

    opcode_width: int = 64  # default:14
    width: int = 384  # default:15, half of it each way
    layers: int = 3  # default:17
    edge_dropout: float = 0.15  # default:19
    token_width: int | None = None
    token_layers: int = 2  # tile:8
    heads: int = 2  # tile:9
    tile_graphs: int | None = 128  # default:7
    tile_configurations: int | None = 32  # default:8

    graphs: int = 4  # default:5
    configurations: int | None = 8  # default:6
    # As often as the root of (its configurations times those of the largest graph); dataset.py:93
    drawn: str = "root passes"
    epochs: float | None = 2  # default:9
    learning_rate: float = 1e-4  # default:1, AdamW, train:366
    schedule: str = "cosine"  # train:370
    weight_decay: float = 0.01  # default:2
    clip: float | None = 1.0  # default:13
    kept: str = "last"  # train:412
    evaluate: float = 0.25  # default:10, in epochs, on 1,000 configurations a graph (default:4)
    chunk: int | None = 8  # scores do not depend on it
    together: str = "min-max mean"  # scripts/make_submission.py:31


_LAYOUT = Settings()
_TILE = Settings(
    token_width=256,  # tile:7
    tile_graphs=None,
    tile_configurations=None,
    graphs=128,  # tile:4
    configurations=32,  # default:8
    epochs=16,  # tile:2
    learning_rate=1e-3,  # tile:1
    evaluate=1,  # tile:3
    chunk=32,
)


class Messages(nn.Module):
    """Layers ReLU([SAGE along the edges | SAGE against them]), width to width. nn.py:39-42 and 75-77."""

    def __init__(self, width: int, layers: int):
        super().__init__()
        self.along = nn.ModuleList(SAGEConv(width, width // 2) for _ in range(layers))
        self.against = nn.ModuleList(SAGEConv(width, width // 2) for _ in range(layers))

    def forward(self, x: torch.Tensor, edge_index: torch.Tensor) -> torch.Tensor:
        for along, against in zip(self.along, self.against, strict=True):
            x = relu(torch.cat([along(x, edge_index), against(x, edge_index.flip(0))], dim=-1))
        return x


class Network(parts.Network):
    """[columns | opcode | dimensions | layouts | tile] -> linear, ReLU -> messages -> sum over nodes -> linear.

    Takes layouts and tiles. nn.py:29-84.
    """

    def __init__(self, settings: Settings):
        super().__init__()
        self.edge_dropout, self.dropped = settings.edge_dropout, 0.0
        self.opcodes = nn.Embedding(OPCODES, settings.opcode_width)
        joined = COLUMNS + settings.opcode_width + MAX_RANK * TOKEN + 2 * LAYOUT_FEATURES
        self.linear = nn.Linear(joined, settings.width)
        self.messages = Messages(settings.width, settings.layers)
        self.head = nn.Linear(settings.width, 1)

    def start_step(self) -> None:
        """Draws the share of edges that this step drops, of all its graphs. nn.py:73-74."""
        self.dropped = random.uniform(0.0, self.edge_dropout)

    def forward(self, inputs: LayoutInputs | TileInputs) -> torch.Tensor:
        columns, dimensions = inputs.x[:, :COLUMNS], inputs.x[:, COLUMNS:]
        layouts = configured(inputs)
        tiles = layouts.new_zeros(len(layouts), 1, LAYOUT_FEATURES)
        if isinstance(inputs, TileInputs):
            tiles = inputs.config[:, None]
        nodes = torch.cat([columns, self.opcodes(inputs.opcode), dimensions], dim=1)
        shared = nodes.expand(len(layouts), -1, -1), layouts, tiles.expand(-1, len(nodes), -1)
        x = relu(self.linear(torch.cat(shared, dim=-1)))
        x = self.messages(x, self._edges(inputs.edge_index))
        return self.head(x.sum(dim=1)).squeeze(-1)

    def _edges(self, edge_index: torch.Tensor) -> torch.Tensor:
        return dropout_edge(edge_index, p=self.dropped, training=self.training)[0]


class Attention(nn.Module):
    """Tokens (r, 6, T) -> linear, ReLU -> transformer layers -> mean of the six: (r, width). nn.py:87-104."""

    def __init__(self, inputs: int, width: int, layers: int, heads: int):
        super().__init__()
        self.linear = nn.Linear(inputs, width)
        layer = nn.TransformerEncoderLayer(width, heads, width, dropout=0.0, batch_first=True)
        self.layers = nn.TransformerEncoder(layer, layers)
        for parameter in self.parameters():
            if parameter.dim() > 1:
                nn.init.xavier_uniform_(parameter)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        return self.layers(relu(self.linear(tokens))).mean(dim=1)


class TileNetwork(parts.Network):
    """Attention over a node's six dimensions, with the tile -> [columns | opcode | it] -> as in `Network`.

    A virtual node, without columns, is the consumer of all others. nn.py:107-196 and dataset.py:177-192.
    """

    def __init__(self, settings: Settings):
        super().__init__()
        self.edge_dropout, self.dropped = settings.edge_dropout, 0.0
        self.opcodes = nn.Embedding(OPCODES, settings.opcode_width)
        tokens = TOKEN + 2 * len(SLOTS) + 1
        self.attention = Attention(tokens, settings.token_width, settings.token_layers, settings.heads)
        self.linear = nn.Linear(COLUMNS + settings.opcode_width + settings.token_width, settings.width)
        self.messages = Messages(settings.width, settings.layers)
        self.head = nn.Linear(settings.width, 1)

    start_step, _edges = Network.start_step, Network._edges

    def forward(self, inputs: TileInputs) -> torch.Tensor:
        n, k = len(inputs.x), len(inputs.config)
        x = extended(inputs.x, (0, 0, 0, 1))
        links = torch.stack([torch.full_like(inputs.opcode, n), torch.arange(n, device=inputs.x.device)])
        edges = self._edges(torch.cat([inputs.edge_index, links], dim=1))
        # A row each for the places of a layout's dimensions. Kernels have none; the virtual node's entries all name the
        # last but one, and of equal writes the last, place 5, stays.
        places = torch.full((n + 1, MAX_RANK, len(SLOTS)), ABSENT, dtype=x.dtype, device=x.device)
        places[n, int(VIRTUAL)] = MAX_RANK - 1
        dimensions = torch.cat([x[:, COLUMNS:].unflatten(1, (MAX_RANK, TOKEN)), places], dim=2)
        tile = inputs.config.unflatten(1, (len(SLOTS), MAX_RANK)).transpose(1, 2)  # (k, 6, 3)
        place = torch.arange(MAX_RANK, dtype=x.dtype, device=x.device)[:, None].expand(k, n + 1, -1, -1)
        tokens = torch.cat(
            [dimensions.expand(k, -1, -1, -1), tile[:, None].expand(-1, n + 1, -1, -1), place], dim=3
        ).flatten(0, 1)
        distinct, of = tokens.unique(sorted=False, return_inverse=True, dim=0)
        attended = self.attention(distinct)[of].unflatten(0, (k, n + 1))
        nodes = torch.cat([x[:, :COLUMNS], self.opcodes(extended(inputs.opcode, (0, 1)))], dim=1)
        state = relu(self.linear(torch.cat([nodes.expand(k, -1, -1), attended], dim=2)))
        return self.head(self.messages(state, edges).sum(dim=1)).squeeze(-1)


def configured(inputs: LayoutInputs | TileInputs) -> torch.Tensor:
    """(k, n, 18): a configurable node's three layouts, three times its own for other nodes; -1 for tiles.

    dataset.py:142-164.
    """
    if isinstance(inputs, TileInputs):
        return inputs.x.new_full((len(inputs.config), len(inputs.x), LAYOUT_FEATURES), ABSENT)
    own = inputs.layout.repeat(1, len(SLOTS)).to(inputs.x.dtype)
    layouts = own.repeat(len(inputs.triples), 1, 1)
    layouts[:, inputs.config_nodes] = inputs.triples.to(inputs.x.dtype)
    return layouts


def columns(node_feat: np.ndarray) -> np.ndarray:
    """(n, 53) columns and (n, 6 * 23) columns of dimensions, side by side, in float32. dataset.py:19-63."""
    largest = np.array(list(NORMAL.values()), np.float32)
    linear = node_feat[:, list(NORMAL)] / largest * np.float32(2) - np.float32(1)
    normal = np.concatenate([linear, _log(node_feat, list(NORMAL_LOG), list(NORMAL_LOG.values()))], axis=1)
    parts_ = []
    for first, (least, most) in DIMENSIONS.items():
        values = (node_feat[:, first : first + MAX_RANK] - np.float32(least)) / np.float32(most - least)
        parts_.append(values * np.float32(2) - np.float32(1))
    for first in DIMENSIONS_LOG:
        parts_.append(_log(node_feat, range(first, first + MAX_RANK), [0] * MAX_RANK))
    sizes = np.concatenate(parts_, axis=1).reshape(len(node_feat), MAX_RANK, -1)
    numbers = node_feat[:, CONVOLUTION_NUMBERS].astype(np.int32)  # dimension numbers; 0 is none
    named = np.zeros((len(node_feat), MAX_RANK, NUMBERS), np.float32)
    node, number = np.nonzero(numbers)
    named[node, numbers[node, number], number] = 1
    return np.concatenate([normal, np.concatenate([sizes, named], axis=2).reshape(len(node_feat), -1)], axis=1)


def opcodes(opcode: np.ndarray) -> np.ndarray:
    """Opcodes (n,) where all unary elementwise ones are one. dataset.py:132-134."""
    return np.where(np.isin(opcode, UNARY), UNARY[0], opcode)


def own_layout(node_feat: np.ndarray) -> np.ndarray:
    """Nodes' own layouts (n, 6) where 0 is -1, dimension 0 too. dataset.py:62."""
    own = node_feat[:, LAYOUT].astype(np.int64)
    return np.where(own == 0, int(ABSENT), own)


def prepare(graph: PackedGraph, scaling: None) -> Prepared:
    """Columns by fixed ranges, and for tiles the logarithms of their bounds. dataset.py:129-138."""
    tile = None
    if graph.config_feat is not None:
        bounds = np.log(graph.config_feat + np.float32(1))
        tile = np.concatenate([bounds[:, first : first + MAX_RANK] for first in TILE_BOUNDS], axis=1)
    own = own_layout(graph.node_feat)
    return Prepared(graph, columns(graph.node_feat), own, opcodes(graph.node_opcode), tile)


def labels(graph: PackedGraph, scaling: object) -> np.ndarray:
    """Milliseconds (c,), float32; of tiles divided by their normaliser over its mean. dataset.py:82-83 and 169."""
    if graph.normalizer is None:
        return (graph.runtime / MILLISECOND).astype(np.float32)
    return (graph.runtime / (graph.normalizer / graph.normalizer.mean()) / MILLISECOND).astype(np.float32)


def layout_loss(scores: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Half of the hinge within graphs, and half of that over all configurations of a step; train:240."""
    return _loss(scores, labels, MARGIN)


def tile_loss(scores: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """The same with a margin of 0.1; train:238."""
    return _loss(scores, labels, MARGIN_TILE)


def optimizer(network: nn.Module, settings: Training) -> torch.optim.Optimizer:
    """AdamW; train:366."""
    return torch.optim.AdamW(network.parameters(), lr=settings.learning_rate, weight_decay=settings.weight_decay)


def build(settings: Settings, scaling: None) -> parts.Network:
    return Network(settings) if settings.token_width is None else TileNetwork(settings)


def _loss(scores: torch.Tensor, labels: torch.Tensor, margin: float) -> torch.Tensor:
    flat = hinges(scores.flatten(), labels.flatten(), margin)
    return 0.5 * hinges(scores, labels, margin).mean() + 0.5 * flat.mean()


def _log(node_feat: np.ndarray, columns: range | list[int], least: list[int]) -> np.ndarray:
    return np.log(np.maximum(node_feat[:, list(columns)] + (1 - np.array(least, np.float32)), np.float32(1)))


_SHARED = {"fit": fit_nothing, "prepare": prepare, "build": build, "labels": labels, "optimizer": optimizer}
# Half of the loss is between graphs, so a step needs all of its graphs at once.
LAYOUT_RECIPE = parts.Recipe(
    "fifth-place layout", lambda collection: (_LAYOUT,), loss=layout_loss, apart=False, **_SHARED
)
#: the same network's steps with tiles
JOINT_TILE_RECIPE = parts.Recipe(
    "fifth-place joint tile", lambda collection: (_LAYOUT,), loss=tile_loss, apart=False, **_SHARED
)
TILE_RECIPE = parts.Recipe("fifth-place tile", lambda collection: (_TILE,), loss=tile_loss, apart=False, **_SHARED)
