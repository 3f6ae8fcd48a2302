"""What the winners' networks share: inputs, settings, layers, losses, schedules; `stages.winners` says how to use them.

Shapes: n nodes, m edges, k configurations, nc configurable nodes, F columns of a node, b graphs.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, fields, replace

import numpy as np
import torch
from torch import nn
from torch.nn.functional import instance_norm as channels_first_norm
from torch.nn.functional import linear, margin_ranking_loss, softplus

from stages.graphs.dataset import PackedGraph
from stages.graphs.tensors import LAYOUT_FEATURES

NANOSECOND = 1e-9  # in seconds


@dataclass(frozen=True)
class Pruning:
    """How a layout graph is packed, as `stages.prune.packing.Options` has it; None for duplicates keeps all of them.

    Attributes:
        paths: Whether of what is packed only shortest paths stay, `paths.shortest`.
    """

    hops: int | str = "all"
    neighbour_edges: bool = False
    direction: str = "both"
    duplicates: str | None = None
    paths: bool = False


@dataclass(frozen=True)
class Training:
    """How a network is trained and asked. A module's `Settings` inherits it and states its solution's own values.

    Attributes:
        pruning: Of layout graphs.
        graphs: Of a training step. The step's loss is the loss of their scores together.
        configurations: Of each graph of a step; None for all.
        replacement: Whether a step may draw a configuration of a graph more than once.
        drawn: How a step's configurations are chosen: "uniform"; "passes", a permutation of all of them cut to pieces;
            "fast", with more weight on fast ones.
        epochs: Passes over the training graphs, or over the pieces where configurations are drawn in passes.
        steps: Of the whole training, in place of epochs.
        learning_rate: At its highest.
        schedule: A key of `SCHEDULES`.
        warm_up: Share of the steps in which the rate rises from 0.
        weight_decay: Of the optimiser.
        clip: The largest norm of the gradient; None for any.
        clip_each: Whether `clip` is of each tensor by itself, as in Keras, and not of all together.
        precision: What matrices were multiplied in: "float32", or "bfloat16" or "float16" by automatic casts.
        kept: The weights that are kept: "best" on valid, "last", or "average" of the last checkpoints.
        evaluate: Steps (above 1) or share of an epoch between two looks at valid; 0 for one each epoch.
        early_stop: Looks at valid without a better one before training ends; None for never.
        chunk: Configurations scored together when asked; None for all.
        networks: How many networks with different seeds are trained.
        together: How their scores become one: "mean", or "min-max mean" of scores brought to [0, 1] in a graph.
    """

    pruning: Pruning = Pruning()
    graphs: int = 1
    configurations: int | None = None
    replacement: bool = False
    drawn: str = "uniform"
    epochs: float | None = None
    steps: int | None = None
    learning_rate: float = 0.001
    schedule: str = "constant"
    warm_up: float = 0.0
    weight_decay: float = 0.0
    clip: float | None = None
    clip_each: bool = False
    precision: str = "float32"
    kept: str = "best"
    evaluate: float = 0
    early_stop: int | None = None
    chunk: int | None = None
    networks: int = 1
    together: str = "mean"


class _Tensors:
    def to(self, device: torch.device | str):
        """The same on another device."""
        return replace(self, **{field.name: getattr(self, field.name).to(device) for field in fields(self)})

    def double(self):
        """The same with float64 in place of float32."""
        wide = {field.name: getattr(self, field.name) for field in fields(self)}
        return replace(self, **{name: part.double() for name, part in wide.items() if part.dtype == torch.float32})


@dataclass(frozen=True, eq=False)
class LayoutInputs(_Tensors):
    """One layout graph with k of its configurations.

    Attributes:
        x: (n, F) float32; what the network takes of the nodes' columns.
        opcode: (n,) int64.
        layout: (n, 6) int64; the nodes' own layouts, padded as the network expects.
        edge_index: (2, m) int64; consumers in row 0, producers in row 1.
        config_nodes: (nc,) int64.
        triples: (k, nc, 18) int64 in -1..5; the layouts of the configurable nodes.
    """

    x: torch.Tensor
    opcode: torch.Tensor
    layout: torch.Tensor
    edge_index: torch.Tensor
    config_nodes: torch.Tensor
    triples: torch.Tensor


@dataclass(frozen=True, eq=False)
class TileInputs(_Tensors):
    """One kernel with k of its tile configurations.

    Attributes:
        x: As in `LayoutInputs`, and so are opcode, layout and edge_index.
        config: (k, G) float32; what the network takes of the configurations' columns.
    """

    x: torch.Tensor
    opcode: torch.Tensor
    layout: torch.Tensor
    edge_index: torch.Tensor
    config: torch.Tensor


class Prepared:
    """A packed graph with the features that a network takes, made once.

    Args:
        graph: As packed.
        x: (n, F) features of its nodes.
        layout: (n, 6) the nodes' own layouts; by default as published.
        opcode: (n,) by default as published.
        config: (c, G) features of tile configurations; None for layout graphs.
    """

    layout_inputs = LayoutInputs  # or a class with more, which stands in `_fixed`

    def __init__(
        self,
        graph: PackedGraph,
        x: np.ndarray,
        layout: np.ndarray,
        opcode: np.ndarray | None = None,
        config: np.ndarray | None = None,
    ) -> None:
        self.graph = graph
        self._fixed = {
            "x": torch.from_numpy(np.array(x, np.float32)),
            "opcode": torch.from_numpy(np.array(graph.node_opcode if opcode is None else opcode, np.int64)),
            "layout": torch.from_numpy(np.array(layout, np.int64)),
            "edge_index": torch.from_numpy(np.array(graph.edge_index.T, np.int64, order="C")),
        }
        self._config = None if config is None else torch.from_numpy(np.array(config, np.float32))
        if config is None:
            self._fixed["config_nodes"] = torch.from_numpy(np.array(graph.config_nodes, np.int64))

    @property
    def nbytes(self) -> int:
        """Bytes of the features."""
        held = [*self._fixed.values(), *([] if self._config is None else [self._config])]
        return sum(part.nbytes for part in held)

    def inputs(self, indices: np.ndarray | slice = slice(None)) -> LayoutInputs | TileInputs:
        """The network's inputs for these of the graph's configurations."""
        if self._config is not None:
            return TileInputs(**self._fixed, config=self._config[indices])
        triples = torch.from_numpy(self.graph.layouts(indices).astype(np.int64))
        return self.layout_inputs(**self._fixed, triples=triples)


class Network(nn.Module):
    """From `LayoutInputs` or `TileInputs` to (k,) scores; smaller is faster."""

    def start_from(self, weights: Mapping[str, torch.Tensor]) -> None:
        """Takes the weights of another such network, which was trained on another collection."""
        self.load_state_dict(weights)

    def start_step(self) -> None:
        """Draws what all graphs of a training step share; most networks share nothing."""

    def penalty(self, batch: Sequence[LayoutInputs | TileInputs]) -> torch.Tensor:
        """What is added to the loss of a training step with these graphs; 0 for most networks."""
        return torch.zeros((), dtype=next(self.parameters()).dtype, device=next(self.parameters()).device)

    def clip(self, settings: Training) -> None:
        """Clips the gradients before the optimiser's step."""
        if settings.clip is not None:
            nn.utils.clip_grad_norm_(self.parameters(), settings.clip)


@dataclass(frozen=True)
class Recipe:
    """A network with all that training it takes; `stages.winners` describes each function.

    Attributes:
        name: Of the recipe, with its part, for tables.
        settings: From a collection's official name to the settings of the networks whose scores are added up.
        fit: From the packed graphs of train to what `prepare` and `build` know of them.
        prepare: From a packed graph and what was fitted to `Prepared`.
        build: From settings and what was fitted to a network with new weights.
        labels: From a packed graph and what was fitted to (c,) labels, in the type that the loss compares them in.
        loss: From scores and labels, both (b, k), to a scalar.
        optimizer: From a network and its settings to an optimiser.
        apart: Whether a step's loss is the mean of its graphs' own losses, so that a step may go through one graph
            after the other and add up the gradients, which takes the memory of one.
    """

    name: str
    settings: Callable[[str], tuple[Training, ...]]
    fit: Callable[[Iterable[PackedGraph]], object]
    prepare: Callable[[PackedGraph, object], Prepared]
    build: Callable[[Training, object], Network]
    labels: Callable[[PackedGraph, object], np.ndarray]
    loss: Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
    optimizer: Callable[[nn.Module, Training], torch.optim.Optimizer]
    apart: bool = True


def fit_nothing(graphs: Iterable[PackedGraph]) -> None:
    """For features that take nothing from train."""


@dataclass(frozen=True, eq=False)
class Standard:
    """Mean and deviation (F,) float64 of columns."""

    mean: np.ndarray
    deviation: np.ndarray

    def __call__(self, columns: np.ndarray) -> np.ndarray:
        """Standardises (rows, F) in float32, as scikit-learn does."""
        single = (part.astype(np.float32) for part in (columns, self.mean, self.deviation))
        values, mean, deviation = single
        return (values - mean) / deviation


def fit_standard(blocks: Iterable[np.ndarray]) -> Standard:
    """Fits mean and deviation as scikit-learn's StandardScaler does: a column that is constant has the deviation 1.

    Args:
        blocks: Arrays (rows, F), together all rows.
    """
    rows, mean, squares = 0, 0.0, 0.0
    for block in blocks:  # Chan's way to join two blocks' means and sums of squared differences
        block = block.astype(np.float64)
        average, more = block.mean(0), len(block)
        squares = squares + ((block - average) ** 2).sum(0) + (average - mean) ** 2 * (rows * more / (rows + more))
        mean, rows = mean + (average - mean) * (more / (rows + more)), rows + more
    variance = squares / rows
    smallest = np.finfo(np.float64).eps
    constant = variance <= rows * smallest * variance + (rows * mean * smallest) ** 2
    return Standard(mean, np.where(constant, 1.0, np.sqrt(variance)))


@dataclass(frozen=True, eq=False)
class MinMax:
    """Which columns (F,) bool vary on train, and their least and largest values there, of these columns alone."""

    varies: np.ndarray
    least: np.ndarray
    largest: np.ndarray

    def __call__(self, columns: np.ndarray) -> np.ndarray:
        """Brings the columns that vary to [0, 1] on train; float32, and what lies beyond train's values is not cut."""
        return (columns[..., self.varies] - self.least) / (self.largest - self.least)


def fit_min_max(blocks: Iterable[np.ndarray]) -> MinMax:
    """Fits the range of columns on arrays (rows, F), together all rows."""
    least, largest = np.float32(np.inf), np.float32(-np.inf)
    for block in blocks:
        least, largest = np.minimum(least, block.min(0)), np.maximum(largest, block.max(0))
    varies = least != largest
    return MinMax(varies, least[varies], largest[varies])


def signed_log(x: torch.Tensor) -> torch.Tensor:
    """sign(x) log(1 + |x|)."""
    return x.sign() * x.abs().log1p()


def everywhere(inputs: LayoutInputs, absent: float) -> torch.Tensor:
    """The layouts of all nodes (k, n, 18), int64, with `absent` where a node is not configurable."""
    spread = inputs.triples.new_full((len(inputs.triples), len(inputs.x), LAYOUT_FEATURES), absent)
    spread[:, inputs.config_nodes] = inputs.triples
    return spread


def instance_norm(x: torch.Tensor) -> torch.Tensor:
    """Normalises (k, n, f) to mean 0 and variance 1 over the nodes, for each configuration and channel.

    It transposes for torch's own function, which takes half the time of mean, variance and product written out. torch
    refuses a single node; its difference from the mean is 0.
    """
    if x.shape[1] == 1:
        return torch.zeros_like(x)
    return channels_first_norm(x.transpose(1, 2)).transpose(1, 2)


class JoinedLinear(nn.Linear):
    """Of [shared | x] where it is given x (k, n, f) and shared (n, s), whose part is computed once for all k."""

    def forward(self, x: torch.Tensor, shared: torch.Tensor | None = None) -> torch.Tensor:
        if shared is None:
            return super().forward(x)
        width = shared.shape[-1]
        return linear(x, self.weight[:, width:]) + linear(shared, self.weight[:, :width], self.bias)


class ChannelAttention(nn.Module):
    """x * sigmoid(W2 relu(W1 x)): squeeze and excitation of the channels of one node in one configuration."""

    def __init__(self, width: int, squeeze: int = 8):
        super().__init__()
        small = max(1, width // squeeze)
        self.gate = nn.Sequential(nn.Linear(width, small), nn.ReLU(), nn.Linear(small, width), nn.Sigmoid())

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x * self.gate(x)


class CrossConfigurationAttention(nn.Module):
    """x * softmax(x / T) over the configurations, dimension 0, of every node's channel; T learned."""

    def __init__(self):
        super().__init__()
        self.temperature = nn.Parameter(torch.tensor(0.5))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x * (x / self.temperature).softmax(dim=0)


def hinges(scores: torch.Tensor, labels: torch.Tensor, margin: float) -> torch.Tensor:
    """max(0, margin - (score of i - score of j)) where i is slower than j, else 0: (..., k, k) of (..., k)."""
    slower = labels[..., :, None] > labels[..., None, :]
    return (margin - (scores[..., :, None] - scores[..., None, :])).clamp(min=0) * slower


def logistic(scores: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Mean over graphs and pairs i < j of the cross entropy of "j is slower" with sigmoid(score of j - score of i).

    Args:
        scores: (b, k).
        labels: (b, k). Equal ones count as "j is not slower".
    """
    i, j = torch.triu_indices(scores.shape[-1], scores.shape[-1], 1, device=scores.device)
    difference = scores[..., j] - scores[..., i]
    return softplus(torch.where(labels[..., j] > labels[..., i], -difference, difference)).mean()


def listmle(scores: torch.Tensor, labels: torch.Tensor, smallest: float = 1e-10) -> torch.Tensor:
    """Mean over graphs of the negative log-likelihood of the order, slowest first (Xia et al. 2008).

    The probability of an order is that of drawing the configurations one after the other with probabilities
    softmax(score) of those left. Of equal labels the first counts as slower.

    Args:
        scores: (b, k).
        labels: (b, k).
        smallest: Added to a sum of exponentials before its logarithm.
    """
    slowest_first = labels.argsort(dim=-1, descending=True, stable=True)
    ordered = scores.gather(-1, slowest_first)
    ordered = ordered - ordered.max(dim=-1, keepdim=True).values
    left = ordered.exp().flip(-1).cumsum(-1).flip(-1)
    return ((left + smallest).log() - ordered).sum(-1).mean()


def upper_margin(scores: torch.Tensor, labels: torch.Tensor, margin: float) -> torch.Tensor:
    """Mean over graphs and pairs i < j of max(0, margin - sign * (score of j - score of i)).

    The sign is that of the labels' difference. Of equal labels it is 0, and the pair adds the margin. scores and
    labels: (b, k).
    """
    i, j = torch.triu_indices(scores.shape[-1], scores.shape[-1], 1, device=scores.device)
    difference = scores[..., j] - scores[..., i]
    sign = (labels[..., j] - labels[..., i]).sign().to(difference)
    return margin_ranking_loss(difference, torch.zeros_like(difference), sign, margin=margin)


def mape(scores: torch.Tensor, labels: torch.Tensor, smallest: float = 1.17e-6) -> torch.Tensor:
    """Mean of |score - label| / max(|label|, smallest)."""
    return ((scores - labels).abs() / labels.abs().clamp(min=smallest)).mean()


def clip_norm(x: torch.Tensor, largest: float) -> torch.Tensor:
    """Scales rows (b, k) whose Euclidean norm is larger than that down to it."""
    return x / (x.norm(dim=-1, keepdim=True) / largest).clamp(min=1)


def cosine(step: int, steps: int, warm_up: float) -> float:
    """Rises to 1 over the first steps, then falls as half a cosine to 0."""
    rising = math.ceil(steps * warm_up)
    if step < rising:
        return step / max(1, rising)
    return max(0.0, 0.5 * (1 + math.cos(math.pi * (step - rising) / max(1, steps - rising))))


def cosine_to_a_thousandth(step: int, steps: int, warm_up: float) -> float:
    """As `cosine`, but falls to 0.001."""
    return 1e-3 + (1 - 1e-3) * cosine(step, steps, warm_up)


def constant(step: int, steps: int, warm_up: float) -> float:
    """1."""
    return 1.0


def drops(step: int, steps: int, warm_up: float) -> float:
    """Falls by the square root of ten after .6, .7, .8 and .9 of the steps."""
    return math.sqrt(0.1) ** sum(step >= int(steps * share) for share in (0.6, 0.7, 0.8, 0.9))


SCHEDULES = {
    "constant": constant,
    "cosine": cosine,
    "cosine to a thousandth": cosine_to_a_thousandth,
    "drops": drops,
}


def rate(settings: Training, step: int, steps: int) -> float:
    """What the learning rate is multiplied by at a step, counted from 0."""
    return SCHEDULES[settings.schedule](step, steps, settings.warm_up)
