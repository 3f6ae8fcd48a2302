"""The first place's tile network (github.com/thanhhau097/google_fast_or_slow at 626c463).

The layers are those of its layout network; a kernel's nodes are encoded once, and its tile sizes join what the nodes
were pooled to. `--use_cross_attn=true` compares the rows of a batch of one: softmax over one row is 1, so the attention
only doubles the channels, and its temperatures have no gradient.

What is theirs and not here: networks are chosen by the mean of the run times of the 50 best-looking configurations
(engine.py:691-699); `Training.kept` says "best" and leaves the score to who trains.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from stages import pad
from stages.graphs.dataset import PackedGraph
from stages.graphs.opcodes import OPCODES
from stages.graphs.tensors import MAX_RANK, TILE_FEATURES
from stages.winners import parts
from stages.winners.first_place_layout import (
    COLUMNS,
    NOT_CONFIGURABLE,
    VOCABULARY,
    InputLayer,
    MessageLayer,
    loss,
    optimizer,
)
from stages.winners.parts import Prepared, Standard, TileInputs, Training

AGAINST_ZERO = 1e-5  # added to normalisers; dataset.py:89


@dataclass(frozen=True)
class Settings(Training):
    """Attributes as in `Training`, and the sizes of the network."""

    opcode_width: int = 16  # train_tile.sh, --op_embedding_dim
    layout_width: int = 4  # model_args.py:22, passed by train_tile.py:121
    width: int = 256  # model_args.py:16 and 18
    layers: int = 2  # train_tile.sh, --hidden_channels=256,256: its length alone counts, model.py:102
    attention: bool = True  # train_tile.sh, --use_cross_attn
    message_dropout: float = 0.2  # train_tile.sh, --gat_dropout
    dropout: float = 0.2  # train_tile.sh, --dropout; of the dense layers

    graphs: int = 1  # train_tile.sh, --per_device_train_batch_size
    configurations: int | None = None  # all of a kernel; dataset.py:109-139 samples none
    learning_rate: float = 1e-3  # train_tile.sh
    schedule: str = "cosine"  # train_tile.sh
    warm_up: float = 0.05  # train_tile.sh
    weight_decay: float = 1e-5  # train_tile.sh
    clip: float | None = 1.0  # train_tile.sh, --max_grad_norm
    steps: int | None = 100_000  # train_tile.sh, --max_steps
    evaluate: float = 5000  # train_tile.sh, --eval_steps
    precision: str = "bfloat16"  # train_tile.sh, --bf16
    networks: int = 5  # train_tile.sh, seeds 101 to 105; mean of raw scores, merge_preds_tile.py:45


@dataclass(frozen=True)
class Scaling:
    """Of the nodes' columns, of the configurations' and of the ratios that are the labels."""

    nodes: Standard
    configurations: Standard
    ratios: Standard


class Network(parts.Network):
    """Nodes: as in the layout network, to [maximum | mean]; with the embedded configuration -> three linear layers.

    model.py:50-170.
    """

    def __init__(self, settings: Settings, columns: int = COLUMNS):
        super().__init__()
        self.opcodes = nn.Embedding(OPCODES, settings.opcode_width)
        self.layouts = nn.Embedding(VOCABULARY, settings.layout_width)
        features = columns + settings.opcode_width + MAX_RANK * settings.layout_width
        width, attention = settings.width, settings.attention
        self.inputs = nn.ModuleList(InputLayer(size, width, attention) for size in (features, width))
        self.blocks = nn.ModuleList(
            MessageLayer(width, attention, settings.message_dropout) for _ in range(settings.layers)
        )
        drop = settings.dropout
        self.configurations = nn.Sequential(
            nn.Linear(TILE_FEATURES, width), nn.Dropout(drop), nn.GELU(), nn.Linear(width, width)
        )
        self.head = nn.Sequential(
            nn.Linear(3 * width, width),
            nn.Dropout(drop),
            nn.GELU(),
            nn.Linear(width, width),
            nn.Dropout(drop),
            nn.GELU(),
            nn.Linear(width, 1),
        )

    def forward(self, inputs: TileInputs) -> torch.Tensor:
        layout = self.layouts(inputs.layout - NOT_CONFIGURABLE).flatten(-2)
        state = torch.cat([inputs.x, layout, self.opcodes(inputs.opcode)], dim=1)[None]
        for layer in self.inputs:
            state = layer(state)
        for block in self.blocks:
            state = block(state, inputs.edge_index)
        pooled = torch.cat([state.amax(dim=1), state.mean(dim=1)], dim=1).expand(len(inputs.config), -1)
        return self.head(torch.cat([self.configurations(inputs.config), pooled], dim=1)).squeeze(-1)


def settings(collection: str) -> tuple[Settings, ...]:
    return (Settings(),)


def fit(graphs: Iterable[PackedGraph]) -> Scaling:
    """Means and deviations over the train kernels; dataset.py:96-104."""
    kept = list(graphs)
    nodes = parts.fit_standard(graph.node_feat[:, :COLUMNS] for graph in kept)
    configurations = parts.fit_standard(graph.config_feat for graph in kept)
    return Scaling(nodes, configurations, parts.fit_standard(ratios(graph)[:, None] for graph in kept))


def prepare(graph: PackedGraph, scaling: Scaling) -> Prepared:
    """Standardised columns; layouts padded with 0: only layout files were extracted again, README.md:21."""
    nodes, configurations = scaling.nodes(graph.node_feat[:, :COLUMNS]), scaling.configurations(graph.config_feat)
    return Prepared(graph, nodes, pad.own_layout(graph.node_feat, layout_padding=0), config=configurations)


def ratios(graph: PackedGraph) -> np.ndarray:
    """Run times over their normalisers (c,), float64; dataset.py:88-90."""
    return graph.runtime / (graph.normalizer + AGAINST_ZERO)


def labels(graph: PackedGraph, scaling: Scaling) -> np.ndarray:
    """Standardised ratios (c,) in float32; dataset.py:117 and 128."""
    return scaling.ratios(ratios(graph)[:, None])[:, 0]


def build(settings: Settings, scaling: Scaling) -> Network:
    return Network(settings, columns=len(scaling.nodes.mean))


RECIPE = parts.Recipe("first-place tile", settings, fit, prepare, build, labels, loss, optimizer)
