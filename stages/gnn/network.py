"""The two networks: layouts fused early at the nodes, tiles fused late with their kernel, or early like layouts.

A layer works on the states of a level (see `states`), whatever they stand for: distinct neighbourhoods, or, in the
dense network, every node in every configuration. What looks beyond one state are the messages, the normalisation over
nodes, the attention across configurations and the readout.
"""

from __future__ import annotations

import torch
from torch import nn
from torch.nn.functional import dropout, gelu
from torch_geometric.nn import GATv2Conv, InstanceNorm, global_max_pool, global_mean_pool

from stages.gnn.batch import Batch, Copies, Layer
from stages.gnn.layouts import OWN_COLUMNS, TRIPLE, VOCABULARY
from stages.gnn.moves import COPY_COLUMNS, STATE_COLUMNS
from stages.gnn.settings import Settings
from stages.gnn.view import View
from stages.hlo.opcodes import OPCODES

OPCODE_CHANNELS = 16
LAYOUT_CHANNELS = 4
SQUEEZE = 8
GAT_HEADS = 4


class SageMessages(nn.Module):
    """SAGE with the mean (Hamilton et al. 2017), a weight matrix of its own for each kind of message.

    All kinds are one product with the weights and one sparse product: equal to a sum of PyG's SAGEConv over the kinds.
    """

    def __init__(self, width: int, out: int, kinds: int):
        super().__init__()
        self.linear = nn.Linear(width, kinds * out, bias=False)
        self.bias = nn.Parameter(torch.zeros(out))
        self.kinds = kinds

    def forward(self, x: torch.Tensor, layer: Layer) -> torch.Tensor:
        return layer.messages @ self.linear(x).view(-1, len(self.bias)) + self.bias


class GatMessages(nn.Module):
    """GATv2 (Brody et al. 2022) over all kinds of messages, PyG's, on the bipartite graph of two levels."""

    def __init__(self, width: int, out: int, kinds: int):
        super().__init__()
        heads = GAT_HEADS if out % GAT_HEADS == 0 else 1
        self.conv = GATv2Conv((width, width), out // heads, heads, add_self_loops=False, edge_dim=kinds)
        self.kinds = kinds

    def forward(self, x: torch.Tensor, layer: Layer) -> torch.Tensor:
        matrix = layer.messages.matrix
        column, rows = matrix.col_indices(), len(layer.own)
        row = torch.repeat_interleave(torch.arange(rows, device=column.device), matrix.crow_indices().diff())
        edges = torch.stack([column // self.kinds, row])
        kind = nn.functional.one_hot(column % self.kinds, self.kinds).to(x.dtype)
        return self.conv((x, x[layer.own]), edges, kind)


MESSAGES = {"sage": SageMessages, "gatv2": GatMessages}


class CrossConfigurationAttention(nn.Module):
    """k * x * softmax(x / T) over the k configurations of one node's channel, T learned.

    From the first-place solution: its x * softmax, times k. Without the factor the result shrinks as 1 / k, and a
    network trained on a few configurations at a time is scored on chunks of many. Over a node's distinct states the
    softmax is the same once each counts in the denominator as often as it occurs.
    """

    def __init__(self):
        super().__init__()
        self.temperature = nn.Parameter(torch.tensor(0.5))

    def forward(self, x: torch.Tensor, layer: Layer) -> torch.Tensor:
        logits = x / self.temperature
        largest = torch.segment_reduce(logits.detach(), "max", offsets=layer.starts, axis=0)  # of each node, or 0 / 0
        power = (logits - largest[layer.node]).exp()
        sums = torch.zeros_like(largest).index_add(0, layer.node, layer.count * power)
        return x * power * (layer.total / sums)[layer.node]


class ChannelAttention(nn.Module):
    """Squeeze and excitation of the channels of one state, as the first-place solution has it."""

    def __init__(self, width: int):
        super().__init__()
        small = max(1, width // SQUEEZE)
        self.gate = nn.Sequential(nn.Linear(width, small), nn.ReLU(), nn.Linear(small, width), nn.Sigmoid())

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x * self.gate(x)


NORMS = {"layer": nn.LayerNorm, "instance": InstanceNorm, "none": nn.Identity}


class Block(nn.Module):
    """norm -> messages -> [channel attention] -> [gated half beside plain half] -> GELU -> dropout -> + input.

    Layer norm acts on each state alone; instance norm, over the nodes of a configuration, makes every state of every
    configuration distinct and needs the dense network. The dropout mask is one per node and channel, the same for all
    configurations: they are ranked against each other, and independent noise would drown their differences.
    """

    def __init__(self, kinds: int, settings: Settings, layout: bool):
        super().__init__()
        width = settings.width
        attends = settings.cross_attention and layout
        out = width // 2 if attends else width
        self.norm = NORMS[settings.norm](width)
        self.messages = MESSAGES[settings.messages](width, out, kinds)
        self.channels = ChannelAttention(out) if settings.channel_attention else None
        self.attention = CrossConfigurationAttention() if attends else None
        self.dropout = settings.dropout

    def forward(self, x: torch.Tensor, layer: Layer) -> torch.Tensor:
        state = self.norm(x, layer.row) if isinstance(self.norm, InstanceNorm) else self.norm(x)
        state = self.messages(state, layer)
        if self.channels is not None:
            state = self.channels(state)
        if self.attention is not None:
            state = torch.cat([state, self.attention(state, layer)], dim=-1)
        return x[layer.own] + _dropped(gelu(state), layer.node, len(layer.total), self.dropout * self.training)


class CopyStates(nn.Module):
    """States (s, width) of the relayout copies between two nodes, of the states at their ends and their own columns."""

    def __init__(self, settings: Settings):
        super().__init__()
        width = settings.width
        self.ends = nn.Linear(width, 2 * width)
        self.columns = nn.Linear(COPY_COLUMNS, width)
        self.last = nn.Linear(width, width)
        self.dropout = settings.dropout

    def forward(self, x: torch.Tensor, copies: Copies) -> torch.Tensor:
        consumer, producer = self.ends(x).chunk(2, dim=1)
        state = consumer[copies.consumer] + producer[copies.producer] + self.columns(copies.columns)
        state = gelu(self.last(gelu(state)))
        return _dropped(state, copies.copy, copies.number, self.dropout * self.training)


class Encoder(nn.Module):
    """First layer: states of level 0 (s, width), each of a node and, where it is configurable, its layouts.

    A linear layer over [node | layouts | facts of both] is a sum of three: the first is computed once per node, the
    second once per distinct triple of layouts and looked up, the third once per state. One table embeds a node's own
    layout and its configured ones.
    """

    def __init__(self, columns: int, width: int):
        super().__init__()
        self.opcodes = nn.Embedding(OPCODES, OPCODE_CHANNELS)
        self.vocabulary = nn.Embedding(VOCABULARY, LAYOUT_CHANNELS)
        self.node = nn.Linear(columns + OPCODE_CHANNELS + 6 * LAYOUT_CHANNELS + OWN_COLUMNS, width)
        self.triple = nn.Linear(TRIPLE * LAYOUT_CHANNELS, width, bias=False)
        self.facts = nn.Linear(STATE_COLUMNS, width)

    def forward(self, batch: Batch) -> torch.Tensor:
        own = self.vocabulary(batch.layout).flatten(1)
        nodes = self.node(torch.cat([batch.x, self.opcodes(batch.opcode), own, batch.derived], dim=1))
        triples = self.triple(self.vocabulary(batch.tokens).flatten(1))
        configured = triples[batch.triple] + self.facts(batch.columns)
        return nodes[batch.place] + torch.cat([nodes.new_zeros(1, nodes.shape[1]), configured])[batch.slot]


class LayoutNetwork(nn.Module):
    """Scores (b, k) of the configurations of a batch of layout graphs; smaller is faster.

    A program's time is the sum of its nodes', so the score is a sum of one number per node, over the square root of
    the configurable nodes to give graphs of every size scores of one spread. The mean or the maximum of the nodes'
    states before the last, linear layer are for comparison with published networks.
    """

    def __init__(self, columns: int, settings: Settings, view: View):
        super().__init__()
        self.encoder = Encoder(columns, settings.width)
        self.blocks = nn.ModuleList(Block(view.relations, settings, layout=True) for _ in range(settings.layers))
        self.copies = CopyStates(settings) if view.copies else None
        self.head = nn.Linear(settings.width, 1, bias=False)
        self.readout = settings.readout

    def states(self, batch: Batch) -> tuple[torch.Tensor, torch.Tensor | None]:
        """The last level's states (s, width), and those of the copies (s_c, width)."""
        first = state = gelu(self.encoder(batch))
        for block, layer in zip(self.blocks, batch.layers, strict=True):
            state = block(state, layer)
        return state, None if self.copies is None else self.copies(first, batch.copies)

    def forward(self, batch: Batch) -> torch.Tensor:
        return self.scores(self.states(batch), batch)

    def scores(
        self,
        states: tuple[torch.Tensor, torch.Tensor | None],
        batch: Batch,
        weight: torch.Tensor | None = None,
        stale: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """Scores (b, k) of the last level's states.

        weight (units,): of each segment in its graph's sum; stale (b, k, width): what the embeddings of segments that
        are not in the batch add up to (see `embeddings`).
        """
        graphs, k = batch.order.shape
        if self.readout == "max":
            return self.head(_largest(states[0], batch)).view(graphs, k)
        heads = [None if state is None else self.head(state) for state in states]
        units = self.sums(*heads, batch).view(-1, k)
        if weight is not None:
            units = units * weight[:, None]
        score = units.new_zeros(graphs, k).index_add(0, batch.unit, units) / self.divisor(batch)[:, None]
        return score if stale is None else score + self.head(stale).squeeze(-1)

    def embeddings(self, states: tuple[torch.Tensor, torch.Tensor | None], batch: Batch) -> torch.Tensor:
        """What each segment adds to its graph, before the head: (units, k, width)."""
        units = self.sums(*states, batch).view(len(batch.unit), batch.order.shape[1], -1)
        return units / self.divisor(batch)[batch.unit][:, None, None]

    def sums(self, state: torch.Tensor, copies: torch.Tensor | None, batch: Batch) -> torch.Tensor:
        """(units * k, d) sums over a segment's nodes and copies in each configuration."""
        total = batch.readout @ state
        return total if copies is None else total + batch.copies.readout @ copies

    def divisor(self, batch: Batch) -> torch.Tensor:
        """(b,) what a graph's sum is divided by."""
        return batch.nodes if self.readout == "mean" else batch.scale


class TileNetwork(nn.Module):
    """Scores (b, k) of the tiles of a batch of kernels; smaller is faster.

    Late fusion: the kernel is encoded once, whatever the number of its tiles; each tile is an MLP of its bounds, with
    the product of both beside them: which tile is good depends on the kernel. Early fusion adds the tile to every node
    of the kernel, as the data set's own network and the first place do, and so encodes the kernel once per tile.
    """

    def __init__(self, columns: int, tile_columns: int, settings: Settings, view: View):
        super().__init__()
        width = settings.width
        self.encoder = Encoder(columns, width)
        self.blocks = nn.ModuleList(Block(view.relations, settings, layout=False) for _ in range(settings.layers))
        self.kernel = nn.Linear(2 * width, width)
        self.early = nn.Linear(tile_columns, width) if settings.fusion == "early" else None
        self.tile = nn.Sequential(
            nn.Linear(tile_columns, width), nn.GELU(), nn.Linear(width, width), nn.GELU(), nn.Linear(width, width)
        )
        self.head = nn.Sequential(nn.Linear(3 * width, width), nn.GELU(), nn.Linear(width, 1))
        self.dropout = settings.dropout

    def forward(self, batch: Batch) -> torch.Tensor:
        return self.scores(self.states(batch), batch)

    def states(self, batch: Batch) -> torch.Tensor:
        """The kernels, (b, width), or with early fusion every kernel with every tile, (b * k, width)."""
        graphs, k = batch.order.shape
        state = self.encoder(batch)
        row = batch.graph
        if self.early is not None:
            state = state + self.early(batch.tile.flatten(0, 1))[batch.tile_row]
            row = batch.tile_row
        state = gelu(state)
        for block, layer in zip(self.blocks, batch.layers, strict=True):
            state = block(state, layer)
        pooled = [
            pool(state, row, size=graphs * (k if self.early else 1)) for pool in (global_mean_pool, global_max_pool)
        ]
        return dropout(self.kernel(torch.cat(pooled, dim=1)), self.dropout, self.training)

    def scores(self, states: torch.Tensor, batch: Batch, weight: None = None, stale: None = None) -> torch.Tensor:
        """Scores (b, k); a kernel is never cut into segments, so there is nothing to weigh."""
        tile = self.tile(batch.tile)
        kernel = states.view(len(tile), -1, states.shape[1]).expand_as(tile)
        return self.head(torch.cat([kernel, tile, kernel * tile], dim=-1)).squeeze(-1)


def _dropped(state: torch.Tensor, group: torch.Tensor, groups: int, share: float) -> torch.Tensor:
    """States (s, width) with channels dropped, the same ones in all states of a group (s,)."""
    if not share:
        return state
    return state * dropout(state.new_ones(groups, state.shape[1]), share)[group]


def _largest(state: torch.Tensor, batch: Batch) -> torch.Tensor:
    """(units * k, width) maximum over the nodes of each configuration; 0 for rows that only pad."""
    matrix = batch.readout.matrix
    row = torch.repeat_interleave(matrix.crow_indices().diff())
    index = row[:, None].expand(-1, state.shape[1])
    empty = state.new_zeros(matrix.shape[0], state.shape[1])
    return empty.scatter_reduce(0, index, state[matrix.col_indices()], "amax", include_self=False)
