"""The data set's own tile network, EarlyJoinSAGE (google-research-datasets/tpu_graphs at ddd187c).

The tile joins every node; sums over consumers and producers; each layer ends in states of norm 1; a sum over nodes.

What is theirs and not here: the table of opcodes is as long as the largest opcode in the data (tiles/data.py:336); here
it has all 121.

File names are of tpu_graphs/baselines/.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import torch

from stages.graphs.dataset import PackedGraph
from stages.graphs.tensors import LAYOUT
from stages.winners import official, parts
from stages.winners.official import mlp, neighbour_sums, unit
from stages.winners.parts import MinMax, TileInputs, Training

TEMPERATURE = 10.0  # of ListMLE; tiles/metrics.py:71
SQUARED = 0.02  # weight of the squared error beside it; tiles/train_args.py:33


@dataclass(frozen=True)
class Settings(Training):
    """Attributes as in `Training`, and:

    Attributes:
        least_configurations: A train kernel with fewer is left out.
    """

    opcode_width: int = 64  # tiles/models.py:91
    width: int = 64  # tiles/models.py:90
    layers: int = 3  # tiles/models.py:89
    dense: int = 2  # tiles/models.py:89, final_mlp_layers
    least_configurations: int = 10  # tiles/train_lib.py:96

    graphs: int = 10  # tiles/train_args.py:42
    configurations: int | None = 10  # tiles/train_args.py:40; without replacement, tiles/data.py:93
    epochs: float | None = 100  # tiles/train_args.py:25
    learning_rate: float = 1e-3  # tiles/train_args.py:36
    clip: float | None = 1e-3  # tiles/train_args.py:38
    clip_each: bool = True  # clipnorm, tiles/train_lib.py:113
    evaluate: float = 1  # tiles/train_lib.py:140; --eval_every does nothing, tiles/train_args.py:79
    early_stop: int | None = 20  # tiles/train_args.py:27


@dataclass(frozen=True)
class Scaling:
    """Of the nodes' columns and of the configurations'."""

    nodes: MinMax
    configurations: MinMax


class Network(official.Network):
    """[opcode | tile | columns] -> unit(leaky(dense([sum of neighbours | x]))) -> sum over nodes -> dense.

    tiles/models.py:85-126 and 192-221.
    """

    def __init__(self, settings: Settings, columns: int, configuration: int):
        super().__init__(settings.opcode_width)
        width = settings.width
        widths = [settings.opcode_width + configuration + columns] + [width] * (settings.layers - 1)
        self.layers = torch.nn.ModuleList(mlp(2 * before, [width]) for before in widths)
        self.head = mlp(width, [width] * settings.dense + [1])

    def forward(self, inputs: TileInputs) -> torch.Tensor:
        k, n = len(inputs.config), len(inputs.x)
        opcode, columns = (part.expand(k, -1, -1) for part in (self.embedded(inputs.opcode), inputs.x))
        x = torch.cat([opcode, inputs.config[:, None].expand(-1, n, -1), columns], dim=-1)
        for layer in self.layers:
            y = layer(torch.cat([neighbour_sums(x, inputs.edge_index), x], dim=-1))
            x = unit(official.leaky_relu(y, official.SLOPE))
        return self.head(x.sum(dim=1)).squeeze(-1)


def settings(collection: str) -> tuple[Settings, ...]:
    return (Settings(),)


def fit(graphs: Iterable[PackedGraph]) -> Scaling:
    """Ranges over train. tiles/data.py:344-376."""
    kept = list(graphs)
    nodes = parts.fit_min_max(graph.node_feat for graph in kept)
    return Scaling(nodes, parts.fit_min_max(graph.config_feat for graph in kept))


def prepare(graph: PackedGraph, scaling: Scaling) -> parts.Prepared:
    """The columns that vary on train, from 0 to 1 there, of nodes and configurations."""
    config = scaling.configurations(graph.config_feat)
    return parts.Prepared(graph, scaling.nodes(graph.node_feat), graph.node_feat[:, LAYOUT], config=config)


def labels(graph: PackedGraph, scaling: object) -> np.ndarray:
    """Run times over their normalisers (c,), float32. tiles/data.py:101."""
    return (graph.runtime / graph.normalizer).astype(np.float32)


def loss(scores: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """ListMLE and a fiftieth of the squared error, over the sum of the weights. tiles/metrics.py:98-116."""
    squared = (scores - labels).square().mean()
    return (official.listmle(scores, labels, TEMPERATURE) + SQUARED * squared) / (1 + SQUARED)


def build(settings: Settings, scaling: Scaling) -> Network:
    return Network(settings, int(scaling.nodes.varies.sum()), int(scaling.configurations.varies.sum()))


# The penalty is of a step's graphs together, so `apart` is false.
RECIPE = parts.Recipe("official tile", settings, fit, prepare, build, labels, loss, official.optimizer, apart=False)
