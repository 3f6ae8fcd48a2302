"""Graph Segment Training as its authors have it for TpuGraphs (Cao et al., NeurIPS 2023).

github.com/kaidic/GST at d19f412.

Whole graphs in contiguous segments of at most 1,000 nodes, without the edges between them. A segment is scored by
itself, and a graph's score is the sum. A training step computes one segment of a graph; scores of the others come from
a table, half of them dropped, and the computed one counts more in turn.

What is theirs and not here:
- Their table is written and read with the configurations drawn for the last graph of a step (custom_tpu_train.py:56
  and 106); here each graph has its own.
- Stale scores are read segment by segment and added up configuration by configuration (custom_tpu_train.py:104-106 and
  131-136), so that graphs of three segments and more get those of other configurations; here each gets its own.
- Columns are standardised over train, valid and test (tpu_graphs.py:31-34); `fit` sees train.
- Finetuning the head, 100 epochs, is for MalNet: configs/tpugraphs.yaml has no such phase.

File names are of graphgps/train/ or graphgps/loader/dataset/; yaml: stands for configs/tpugraphs.yaml, graphgym: for
torch_geometric/graphgym/.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn
from torch.nn.functional import normalize
from torch_geometric.nn import SAGEConv
from torch_geometric.utils import scatter

from stages.graphs.dataset import PackedGraph
from stages.graphs.tensors import LAYOUT, LAYOUT_FEATURES, NODE_FEATURES
from stages.winners import parts
from stages.winners.parts import LayoutInputs, Prepared, Standard, Training, everywhere, hinges

OPCODES = 128  # rows of their table; main_tpugraphs.py:116
MARGIN = 0.1  # custom_tpu_train.py:29
CONSTANT = 1e-6  # a smaller deviation becomes 1; tpu_graphs.py:33


class Normalised(nn.Module):
    """To Euclidean norm 1."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return normalize(x, dim=-1)


@dataclass(frozen=True)
class Widths:
    """Of the network's layers.

    Attributes:
        first_scale: What opcodes and configurations are multiplied by at first; learned.
        dropout: Behind the layer before the messages, the only one that has it.
    """

    opcode_width: int = 128  # main_tpugraphs.py:116
    first_width: int = 128  # main_tpugraphs.py:117
    width: int = 256  # yaml:23
    layers: int = 3  # yaml:21
    dropout: float = 0.1  # yaml:28
    first_scale: float = 100.0  # main_tpugraphs.py:118-119


@dataclass(frozen=True)
class Settings(Training, Widths):
    """Attributes as in `Training` and `Widths`, and:

    Attributes:
        segment_nodes: About the largest number of a segment.
        kept_stale: Share of the other segments' scores that a step keeps.
    """

    segment_nodes: int = 1000  # tpu_graphs.py:17
    kept_stale: float = 0.5  # custom_tpu_train.py:127

    graphs: int = 32  # yaml:10
    configurations: int | None = 32  # custom_tpu_train.py:62
    replacement: bool = True  # custom_tpu_train.py:48
    epochs: float | None = 20_000  # yaml:34
    learning_rate: float = 1e-4  # yaml:33
    schedule: str = "cosine"  # graphgym: config.py:419, a step of the cosine each epoch
    weight_decay: float = 5e-4  # graphgym: config.py:413; Adam's, in the gradient
    kept: str = "last"  # graphgps/config/defaults_config.py:33
    chunk: int | None = 32  # custom_tpu_train.py:186; scores do not depend on it


class Scorer(parts.Network):
    """[columns | scaled opcode | scaled configuration] -> linear -> linear, PReLU, norm 1 -> SAGE without activations.

    Then of each segment: maximum + mean, norm 1 -> linear, ReLU, norm 1 -> linear. main_tpugraphs.py:112-119,
    graphgps/network/custom_tpu_gnn.py, custom_tpu_train.py:111-125.
    """

    def __init__(self, settings: Widths):
        super().__init__()
        self.opcodes = nn.Embedding(OPCODES, settings.opcode_width, max_norm=1)
        self.opcode_scale = nn.Parameter(torch.full((1, 1), settings.first_scale))
        self.configuration_scale = nn.Parameter(torch.full((1, LAYOUT_FEATURES), settings.first_scale))
        joined = NODE_FEATURES + settings.opcode_width + LAYOUT_FEATURES
        width = settings.width
        self.first = nn.Linear(joined, settings.first_width)
        self.before = nn.Sequential(
            nn.Linear(settings.first_width, width), nn.Dropout(settings.dropout), nn.PReLU(), Normalised()
        )
        self.messages = nn.ModuleList(SAGEConv(width, width) for _ in range(settings.layers))
        self.head = nn.Sequential(nn.Linear(width, width), nn.ReLU(), Normalised(), nn.Linear(width, 1))

    def scores(self, inputs: LayoutInputs, bounds: torch.Tensor) -> torch.Tensor:
        """Scores (k, J) of the graph's J segments, which begin and end at `bounds` (J + 1,)."""
        of = torch.bucketize(torch.arange(len(inputs.x), device=bounds.device), bounds[1:], right=True)
        edges = inputs.edge_index[:, of[inputs.edge_index[0]] == of[inputs.edge_index[1]]]
        configuration = everywhere(inputs, 0).to(inputs.x.dtype) * self.configuration_scale
        nodes = torch.cat([inputs.x, self.opcodes(inputs.opcode) * self.opcode_scale], dim=1)
        x = self.first(torch.cat([nodes.expand(len(configuration), -1, -1), configuration], dim=2))
        x = self.before(x)
        for messages in self.messages:
            x = messages(x, edges)
        pooled = sum(scatter(x, of, dim=1, dim_size=len(bounds) - 1, reduce=how) for how in ("max", "mean"))
        return self.head(pooled / pooled.norm(dim=-1, keepdim=True)).squeeze(-1)


class Network(Scorer):
    """The sum of the scores of a graph's segments."""

    def __init__(self, settings: Settings):
        super().__init__(settings)
        self.segment_nodes = settings.segment_nodes

    def forward(self, inputs: LayoutInputs) -> torch.Tensor:
        return self.segment_scores(inputs).sum(dim=1)

    def segment_scores(self, inputs: LayoutInputs, segment: int | None = None) -> torch.Tensor:
        """Scores (k, J) of the graph's J segments, or (k, 1) of one of them, computed by itself."""
        bounds = boundaries(len(inputs.x), self.segment_nodes).to(inputs.x.device)
        if segment is not None:
            inputs = part(inputs, int(bounds[segment]), int(bounds[segment + 1]))
            bounds = bounds.new_tensor([0, len(inputs.x)])
        return self.scores(inputs, bounds)


class Table:
    """Last known scores of all segments in all configurations of the train graphs; 0 at first. graphgps/history.py.

    Attributes:
        known: Graph id -> (c, J) float32, of the graphs that were asked for.
    """

    def __init__(self, segment_nodes: int = Settings.segment_nodes) -> None:
        self._segment_nodes = segment_nodes
        self.known: dict[str, torch.Tensor] = {}

    def scores(self, graph: PackedGraph) -> torch.Tensor:
        """(c, J) float32 of a graph, to read and to write."""
        if graph.id not in self.known:
            segments = len(boundaries(graph.nodes, self._segment_nodes)) - 1
            self.known[graph.id] = torch.zeros(graph.configurations, segments)
        return self.known[graph.id]


def estimate(fresh: torch.Tensor, stale: torch.Tensor, kept: torch.Tensor) -> torch.Tensor:
    """A graph's scores (k,) in a training step. custom_tpu_train.py:127-144.

    Args:
        fresh: (k,) scores of the computed segment.
        stale: (k, J - 1) scores of the others, as the table had them.
        kept: (k, J - 1), 0 or 1; drawn with probability 0.5.
    """
    return fresh * (stale.shape[1] / 2 + 1) + (stale * kept).sum(dim=1)


def boundaries(nodes: int, segment_nodes: int = Settings.segment_nodes) -> torch.Tensor:
    """Where segments begin, and where the last ends, (J + 1,) int64. tpu_graphs.py:69-73."""
    interval = nodes // (nodes // segment_nodes + 1)
    return torch.tensor([*range(0, nodes, interval + 1), nodes])


def part(inputs: LayoutInputs, start: int, stop: int) -> LayoutInputs:
    """The part of a graph between two nodes, with the edges and the configurable nodes in it."""
    edges = ((inputs.edge_index >= start) & (inputs.edge_index < stop)).all(dim=0)
    configurable = (inputs.config_nodes >= start) & (inputs.config_nodes < stop)
    return LayoutInputs(
        x=inputs.x[start:stop],
        opcode=inputs.opcode[start:stop],
        layout=inputs.layout[start:stop],
        edge_index=inputs.edge_index[:, edges] - start,
        config_nodes=inputs.config_nodes[configurable] - start,
        triples=inputs.triples[:, configurable],
    )


def settings(collection: str) -> tuple[Settings, ...]:
    return (Settings(),)


def fit(graphs: Iterable[PackedGraph]) -> Standard:
    """Mean and deviation, over rows less one, of the columns; tpu_graphs.py:31-33."""
    kept = [graph.node_feat for graph in graphs]
    rows = sum(map(len, kept))
    fitted = parts.fit_standard(kept)
    mean = sum(block.sum(0, dtype=np.float64) for block in kept) / rows
    squares = sum(((block - mean) ** 2).sum(0) for block in kept)
    deviation = np.sqrt(squares / (rows - 1))
    return Standard(fitted.mean, np.where(deviation < CONSTANT, 1.0, deviation))


def prepare(graph: PackedGraph, scaling: Standard) -> Prepared:
    """Standardised columns, without logarithms."""
    return Prepared(graph, scaling(graph.node_feat), graph.node_feat[:, LAYOUT])


def labels(graph: PackedGraph, scaling: object) -> np.ndarray:
    """Run times (c,) in nanoseconds, int64; tpu_graphs.py:60."""
    return np.array(graph.runtime)


def loss(scores: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Mean over graphs of the sum over pairs of the hinge with margin 0.1; custom_tpu_train.py:21-30."""
    return hinges(scores, labels, MARGIN).sum() / len(scores)


def optimizer(network: nn.Module, settings: Training) -> torch.optim.Optimizer:
    """Adam with the decay in the gradient; graphgym: optim.py:20-23."""
    return torch.optim.Adam(network.parameters(), lr=settings.learning_rate, weight_decay=settings.weight_decay)


def build(settings: Settings, scaling: Standard) -> Network:
    return Network(settings)


RECIPE = parts.Recipe("gst-paper", settings, fit, prepare, build, labels, loss, optimizer)
