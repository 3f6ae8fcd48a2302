"""The fourteenth place's layout networks (github.com/mattdeak/kaggle-fast-or-slow at 23b7727).

Three hops around the configurable nodes, and beside these edges a meta-graph: configurable nodes alone, with an edge
where a path meets no other. Each layer has attention along both, side by side. Nodes and configurations have columns
made by hand, and so has the program. xla's collections share networks, and so have nlp's.

The sizes stand in readme.md, "Training Process"; the scripts' own are others.

What is theirs and not here:
- Two of xla's three scores are of one training, after two and after three epochs; here it is trained twice, by the same
  steps.
- nlp's networks were stopped before one epoch had ended, when is not told; here they have one.
- Equal run times come in random order in ListMLE; here the first counts as slower.
- The margin of NLP-2 is not told: 1 of train.py:57, of 0.5 to 3 that sweep.py:117 tries.
- The logarithm of a negative number, of paddings that cut (column 127), is no number in theirs; here it is that of 0.
- A configurable node without an edge is lost in theirs (preprocessors/graph_preproc.py:99); here it stays.
- Tiles: readme.md names three layers of SAGE, three linear ones and ListMLE; widths, and a script with that loss, are
  not published.

readme.md says that norms are over a node's channels; model.py:140-163 passes no choice to the layers that were used,
which then have GraphNorm, over a graph's nodes. So it is here.

File names are of ml/layout_v1/, or of its folder preprocessors/.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from weakref import WeakKeyDictionary

import numpy as np
import torch
from scipy import sparse
from scipy.sparse.csgraph import connected_components, dijkstra
from torch import nn
from torch.nn.functional import gelu, margin_ranking_loss, one_hot
from torch_geometric.nn import GATConv, GraphNorm, SAGEConv

from stages.graphs.dataset import PackedGraph
from stages.graphs.opcodes import OPCODES
from stages.graphs.tensors import LAYOUT, LAYOUT_FEATURES
from stages.graphs.topology import operands, topological_order
from stages.winners import parts
from stages.winners.parts import LayoutInputs, Prepared, Pruning, Standard, Training

LOG = [21, 22, 24, 27, 28, 44, 115, 120, 124, 127]  # columns of which the logarithm is taken; node_preproc.py:157
SMALL = 1e-4  # added before logarithms and to what is divided by; node_preproc.py:9 and 158
RARE = 0.1  # a column of zeros and ones with fewer ones is left out; node_preproc.py:97
SIZES, STRIDES, PADDINGS = slice(37, 43), slice(45, 51), slice(53, 59)  # of windows
REVERSED = slice(91, 93)  # dimensions of a window that are reversed, and that are not
CONFIGURATION = LAYOUT_FEATURES + 24  # columns of a configuration at a node; config_preproc.py
PROGRAM = 6  # columns of a graph; global_preproc.py:61-73
LEAST = 1e-6  # in ListMLE; losses.py:66
MARGIN, PAIRS = 1.0, 32  # of the margin loss, and pairs that it draws; train.py:57
BLOCK = 256  # nodes whose distances to all others are held at a time


@dataclass(frozen=True)
class Settings(Training):
    """Attributes as in `Training`, and:

    Attributes:
        width: Of a node's state; half of it is from each graph.
        layers: Beyond the first.
        heads: Of attention.
        meta: What goes along the meta-graph, "gat" or "sage".
        dense_width: Of the layers behind the pool.
        dense: How many these are, beyond the first.
        statistics: How the train graphs are packed that columns are standardised on.
    """

    width: int = 128  # readme.md:453
    layers: int = 4  # readme.md:452
    heads: int = 8  # readme.md:456
    meta: str = "gat"  # readme.md:457
    dense_width: int = 128  # readme.md:455
    dense: int = 1  # readme.md:454
    dropout: float = 0.15  # readme.md:458
    statistics: Pruning = Pruning()  # job/builder.py:377-405; whole

    pruning: Pruning = Pruning(hops=3, neighbour_edges=True)  # sweep.py:31, graph_preproc.py:85-110 and 215-219
    graphs: int = 1  # sampler.py:26-46
    configurations: int | None = 16  # readme.md:439
    drawn: str = "passes"  # sampler.py:26-46
    epochs: float | None = 3  # readme.md:460
    learning_rate: float = 2.8e-4  # readme.md:450
    weight_decay: float = 0.004  # readme.md:451
    kept: str = "last"  # of an epoch; readme.md:460
    together: str = "min-max mean"  # readme.md:465, of the networks' sum

    @property
    def least_configurations(self) -> int:
        """A graph with fewer fills no list, and trains nothing. sampler.py:38."""
        return self.configurations or 0


_XLA = (Settings(), Settings(dense=2), Settings(dense=2, epochs=2))  # XLA-1, and twice XLA-2; readme.md:460
_NLP_1 = Settings(dropout=0.0, epochs=1)
_NLP_2 = Settings(
    heads=1,
    meta="sage",
    dense_width=64,
    dense=3,
    dropout=0.0,
    epochs=1,
    learning_rate=1e-4,
    weight_decay=0.007,
)


@dataclass(frozen=True, eq=False)
class Inputs(LayoutInputs):
    """A layout graph with its meta-graph.

    Attributes:
        meta: (2, e) int64; consumer and producer, places among the configurable nodes.
        program: (6,) float32.
    """

    meta: torch.Tensor
    program: torch.Tensor


class WithMeta(Prepared):
    """A prepared graph with its meta-graph and what is known of the whole."""

    layout_inputs = Inputs

    def __init__(self, graph: PackedGraph, x: np.ndarray, program: np.ndarray):
        super().__init__(graph, x, graph.node_feat[:, LAYOUT])
        self._fixed["meta"] = torch.from_numpy(np.array(graph.contracted.T, np.int64))
        self._fixed["program"] = torch.from_numpy(np.array(program, np.float32))


@dataclass(frozen=True, eq=False)
class Scaling:
    """Which columns (F,) bool are kept, which of them are standardised, and by what."""

    kept: np.ndarray
    scaled: np.ndarray
    standard: Standard

    def __call__(self, columns: np.ndarray) -> np.ndarray:
        """The kept columns (n, kept) of (n, F); float32."""
        found = logarithms(columns)
        found[:, self.scaled] = self.standard(found[:, self.scaled])
        return found[:, self.kept]


class Messages(nn.Module):
    """GAT or SAGE -> GELU -> norm over a graph's nodes -> dropout. model.py:28-105."""

    def __init__(self, inputs: int, width: int, kind: str, settings: Settings):
        super().__init__()
        heads = settings.heads
        self.conv = GATConv(inputs, width // heads, heads=heads) if kind == "gat" else SAGEConv(inputs, width)
        self.norm, self.dropout = GraphNorm(width), nn.Dropout(settings.dropout)

    def forward(self, x: torch.Tensor, edges: torch.Tensor, graph: torch.Tensor) -> torch.Tensor:
        return self.dropout(self.norm(gelu(self.conv(x, edges)), graph))


class Block(nn.Module):
    """Messages along the graph, and beside them along the meta-graph; + x but for the first. model.py:108-194."""

    def __init__(self, inputs: int, settings: Settings):
        super().__init__()
        self.residual = inputs == settings.width
        self.near = Messages(inputs, settings.width // 2, "gat", settings)
        self.meta = Messages(inputs, settings.width // 2, settings.meta, settings)

    def forward(self, x: torch.Tensor, edges: torch.Tensor, meta: torch.Tensor, graph: torch.Tensor) -> torch.Tensor:
        found = torch.cat([self.near(x, edges, graph), self.meta(x, meta, graph)], dim=1)
        return found + x if self.residual else found


class Dense(nn.Module):
    """Linear -> GELU -> norm of the channels -> dropout; + x but for the first. model.py:204-228."""

    def __init__(self, inputs: int, settings: Settings, residual: bool):
        super().__init__()
        self.linear, self.norm = nn.Linear(inputs, settings.dense_width), nn.LayerNorm(settings.dense_width)
        self.dropout, self.residual = nn.Dropout(settings.dropout), residual

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        found = self.dropout(self.norm(gelu(self.linear(x))))
        return found + x if self.residual else found


class Network(parts.Network):
    """[columns | configuration | opcode] -> blocks -> [mean over nodes | program] -> dense. model.py:231-367."""

    def __init__(self, settings: Settings, columns: int):
        super().__init__()
        width, dense = settings.width, settings.dense_width
        first = Block(columns + CONFIGURATION + OPCODES, settings)
        self.blocks = nn.ModuleList([first, *(Block(width, settings) for _ in range(settings.layers))])
        self.head = nn.Sequential(
            Dense(width + PROGRAM, settings, residual=False),
            *(Dense(dense, settings, residual=True) for _ in range(settings.dense)),
            nn.Linear(dense, 1),
        )

    def forward(self, inputs: Inputs) -> torch.Tensor:
        count, nodes = len(inputs.triples), len(inputs.x)
        x = joined(inputs).flatten(0, 1)
        edges, meta = (stacked(each, count, nodes) for each in (inputs.edge_index, inputs.config_nodes[inputs.meta]))
        graph = torch.arange(count, device=x.device).repeat_interleave(nodes)
        for block in self.blocks:
            x = block(x, edges, meta, graph)
        pooled = x.unflatten(0, (count, nodes)).mean(dim=1)
        return self.head(torch.cat([pooled, inputs.program.expand(count, -1)], dim=1)).squeeze(-1)


def joined(inputs: LayoutInputs) -> torch.Tensor:
    """Columns, configurations and opcodes of all nodes (k, n, ...); 0 where a node has no configuration.

    dataset.py:312-333.
    """
    configuration = inputs.x.new_zeros(len(inputs.triples), len(inputs.x), CONFIGURATION)
    made = configuration_columns(inputs.triples).float()  # rounded, as theirs; dataset.py:332
    configuration[:, inputs.config_nodes] = made.to(inputs.x.dtype)
    opcodes = one_hot(inputs.opcode, OPCODES).to(inputs.x.dtype)
    first, last = (part.expand(len(configuration), -1, -1) for part in (inputs.x, opcodes))
    return torch.cat([first, configuration, last], dim=-1)


def stacked(edges: torch.Tensor, count: int, nodes: int) -> torch.Tensor:
    """The edges (2, count * m) of so many copies of a graph side by side."""
    first = nodes * torch.arange(count, device=edges.device)
    return (edges[:, None] + first[:, None]).flatten(1)


def configuration_columns(triples: torch.Tensor) -> torch.Tensor:
    """The layouts (..., 18) with 24 columns made of them, (..., 42) float64. config_preproc.py:13-186."""
    layouts = triples.double().unflatten(-1, (3, -1))
    there = layouts != -1
    active = there.sum(-1).double()
    steps = layouts.diff(dim=-1)
    follows = ((steps == 0) | (steps == 1)) & there[..., 1:] & there[..., :-1]
    contiguous = follows.sum(-1).double()
    square = there[..., 0] & (layouts[..., 0] == layouts[..., 1])
    count = active.clamp(min=1)
    mean = (layouts * there).sum(-1) / count
    variance = ((layouts - mean[..., None]) ** 2 * there).sum(-1) / count
    result, first, kernel = layouts.unbind(-2)
    alike = [(one == other).sum(-1) for one, other in ((result, first), (result, kernel), (first, kernel))]
    made = [
        *(active == 0, active / 6, layouts.amax(-1) / 6, contiguous / 5, contiguous / (active + SMALL)),
        *(square, variance, torch.stack(alike, dim=-1)),
    ]
    return torch.cat([triples.double(), *(each.double() for each in made)], dim=-1)


def logarithms(columns: np.ndarray) -> np.ndarray:
    """Columns (n, F) with the logarithms of some; float32. node_preproc.py:154-160."""
    found = columns.astype(np.float32)
    found[:, LOG] = np.log(np.maximum(found[:, LOG], 0) + np.float32(SMALL))
    return found


def made_columns(columns: np.ndarray, config_nodes: np.ndarray) -> np.ndarray:
    """The 22 columns (n, 22) made by hand, float64. node_preproc.py:32-42 and 54-91."""
    columns = columns.astype(np.float64)
    total, product = columns[:, 27:28], columns[:, 28:29]
    sizes, strides = columns[:, SIZES], columns[:, STRIDES]
    configurable = np.zeros((len(columns), 1))
    configurable[config_nodes] = 1
    return np.concatenate(
        [
            np.log(np.divide(total, product, out=np.zeros_like(total), where=product > 0) + SMALL),
            np.ones_like(total),  # dimensions that are not -1, of six: published files have none
            sizes * strides,
            columns[:, PADDINGS] / (sizes + SMALL),
            (sizes - 1) * strides + 1,
            columns[:, REVERSED][:, :1] / (columns[:, REVERSED].sum(1, keepdims=True) + SMALL),
            configurable,
        ],
        axis=1,
    )


def program_columns(graph: PackedGraph) -> np.ndarray:
    """What is known of a cut graph as a whole, (6,) float64; global_preproc.py:19-73.

    Its nodes' logarithm; its longest path and its connected parts, over nodes; mean and deviation over the parts of
    their average distances; and whether its search started from the compiler's choice.
    """
    nodes, edges = graph.nodes, graph.edge_index
    distances = average_distances(nodes, edges)
    return np.array(
        [
            np.log(nodes + SMALL),
            longest_path(nodes, edges) / (nodes + 1),
            len(distances) / nodes,
            distances.mean(),
            distances.std(),
            graph.collection.endswith(":default"),
        ]
    )


def longest_path(nodes: int, edge_index: np.ndarray) -> int:
    """Edges of the longest path; (m, 2) without a cycle."""
    starts, producers = operands(nodes, edge_index)
    longest = np.zeros(nodes, np.int64)
    for node in topological_order(nodes, edge_index):
        if starts[node] < starts[node + 1]:
            longest[node] = 1 + longest[producers[starts[node] : starts[node + 1]]].max()
    return int(longest.max())


def average_distances(nodes: int, edge_index: np.ndarray) -> np.ndarray:
    """Mean over pairs of their distance, along edges both ways, of each connected part with an edge; float64."""
    links = sparse.csr_array((np.ones(len(edge_index)), tuple(edge_index.T)), (nodes, nodes))
    _, part = connected_components(links, directed=False)
    total = np.zeros(part.max() + 1)
    for start in range(0, nodes, BLOCK):
        rows = np.arange(start, min(start + BLOCK, nodes))
        found = dijkstra(links, directed=False, indices=rows, unweighted=True)
        np.add.at(total, part[rows], np.where(np.isfinite(found), found, 0).sum(1))
    size = np.bincount(part)
    return total[size > 1] / (size * (size - 1))[size > 1]


def fit(graphs: Iterable[PackedGraph]) -> Scaling:
    """Columns that vary, but for rare ones of zeros and ones; those of others standardised. node_preproc.py:103-130."""
    blocks = [graph.node_feat for graph in graphs]
    rows = sum(map(len, blocks))
    varies = np.max([block.max(0) for block in blocks], 0) > np.min([block.min(0) for block in blocks], 0)
    binary = np.all([np.isin(block, (0, 1)).all(0) for block in blocks], 0)
    rare = binary & (sum(block.sum(0, dtype=np.float64) for block in blocks) / rows < RARE)
    kept = varies & ~rare
    scaled = kept & ~binary
    return Scaling(kept, scaled, parts.fit_standard([logarithms(block)[:, scaled] for block in blocks]))


# Distances between all nodes take long, so they stay as long as the graph, whatever else is forgotten.
_PROGRAM: WeakKeyDictionary[PackedGraph, np.ndarray] = WeakKeyDictionary()


def prepare(graph: PackedGraph, scaling: Scaling) -> WithMeta:
    """Standardised columns and those made by hand; the program's."""
    if graph not in _PROGRAM:
        _PROGRAM[graph] = program_columns(graph)
    x = np.concatenate([scaling(graph.node_feat), made_columns(graph.node_feat, graph.config_nodes)], axis=1)
    return WithMeta(graph, x, _PROGRAM[graph])


def build(settings: Settings, scaling: Scaling) -> Network:
    return Network(settings, int(scaling.kept.sum()) + 22)


def labels(graph: PackedGraph, scaling: object) -> np.ndarray:
    """Run times (c,) in nanoseconds, int64; dataset.py:355."""
    return np.array(graph.runtime)


def list_loss(scores: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """ListMLE, slowest first; losses.py:75-103."""
    return parts.listmle(scores, labels, LEAST)


def pair_loss(scores: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Mean of the margin loss over 32 drawn pairs of a graph; equal labels count as "the second is slower".

    losses.py:147-171.
    """
    first, second = torch.combinations(torch.arange(scores.shape[-1])).T
    drawn = torch.randperm(len(first))[:PAIRS]
    first, second = first[drawn], second[drawn]
    sign = torch.where(labels[..., first] > labels[..., second], 1.0, -1.0).to(scores.dtype)
    return margin_ranking_loss(scores[..., first], scores[..., second], sign, margin=MARGIN)


def optimizer(network: nn.Module, settings: Training) -> torch.optim.Optimizer:
    """AdamW; readme.md:438."""
    return torch.optim.AdamW(network.parameters(), lr=settings.learning_rate, weight_decay=settings.weight_decay)


LIST_RECIPE = parts.Recipe(
    "fourteenth-place list",
    lambda collection: (_NLP_1,) if ":nlp:" in collection else _XLA,
    fit,
    prepare,
    build,
    labels,
    list_loss,
    optimizer,
)
PAIR_RECIPE = parts.Recipe(
    "fourteenth-place pairs",
    lambda collection: (_NLP_2,) if ":nlp:" in collection else (),
    fit,
    prepare,
    build,
    labels,
    pair_loss,
    optimizer,
)
