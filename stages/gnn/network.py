"""The two networks: early fusion of layouts at the nodes, late fusion of a tile with its kernel.

Whatever looks across the nodes or the configurations of a graph is in `Sage`, `CrossConfigurationAttention` and the
readouts; all else acts on one state at a time.
"""

import torch
from torch import nn
from torch.nn.functional import dropout, embedding, gelu
from torch_geometric.nn import SAGEConv, global_add_pool, global_max_pool, global_mean_pool

from stages.gnn.batch import Batch
from stages.gnn.layouts import OWN_COLUMNS, PAIR_COLUMNS, TRIPLE, VOCABULARY
from stages.hlo.opcodes import OPCODES

OPCODE_CHANNELS = 16
LAYOUT_CHANNELS = 4


class Sage(SAGEConv):
    """SAGEConv for states (nodes, configurations, width) with the mean as one sparse product for all configurations."""

    def __init__(self, width: int, out: int, **options):
        super().__init__(width, out, aggr="mean", node_dim=0, **options)

    def message_and_aggregate(self, edge_index: torch.Tensor, x: tuple[torch.Tensor, torch.Tensor]) -> torch.Tensor:
        return (edge_index @ x[0].flatten(1)).view_as(x[0])


class CrossConfigurationAttention(nn.Module):
    """k * x * softmax(x / T) over the k configurations (dim 1) of one node's channel, T learned.

    From the first-place solution: its x * softmax, times k. Without the factor the result shrinks as 1 / k, and a
    network trained on a few configurations at a time is scored on chunks of many. mask (n, k) leaves padded
    configurations out of the denominator and of k.
    """

    def __init__(self):
        super().__init__()
        self.temperature = nn.Parameter(torch.tensor(0.5))

    def forward(self, x: torch.Tensor, mask: torch.Tensor | None) -> torch.Tensor:
        logits = x / self.temperature
        count = x.shape[1]
        if mask is not None:
            logits = logits.masked_fill(~mask[:, :, None], -torch.inf)
            count = mask.sum(dim=1)[:, None, None]
        return x * logits.softmax(dim=1) * count


class Block(nn.Module):
    """norm -> SAGE along both directions of the edges -> [gated half beside plain half] -> GELU -> dropout -> + input.

    Layer norm acts on each state alone: statistics over the nodes would make every state of every configuration
    distinct. The dropout mask is one per node and channel, the same for all configurations: they are ranked against
    each other, and independent noise would drown their differences.
    """

    def __init__(self, width: int, dropout: float, cross_attention: bool):
        super().__init__()
        out = width // 2 if cross_attention else width
        self.norm = nn.LayerNorm(width)
        self.from_producers = Sage(width, out)
        self.from_consumers = Sage(width, out, root_weight=False, bias=False)
        self.attention = CrossConfigurationAttention() if cross_attention else None
        self.dropout = dropout

    def forward(
        self, x: torch.Tensor, producers: torch.Tensor, consumers: torch.Tensor, mask: torch.Tensor | None
    ) -> torch.Tensor:
        state = self.norm(x)
        state = self.from_producers(state, producers) + self.from_consumers(state, consumers)
        if self.attention is not None:
            state = torch.cat([state, self.attention(state, mask)], dim=-1)
        keep = dropout(state.new_ones(len(state), 1, state.shape[-1]), self.dropout, self.training)
        return x + gelu(state) * keep


class NodeEncoder(nn.Module):
    """First linear layer, the part of it that sees a node without its configuration: Batch -> (n, width)."""

    def __init__(self, columns: int, width: int, vocabulary: nn.Embedding):
        super().__init__()
        self.opcodes = nn.Embedding(OPCODES, OPCODE_CHANNELS)
        self.vocabulary = vocabulary
        self.linear = nn.Linear(columns + OPCODE_CHANNELS + 6 * LAYOUT_CHANNELS + OWN_COLUMNS, width)

    def forward(self, batch: Batch) -> torch.Tensor:
        own = self.vocabulary(batch.layout).flatten(1)
        return self.linear(torch.cat([batch.x, self.opcodes(batch.opcode), own, batch.derived], dim=1))


class ConfigurationEncoder(nn.Module):
    """The other part of the first linear layer: distinct pairs of own layout and configured triple -> (p, width).

    A linear layer over [node | configuration] is the sum of a linear layer over each. Distinct pairs are few, so the
    second is computed for each of them once and looked up.
    """

    def __init__(self, width: int, vocabulary: nn.Embedding):
        super().__init__()
        self.vocabulary = vocabulary
        self.linear = nn.Linear(TRIPLE * LAYOUT_CHANNELS + PAIR_COLUMNS, width, bias=False)

    def forward(self, pair_tokens: torch.Tensor, pair_derived: torch.Tensor) -> torch.Tensor:
        return self.linear(torch.cat([self.vocabulary(pair_tokens).flatten(1), pair_derived], dim=1))


class LayoutNetwork(nn.Module):
    """Scores (b, k) of the configurations of a batch of layout graphs; smaller is faster.

    A program's time is the sum of its nodes', so the score is a sum of one number per node, over the square root of
    the configurable nodes to give graphs of every size scores of one spread.
    """

    def __init__(self, columns: int, width: int, layers: int, dropout: float, cross_attention: bool):
        super().__init__()
        vocabulary = nn.Embedding(VOCABULARY, LAYOUT_CHANNELS)
        self.nodes = NodeEncoder(columns, width, vocabulary)
        self.configurations = ConfigurationEncoder(width, vocabulary)
        self.blocks = nn.ModuleList(Block(width, dropout, cross_attention) for _ in range(layers))
        self.cost = nn.Linear(width, 1)

    def encode(self, batch: Batch) -> torch.Tensor:
        """First layer's states (n, k, width)."""
        table = self.configurations(batch.pair_tokens, batch.pair_derived)
        return gelu(self.nodes(batch)[:, None] + embedding(batch.pair, table))

    def forward(self, batch: Batch) -> torch.Tensor:
        state = self.encode(batch)
        mask = None if batch.mask is None else batch.mask[batch.graph]
        for block in self.blocks:
            state = block(state, batch.producers, batch.consumers, mask)
        cost = self.cost(state).squeeze(-1)
        return global_add_pool(cost, batch.graph, size=len(batch.order)) / batch.scale[:, None]


class TileNetwork(nn.Module):
    """Scores (b, k) of the tiles of a batch of kernels; smaller is faster.

    The kernel is encoded once, whatever the number of its tiles; each tile is an MLP of its bounds, fused late, with
    the product of both beside them: which tile is good depends on the kernel.
    """

    def __init__(self, columns: int, tile_columns: int, width: int, layers: int, dropout: float):
        super().__init__()
        self.nodes = NodeEncoder(columns, width, nn.Embedding(VOCABULARY, LAYOUT_CHANNELS))
        self.blocks = nn.ModuleList(Block(width, dropout, cross_attention=False) for _ in range(layers))
        self.kernel = nn.Linear(2 * width, width)
        self.tile = nn.Sequential(
            nn.Linear(tile_columns, width), nn.GELU(), nn.Linear(width, width), nn.GELU(), nn.Linear(width, width)
        )
        self.head = nn.Sequential(nn.Linear(3 * width, width), nn.GELU(), nn.Linear(width, 1))
        self.dropout = dropout

    def forward(self, batch: Batch) -> torch.Tensor:
        state = gelu(self.nodes(batch))[:, None]
        for block in self.blocks:
            state = block(state, batch.producers, batch.consumers, None)
        state, graphs = state.squeeze(1), len(batch.order)
        pooled = [pool(state, batch.graph, size=graphs) for pool in (global_mean_pool, global_max_pool)]
        kernel = dropout(self.kernel(torch.cat(pooled, dim=1)), self.dropout, self.training)
        tile = self.tile(batch.tile)
        kernel = kernel[:, None].expand_as(tile)
        return self.head(torch.cat([kernel, tile, kernel * tile], dim=-1)).squeeze(-1)
