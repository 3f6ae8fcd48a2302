"""The data set's own layout network, ResModel (google-research-datasets/tpu_graphs at ddd187c).

Whole graphs; configurations, times 100, join each configurable node again in front of every layer; symmetric
normalisation of the undirected graph with loops; the mean over nodes beside two normalised sums. In training, gradients
go through one stretch of 5,000 nodes alone; what other nodes hold is computed on the whole graph, without gradients.

What is theirs and not here:
- After training, scores of test configurations fail on an argument's name (layout/train_lib.py:197).
- The table of opcodes is as long as the largest opcode in the data (layout/data.py:484); here it has all 121.

File names are of tpu_graphs/baselines/.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import torch

from stages.graphs.dataset import PackedGraph
from stages.graphs.tensors import LAYOUT
from stages.winners import official, parts
from stages.winners.official import mlp, neighbour_sums, unit
from stages.winners.parts import LayoutInputs, MinMax, Training

CONFIGURATION_SCALE = 100.0  # layout/models.py:95
LABEL_UNIT = 1e7  # nanoseconds; layout/train_lib.py:52


@dataclass(frozen=True)
class Settings(Training):
    """Attributes as in `Training`, and:

    Attributes:
        stretch: Nodes that gradients go through, in a training step; None for all.
        most_configurations: Of a train or valid graph: a third of the fastest, a third of the slowest, the rest drawn;
            None for all.
        least_configurations: A train graph with fewer is left out.
    """

    opcode_width: int = 32  # layout/models.py:32
    width: int = 32  # layout/models.py:35
    layers: int = 2  # layout/models.py:33
    dense: int = 2  # layout/models.py:33, mlp_layers
    stretch: int | None = 5000  # layout/train_args.py:51
    most_configurations: int | None = 1000  # README.md:199; the flag's default is none, layout/train_args.py:37
    least_configurations: int = 16  # layout/train_lib.py:99

    graphs: int = 8  # layout/train_args.py:54
    configurations: int | None = 16  # layout/train_args.py:35
    drawn: str = "fast"  # layout/data.py:106-119
    epochs: float | None = 50  # layout/train_args.py:25; README.md:199 says 10
    learning_rate: float = 1e-3  # layout/train_args.py:31
    clip: float | None = 1e-2  # layout/train_args.py:33
    clip_each: bool = True  # clipnorm, layout/train_lib.py:116
    evaluate: float = 1  # layout/train_lib.py:133-138
    early_stop: int | None = 25  # layout/train_args.py:27
    chunk: int | None = 500  # layout/train_lib.py:77; scores do not depend on it


@dataclass(frozen=True)
class Scaling:
    """Of the nodes' columns and of the configurable nodes' layouts."""

    nodes: MinMax
    layouts: MinMax


class Network(official.Network):
    """[configuration | columns | opcode] -> dense -> residual graph convolutions -> pooled parts -> dense.

    layout/models.py:28-170.
    """

    def __init__(self, settings: Settings, scaling: Scaling):
        super().__init__(settings.opcode_width)
        self.stretch = settings.stretch
        self.selected: slice | None = None
        self.scaling = scaling.layouts
        width, columns = settings.width, int(scaling.nodes.varies.sum())
        configuration = int(scaling.layouts.varies.sum())
        widths = [width] * settings.dense
        self.before = mlp(configuration + columns + settings.opcode_width, widths)
        self.layers = torch.nn.ModuleList(mlp(configuration + width, widths) for _ in range(settings.layers))
        self.head = mlp(3 * width, [width, 1], bias=False)

    def forward(self, inputs: LayoutInputs) -> torch.Tensor:
        nodes = torch.cat([inputs.x, self.embedded(inputs.opcode)], dim=1)
        if not self.training or self.stretch is None:
            return self._scores(self.states(nodes, inputs), inputs.config_nodes)
        chosen = self.chosen(len(inputs.x)).to(nodes.device)
        kept = chosen[inputs.edge_index].all(dim=0)
        with torch.no_grad():
            around = self.states(nodes, inputs)
        configurable = chosen[inputs.config_nodes]
        states = self.states(nodes, inputs, inputs.edge_index[:, kept], configurable)
        return self._scores(torch.where(chosen[:, None], states, around), inputs.config_nodes[configurable])

    def chosen(self, nodes: int) -> torch.Tensor:
        """Which nodes gradients go through, (n,) bool: a stretch drawn by torch. layout/data.py:137-162."""
        stretch = int(torch.randint(math.ceil(nodes / self.stretch), ()))
        place = torch.arange(nodes)
        return (place >= stretch * self.stretch) & (place < (stretch + 1) * self.stretch)

    def states(
        self,
        nodes: torch.Tensor,
        inputs: LayoutInputs,
        edge_index: torch.Tensor | None = None,
        configurable: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """States (k, n, width), with these of the graph's edges and configurable nodes. layout/models.py:62-105."""
        edge_index = inputs.edge_index if edge_index is None else edge_index
        configuration = self._configuration(inputs, configurable)
        degree = 1 + torch.bincount(edge_index.flatten(), minlength=len(nodes)).to(nodes.dtype)
        root = degree.rsqrt()[:, None]
        x = official.leaky_relu(
            self.before(torch.cat([configuration, nodes.expand(len(configuration), -1, -1)], dim=-1)), official.SLOPE
        )
        for layer in self.layers:
            y = root * torch.cat([configuration, x], dim=-1)
            y = root * (neighbour_sums(y, edge_index) + y)
            x = x + official.leaky_relu(layer(y), official.SLOPE)
        return x

    def _configuration(self, inputs: LayoutInputs, configurable: torch.Tensor | None) -> torch.Tensor:
        """(k, n, ...): 100 times the scaled layouts that vary, 0 where a node is not configurable."""
        varies, least, largest = (
            torch.from_numpy(part).to(inputs.x.device)
            for part in (self.scaling.varies, self.scaling.least, self.scaling.largest)
        )
        scaled = (inputs.triples[..., varies].to(inputs.x.dtype) - least) / (largest - least)
        where = inputs.config_nodes
        if configurable is not None:
            scaled, where = scaled[:, configurable], where[configurable]
        spread = scaled.new_zeros(len(scaled), len(inputs.x), scaled.shape[-1])
        return CONFIGURATION_SCALE * spread.index_copy(1, where, scaled)

    def _scores(self, states: torch.Tensor, config_nodes: torch.Tensor) -> torch.Tensor:
        total, configurable = states.sum(dim=1), states[:, config_nodes].sum(dim=1)
        return self.head(torch.cat([states.mean(dim=1), unit(total), unit(configurable)], dim=-1)).squeeze(-1)


def settings(collection: str) -> tuple[Settings, ...]:
    return (Settings(),)


def fit(graphs: Iterable[PackedGraph]) -> Scaling:
    """Ranges over train of the columns, and of the layouts in all configurations. layout/data.py:492-525."""
    kept = list(graphs)
    nodes = parts.fit_min_max(graph.node_feat for graph in kept)
    return Scaling(nodes, parts.fit_min_max(graph.triples.astype(np.float32) for graph in kept))


def prepare(graph: PackedGraph, scaling: Scaling) -> parts.Prepared:
    """The columns that vary on train, from 0 to 1 there."""
    return parts.Prepared(graph, scaling.nodes(graph.node_feat), graph.node_feat[:, LAYOUT])


def labels(graph: PackedGraph, scaling: object) -> np.ndarray:
    """Run times (c,) in units of 1e7 ns, float32. layout/train_lib.py:49-53."""
    return graph.runtime.astype(np.float32) / np.float32(LABEL_UNIT)


def build(settings: Settings, scaling: Scaling) -> Network:
    return Network(settings, scaling)


# The penalty is of a step's graphs together, so `apart` is false.
RECIPE = parts.Recipe(
    "official layout", settings, fit, prepare, build, labels, official.listmle, official.optimizer, apart=False
)
