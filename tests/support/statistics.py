"""Small packed graphs by hand, and their statistics."""

import dataclasses

import numpy as np

from stages.graphs import dataset, npz
from stages.graphs.whole_program import whole_program
from stages.statistics.columns import statistics
from tests.support.samples import F32_COLUMN

ADD, CONSTANT, CONVOLUTION, PARAMETER, MULTIPLY, DOT, RESHAPE, REDUCE, TRANSPOSE = 2, 24, 26, 63, 59, 34, 75, 70, 98


def features(nodes):
    """node_feat of (opcode, dims, dimensions) nodes, float32 elements."""
    feat = np.zeros((len(nodes), 140), np.float32)
    feat[:, F32_COLUMN] = 1
    for row, (_, dims, axes) in zip(feat, nodes, strict=True):
        row[21 : 21 + len(dims)] = dims
        row[31 : 31 + len(axes)] = axes
    return feat


def packed(nodes, configured, operands, contracted, layouts):
    """A layout graph; layouts: per configuration and configurable node a tuple of its slots' orders."""
    rows = np.full((len(layouts), len(configured), 18), -1, np.int8)
    for c, configuration in enumerate(layouts):
        for j, slots in enumerate(configuration):
            for slot, order in enumerate(slots):
                rows[c, j, 6 * slot : 6 * slot + len(order)] = order
    triples, codes = np.unique(rows.reshape(-1, 18), axis=0, return_inverse=True)
    opcodes = np.array([node[0] for node in nodes], np.uint8)
    return dataset.PackedGraph(
        id="made",
        split="train",
        collection="layout:xla:random",
        node_feat=features(nodes),
        node_opcode=opcodes,
        edge_index=np.zeros((0, 2), np.int32),
        node_split=np.ones(len(nodes), np.int32),
        config_nodes=np.array(configured, np.int32),
        codes=codes.reshape(rows.shape[:2]).astype(np.uint16),
        triples=triples,
        contracted=np.array(contracted, np.int32).reshape(-1, 2),
        config_operands=np.array(operands, np.int32),
        config_feat=None,
        normalizer=None,
        runtime=np.arange(1, len(layouts) + 1),
        config_index=np.arange(len(layouts)),
        whole_opcodes=np.bincount(opcodes, minlength=121),
        **whole_program(
            npz.LayoutArrays(
                node_feat=features(nodes),
                node_opcode=opcodes,
                edge_index=np.zeros((0, 2), np.int32),
                node_config_ids=np.array(configured, np.int32),
                node_config_feat=rows,
                config_runtime=np.arange(1, len(layouts) + 1),
                node_splits=np.array([[0, len(nodes)]]),
            )
        ),
        whole={"nodes": float(len(nodes)), "log_bytes": 3.0},
    )


def columns(graph, **options):
    names, values = statistics(graph, **options)
    return dict(zip(names, values.T, strict=True))


def tile_graph(bounds, dims=(6, 10), order=(1, 0)):
    config_feat = np.zeros((len(bounds), 24), np.float32)
    config_feat[:, 8 : 8 + len(dims)] = bounds
    graph = tiled([(PARAMETER, dims, ()), (MULTIPLY, dims, ())], config_feat, root=1)
    graph.node_feat[1, 134 : 134 + len(order)] = order
    return graph


def tiled(nodes, config_feat, root):
    """A kernel of nodes as of `packed`, with (c, 24) columns of tiles."""
    graph = packed(nodes, [1], [[0, -1]], [], [(((1, 0),),)] * len(config_feat))
    graph.node_feat[root, 0] = 1
    layout = dict.fromkeys(("config_nodes", "codes", "triples", "contracted", "config_operands", "node_split"))
    return dataclasses.replace(
        graph, collection="tile:xla", config_feat=config_feat, normalizer=np.ones(len(config_feat), np.int64), **layout
    )
