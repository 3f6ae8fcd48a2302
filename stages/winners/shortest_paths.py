"""The ninth place's idea: shortest paths to the configurable nodes in place of the whole graph.

Kaggle discussion 456206. Their code is not published. Their write-up says: the graph cut as in `paths`; logarithms of
the nodes' columns; GST's published code with modifications, and its pairwise hinge; 512 configurations of 2 or 4 graphs
a step, 1,000 epochs; a network for each of the four collections.

What it leaves open is GST's here (`gst_paper`, with its files and lines): the network, in one piece in place of
segments, draws with replacement, optimiser, schedule and decay. And this project's choice:
- the logarithm, sign(x) log(1 + |x|), and that columns are standardised behind it, as GST's are;
- two graphs a step, and the last weights.

What is theirs and not here: networks for ResNets, EfficientNets and BERTs alone; others with attention along edges
(TransformerConv, GATConv), averaged with this one, which gave 0.01 to 0.02. Tiles were public notebooks'.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import torch

from stages.graphs.dataset import PackedGraph
from stages.graphs.tensors import LAYOUT
from stages.winners import gst_paper, parts
from stages.winners.parts import LayoutInputs, Prepared, Pruning, Standard, Training


@dataclass(frozen=True)
class Settings(Training, gst_paper.Widths):
    """Attributes as in `Training` and `gst_paper.Widths`."""

    pruning: Pruning = Pruning(paths=True)  # theirs, "Graph Compression"
    graphs: int = 2  # theirs, or 4; "Training Strategy", and so are the next two
    configurations: int | None = 512
    epochs: float | None = 1000
    replacement: bool = gst_paper.Settings.replacement
    learning_rate: float = gst_paper.Settings.learning_rate
    schedule: str = gst_paper.Settings.schedule
    weight_decay: float = gst_paper.Settings.weight_decay
    kept: str = "last"


class Network(gst_paper.Scorer):
    """GST's network of one segment, which is the graph."""

    def forward(self, inputs: LayoutInputs) -> torch.Tensor:
        return self.scores(inputs, torch.tensor([0, len(inputs.x)], device=inputs.x.device)).squeeze(1)


def fit(graphs: Iterable[PackedGraph]) -> Standard:
    """Mean and deviation of the columns' logarithms."""
    return parts.fit_standard([logarithms(graph.node_feat) for graph in graphs])


def prepare(graph: PackedGraph, scaling: Standard) -> Prepared:
    """Standardised logarithms."""
    return Prepared(graph, scaling(logarithms(graph.node_feat)), graph.node_feat[:, LAYOUT])


def logarithms(columns: np.ndarray) -> np.ndarray:
    """sign(x) log(1 + |x|) of (rows, F)."""
    return parts.signed_log(torch.from_numpy(np.array(columns))).numpy()


def build(settings: Settings, scaling: Standard) -> Network:
    return Network(settings)


RECIPE = parts.Recipe(
    "shortest paths",
    lambda collection: (Settings(),),
    fit,
    prepare,
    build,
    gst_paper.labels,
    gst_paper.loss,
    gst_paper.optimizer,
)
