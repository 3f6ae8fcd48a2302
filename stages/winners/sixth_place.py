"""The sixth place's networks (hengck23; github.com/hengck23/solution-predict-ai-model-runtime at c9c5194).

Layouts: five hops of consumers around the configurable nodes, SAGE with the norm behind each layer's sum, and the norm
over the configurations of a step in the last layers. xla:default adds the scores of a second network, of GIN. Tiles:
GATv2, the configuration joined late, ListMLE.

What is theirs and not here:
- xla:random starts from the weights of an early nlp:random network (configuration:175). That
  is for who trains; `Settings.starts_from` names the collection. Means and deviations are weights too, and stay
  xla:random's own here (`SageNetwork.start_from`). Theirs takes what the file has (trainer.py:87), which is not
  published. A column that is constant on nlp has the deviation 0 there, so in xla's graphs it is divided by 0.0001:
  up to 2,600,000 on data/sample, and 65,504 is the largest number of float16.
- Means and deviations are of whole train graphs (dataset.py:206-232), so `fit` wants graphs that are packed as
  `Settings.statistics` says; the networks see pruned ones. Collections take turns with a file of them, which each
  writes anew before it trains (src/1a_run_res_graphsage4_layout.py:23-26), but for GIN's (src/1b_run_*.py:23), which
  are the last writer's.
- Scales and shifts of their norms are parameters that reach nothing (model.py:29-30).
- A graph with fewer configurations than a piece gives them an empty piece and no step (dataset.py:131-135); here it
  should give one piece.

File names without a folder are in src/res-graphsage4-pair-hop5-layout; gin: and gat: stand for the other two folders,
configuration: for src/res_graphsage4_layout_configuration.py.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn
from torch.nn.functional import gelu, normalize
from torch_geometric.nn import GATv2Conv, GINConv, SAGEConv

from stages.graphs.dataset import PackedGraph
from stages.graphs.tensors import LAYOUT, LAYOUT_FEATURES, NODE_FEATURES, TILE_FEATURES
from stages.winners import parts
from stages.winners.parts import (
    LayoutInputs,
    Prepared,
    Pruning,
    TileInputs,
    Training,
    everywhere,
    instance_norm,
)

OPCODES = 128  # rows of their table; dataset.py:14
AGAINST_ZERO = 0.0001  # added to deviations; model.py:123
LEAST_NORM = 1e-4  # of a pooled state; model.py:149


@dataclass(frozen=True)
class Settings(Training):
    """Attributes as in `Training`, and:

    Attributes:
        messages: "sage" or "gin" for layouts, "gat" for tiles.
        averaged: Least and largest step of the checkpoints whose weights are averaged.
        starts_from: Collection of the network whose weights training starts from.
        statistics: How the train graphs are packed that means and deviations are of.
    """

    messages: str = "sage"
    width: int = 256  # model.py:60
    opcode_width: int = 128  # model.py:61
    layers: int = 4  # model.py:76-79
    dropout: float = 0.2  # model.py:69; between the two early layers
    averaged: tuple[int, int] | None = None
    starts_from: str | None = None
    statistics: Pruning = Pruning()  # dataset.py:206; whole

    # dataset.py:39-86 and configuration:36: induced edges, steps from a tensor's producer to its consumers
    pruning: Pruning = Pruning(hops=5, neighbour_edges=True, direction="consumers")
    graphs: int = 32  # configuration:41; gradients of 32 pieces are added up, trainer.py:243-265
    configurations: int | None = 80  # configuration:37
    drawn: str = "passes"  # dataset.py:120-137
    learning_rate: float = 5e-4  # configuration:46; AdamW, trainer.py:76
    schedule: str = "constant"  # trainer.py has none
    weight_decay: float = 0.01  # torch's default, trainer.py:76
    precision: str = "float16"  # trainer.py:253
    kept: str = "average"  # submitter.py:130-176
    evaluate: float = 0.1  # configuration:55, of an epoch
    chunk: int | None = 100  # configuration:38


_COLLECTIONS = {
    "layout:nlp:default": (Settings(epochs=2.5, averaged=(4980, 10458)),),  # configuration:53, 64 and 65
    "layout:nlp:random": (  # configuration:76, 94, 105 and 106
        Settings(epochs=1.2, averaged=(3675, 5775)),
    ),
    "layout:xla:default": (  # scores are added: src/3_run_make_kaggle_submission.py:45; configuration:120, 136, 147
        Settings(configurations=32, epochs=2.2, averaged=(3060, 5100)),
        # src/res_gin4_layout_configuration.py:31, 47, 49, 58 and 59
        Settings(messages="gin", configurations=32, epochs=7.5, evaluate=0.2, averaged=(3468, 4896)),
    ),
    "layout:xla:random": (  # configuration:159, 161, 162, 175, 177, 188 and 189
        Settings(
            configurations=100,
            epochs=2.2,
            averaged=(341, 558),
            chunk=200,
            starts_from="layout:nlp:random",
        ),
    ),
}
_TILE = Settings(  # src/res_gatconv4_tile_configuration.py:31, 32 and 47; step 10,013 of some 10,000, src/2_run_*.py:31
    messages="gat", dropout=0.0, pruning=Pruning(), configurations=64, epochs=2.5, kept="last", chunk=100
)


@dataclass(frozen=True)
class Scaling:
    """Mean and deviation (F,) float32 of the nodes' columns and, for tiles, of the configurations'.

    Networks start with them and train them as weights.
    """

    mean: np.ndarray
    deviation: np.ndarray
    config_mean: np.ndarray | None = None
    config_deviation: np.ndarray | None = None


class Norm(nn.Module):
    """Norm (k, n, f) over nodes, or (k, f) over configurations; without scale and shift. model.py:24-49."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return instance_norm(x) if x.ndim == 3 else instance_norm(x[None])[0]


class Standardised(nn.Module):
    """(x - mean) / (deviation + 0.0001), where mean and deviation are weights. model.py:58-59 and 123."""

    def __init__(self, mean: np.ndarray, deviation: np.ndarray):
        super().__init__()
        self.mean = nn.Parameter(torch.from_numpy(np.array(mean, np.float32))[None])
        self.deviation = nn.Parameter(torch.from_numpy(np.array(deviation, np.float32))[None])

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return (x - self.mean) / (self.deviation + AGAINST_ZERO)


def dense(inputs: int, width: int) -> list[nn.Module]:
    """Linear without bias -> norm -> GELU."""
    return [nn.Linear(inputs, width, bias=False), Norm(), nn.GELU()]


def head(inputs: int, width: int) -> nn.Sequential:
    """Pooled states (k, inputs) to scores (k, 1), with the norm over configurations. model.py:88-96."""
    return nn.Sequential(*dense(inputs, width), *dense(width, width // 2), nn.Linear(width // 2, 1))


def joined(network: SageNetwork | GinNetwork, inputs: LayoutInputs) -> torch.Tensor:
    """Embedded opcodes, columns and configurations (k, n, ...); 0 for other nodes. model.py:121-135."""
    layouts = everywhere(inputs, 0).to(inputs.x.dtype)
    shared = network.opcodes(inputs.opcode), network.standardised(inputs.x)
    return torch.cat([*(part.expand(len(layouts), -1, -1) for part in shared), layouts], dim=-1)


class SageNetwork(parts.Network):
    """Two early layers -> four times GELU(norm(SAGE(x) + x)) -> normalised mean + maximum -> head. model.py:52-156."""

    def __init__(self, settings: Settings, scaling: Scaling):
        super().__init__()
        width = settings.width
        self.standardised = Standardised(scaling.mean, scaling.deviation)
        self.opcodes = nn.Embedding(OPCODES, settings.opcode_width, max_norm=1)
        early = settings.opcode_width + NODE_FEATURES + LAYOUT_FEATURES
        self.early = nn.Sequential(*dense(early, width), nn.Dropout(settings.dropout), *dense(width, width))
        self.messages = nn.ModuleList(SAGEConv(width, width) for _ in range(settings.layers))
        self.head = head(width, width)

    def start_from(self, weights: Mapping[str, torch.Tensor]) -> None:
        """Takes another collection's weights, but for its means and deviations of columns."""
        own = {f"standardised.{name}": value for name, value in self.standardised.state_dict().items()}
        super().start_from({**weights, **own})

    def forward(self, inputs: LayoutInputs) -> torch.Tensor:
        x = self.early(joined(self, inputs))
        for messages in self.messages:
            x = gelu(instance_norm(messages(x, inputs.edge_index) + x))
        pooled = normalize(x.mean(dim=1) + x.amax(dim=1), eps=LEAST_NORM, dim=-1)
        return self.head(pooled).squeeze(-1)


class GinNetwork(parts.Network):
    """One early layer -> GIN: x1 of x0, x2 and x3 both of x1 -> the sum of the four means -> head. gin:model.py:54-191.

    The fourth layer reads the second's states, so the third's are no input to anything but the pool (gin:model.py:179).
    """

    def __init__(self, settings: Settings, scaling: Scaling):
        super().__init__()
        width = settings.width
        self.standardised = Standardised(scaling.mean, scaling.deviation)
        self.opcodes = nn.Embedding(OPCODES, settings.opcode_width, max_norm=1)
        early = settings.opcode_width + NODE_FEATURES + LAYOUT_FEATURES
        self.early = nn.Sequential(*dense(early, width), nn.Dropout(settings.dropout))
        self.messages = nn.ModuleList(
            GINConv(nn.Sequential(nn.Linear(width, width), Norm(), nn.ELU(), nn.Linear(width, width), Norm(), nn.ELU()))
            for _ in range(settings.layers)
        )
        self.head = head(width, width)

    def forward(self, inputs: LayoutInputs) -> torch.Tensor:
        states = [self.early(joined(self, inputs))]
        for messages, source in zip(self.messages, (0, 1, 2, 2), strict=True):
            states.append(messages(states[source], inputs.edge_index))
        return self.head(sum(state.mean(dim=1) for state in states[1:])).squeeze(-1)


class TileNetwork(parts.Network):
    """Two early layers -> four times GELU(norm(GATv2(x))) -> mean + maximum, with the configuration -> head.

    gat:model.py:55-176.
    """

    def __init__(self, settings: Settings, scaling: Scaling):
        super().__init__()
        width = settings.width
        self.standardised = Standardised(scaling.mean, scaling.deviation)
        self.configurations = Standardised(scaling.config_mean, scaling.config_deviation)
        self.opcodes = nn.Embedding(OPCODES, settings.opcode_width, max_norm=1)
        early = settings.opcode_width + NODE_FEATURES
        self.early = nn.Sequential(*dense(early, width), nn.Dropout(settings.dropout), *dense(width, width))
        self.messages = nn.ModuleList(GATv2Conv(width, width) for _ in range(settings.layers))
        self.head = head(width + TILE_FEATURES, width)

    def forward(self, inputs: TileInputs) -> torch.Tensor:
        x = self.early(torch.cat([self.opcodes(inputs.opcode), self.standardised(inputs.x)], dim=-1)[None])
        for messages in self.messages:
            x = gelu(instance_norm(messages(x[0], inputs.edge_index)[None]))
        pooled = (x.mean(dim=1) + x.amax(dim=1)).expand(len(inputs.config), -1)
        return self.head(torch.cat([self.configurations(inputs.config), pooled], dim=1)).squeeze(-1)


def fit(graphs: Iterable[PackedGraph]) -> Scaling:
    """Means, and deviations as the root of mean square less squared mean, in float32; dataset.py:200-253."""
    kept = list(graphs)
    config = [graph.config_feat for graph in kept if graph.config_feat is not None]
    return Scaling(*_moments([graph.node_feat for graph in kept]), *(_moments(config) if config else ()))


def prepare(graph: PackedGraph, scaling: Scaling) -> Prepared:
    """The columns as published; networks standardise them. Nodes' own layouts are among the columns."""
    return Prepared(graph, graph.node_feat, graph.node_feat[:, LAYOUT], config=graph.config_feat)


def labels(graph: PackedGraph, scaling: object) -> np.ndarray:
    """Run times (c,) in float32, of tiles too: their normalisers are read and not used; gat:dataset.py:69-70."""
    return graph.runtime.astype(np.float32)


def optimizer(network: nn.Module, settings: Training) -> torch.optim.Optimizer:
    """AdamW with torch's decay, of means and deviations too; trainer.py:76."""
    return torch.optim.AdamW(network.parameters(), lr=settings.learning_rate, weight_decay=settings.weight_decay)


def build(settings: Settings, scaling: Scaling) -> parts.Network:
    return {"sage": SageNetwork, "gin": GinNetwork, "gat": TileNetwork}[settings.messages](settings, scaling)


def _moments(blocks: list[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    rows = sum(len(block) for block in blocks)
    mean = sum(block.sum(0) for block in blocks) / rows
    square = sum((block * block).sum(0) for block in blocks) / rows
    return mean, np.sqrt(np.maximum(square - mean * mean, 0))


LAYOUT_RECIPE = parts.Recipe(
    "sixth-place layout", _COLLECTIONS.__getitem__, fit, prepare, build, labels, parts.logistic, optimizer
)
TILE_RECIPE = parts.Recipe(
    "sixth-place tile", lambda collection: (_TILE,), fit, prepare, build, labels, parts.listmle, optimizer
)
