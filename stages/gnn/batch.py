"""From packed graphs to the tensors of one step: what is static is prepared once, configurations join per step.

States are laid out (nodes, configurations, width), nodes first: graphs of any size then batch by concatenating nodes,
and a message along an edge moves one contiguous row of all configurations.
"""

import warnings
from dataclasses import dataclass, fields, replace

import numpy as np
import torch
from scipy.sparse import csr_array

from stages.dataset import ModelGraph
from stages.gnn import layouts


@dataclass(frozen=True)
class Static:
    """What of a graph no configuration changes, prepared once.

    own (nc, 6) int8: the configurable nodes' own layouts; own_kind (nc,) int64: which distinct one each has;
    producers, consumers: (n, n) mean over the nodes a node consumes / is consumed by; order (c,) int64: dense rank of
    the run times, equal where and only where they are equal (float32 run times would merge distinct ones).
    """

    graph: ModelGraph
    x: torch.Tensor
    opcode: torch.Tensor
    layout: torch.Tensor
    derived: torch.Tensor
    producers: csr_array
    consumers: csr_array
    own: np.ndarray | None
    own_kind: np.ndarray | None
    order: np.ndarray

    @property
    def nodes(self) -> int:
        return len(self.x)


@dataclass(frozen=True)
class Batch:
    """Several graphs (b) with k configurations each; n nodes altogether.

    Static: x (n, F), opcode (n,), layout (n, 6) tokens, derived (n, 2), producers and consumers (n, n) sparse CSR,
    graph (n,) the graph a node belongs to. Configurations: order (b, k) int64, mask (b, k) bool or None where every
    graph has k. Layout only: pair (n, k) int64 into the distinct pairs of own layout and triple: pair_tokens (p, 18),
    pair_derived (p, 7); pair 0 is "not configurable"; scale (b,) = sqrt(configurable nodes). Tile only: tile (b, k, G).
    """

    x: torch.Tensor
    opcode: torch.Tensor
    layout: torch.Tensor
    derived: torch.Tensor
    producers: torch.Tensor
    consumers: torch.Tensor
    graph: torch.Tensor
    order: torch.Tensor
    mask: torch.Tensor | None
    pair: torch.Tensor | None = None
    pair_tokens: torch.Tensor | None = None
    pair_derived: torch.Tensor | None = None
    scale: torch.Tensor | None = None
    tile: torch.Tensor | None = None

    def to(self, device: torch.device) -> "Batch":
        parts = {field.name: getattr(self, field.name) for field in fields(self)}
        return Batch(**{name: part if part is None else part.to(device) for name, part in parts.items()})


def prepare(graph: ModelGraph) -> Static:
    """Everything of one graph that does not change from step to step."""
    layout = np.asarray(graph.layout)
    consumer, producer = np.asarray(graph.edge_index)
    own = own_kind = None
    if graph.config_nodes is not None:
        own = layout[np.asarray(graph.config_nodes)]
        own_kind = np.unique(own, axis=0, return_inverse=True)[1].reshape(-1)
    return Static(
        graph=graph,
        x=torch.from_numpy(np.array(graph.x, np.float32)),
        opcode=torch.from_numpy(np.array(graph.opcode, np.int64)),
        layout=torch.from_numpy(layouts.tokens(layout)),
        derived=torch.from_numpy(layouts.own_columns(layout)),
        producers=_mean_over(consumer, producer, len(layout)),
        consumers=_mean_over(producer, consumer, len(layout)),
        own=own,
        own_kind=own_kind,
        order=np.unique(np.asarray(graph.target), return_inverse=True)[1].reshape(-1),
    )


def select(static: Static, indices: np.ndarray) -> Static:
    """The same graph with only these configurations (k,), read into memory."""
    names = ("codes", "tile_config", "target", "config_index")
    arrays = {name: getattr(static.graph, name) for name in names}
    kept = {name: None if array is None else np.asarray(array[indices]) for name, array in arrays.items()}
    return replace(static, graph=replace(static.graph, **kept), order=static.order[indices])


def join(statics: list[Static], samples: list[np.ndarray]) -> Batch:
    """One batch of graphs, each with its sampled configurations (indices); shorter samples are padded and masked."""
    k = max(map(len, samples))
    padded = [np.concatenate([sample, np.repeat(sample[:1], k - len(sample))]) for sample in samples]
    mask = torch.from_numpy(np.arange(k) < np.array([len(sample) for sample in samples])[:, None])
    nodes = [static.nodes for static in statics]
    parts = _layout_parts(statics, padded) if statics[0].own is not None else _tile_parts(statics, padded)
    return Batch(
        x=torch.cat([static.x for static in statics]),
        opcode=torch.cat([static.opcode for static in statics]),
        layout=torch.cat([static.layout for static in statics]),
        derived=torch.cat([static.derived for static in statics]),
        producers=_block_diagonal([static.producers for static in statics]),
        consumers=_block_diagonal([static.consumers for static in statics]),
        graph=torch.from_numpy(np.repeat(np.arange(len(statics)), nodes)),
        order=torch.from_numpy(np.stack([static.order[i] for static, i in zip(statics, padded, strict=True)])),
        mask=None if mask.all() else mask,
        **parts,
    )


def _layout_parts(statics: list[Static], samples: list[np.ndarray]) -> dict[str, torch.Tensor]:
    own, triples = [np.full((1, 6), -1, np.int8)], [layouts.NOT_CONFIGURABLE[None]]
    indices, known = [], 1
    for static, sample in zip(statics, samples, strict=True):
        graph = static.graph
        codes = np.asarray(graph.codes[sample]).astype(np.int64)
        keys, inverse = np.unique(static.own_kind * len(graph.triples) + codes, return_inverse=True)
        kinds = np.unique(static.own_kind, return_index=True)[1]
        own.append(static.own[kinds[keys // len(graph.triples)]])
        triples.append(np.asarray(graph.triples)[keys % len(graph.triples)])
        index = np.zeros((static.nodes, len(sample)), np.int64)
        index[np.asarray(graph.config_nodes)] = known + inverse.reshape(codes.shape).T
        indices.append(index)
        known += len(keys)
    own, triples = np.concatenate(own), np.concatenate(triples)
    configurable = np.array([max(1, len(static.own)) for static in statics], np.float32)
    return {
        "pair": torch.from_numpy(np.concatenate(indices)),
        "pair_tokens": torch.from_numpy(layouts.tokens(triples)),
        "pair_derived": torch.from_numpy(layouts.pair_columns(own, triples)),
        "scale": torch.from_numpy(np.sqrt(configurable)),
    }


def _tile_parts(statics: list[Static], samples: list[np.ndarray]) -> dict[str, torch.Tensor]:
    tiles = [np.asarray(static.graph.tile_config)[i] for static, i in zip(statics, samples, strict=True)]
    return {"tile": torch.from_numpy(np.stack(tiles).astype(np.float32))}


def _mean_over(row: np.ndarray, column: np.ndarray, nodes: int) -> csr_array:
    """(nodes, nodes) operator whose product is each row's mean over its columns; parallel edges count each."""
    degree = np.maximum(np.bincount(row, minlength=nodes), 1)
    matrix = csr_array(((1 / degree[row]).astype(np.float32), (row, column)), shape=(nodes, nodes))
    matrix.sum_duplicates()
    return matrix


def _block_diagonal(matrices: list[csr_array]) -> torch.Tensor:
    edges = np.cumsum([0] + [matrix.nnz for matrix in matrices])
    nodes = np.cumsum([0] + [matrix.shape[0] for matrix in matrices])
    rows = [matrix.indptr[1:] + first for matrix, first in zip(matrices, edges[:-1], strict=True)]
    columns = [matrix.indices + first for matrix, first in zip(matrices, nodes[:-1], strict=True)]
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Sparse CSR tensor support is in beta")  # PyG's own SAGEConv takes it
        return torch.sparse_csr_tensor(
            torch.from_numpy(np.concatenate([[0], *rows]).astype(np.int64)),
            torch.from_numpy(np.concatenate(columns).astype(np.int64)),
            torch.from_numpy(np.concatenate([matrix.data for matrix in matrices])),
            size=(int(nodes[-1]), int(nodes[-1])),
            check_invariants=False,
        )
