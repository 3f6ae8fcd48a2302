"""The first place's layout network (arc144, tomirol, thanhhau097).

github.com/thanhhau097/google_fast_or_slow at 626c463.

One graph a step, cut to configurable nodes and their neighbours; a dense tensor (configurations, nodes, width); each
layer normalises over the nodes of a configuration, and for the default searches compares configurations.

What is theirs and not here:
- Their files come from protobufs whose lists of dimension numbers were padded with -1 (README.md:21, tpu_graphs'
  featurizers.h:137). Here -1 is put back into the published columns where the rank and the opcode tell
  (`stages.pad`): columns 31-36, the spatial dimensions 95-98 and 101-104, and 134-139. A transpose's or reduction's
  list that ends in a true 0 cannot always be told from padding.
- Their table of opcodes has 120 rows, and opcode 120, tan, ends their program; here it has 121.
- Networks whose validation was poor were thrown away by hand (README.md:79).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn
from torch.nn.functional import dropout, gelu
from torch_geometric.nn import SAGEConv

from stages import pad
from stages.graphs.dataset import PackedGraph
from stages.graphs.opcodes import OPCODES
from stages.graphs.tensors import DIMENSIONS, LAYOUT_FEATURES, MAX_RANK
from stages.winners import parts
from stages.winners.parts import (
    ChannelAttention,
    CrossConfigurationAttention,
    LayoutInputs,
    Prepared,
    Pruning,
    Standard,
    Training,
    everywhere,
    instance_norm,
)

COLUMNS = 134  # of a node before its layout; model.py:313
NOT_CONFIGURABLE = -2  # the layouts of other nodes; model.py:360
VOCABULARY = 8  # -2 to 5; model.py:308
PADDED = np.r_[DIMENSIONS, pad.INPUT_SPATIAL, pad.KERNEL_SPATIAL]  # columns of lists that end in -1


@dataclass(frozen=True)
class Settings(Training):
    """Attributes as in `Training`, and the sizes of the network."""

    opcode_width: int = 16  # train_xla_default.sh, --op_embedding_dim
    layout_width: int = 4  # model_args.py:22
    width: int = 256  # model_args.py:16 and 18
    layers: int = 2  # train_xla_default.sh, --hidden_channels=256,256: its length alone counts, model.py:340
    attention: bool = True  # of configurations among each other; --use_cross_attn, train_xla_default.sh
    dropout: float = 0.2  # train_xla_default.sh, --gat_dropout; `--dropout` reaches nothing, model.py:286-343

    pruning: Pruning = Pruning(hops=1, duplicates="first")  # data/data_compression.py:17-40 and 43-64
    graphs: int = 1  # --per_device_train_batch_size, train_xla_default.sh
    configurations: int | None = 64  # --max_configs, train_xla_default.sh; without replacement, dataset.py:285
    learning_rate: float = 1e-3  # train_xla_default.sh
    schedule: str = "cosine"  # train_xla_default.sh
    warm_up: float = 0.05  # train_xla_default.sh
    weight_decay: float = 1e-5  # train_xla_default.sh; of all parameters, engine.py:89-121
    clip: float | None = 1.0  # --max_grad_norm, train_xla_default.sh
    epochs: float | None = 750  # train_xla_default.sh
    evaluate: float = 2000  # --eval_steps, train_xla_default.sh; on all configurations
    precision: str = "bfloat16"  # --bf16, train_xla_default.sh
    chunk: int | None = 128  # --max_configs_eval, train_xla_default.sh; in the file's order, dataset.py:195
    networks: int = (
        20  # NB_FOLDS, train_kfold.py:31; mean of raw scores, train_kfold.py:143, the worst by hand left out
    )


_COLLECTIONS = {
    "layout:xla:default": Settings(),
    # train_xla_random.sh; chunk: data_args.py:25
    "layout:xla:random": Settings(configurations=128, attention=False, precision="float16", chunk=512),
    # train_nlp_default.sh
    "layout:nlp:default": Settings(epochs=1000, evaluate=6000, chunk=256),
    # train_nlp_random.sh; chunk: data_args.py:25
    "layout:nlp:random": Settings(
        configurations=128, attention=False, epochs=1000, evaluate=6000, precision="float16", chunk=512
    ),
}


@dataclass(frozen=True)
class Scaling:
    """Of the nodes' columns and of the run times."""

    nodes: Standard
    runtimes: Standard


class InputLayer(nn.Module):
    """Linear -> norm -> channel attention -> [plain half, compared half] -> GELU. (k, n, inputs) to (k, n, width).

    model.py:209-237.
    """

    def __init__(self, inputs: int, width: int, attention: bool):
        super().__init__()
        out = width // 2 if attention else width
        self.linear = nn.Linear(inputs, out)
        nn.init.xavier_normal_(self.linear.weight)
        nn.init.constant_(self.linear.bias, 0.01)
        self.channels = ChannelAttention(out)
        self.attention = CrossConfigurationAttention() if attention else None

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.channels(instance_norm(self.linear(x)))
        return gelu(x if self.attention is None else torch.cat([x, self.attention(x)], dim=-1))


class MessageLayer(nn.Module):
    """Norm -> SAGE -> channel attention -> [plain half, compared half] -> + input -> GELU -> dropout. (k, n, width).

    Messages go along edge_index as stored, from the consumer of a tensor to its producer. model.py:240-283.
    """

    def __init__(self, width: int, attention: bool, dropout: float):
        super().__init__()
        out = width // 2 if attention else width
        self.messages = SAGEConv(width, out)
        self.channels = ChannelAttention(out)
        self.attention = CrossConfigurationAttention() if attention else None
        self.dropout = dropout

    def forward(self, x: torch.Tensor, edge_index: torch.Tensor) -> torch.Tensor:
        state = self.channels(self.messages(instance_norm(x), edge_index))
        if self.attention is not None:
            state = torch.cat([state, self.attention(state)], dim=-1)
        return dropout(gelu(x + state), self.dropout, self.training)


class Network(parts.Network):
    """Columns, embedded opcode and layouts -> two input layers -> message layers -> mean over nodes -> linear.

    Args:
        settings: Its sizes.
        columns: How many columns x has.
    """

    def __init__(self, settings: Settings, columns: int = COLUMNS):
        super().__init__()
        self.opcodes = nn.Embedding(OPCODES, settings.opcode_width)
        self.layouts = nn.Embedding(VOCABULARY, settings.layout_width)
        features = columns + settings.opcode_width + (LAYOUT_FEATURES + MAX_RANK) * settings.layout_width
        width, attention = settings.width, settings.attention
        self.inputs = nn.ModuleList(InputLayer(size, width, attention) for size in (features, width))
        self.blocks = nn.ModuleList(MessageLayer(width, attention, settings.dropout) for _ in range(settings.layers))
        self.head = nn.Linear(width, 1)

    def forward(self, inputs: LayoutInputs) -> torch.Tensor:
        triples = self._embedded(everywhere(inputs, NOT_CONFIGURABLE))
        shared = (inputs.x, self._embedded(inputs.layout), self.opcodes(inputs.opcode))
        before, *after = (part.expand(len(triples), -1, -1) for part in shared)
        state = torch.cat([before, triples, *after], dim=2)
        for layer in self.inputs:
            state = layer(state)
        for block in self.blocks:
            state = block(state, inputs.edge_index)
        return self.head(state.mean(dim=1)).squeeze(-1)

    def _embedded(self, layout: torch.Tensor) -> torch.Tensor:
        return self.layouts(layout - NOT_CONFIGURABLE).flatten(-2)


def settings(collection: str) -> tuple[Settings, ...]:
    return (_COLLECTIONS[collection],)


def columns(graph: PackedGraph) -> np.ndarray:
    """The columns (n, 134) float32 before the layout, with -1 behind lists of dimension numbers; no logarithms."""
    published = np.array(graph.node_feat[:, :COLUMNS])
    published[:, PADDED] = pad.features(graph.node_feat, graph.node_opcode)[:, PADDED]
    convolution = graph.node_opcode == pad.CONVOLUTION
    other = ~(convolution | published[:, pad.CONVOLUTION_NUMBERS].clip(min=0).any(1))
    for spatial in (pad.INPUT_SPATIAL, pad.KERNEL_SPATIAL):
        published[other, spatial] = -1
    return published


def fit(graphs: Iterable[PackedGraph]) -> Scaling:
    """Means and deviations over the pruned train graphs' nodes and configurations; dataset.py:177 and 181."""
    kept = list(graphs)
    nodes = parts.fit_standard(columns(graph) for graph in kept)
    return Scaling(nodes, parts.fit_standard(graph.runtime[:, None] for graph in kept))


def prepare(graph: PackedGraph, scaling: Scaling) -> Prepared:
    """Standardised columns, without logarithms or limits; dataset.py:298."""
    return Prepared(graph, scaling.nodes(columns(graph)), pad.own_layout(graph.node_feat))


def labels(graph: PackedGraph, scaling: Scaling) -> np.ndarray:
    """Standardised run times (c,) in float32, where some equal one another that do not in nanoseconds.

    The order is all that counts, so the scale is no matter but for this. dataset.py:239 and 300.
    """
    return scaling.runtimes(graph.runtime[:, None])[:, 0]


def loss(scores: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Mean over graphs and all k * k pairs of the hinge with margin 1; pairs not slower add 0. loss.py:74."""
    return parts.hinges(scores, labels, margin=1.0).mean()


def optimizer(network: nn.Module, settings: Training) -> torch.optim.Optimizer:
    """AdamW; --optim=adamw_torch, train_xla_default.sh."""
    return torch.optim.AdamW(network.parameters(), lr=settings.learning_rate, weight_decay=settings.weight_decay)


def build(settings: Settings, scaling: Scaling) -> Network:
    return Network(settings, columns=len(scaling.nodes.mean))


RECIPE = parts.Recipe("first-place layout", settings, fit, prepare, build, labels, loss, optimizer)
