"""The two networks: layouts fused early at the nodes, tiles fused late with their kernel, or early like layouts.

A layer works on the states of a level (see `states`), whatever they stand for: distinct neighbourhoods, or, in the
dense network, every node in every configuration. What looks beyond one state are the messages, the normalisation over
nodes, the attention across configurations and the readout.
"""

from __future__ import annotations

import torch
from torch import nn
from torch.nn.functional import dropout, gelu, linear

from stages.gnn.batch import Batch, Copies, Layer
from stages.gnn.graph_view import GraphView
from stages.gnn.layout_columns import OWN_COLUMNS, TRIPLE, VOCABULARY
from stages.gnn.prepared_graph import PreparedGraph
from stages.gnn.relayout_copies import COPY_COLUMNS, STATE_COLUMNS
from stages.gnn.settings import Settings
from stages.graphs.collection import is_tile
from stages.graphs.opcodes import OPCODES

OPCODE_CHANNELS = 16
LAYOUT_CHANNELS = 4
SQUEEZE = 8
GAT_HEADS = 4


class SageMessages(nn.Module):
    """SAGE with the mean (Hamilton et al. 2017), a weight matrix of its own for each kind of message.

    One sparse product adds up all kinds: equal to a sum of PyG's SAGEConv over them.
    """

    def __init__(self, width: int, out: int, kinds: int):
        super().__init__()
        self.linear = nn.Linear(width, kinds * out, bias=False)
        self.bias = nn.Parameter(torch.zeros(out))

    def forward(self, x: torch.Tensor, layer: Layer) -> torch.Tensor:
        return layer.messages @ _sent(x, layer.senders, self.linear.weight) + self.bias


class GatMessages(nn.Module):
    """GATv2 (Brody et al. 2022) over all kinds of messages, PyG's, on the bipartite graph of two levels."""

    def __init__(self, width: int, out: int, kinds: int):
        from torch_geometric.nn import GATv2Conv  # to load it takes as long as torch, and few networks need it

        super().__init__()
        heads = GAT_HEADS if out % GAT_HEADS == 0 else 1
        self.conv = GATv2Conv((width, width), out // heads, heads, add_self_loops=False, edge_dim=kinds)
        self.kinds = kinds

    def forward(self, x: torch.Tensor, layer: Layer) -> torch.Tensor:
        matrix = layer.messages.matrix
        column = matrix.col_indices().long()
        row = torch.repeat_interleave(matrix.crow_indices().diff().long())
        kinds = torch.cat([torch.full_like(rows, kind) for kind, rows in enumerate(layer.senders)])
        kind = nn.functional.one_hot(kinds[column], self.kinds).to(x.dtype)
        return self.conv((x, x[layer.own]), torch.stack([torch.cat(layer.senders)[column], row]), kind)


class GcnMessages(nn.Module):
    """Graph convolution (Kipf and Welling 2017) as the data set's own layout network has it: one weight matrix for a
    node and all around it, each over the square roots of both degrees. What a node tells itself alone is not heard
    twice.
    """

    def __init__(self, width: int, out: int, kinds: int):
        super().__init__()
        self.linear = nn.Linear(width, out, bias=False)
        self.bias = nn.Parameter(torch.zeros(out))

    def forward(self, x: torch.Tensor, layer: Layer) -> torch.Tensor:
        own, around = layer.senders
        sent = self.linear(x.index_select(0, around))
        return layer.messages @ torch.cat([sent.new_zeros(len(own), sent.shape[1]), sent]) + self.bias


MESSAGES = {"sage": SageMessages, "gatv2": GatMessages, "gcn": GcnMessages}


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
        return _Attended.apply(x, self.temperature, layer)


class _Attended(torch.autograd.Function):
    """Written out with its gradient, in fewer passes over the states than torch's own would take.

    With p = exp(x / T), the counts c and the gate g = k p / (c @ p), the result is y = x g. For an incoming gradient d
    the gradient by x / T is d y - g c / k (sum of d y over the node's states).
    """

    @staticmethod
    @torch.amp.custom_fwd(device_type="cuda", cast_inputs=torch.float32)
    def forward(ctx, x, temperature, layer):
        logits = x / temperature
        # Of each node, or 0 / 0.
        largest = logits.new_empty(len(layer.total), x.shape[1])
        largest.scatter_reduce_(0, layer.node[:, None].expand_as(x), logits, "amax", include_self=False)
        gate = logits.sub_(largest.index_select(0, layer.node)).exp_()
        gate *= (layer.total / (layer.counts @ gate)).index_select(0, layer.node)
        ctx.save_for_backward(x, temperature, gate)
        ctx.layer = layer
        return x * gate

    @staticmethod
    @torch.amp.custom_bwd(device_type="cuda")
    def backward(ctx, grad):
        (x, temperature, gate), layer = ctx.saved_tensors, ctx.layer
        slope = grad * gate
        by_logits = slope * x
        mean = (layer.members @ by_logits) / layer.total
        by_logits.addcmul_(mean.index_select(0, layer.node).mul_(layer.count), gate, value=-1)
        by_temperature = -(by_logits * x).sum() / temperature**2
        return slope.add_(by_logits / temperature), by_temperature, None


class ChannelAttention(nn.Module):
    """Squeeze and excitation of the channels of one state, as the first-place solution has it."""

    def __init__(self, width: int):
        super().__init__()
        small = max(1, width // SQUEEZE)
        self.gate = nn.Sequential(nn.Linear(width, small), nn.ReLU(), nn.Linear(small, width), nn.Sigmoid())

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x * self.gate(x)


def _instance_norm(width: int) -> nn.Module:
    from torch_geometric.nn import InstanceNorm  # to load it takes as long as torch, and few networks need it

    return InstanceNorm(width)


NORMS = {"layer": nn.LayerNorm, "instance": _instance_norm, "none": nn.Identity}


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
        self.norm_by_row = settings.norm == "instance"
        self.messages = MESSAGES[settings.messages](width, out, kinds)
        self.channels = ChannelAttention(out) if settings.channel_attention else None
        self.attention = CrossConfigurationAttention() if attends else None
        self.dropout = settings.dropout

    def forward(self, x: torch.Tensor, layer: Layer) -> torch.Tensor:
        state = self.norm(x, layer.row) if self.norm_by_row else self.norm(x)
        state = self.messages(state, layer)
        if self.channels is not None:
            state = self.channels(state)
        if self.attention is not None:
            state = torch.cat([state, self.attention(state, layer)], dim=-1)
        mask = _dropout_mask(state, layer.node, len(layer.total), self.dropout * self.training)
        below, state = x.index_select(0, layer.own), gelu(state)
        return below + state if mask is None else torch.addcmul(below, state, mask)


class CopyStates(nn.Module):
    """States (s, width) of the relayout copies between two nodes, of the states at their ends and their own columns.

    A graph has about as many of them as of other states, so the layer between is half as wide.
    """

    def __init__(self, settings: Settings):
        super().__init__()
        width, between = settings.width, max(1, settings.width // 2)
        self.ends = nn.Linear(width, 2 * between)
        self.columns = nn.Linear(COPY_COLUMNS, between)
        self.last = nn.Linear(between, width)
        self.dropout = settings.dropout

    def forward(self, x: torch.Tensor, copies: Copies) -> torch.Tensor:
        sent = _sent(x, copies.senders, self.ends.weight, self.ends.bias)
        state = copies.facts @ torch.cat([sent, self.columns.weight.T]) + self.columns.bias
        state = gelu(self.last(gelu(state)))
        mask = _dropout_mask(state, copies.copy, copies.number, self.dropout * self.training)
        return state if mask is None else state * mask


class Encoder(nn.Module):
    """First layer: states of level 0 (s, width), each of a node and, where it is configurable, its layouts.

    A linear layer over [node | layouts | facts of both] is a sum of three: the first is computed once per node, the
    second once per distinct triple of layouts, the third once per state; one sparse product looks them up and adds
    them. One table embeds a node's own layout and its configured ones. Without `facts` there are none: the network is
    to find out from the layouts themselves, as published ones do. Where configurations override a node's own layout
    (fifth place), the output's stands in its place, under the same weights.
    """

    def __init__(self, columns: int, settings: Settings):
        super().__init__()
        width, derived = settings.width, OWN_COLUMNS if settings.facts else 0
        self.opcodes = nn.Embedding(OPCODES, OPCODE_CHANNELS)
        self.vocabulary = nn.Embedding(VOCABULARY, LAYOUT_CHANNELS)
        self.node = nn.Linear(columns + OPCODE_CHANNELS + 6 * LAYOUT_CHANNELS + derived, width)
        self.triple = nn.Linear(TRIPLE * LAYOUT_CHANNELS, width, bias=False)
        self.facts = nn.Linear(STATE_COLUMNS, width) if settings.facts else None
        self.own = slice(columns + OPCODE_CHANNELS, columns + OPCODE_CHANNELS + 6 * LAYOUT_CHANNELS)

    def forward(self, batch: Batch) -> torch.Tensor:
        parts = [batch.x, self.opcodes(batch.opcode), self.vocabulary(batch.layout).flatten(1)]
        parts += [] if self.facts is None else [batch.derived]
        configured = self.vocabulary(batch.tokens)
        triples = self.triple(configured.flatten(1))
        if batch.free is not None:
            parts[2:] = [part * batch.free for part in parts[2:]]
            triples = triples + linear(configured[:, :6].flatten(1), self.node.weight[:, self.own])
        nodes = self.node(torch.cat(parts, dim=1))
        empty = nodes.new_zeros(len(batch.columns), nodes.shape[1])
        return batch.inputs @ torch.cat([nodes, triples, empty if self.facts is None else self.facts(batch.columns)])


class LayoutNetwork(nn.Module):
    """Scores (b, k) of the configurations of a batch of layout graphs; smaller is faster.

    A program's time is the sum of its nodes', so the score is a sum of one number per node, over the square root of
    the configurable nodes to give graphs of every size scores of one spread. The mean or the maximum of the nodes'
    states before the last, linear layer are for comparison with published networks. Beside it stands what layout
    assignment makes of the configuration, where there are such columns: a layout spreads farther than messages do.
    """

    def __init__(self, columns: int, assigned_columns: int, settings: Settings, view: GraphView):
        super().__init__()
        self.encoder = Encoder(columns, settings)
        self.blocks = nn.ModuleList(Block(view.relations, settings, layout=True) for _ in range(settings.layers))
        self.copies = CopyStates(settings) if view.copies else None
        self.head = nn.Linear(settings.width, 1, bias=False)
        self.assigned = None
        if assigned_columns:
            self.assigned = nn.Sequential(
                nn.Linear(assigned_columns, settings.width), nn.GELU(), nn.Linear(settings.width, 1, bias=False)
            )
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
        whole: bool = True,
    ) -> torch.Tensor:
        """Scores (b, k) of the last level's states.

        Args:
            states: what `states` returns.
            batch: that they are of.
            weight: (units,) of each segment in its graph's sum.
            stale: (b, k, width) what the embeddings of segments that are not in the batch add up to.
            whole: whether to add what is of the whole graph, which one of several batches of its segments does.
        """
        graphs, k = batch.order.shape
        if self.readout == "max":
            score = self.head(_largest(states[0], batch)).view(graphs, k)
        else:
            heads = [None if state is None else self.head(state) for state in states]
            units = self.sums(*heads, batch).view(-1, k)
            if weight is not None:
                units = units * weight[:, None]
            score = units.new_zeros(graphs, k).index_add(0, batch.unit, units) / self.divisor(batch)[:, None]
            if stale is not None:
                score = score + self.head(stale).squeeze(-1)
        return score + self.of_assigned(batch) if whole else score

    def of_assigned(self, batch: Batch) -> torch.Tensor | float:
        """(b, k) what layout assignment adds to the scores."""
        return 0.0 if self.assigned is None else self.assigned(batch.assigned).squeeze(-1)

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

    def __init__(self, columns: int, tile_columns: int, settings: Settings, view: GraphView):
        super().__init__()
        width = settings.width
        self.encoder = Encoder(columns, settings)
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
        pooled = _pooled(state, row, graphs * (k if self.early else 1))
        return dropout(self.kernel(pooled), self.dropout, self.training)

    def scores(
        self, states: torch.Tensor, batch: Batch, weight: None = None, stale: None = None, whole: bool = True
    ) -> torch.Tensor:
        """Scores (b, k); a kernel is never cut into segments, so there is nothing to weigh."""
        tile = self.tile(batch.tile)
        kernel = states.view(len(tile), -1, states.shape[1]).expand_as(tile)
        return self.head(torch.cat([kernel, tile, kernel * tile], dim=-1)).squeeze(-1)


def build(collection: str, prepared: PreparedGraph, settings: Settings) -> nn.Module:
    """An untrained network for graphs with the columns of this one."""
    graph, view = prepared.graph, prepared.view
    if is_tile(collection):
        return TileNetwork(graph.x.shape[1], graph.tile_config.shape[1], settings, view)
    return LayoutNetwork(graph.x.shape[1], graph.layout_config.shape[1], settings, view)


def _sent(
    x: torch.Tensor, senders: list[torch.Tensor], weight: torch.Tensor, bias: torch.Tensor | None = None
) -> torch.Tensor:
    """(sum of r_kind, out) a linear layer of each kind's rows (r_kind,) of x; weight (kinds * out, width) and bias
    (kinds * out,) hold one kind after the other."""
    weights = weight.chunk(len(senders))
    biases = [None] * len(senders) if bias is None else bias.chunk(len(senders))
    rows = [x if len(index) == len(x) else x.index_select(0, index) for index in senders]
    return torch.cat([linear(*part) for part in zip(rows, weights, biases, strict=True)])


def _dropout_mask(state: torch.Tensor, group: torch.Tensor, groups: int, p: float) -> torch.Tensor | None:
    """Dropout mask (s, width): one draw per group and channel, so that all states of a group share it; None if p = 0.

    An entry is 0 with probability p, to 16 bits, else 1 / (1 - p). Each channel's draw is 16 of the 64 bits of a random
    word, compared as an integer: torch's own dropout draws a number a channel, which takes several times as long. The
    step of `python -m benchmarks.gnn` pays for it.

    Args:
        state: (s, width), whose type and device the mask gets.
        group: (s,) int64: the group of each state, its node or its copy.
        groups: their number.
        p: probability that a channel is dropped.
    """
    if not p:
        return None
    size = groups * state.shape[1]
    words = torch.empty(-(-size // 4), dtype=torch.int64, device=state.device).random_(-(2**63), None)
    bits = words.view(torch.int16)[:size].view(groups, state.shape[1])
    mask = (bits >= round(p * 2**16) - 2**15).to(state.dtype).div_(1 - p)
    return mask.index_select(0, group)


def _pooled(state: torch.Tensor, row: torch.Tensor, rows: int) -> torch.Tensor:
    """(rows, 2 * width) mean and maximum of the states (s, width) of each row (s,), as PyG's global pools have them."""
    index = row[:, None].expand_as(state)
    empty = state.new_zeros(rows, state.shape[1])
    count = state.new_zeros(rows).scatter_add_(0, row, state.new_ones(len(state))).clamp(min=1)
    mean = empty.scatter_add(0, index, state) / count[:, None].expand_as(empty)
    return torch.cat([mean, empty.scatter_reduce(0, index, state, "amax", include_self=False)], dim=1)


def _largest(state: torch.Tensor, batch: Batch) -> torch.Tensor:
    """(units * k, width) maximum over the nodes of each configuration; 0 for rows that only pad."""
    matrix = batch.readout.matrix
    row = torch.repeat_interleave(matrix.crow_indices().diff().long())
    index = row[:, None].expand(-1, state.shape[1])
    empty = state.new_zeros(matrix.shape[0], state.shape[1])
    return empty.scatter_reduce(0, index, state[matrix.col_indices().long()], "amax", include_self=False)
