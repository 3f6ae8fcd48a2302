"""The first place's layout network in plain PyTorch Geometric, and its training, as the reference for ours.

It is written from the description of the solution (Kaggle discussion 456343, Google - Fast or Slow? Predict AI Model
Runtime): a dense tensor (configurations, nodes, width), one graph at a time. Configurations share the graph and its
features, and no states.
"""

from __future__ import annotations

import copy
import math
import time

import numpy as np
import torch
from torch import nn
from torch.nn.functional import dropout, gelu
from torch_geometric.nn import SAGEConv

from stages.gnn.loss import pairwise_hinge
from stages.graphs.dataset import ModelGraph
from stages.graphs.npz import LAYOUT_FEATURES
from stages.graphs.opcodes import OPCODES
from stages.scoring.metrics import collection_score, kendall
from stages.winners.parts import ChannelAttention, CrossConfigurationAttention, instance_norm

OPCODE_CHANNELS = 16
LAYOUT_CHANNELS = 4
NOT_CONFIGURABLE = -2  # stands for the layouts of nodes that are not configurable; -1 is "no such dimension"
VOCABULARY = 8  # -2 to 5
DROPOUT = 0.2
MARGIN = 1.0
WEIGHT_DECAY = 0.00001
CLIP = 1.0
CHUNK = 128  # configurations scored at a time, as the first place did for layout:xla:default


class Layer(nn.Module):
    """A layer from states (configurations, nodes, inputs) to (configurations, nodes, width).

    A message layer is norm -> SAGE -> channel attention -> [plain half, gated half] -> + input -> GELU -> dropout. An
    input layer is linear -> norm -> the same without sum and dropout. Messages go along edge_index as stored, from the
    consumer of a tensor to its producer.
    """

    def __init__(self, inputs: int, width: int, attention: bool, messages: bool):
        super().__init__()
        out = width // 2 if attention else width
        self.messages = SAGEConv(inputs, out) if messages else None
        self.linear = None if messages else nn.Linear(inputs, out)
        self.channels = ChannelAttention(out)
        self.attention = CrossConfigurationAttention() if attention else None

    def forward(self, x: torch.Tensor, edge_index: torch.Tensor) -> torch.Tensor:
        if self.messages is None:
            state = instance_norm(self.linear(x))
        else:
            state = self.messages(instance_norm(x), edge_index)
        state = self.channels(state)
        if self.attention is not None:
            state = torch.cat([state, self.attention(state)], dim=-1)
        if self.messages is None:
            return gelu(state)
        return dropout(gelu(x + state), DROPOUT, self.training)


class FirstPlace(nn.Module):
    """Scores (c,) of c configurations of one graph of n nodes; smaller is faster.

    Args:
        columns: of the nodes' features.
        width: of a state.
        layers: number of message layers.
        attention: whether layers compare configurations.
        input_layers: 0 for a plain linear layer over the features of nodes and configurations. The first place had two
            input layers with norm and attention, each of which costs about as much as a message layer.
    """

    def __init__(self, columns: int, width: int, layers: int, attention: bool = True, input_layers: int = 0):
        super().__init__()
        self.opcodes = nn.Embedding(OPCODES, OPCODE_CHANNELS)
        self.layouts = nn.Embedding(VOCABULARY, LAYOUT_CHANNELS)
        features = columns + OPCODE_CHANNELS + (6 + LAYOUT_FEATURES) * LAYOUT_CHANNELS
        sizes = [features] + [width] * (input_layers - 1)
        self.inputs = nn.ModuleList(Layer(size, width, attention, messages=False) for size in sizes[:input_layers])
        self.linear = None if input_layers else nn.Linear(features, width)
        self.blocks = nn.ModuleList(Layer(width, width, attention, messages=True) for _ in range(layers))
        self.head = nn.Linear(width, 1)

    def forward(
        self,
        x: torch.Tensor,
        opcode: torch.Tensor,
        layout: torch.Tensor,
        edge_index: torch.Tensor,
        config_nodes: torch.Tensor,
        triples: torch.Tensor,
    ) -> torch.Tensor:
        """Scores the configurations.

        Args:
            x: (n, F).
            opcode: (n,) int64.
            layout: (n, 6) int8, in -1..5.
            edge_index: (2, m).
            config_nodes: (nc,).
            triples: (c, nc, 18) int8 layouts of the configurable nodes, in -1..5. Other nodes get -2.

        Returns:
            (c,) scores.
        """
        everywhere = triples.new_full((len(triples), len(x), LAYOUT_FEATURES), NOT_CONFIGURABLE)
        everywhere[:, config_nodes] = triples
        nodes = torch.cat([x, self.opcodes(opcode), self._embedded(layout)], dim=1)
        state = torch.cat([nodes.expand(len(triples), -1, -1), self._embedded(everywhere)], dim=2)
        if self.linear is not None:
            state = gelu(self.linear(state))
        for layer in (*self.inputs, *self.blocks):
            state = layer(state, edge_index)
        return self.head(state.mean(dim=1)).squeeze(-1)

    def _embedded(self, layout: torch.Tensor) -> torch.Tensor:
        return self.layouts(layout.int() - NOT_CONFIGURABLE).flatten(-2)


class Inputs:
    """The network's inputs for one layout graph, on the device of the network.

    Attributes:
        fixed: inputs that do not depend on the configurations.
        ranks: (c,) int64 ranks of the run times; equal run times have equal ranks.
    """

    def __init__(self, graph: ModelGraph, device: torch.device | str = "cpu"):
        self.graph, self.device = graph, device
        parts = (graph.x, graph.opcode.astype(np.int64), graph.layout, graph.edge_index, graph.config_nodes)
        # Copied, because the files are mapped read-only. Codes become int32, because torch cannot index by uint16.
        copied = [np.array(part) for part in (*parts, graph.triples, graph.codes.astype(np.int32))]
        *fixed, self.triples, self.codes = (torch.from_numpy(part).to(device) for part in copied)
        self.fixed = tuple(fixed)
        self.ranks = torch.from_numpy(np.unique(graph.target, return_inverse=True)[1].reshape(-1)).to(device)

    def __call__(self, sample: np.ndarray) -> tuple[torch.Tensor, ...]:
        """Arguments of the network's forward for these configurations (k,)."""
        return *self.fixed, self.triples[self.codes[torch.from_numpy(sample).to(self.device)]]


def predict(network: FirstPlace, inputs: Inputs, sample: np.ndarray | None = None, chunk: int = CHUNK) -> np.ndarray:
    """Scores configurations of a graph in chunks.

    Attention compares the configurations of a chunk, so chunks are drawn at random, with the same draw every time.

    Args:
        network: the network.
        inputs: of the graph.
        sample: (c,) indices of configurations; None for all.
        chunk: configurations of a chunk, about.

    Returns:
        (c,) float64 scores.
    """
    chosen = np.arange(inputs.graph.configurations) if sample is None else sample
    pieces = -(-len(chosen) // chunk)
    drawn = np.random.default_rng(0).permutation(len(chosen)) if pieces > 1 else np.arange(len(chosen))
    scores = np.zeros(len(chosen))
    network.eval()
    with torch.inference_mode():
        for part in np.array_split(drawn, pieces):
            scores[part] = network(*inputs(chosen[part])).double().cpu().numpy()
    return scores


def optimizer(network: nn.Module, learning_rate: float) -> torch.optim.Optimizer:
    return torch.optim.AdamW(network.parameters(), lr=learning_rate, weight_decay=WEIGHT_DECAY)


def step(network: FirstPlace, adamw: torch.optim.Optimizer, inputs: Inputs, sample: np.ndarray) -> float:
    """One training step on these configurations of a graph; returns the loss."""
    network.train()
    score = network(*inputs(sample))
    loss = pairwise_hinge(score[None], inputs.ranks[sample][None], MARGIN)
    adamw.zero_grad()
    loss.backward()
    nn.utils.clip_grad_norm_(network.parameters(), CLIP)
    adamw.step()
    return float(loss.detach())


def train_reference(
    train: list[ModelGraph],
    valid: list[ModelGraph],
    configurations: int,
    epochs: int,
    learning_rate: float,
    seconds_limit: float,
    seed: int,
    width: int = 256,
    layers: int = 2,
    attention: bool = True,
    input_layers: int = 0,
) -> tuple[FirstPlace, list[tuple[float, float]]]:
    """Trains as the first place did.

    A step takes one graph with at most `configurations` of its configurations, drawn uniformly. AdamW's learning rate
    falls as a cosine over the epochs or over the limit of seconds, whichever ends first, so that a run that the limit
    ends also has small rates in its last epochs.

    Returns:
        The network of the best epoch (see `best`); and per epoch the processor seconds of training so far, over all
        threads and without validation, and the mean Kendall tau-b on `valid`.
    """
    torch.manual_seed(seed)
    rng = np.random.default_rng(seed)
    network = FirstPlace(train[0].x.shape[1], width, layers, attention, input_layers)
    adamw = optimizer(network, learning_rate)
    trained, watched = [Inputs(graph) for graph in train], [Inputs(graph) for graph in valid]
    curve: list[tuple[float, float]] = []
    seconds, steps = 0.0, 0
    weights = network.state_dict()
    for _ in range(epochs):
        for number in rng.permutation(len(train)).tolist():
            if seconds >= seconds_limit:
                break
            start = time.process_time()
            done = max(steps / (epochs * len(train)), seconds / seconds_limit)
            for group in adamw.param_groups:
                group["lr"] = learning_rate * 0.5 * (1 + math.cos(math.pi * done))
            count = train[number].configurations
            sample = np.sort(rng.choice(count, min(count, configurations), replace=False))
            step(network, adamw, trained[number], sample)
            seconds, steps = seconds + time.process_time() - start, steps + 1
        tau = collection_score(kendall(predict(network, inputs), inputs.graph.target) for inputs in watched)
        curve.append((seconds, tau))
        if best(curve) == curve[-1]:
            weights = copy.deepcopy(network.state_dict())
        if seconds >= seconds_limit:
            break
    network.load_state_dict(weights)
    return network, curve


def best(curve: list[tuple[float, float]]) -> tuple[float, float]:
    """Seconds and tau of the best epoch; the first of equal ones."""
    return max(curve, key=lambda row: (-math.inf if math.isnan(row[1]) else row[1], -row[0]))
