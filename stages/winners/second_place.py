"""The second place's network (Latenciaga; github.com/Obs01ete/kaggle_latenciaga).

Whole graphs; the configuration joins each node; SAGE and ReLU alone, residuals on nlp; a latency of each node, summed.

Their how_to_run.md:6-7 names two tags: nlp is trained from one, xla and tiles from "last_diff_mat_loss_good_for_xla".
The public history has no tags; nlp is here as at b6b55b1, and xla and tiles as at ca55746, the last commit with that
loss. File names are of src/; diff: stands for ca55746.

What is theirs and not here:
- xla's train graphs with "unet" in their name are dropped, and so is mlperf_bert_batch_24_2x2 when xla:default is
  validated (data.py:227, main.py:697): `Settings.without` names the first for who trains.
- Their table of opcodes has 120 rows, and opcode 120, tan, ends their program; here it has 121.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn
from torch.nn.functional import relu
from torch_geometric.nn import SAGEConv

from stages.graphs.dataset import PackedGraph
from stages.graphs.opcodes import OPCODES
from stages.graphs.tensors import LAYOUT, LAYOUT_FEATURES, NODE_FEATURES, TILE_FEATURES
from stages.winners import parts
from stages.winners.parts import (
    NANOSECOND,
    LayoutInputs,
    Prepared,
    Pruning,
    TileInputs,
    Training,
    everywhere,
    fit_nothing,
    signed_log,
)

LARGEST_NORM = 500.0  # of a graph's scores, in ListMLE; main.py:389
MARGIN_TILE = 0.1  # of run times over normalisers; diff:main.py:312
MARGIN_XLA = 0.01  # seconds; diff:main.py:317
SECONDS = 1e-3  # of a unit of the last layer; model.py:111


@dataclass(frozen=True)
class Settings(Training):
    """Attributes as in `Training`, and:

    Attributes:
        widths: Of the layer before the messages, and of the message layers.
        residuals: Whether a message layer whose width stays adds its input.
        configuration_columns: 18 of a layout's node, 24 of a tile.
        unit: What the sum over nodes is multiplied by.
        negative: Whether negative columns count; without, they are 0.
        head_decay: Weight decay of the last layer alone.
        decoupled: Whether the decay is AdamW's; Adam has another epsilon in theirs.
        without: A part of the names of train graphs that are left out.
    """

    widths: tuple[int, ...] = (32, 64, 64, 128, 128, 256, 256)  # model.py:51-52
    columns_width: int = 20  # model.py:34
    opcode_width: int = 12  # model.py:35
    residuals: bool = False  # model.py:55-59
    configuration_columns: int = LAYOUT_FEATURES
    unit: float = SECONDS
    negative: bool = False  # diff:model.py:118
    head_decay: float = 0.0
    decoupled: bool = False
    without: str | None = "unet"  # data.py:227

    pruning: Pruning = Pruning(duplicates="minimum")  # data.py:41-69
    graphs: int = 10  # diff:main.py:130, DEFAULT_BATCH_SIZE
    configurations: int | None = 4  # diff:main.py:131
    replacement: bool = True  # data.py:337-339
    steps: int | None = 400_000  # train_layout_xla_default_long.job
    learning_rate: float = 1e-3  # main.py:326
    schedule: str = "drops"  # main.py:330-333
    kept: str = "last"  # README.md, "Training procedure"


_WIDE = (64, 256, 256, 256, 256, 512, 512, 512, 512)  # model.py:48-49
_XLA = Settings()
_NLP = Settings(
    widths=_WIDE,
    residuals=True,  # model.py:57
    negative=True,  # model.py:124
    head_decay=1e-4,  # main.py:318-324, bias included
    decoupled=True,  # main.py:326
    without=None,
    graphs=4,  # main.py:158
    configurations=10,  # main.py:159
    clip=100.0,  # main.py:453-454; the clip of diff:main.py:449 does not reach its step
)
_TILE = Settings(
    widths=_WIDE,  # diff:model.py:47-49
    configuration_columns=TILE_FEATURES,
    unit=1.0,  # model.py:171
    without=None,
    graphs=100,  # diff:main.py:130
    configurations=10,  # diff:main.py:131
    pruning=Pruning(duplicates="minimum"),  # tiles too; data.py:41-69
)


class Network(parts.Network):
    """[linear(log columns) | opcode | configuration] -> linear, ReLU -> SAGE, ReLU -> linear, summed over nodes.

    model.py:13-194.
    """

    def __init__(self, settings: Settings):
        super().__init__()
        self.settings = settings
        self.columns = nn.Linear(NODE_FEATURES, settings.columns_width)
        self.opcodes = nn.Embedding(OPCODES, settings.opcode_width)
        first, *widths = settings.widths
        joined = settings.columns_width + settings.opcode_width + settings.configuration_columns
        self.shaping = nn.Linear(joined, first)
        self.messages = nn.ModuleList(map(SAGEConv, [first, *widths[:-1]], widths))
        self.latency = nn.Linear(widths[-1], 1)

    def forward(self, inputs: LayoutInputs | TileInputs) -> torch.Tensor:
        configuration = self._configuration(inputs)
        columns = self.columns(signed_log(inputs.x if self.settings.negative else relu(inputs.x)))
        shared = (part.expand(len(configuration), -1, -1) for part in (columns, self.opcodes(inputs.opcode)))
        x = relu(self.shaping(torch.cat([*shared, configuration], dim=-1)))
        for messages in self.messages:
            state = messages(x, inputs.edge_index)
            x = relu(state + x if self.settings.residuals and state.shape == x.shape else state)
        return self.settings.unit * self.latency(x).squeeze(-1).sum(dim=1)

    def _configuration(self, inputs: LayoutInputs | TileInputs) -> torch.Tensor:
        """(k, n, ...): a layout's columns, 0 where a node is not configurable; a tile's at every node."""
        if isinstance(inputs, TileInputs):
            return inputs.config[:, None].expand(-1, len(inputs.x), -1)
        return everywhere(inputs, 0).to(inputs.x.dtype)


def prepare(graph: PackedGraph, scaling: None) -> Prepared:
    """Columns as published; their logarithms are the network's."""
    return Prepared(graph, graph.node_feat, graph.node_feat[:, LAYOUT], config=graph.config_feat)


def build(settings: Settings, scaling: None) -> Network:
    return Network(settings)


def seconds(graph: PackedGraph, scaling: object) -> np.ndarray:
    """Run times (c,) in seconds, float32; data.py:313 and 350."""
    return graph.runtime.astype(np.float32) * np.float32(NANOSECOND)


def ratios(graph: PackedGraph, scaling: object) -> np.ndarray:
    """Run times over their normalisers (c,), float32; data.py:368-369."""
    return graph.runtime.astype(np.float32) / graph.normalizer.astype(np.float32)


def nlp_loss(scores: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """ListMLE, slowest first, of scores whose norm is cut at 500; main.py:386-391."""
    return parts.listmle(parts.clip_norm(scores, LARGEST_NORM), labels)


def xla_loss(scores: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Relative error in seconds, and the margin loss of differences over its margin; diff:main.py:361-390."""
    return parts.mape(scores, labels) + parts.upper_margin(scores, labels, MARGIN_XLA) / MARGIN_XLA


def tile_loss(scores: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """The margin loss of differences; diff:main.py:359-390."""
    return parts.upper_margin(scores, labels, MARGIN_TILE)


def optimizer(network: Network, settings: Settings) -> torch.optim.Optimizer:
    """AdamW with decay of the last layer on nlp, main.py:318-326; Adam without elsewhere, diff:main.py:285-290."""
    if not settings.decoupled:
        return torch.optim.Adam(network.parameters(), lr=settings.learning_rate)
    head = list(network.latency.parameters())
    rest = [parameter for parameter in network.parameters() if all(parameter is not other for other in head)]
    groups: Sequence[dict] = [
        {"params": rest, "weight_decay": settings.weight_decay},
        {"params": head, "weight_decay": settings.head_decay},
    ]
    return torch.optim.AdamW(groups, lr=settings.learning_rate, eps=1e-6)


NLP_RECIPE = parts.Recipe(
    "second-place nlp", lambda collection: (_NLP,), fit_nothing, prepare, build, seconds, nlp_loss, optimizer
)
XLA_RECIPE = parts.Recipe(
    "second-place xla", lambda collection: (_XLA,), fit_nothing, prepare, build, seconds, xla_loss, optimizer
)
TILE_RECIPE = parts.Recipe(
    "second-place tile", lambda collection: (_TILE,), fit_nothing, prepare, build, ratios, tile_loss, optimizer
)
