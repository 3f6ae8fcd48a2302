"""The two networks that benchmarks/gpu.py measures, with the same calls, on any device."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from torch import nn

from benchmarks import gnn, reference
from stages.gnn.batch import Batch, join
from stages.gnn.inference import predict
from stages.gnn.loss import LOSSES
from stages.gnn.network import build
from stages.gnn.prepared_graph import prepare
from stages.gnn.settings import Settings
from stages.gnn.training import CLIP, Training, deterministic
from stages.graphs.dataset import ModelGraph


class Ours:
    """The stage's network and training; a step takes all graphs."""

    name = "ours"

    def __init__(self, graphs: list[ModelGraph], settings: Settings, device: torch.device, data: str | None = None):
        self.graphs, self.settings, self.device = graphs, settings, device
        self.prepared = [prepare(graph, settings.view(graph.collection), data) for graph in graphs]
        collection = graphs[0].collection
        torch.manual_seed(0)
        self.network = build(collection, self.prepared[0], settings).to(device)  # made on the CPU: the same weights
        self.training = Training(self.network, self.prepared, [], settings, collection, seed=0)
        self.rng = np.random.default_rng(0)

    def step(self, count: int) -> float:
        """A step of the stage with `count` configurations of each graph; returns the loss."""
        self.training.settings = replace(self.settings, configurations=count)
        with deterministic(0):
            return self.training._network_step(np.arange(len(self.prepared)), self.rng)

    def batch(self, count: int) -> Batch:
        """The tensors of such a step, on the CPU."""
        samples = [np.sort(self.rng.choice(graph.configurations, count, replace=False)) for graph in self.graphs]
        return join(self.prepared, samples)

    def descend(self, batch: Batch) -> float:
        """A step in float32 on tensors that are ready; returns the loss."""
        self.network.train()
        score = self.network.scores(self.network.states(batch), batch)
        loss = LOSSES[self.settings.loss](score, batch.order, self.settings.margin, batch.mask)
        self.training.optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(self.network.parameters(), CLIP)
        self.training.optimizer.step()
        return float(loss.detach())

    def infer(self, count: int) -> np.ndarray:
        return predict(self.network, self.prepared[0], np.arange(count))

    def infer_first(self, count: int) -> np.ndarray:
        """Scores a graph that was not prepared before."""
        graph = self.graphs[0]
        return predict(self.network, prepare(graph, self.settings.view(graph.collection)), np.arange(count))


class FirstPlace:
    """The first place's network on one graph."""

    name = "first place"

    def __init__(self, graph: ModelGraph, width: int, device: torch.device):
        self.inputs, self.rng = reference.Inputs(graph, device), np.random.default_rng(0)
        torch.manual_seed(0)
        self.network = reference.FirstPlace(graph.x.shape[1], width, layers=2).to(device)
        self.optimizer = reference.optimizer(self.network, gnn.LEARNING_RATE)

    def step(self, count: int) -> float:
        sample = np.sort(self.rng.choice(self.inputs.graph.configurations, count, replace=False))
        return reference.step(self.network, self.optimizer, self.inputs, sample)

    def infer(self, count: int) -> np.ndarray:
        return reference.predict(self.network, self.inputs, np.arange(count))
