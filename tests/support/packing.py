"""Packed graphs of made-up arrays, by way of an npz file: as the prune stage makes the real ones."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
from hypothesis import strategies as st

from stages.graphs import npz
from stages.graphs.dataset import PACKED_LAYOUT, PACKED_TILE, PackedGraph, graph, graph_file, prune_folder
from stages.graphs.tensors import ROOT
from stages.prune.packing import Options, pack
from tests.support.samples import save

LAYOUT, TILE = "layout:xla:random", "tile:xla"
#: equal configurations stay in test, and no other option of a layout graph depends on the split
EVERY_CONFIGURATION, TRAIN = "test", "train"


def packed(
    arrays: Mapping[str, np.ndarray] | npz.LayoutArrays | npz.TileArrays,
    hops: int | str = 1,
    neighbour_edges: bool = False,
    duplicates: str | None = None,
    collection: str | None = None,
) -> PackedGraph:
    """The packed graph of an npz file with these arrays; its own arrays may be written to.

    Args:
        arrays: Of a layout or a tile file.
        hops: As in `Options`, and so are neighbour_edges and duplicates; with None for duplicates every configuration
            stays.
        collection: Official name; by default one of the right kind.
    """
    arrays = dict(arrays if isinstance(arrays, Mapping) else vars(arrays))
    tile = "config_feat" in arrays
    collection = collection or (TILE if tile else LAYOUT)
    if not tile:
        arrays["node_splits"] = np.atleast_2d(arrays["node_splits"])
    options = None if tile else Options(hops, neighbour_edges, duplicates=duplicates or "first")
    split = TRAIN if duplicates else EVERY_CONFIGURATION
    with tempfile.TemporaryDirectory() as data:
        file = save(Path(data, "graph.npz"), arrays)
        pack(file, graph_file(prune_folder(data, collection), split, "graph"), split, options)
        made = graph(data, collection, split, "graph")
        schema = PACKED_TILE if tile else PACKED_LAYOUT
        return replace(made, **{name: np.array(getattr(made, name)) for name in schema if name != "whole_stats"})


def arrays_of(nodes, edges, ids, layouts=None, runtime=None, splits=None):
    """A graph whose node i has i in every feature column but the root's, so that a node can be told after pruning."""
    layouts = np.full((1, len(ids), 18), -1) if layouts is None else layouts
    features = np.repeat(np.arange(nodes, dtype=np.float32)[:, None], 140, 1)
    features[:, ROOT] = 0
    return npz.LayoutArrays(
        node_feat=features,
        node_opcode=np.arange(nodes).astype(np.uint8),
        edge_index=np.array(edges, np.int64).reshape(-1, 2),
        node_splits=np.array([0, nodes] if splits is None else splits),
        node_config_feat=np.asarray(layouts, np.float32),
        node_config_ids=np.array(ids, np.int64),
        config_runtime=np.arange(len(layouts)) + 1 if runtime is None else np.array(runtime),
    )


# A chain 6 -> 5 -> ... -> 0 with two shortcuts: 4 -> 2 joins two neighbours of 3, 5 -> 1 two nodes two steps away.
CHAIN = [(1, 0), (2, 1), (3, 2), (4, 3), (4, 2), (5, 4), (5, 1), (6, 5)]


@st.composite
def graphs(draw):
    nodes = draw(st.integers(2, 12))
    pairs = [(u, v) for u in range(nodes) for v in range(u)]
    edges = draw(st.lists(st.sampled_from(pairs), unique=True, max_size=25))
    names = draw(st.permutations(range(nodes)))  # so that nodes are not always in topological order
    ids = draw(st.lists(st.sampled_from(range(nodes)), unique=True, min_size=1))
    seed = draw(st.integers(0, 1000))
    layouts = np.random.default_rng(seed).integers(-1, 6, (draw(st.integers(1, 6)), len(ids), 18))
    layouts[draw(st.integers(0, len(layouts) - 1))] = layouts[0]
    return arrays_of(nodes, [(names[u], names[v]) for u, v in edges], ids, layouts)
