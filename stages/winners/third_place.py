"""The third place's networks (Janis Fluri; github.com/jafluri/kaggle_tpu_graph at c03e864; tiles at 379e4d5).

Each node knows where it is by random walks. Layouts: those encodings have layers of their own; the other features have
in each layer messages both ways and linear attention over all nodes. Tiles: messages from consumers alone.

Layouts were submitted by other networks, trained at other times, which stand in branches of their own; of the network
of the main branch their README says that it is as good or better. It is here for all four collections, and the tiles'
is that of its branch, submission_tile. Their write-up (Kaggle discussion 456377) was not to be had.

As there, what a node hears of its producers is divided by the number of operands that the producer has, not the node
(networks.py:346), and attention is a plain sum over nodes, which grows with their number.

What is theirs and not here:
- 28 columns of the HLO protobuf, which npz files lack: dimension numbers of dots and gathers. Their places are kept,
  and hold what a node has in theirs that is neither. A module that is dynamic is not told from others.
- Two operands of a convolution or dot come in the order of the instruction; npz files sort them, and here they are
  told apart by their shapes, which now and then fit either way.
- How the main branch was called is not published. Configurations, graphs of a step and epochs are those of the one
  job that is, of an earlier script (submission_nlp, scripts/submit.sh), which trained xla:default and xla:random
  together; here a network has one collection. Tiles have the script's defaults, and the job's cosine.
- `--pruning` is off by default, and is here. Also published: configurable nodes alone; with their neighbours, which the
  submission of xla:default has; and with all others merged.
- Weights of every epoch were saved; which were submitted is unknown, and so is of how many networks. Here it is one,
  with the weights that are best on valid.
- A column of layouts below -1, or of tiles below its smallest value on their data, gives NaN by its logarithm.

File names are of src/tpu_graph/; train: stands for scripts/training.py, add: for scripts/add_features.py, loader: for
data/data_loader.py, walk: for utils/random_walk_pe.py; tile: before one of these for it at 379e4d5.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from weakref import WeakKeyDictionary

import numpy as np
import torch
from scipy import sparse
from torch import nn
from torch.nn.functional import elu, silu

from stages.graphs.dataset import PackedGraph
from stages.graphs.opcodes import CONVOLUTION, DOT
from stages.graphs.operands import config_operands
from stages.graphs.tensors import LAYOUT, LAYOUT_FEATURES, NODE_FEATURES, ROOT, SHAPE, TILE_FEATURES
from stages.winners import parts
from stages.winners.parts import (
    JoinedLinear,
    LayoutInputs,
    Prepared,
    TileInputs,
    Training,
    everywhere,
    fit_nothing,
    hinges,
)

#: Columns whose logarithm is taken, plus 1. constants.py:5-49
LOG = [*range(21, 31), 37, 38, 39, 43, 44, 52, 53, 54, 59, 60, 68, 76, 84, *range(107, 113), *range(117, 125)]
LOG += [126, 127, 129, 130, 131, 132]
#: The same of tiles, tile:constants.py:48-97, and columns with what is added to them, tile:loader:344-346
LOG_TILE = [*range(21, 29), 30, 37, 38, 39, *range(43, 47), *range(51, 56), 59, 60, 63, 68, 76, 77, 78, 83, 84]
LOG_TILE += [*range(107, 112), *range(117, 127), 129, 130, 132]
LOG_TILE_MORE = {61: 2, 62: 2, 67: 3, 127: 40, 131: 25}
#: Columns that are cut to lanes: dimensions of the result, of the opcode, of windows, paddings. constants.py:50-81
LANES = [*range(21, 27), *range(31, 37), *range(37, 43), *range(53, 59), *range(61, 67)]
LANE = 128  # of a register; add:99-100
OPERAND = slice(SHAPE.start, 29)  # what of each operand's columns is repeated: dimensions, their sum and product
OPERANDS = 2 * (OPERAND.stop - OPERAND.start)
NO_OPERANDS, NO_OPERAND = -2, -1  # of other instructions; of a convolution or dot without. feature_extraction.py:73, 56
#: The 30 columns of the protobuf, utils/feature_extraction.py:15-33 in the names' order, as add:107 leaves them: of a
#: node that is neither dot nor gather, and of the virtual one. The twelfth says whether a node is a root, column 0.
PROTOBUF = [-1.0] * 4 + [0.0] * 7 + [-1.0] * 19
PROTOBUF_OUTPUT = [-1.0] * 4 + [0.0] * 5 + [-1.0] * 21
IS_ROOT = 11
COLUMNS = NODE_FEATURES + len(PROTOBUF) + OPERANDS + 2 * len(LANES)  # 246; train:135
OPCODE_ROWS, OUTPUT = 128, 127  # rows of the table, and the virtual node's; constants.py:4 and add:84
WALK, ROUND_WALK = 16, 112  # steps along the edges, and both ways; add:28 and 34
SCALE = 5.0  # configurations are divided by it; loader:604 and tile:loader:353
MARGIN = 1.0  # training/ltr/pairwise_losses.py:108


@dataclass(frozen=True)
class Settings(Training):
    """Attributes as in `Training`, and:

    Attributes:
        first_width: Of a node's state before the layers.
        widths: Of it after each layer.
        walk_width: Of the state of the walks' encodings.
        message_width: Of what comes from each direction.
        attention_width: Of keys and queries.
    """

    opcode_width: int = 128  # train:138
    first_width: int = 512  # train:133
    widths: tuple[int, ...] = (384, 256, 256, 256)  # train:134
    walk_width: int = 64  # train:139
    message_width: int = 128  # train:140
    attention_width: int = 128  # train:141

    graphs: int = 4  # submission_nlp, scripts/submit.sh:15
    configurations: int | None = 16  # the same, and train:326
    drawn: str = "passes"  # loader:130 and 245, train:285
    epochs: float | None = 5  # submit.sh:15
    learning_rate: float = 1e-3  # train:315
    schedule: str = "cosine to a thousandth"  # of 0.001; train:171
    clip: float | None = 1.0  # train:208

    @property
    def least_configurations(self) -> int:
        """A graph with fewer fills no list, and trains nothing. loader:130."""
        return self.configurations or 0


@dataclass(frozen=True)
class TileSettings(Training):
    """Attributes as in `Training`, and those of `Settings`."""

    opcode_width: int = 32  # tile:networks.py:296
    first_width: int = 256  # tile:train:146
    widths: tuple[int, ...] = (128, 128, 128, 128)  # tile:train:136-141

    graphs: int = 16  # tile:train:45
    configurations: int | None = 16  # tile:train:57
    drawn: str = "passes"  # tile:loader:73, 271
    epochs: float | None = 1  # tile:train:44
    kept: str = "last"  # of one epoch
    learning_rate: float = 1e-3  # tile:train:38
    schedule: str = "cosine to a thousandth"  # tile:train:171

    least_configurations = Settings.least_configurations


class Messages(nn.Module):
    """[linear | means of consumers | of producers] -> activation -> linear -> activation, each with or without a norm.

    networks.py:74-156.
    """

    def __init__(self, inputs: int, width: int, message_width: int, walks: bool = False):
        super().__init__()
        joined = width + 2 * message_width
        self.own, self.consumers = JoinedLinear(inputs, width), JoinedLinear(inputs, message_width)
        self.producers = JoinedLinear(inputs, message_width)
        if walks:
            self.out = nn.Sequential(nn.Tanh(), nn.Linear(joined, width), nn.Tanh())
        else:
            norms = nn.LayerNorm(joined), nn.LayerNorm(width)
            self.out = nn.Sequential(nn.SiLU(), norms[0], nn.Linear(joined, width), nn.SiLU(), norms[1])

    def forward(self, edges: Edges, x: torch.Tensor, shared: torch.Tensor | None = None) -> torch.Tensor:
        heard = edges.of_consumers(self.consumers(x, shared)), edges.of_producers(self.producers(x, shared))
        return self.out(torch.cat([self.own(x, shared), *heard], dim=-1))


class LinearAttention(nn.Module):
    """phi(Q) (phi(K)^T V) with phi = elu + 1, over all nodes of a configuration. networks.py:159-212."""

    def __init__(self, inputs: int, width: int, key_width: int):
        super().__init__()
        self.keys, self.queries = JoinedLinear(inputs, key_width), JoinedLinear(inputs, key_width)
        self.values = JoinedLinear(inputs, width, bias=False)

    def forward(self, x: torch.Tensor, shared: torch.Tensor | None = None) -> torch.Tensor:
        keys, queries = elu(self.keys(x, shared)) + 1, elu(self.queries(x, shared)) + 1
        return queries @ (keys.transpose(-1, -2) @ self.values(x, shared))


class Layer(nn.Module):
    """From states (k, n, inputs) and walks (n, w) to states (k, n, width) and walks. networks.py:365-382."""

    def __init__(self, inputs: int, width: int, settings: Settings):
        super().__init__()
        walk = settings.walk_width
        self.messages = Messages(walk + inputs, width, settings.message_width)
        self.walks = Messages(walk, walk, walk // 2, walks=True)
        self.attention = LinearAttention(walk + inputs, width, settings.attention_width)
        self.joint = nn.Sequential(nn.Linear(2 * width, width), nn.SiLU(), nn.LayerNorm(width))

    def forward(self, x: torch.Tensor, walks: torch.Tensor, edges: Edges) -> tuple[torch.Tensor, torch.Tensor]:
        x = self.joint(torch.cat([self.messages(edges, x, walks), self.attention(x, walks)], dim=-1))
        return x, self.walks(edges, walks)


class Network(parts.Network):
    """[opcode | columns | configuration] -> linear, SiLU, norm -> layers -> MLP -> sum over nodes -> linear.

    The walks are the same for all configurations, so their states are computed once; theirs does so for each.
    networks.py:215-394.
    """

    def __init__(self, settings: Settings):
        super().__init__()
        first, walk, widths = settings.first_width, settings.walk_width, settings.widths
        self.opcodes = nn.Embedding(OPCODE_ROWS, settings.opcode_width)
        joined = settings.opcode_width + COLUMNS + LAYOUT_FEATURES
        self.first = nn.Sequential(JoinedLinear(joined, first), nn.SiLU(), nn.LayerNorm(first))
        self.walks = nn.Sequential(nn.Linear(WALK + ROUND_WALK, walk), nn.Tanh())
        self.layers = nn.ModuleList(
            Layer(inputs, width, settings) for inputs, width in zip([first, *widths[:-1]], widths, strict=True)
        )
        both, last = walk + widths[-1], widths[-1]
        self.last = nn.Sequential(
            *(JoinedLinear(both, both), nn.SiLU(), nn.LayerNorm(both)),
            *(nn.Linear(both, last), nn.SiLU(), nn.LayerNorm(last)),
        )
        self.head = nn.Linear(last, 1, bias=False)

    def forward(self, inputs: LayoutInputs) -> torch.Tensor:
        edges = Edges(inputs.edge_index, len(inputs.x), inputs.x.dtype)
        configuration = (everywhere(inputs, 0) / SCALE).to(inputs.x.dtype)  # rounded to float32, as theirs
        nodes = torch.cat([self.opcodes(inputs.opcode), inputs.x[:, :COLUMNS]], dim=1)
        x, walks = _through(self.first, configuration, nodes), self.walks(inputs.x[:, COLUMNS:])
        for layer in self.layers:
            x, walks = layer(x, walks, edges)
        return self.head(_through(self.last, x, walks).sum(dim=1)).squeeze(-1)


class TileMessages(nn.Module):
    """SiLU(W x + U mean of consumers) -> norm. tile:networks.py:59-120."""

    def __init__(self, inputs: int, width: int):
        super().__init__()
        self.own, self.consumers = nn.Linear(inputs, width), nn.Linear(inputs, width, bias=False)
        self.norm = nn.LayerNorm(width)

    def forward(self, x: torch.Tensor, edges: Edges) -> torch.Tensor:
        return self.norm(silu(self.own(x) + self.consumers(edges.of_consumers(x))))


class TileNetwork(parts.Network):
    """[opcode | columns | walk | tile] -> linear, SiLU, norm -> messages -> sum over nodes -> linear.

    tile:networks.py:285-355.
    """

    def __init__(self, settings: TileSettings):
        super().__init__()
        first, widths = settings.first_width, settings.widths
        self.opcodes = nn.Embedding(OPCODE_ROWS, settings.opcode_width)
        joined = settings.opcode_width + NODE_FEATURES + WALK + TILE_FEATURES
        self.first = nn.Sequential(JoinedLinear(joined, first), nn.SiLU(), nn.LayerNorm(first))
        self.layers = nn.ModuleList(map(TileMessages, [first, *widths[:-1]], widths))
        self.head = nn.Linear(widths[-1], 1)

    def forward(self, inputs: TileInputs) -> torch.Tensor:
        edges = Edges(inputs.edge_index, len(inputs.x), inputs.x.dtype)
        nodes = torch.cat([self.opcodes(inputs.opcode), inputs.x], dim=1)
        x = _through(self.first, inputs.config[:, None], nodes)
        for layer in self.layers:
            x = layer(x, edges)
        return self.head(x.sum(dim=1)).squeeze(-1)


class Edges:
    """Sums along edges with the weights of networks.py:332-348.

    Args:
        edge_index: (2, m); consumers in row 0, producers in row 1.
        nodes: n.
        dtype: Of the weights.
    """

    def __init__(self, edge_index: torch.Tensor, nodes: int, dtype: torch.dtype):
        self.consumer, self.producer = edge_index
        consumers, operands = (
            torch.bincount(ends, minlength=nodes).clamp(min=1).to(dtype) for ends in (self.producer, self.consumer)
        )
        self._of_consumer, self._of_producer = 1 / consumers[self.producer], 1 / operands[self.producer]

    def of_consumers(self, x: torch.Tensor) -> torch.Tensor:
        """The mean of x (..., n, f) over each node's consumers."""
        return self._sum(x, self.consumer, self.producer, self._of_consumer)

    def of_producers(self, x: torch.Tensor) -> torch.Tensor:
        """The sum of x (..., n, f) over each node's producers, of each divided by the number of its own operands."""
        return self._sum(x, self.producer, self.consumer, self._of_producer)

    def _sum(self, x: torch.Tensor, source: torch.Tensor, target: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
        messages = x.index_select(-2, source) * weight[:, None]
        return torch.zeros_like(x).index_add(x.dim() - 2, target, messages)


def with_output(graph: PackedGraph) -> PackedGraph:
    """The graph with a virtual node, the last, that consumes all roots of computations. add:70-87."""
    roots = np.flatnonzero(graph.node_feat[:, ROOT] == 1)
    links = np.stack([np.full_like(roots, graph.nodes), roots], axis=1)
    return replace(
        graph,
        node_feat=np.concatenate([graph.node_feat, np.zeros((1, NODE_FEATURES), np.float32)]),
        node_opcode=np.append(graph.node_opcode, np.uint8(OUTPUT)),
        edge_index=np.concatenate([graph.edge_index, links]),
    )


def walks(edge_index: np.ndarray, nodes: int, steps: int = WALK) -> np.ndarray:
    """Encodings by walks from producers to consumers, or to the same node, with equal probabilities.

    First the probability to stay; then, for 2 and more steps, how often walks from all other nodes end at a node.
    walk:27-100.

    Args:
        edge_index: (m, 2), consumer and producer; without cycles, as in every program.
        nodes: n.
        steps: Longest walk.

    Returns:
        (n, steps) float64.
    """
    step = _transitions(edge_index[:, 1], edge_index[:, 0], nodes)
    stay = step.diagonal()
    found, arriving = [stay], step.T @ np.ones(nodes)
    for length in range(2, steps + 1):
        arriving = step.T @ arriving
        found.append(arriving - stay**length)  # without cycles, who leaves does not return
    return np.stack(found, axis=1)


def round_walks(edge_index: np.ndarray, nodes: int, steps: int = ROUND_WALK, block: int = 128) -> np.ndarray:
    """Encodings by walks along edges both ways: the probabilities to be back after 2, 3, ... steps + 1 steps.

    Theirs multiplies dense matrices, walk:103-157. Here, for a symmetric matrix S with the same diagonals of its
    powers, that of the power a + b at node i is the product of the columns i of the powers a and b.

    Args:
        edge_index: (m, 2), consumer and producer.
        nodes: n.
        steps: How many probabilities.
        block: Nodes that are computed together, n x block numbers at a time.

    Returns:
        (n, steps) float32.
    """
    source, target = _with_loops(*np.concatenate([edge_index, edge_index[:, ::-1]]).T, nodes)
    root = np.float32(1) / np.sqrt(np.bincount(source, minlength=nodes), dtype=np.float32)
    step = sparse.csr_array((root[source] * root[target], (source, target)), (nodes, nodes))
    found = np.empty((nodes, steps), np.float32)
    for first in range(0, nodes, block):
        rows = np.arange(first, min(first + block, nodes))
        power = step[:, rows].toarray()
        for place in range(0, steps, 2):
            further = step @ power
            found[rows, place] = (power * power).sum(axis=0)
            if place + 1 < steps:
                found[rows, place + 1] = (power * further).sum(axis=0)
            power = further
    return found


def operand_shapes(graph: PackedGraph) -> np.ndarray:
    """Logarithms of columns 21 to 28 of both operands of convolutions and dots (n + 1, 16).

    For a graph `with_output`. utils/feature_extraction.py:56-73, add:108.
    """
    rows = np.flatnonzero(np.isin(graph.node_opcode, (CONVOLUTION, DOT)))
    found = np.full((graph.nodes, OPERANDS), float(NO_OPERANDS))
    found[[*rows, -1]] = NO_OPERAND
    operands = config_operands(graph.node_feat, graph.node_opcode, graph.edge_index, rows)
    for place, producers in enumerate(operands.T):
        there = producers >= 0
        width = OPERANDS // 2
        found[rows[there], place * width : (place + 1) * width] = graph.node_feat[producers[there], OPERAND]
    return np.log(found + 3)


def lanes(node_feat: np.ndarray) -> np.ndarray:
    """Of 30 columns, the place within a lane of 128, from 0 to 1, and how many lanes before it, in tens. add:97-103."""
    sizes = node_feat[:, LANES].astype(np.float64)
    return np.concatenate([np.mod(sizes + LANE - 1, LANE) / LANE, np.floor(sizes / LANE) / 10], axis=1)


def columns(graph: PackedGraph) -> np.ndarray:
    """The 246 columns of a graph `with_output` (n + 1, 246): published ones, protobuf's, operands', lanes."""
    protobuf = np.tile(PROTOBUF, (graph.nodes, 1))
    protobuf[:, IS_ROOT] = graph.node_feat[:, ROOT]
    protobuf[-1] = PROTOBUF_OUTPUT
    published = _log(graph.node_feat, LOG, np.ones(len(LOG)))
    return np.concatenate([published, protobuf, operand_shapes(graph), lanes(graph.node_feat)], axis=1)


def prepare(graph: PackedGraph, scaling: None) -> Prepared:
    """Columns and both walks' encodings."""
    whole = with_output(graph)
    return Prepared(whole, np.concatenate([columns(whole), _encodings(graph)], axis=1), whole.node_feat[:, LAYOUT])


def prepare_tile(graph: PackedGraph, scaling: None) -> Prepared:
    """Columns, the encodings by walks along the edges, and bounds over 5. tile:loader:336-353."""
    whole = with_output(graph)
    published = _log(whole.node_feat, LOG_TILE, np.ones(len(LOG_TILE)))
    published = _log(published, list(LOG_TILE_MORE), np.array(list(LOG_TILE_MORE.values())))
    x = np.concatenate([published, walks(whole.edge_index, whole.nodes)], axis=1)
    return Prepared(whole, x, whole.node_feat[:, LAYOUT], config=graph.config_feat / np.float32(SCALE))


def build(settings: Settings, scaling: None) -> Network:
    return Network(settings)


def build_tile(settings: TileSettings, scaling: None) -> TileNetwork:
    return TileNetwork(settings)


def labels(graph: PackedGraph, scaling: None) -> np.ndarray:
    """Run times (c,), float32, over their normaliser for tiles. loader:192 and 611, tile:loader:356."""
    return graph.target.astype(np.float32)


def layout_loss(scores: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Sum of the hinge over pairs, mean over graphs. training/ltr/pairwise_losses.py:90-111, train:201."""
    return hinges(scores, labels, MARGIN).sum(dim=(-1, -2)).mean()


def tile_loss(scores: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Mean over graphs of -1 / log(2 + that sum). training/ltr/pairwise_losses.py:114-132, tile:train:198."""
    return (-1 / (2 + hinges(scores, labels, MARGIN).sum(dim=(-1, -2))).log()).mean()


def optimizer(network: nn.Module, settings: Training) -> torch.optim.Optimizer:
    """Adam. train:156, tile:train:160."""
    return torch.optim.Adam(network.parameters(), lr=settings.learning_rate, weight_decay=settings.weight_decay)


# They take far longer than all other features, so they stay as long as the graph, whatever else is forgotten.
_ENCODED: WeakKeyDictionary[PackedGraph, np.ndarray] = WeakKeyDictionary()


def _encodings(graph: PackedGraph) -> np.ndarray:
    """Both walks' encodings (n + 1, 128) float32 of a graph `with_output`."""
    if graph not in _ENCODED:
        edges, nodes = with_output(graph).edge_index, graph.nodes + 1
        _ENCODED[graph] = np.concatenate([walks(edges, nodes), round_walks(edges, nodes)], 1).astype(np.float32)
    return _ENCODED[graph]


def _with_loops(source: np.ndarray, target: np.ndarray, nodes: int) -> tuple[np.ndarray, np.ndarray]:
    own = np.arange(nodes)
    return np.concatenate([source, own]), np.concatenate([target, own])


def _transitions(source: np.ndarray, target: np.ndarray, nodes: int) -> sparse.csr_array:
    """Probabilities (n, n) of a step from row to column, along an edge or to the same node."""
    source, target = _with_loops(source, target, nodes)
    weight = 1 / np.bincount(source, minlength=nodes)
    return sparse.csr_array((weight[source], (source, target)), (nodes, nodes))


def _log(node_feat: np.ndarray, columns: Sequence[int], more: np.ndarray) -> np.ndarray:
    """Columns with the logarithms of some of them, of which `more` makes the smallest 1; float64."""
    found = node_feat.astype(np.float64)
    found[:, columns] = np.log(np.maximum(found[:, columns] + more, 1))
    return found


def _through(layers: nn.Sequential, x: torch.Tensor, shared: torch.Tensor) -> torch.Tensor:
    """Layers whose first is a `JoinedLinear`, on [shared | x]."""
    return layers[1:](layers[0](x, shared))


LAYOUT_RECIPE = parts.Recipe(
    "third-place layout", lambda collection: (Settings(),), fit_nothing, prepare, build, labels, layout_loss, optimizer
)
TILE_RECIPE = parts.Recipe(
    "third-place tile",
    lambda collection: (TileSettings(),),
    fit_nothing,
    prepare_tile,
    build_tile,
    labels,
    tile_loss,
    optimizer,
)
