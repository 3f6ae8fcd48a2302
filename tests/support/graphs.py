"""Small model-ready graphs for the tests of the graph network, made by the stages that make the real ones."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import nn

from stages import pad
from stages.gnn.network import build
from stages.gnn.prepared_graph import PreparedGraph, prepare
from stages.gnn.settings import Settings
from stages.graphs import npz
from stages.graphs.collection import SPLITS, is_tile, slug
from stages.graphs.dataset import (
    PACKED_LAYOUT,
    PACKED_TILE,
    ModelGraph,
    graph_file,
    pad_folder,
    prune_folder,
    write_json,
    write_packed,
    write_padded,
)
from tests.support import samples
from tests.support.packing import packed as pack

LAYOUT, TILE = "layout:xla:random", "tile:xla"
torch.set_num_threads(1)  # on tensors this small threads only wait for one another
#: a network and a training of milliseconds
TINY = {"width": 8, "configurations": 6, "graphs": 2, "epochs": 2, "patience": 5, "learning_rate": 0.01, "dropout": 0.1}
TINY_SEGMENTS = {"partition": "contiguous", "segment_nodes": 5, "segments": 1, "finetune": 2}
#: tile graphs hold run times as whole numbers over a normaliser
_NORMALIZER = 1_000_000


def model_graph(
    collection: str,
    arrays: Mapping[str, np.ndarray] | npz.LayoutArrays | npz.TileArrays,
    id: str = "g",
    split: str = "train",
    hops: int | str = "all",
) -> ModelGraph:
    """A model-ready graph straight from the arrays of an npz file: packed and padded, scaled by ten, without scaler."""
    packed = replace(pack(arrays, hops, collection=collection), id=id, split=split)
    tile = None if packed.config_feat is None else pad.signed_log(packed.config_feat) / 10
    return ModelGraph(
        id=id,
        split=split,
        collection=collection,
        x=(pad.features(packed.node_feat, packed.node_opcode) / 10).astype(np.float32),
        opcode=packed.node_opcode.astype(np.int64),
        layout=pad.own_layout(packed.node_feat),
        edge_index=packed.edge_index.T.astype(np.int64),
        config_nodes=None if is_tile(collection) else packed.config_nodes.astype(np.int64),
        codes=packed.codes,
        triples=packed.triples,
        layout_config=pad.configuration_columns(packed).astype(np.float32) if tile is None else None,
        tile_config=tile,
        target=packed.target,
        config_index=packed.config_index,
        packed=packed,
    )


def sample(collection: str, seed: int = 0, choices: int | None = None, splits: int = 1, **sizes) -> ModelGraph:
    """A made-up graph; see `layout_arrays`."""
    if is_tile(collection):
        return model_graph(collection, samples.tile_arrays(seed=seed, **sizes), f"graph_{seed}")
    return model_graph(collection, layout_arrays(seed, choices, splits, **sizes), f"graph_{seed}")


def layout_arrays(seed: int = 0, choices: int | None = None, splits: int = 1, **sizes) -> dict[str, np.ndarray]:
    """`samples.layout_arrays` in which a node has so many different layouts (all differ by default), so that states
    repeat, and the published partition so many parts."""
    arrays = samples.layout_arrays(seed=seed, **sizes)
    layouts = arrays["node_config_feat"]
    if choices is not None:
        rng = np.random.default_rng(seed)
        taken = rng.integers(min(choices, len(layouts)), size=layouts.shape[:2])
        arrays["node_config_feat"] = layouts[taken, np.arange(layouts.shape[1])]
    ends = np.linspace(0, len(arrays["node_feat"]), splits + 1).astype(np.int64)
    return arrays | {"node_splits": ends[None]}


def side_by_side(*parts: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """One layout graph of several without an edge between them; the run times are those of the first."""
    first = np.cumsum([0, *(len(part["node_feat"]) for part in parts)])
    joined = {name: np.concatenate([part[name] for part in parts]) for name in ("node_feat", "node_opcode")}
    for name in ("edge_index", "node_config_ids"):
        joined[name] = np.concatenate([part[name] + start for part, start in zip(parts, first, strict=False)])
    return joined | {
        "node_config_feat": np.concatenate([part["node_config_feat"] for part in parts], axis=1),
        "config_runtime": parts[0]["config_runtime"],
        "node_splits": first[None],
    }


def untrained(static: PreparedGraph, settings: Settings, seed: int = 0) -> nn.Module:
    """A network for graphs like this one, in double precision and not training."""
    torch.manual_seed(seed)
    return build(static.graph.collection, static, settings).double().eval()


def prepared(graphs: list[ModelGraph], settings: Settings) -> list[PreparedGraph]:
    return [prepare(graph, settings.view(graph.collection)) for graph in graphs]


def write_data(data: Path, collection: str, graphs: Mapping[str, list[ModelGraph]]) -> None:
    """The folders of prune and pad, as the gnn stage finds them; x and target are those of the model-ready graph."""
    listed = {split: [{"id": graph.id} for graph in graphs.get(split, [])] for split in SPLITS}
    write_json(prune_folder(data, collection) / "manifest.json", {"collection": collection, "graphs": listed})
    tile = is_tile(collection)
    schema = PACKED_TILE if tile else PACKED_LAYOUT
    for split, members in graphs.items():
        for graph in members:
            tensors = {name: getattr(graph.packed, name) for name in schema if name != "whole_stats"}
            tensors["runtime"] = np.round(graph.target * (_NORMALIZER if tile else 1))
            padded = {"x": graph.x, "opcode": graph.opcode, "layout": graph.layout}
            if tile:
                tensors["normalizer"] = np.full(graph.configurations, _NORMALIZER)
                padded["tile_config"] = graph.tile_config
            else:
                padded["layout_config"] = graph.layout_config
            write_packed(graph_file(prune_folder(data, collection), split, graph.id), tensors, graph.packed.whole)
            write_padded(graph_file(pad_folder(data, collection), split, graph.id), padded)


def made_up(collection: str, **sizes) -> dict[str, list[ModelGraph]]:
    """Two made-up graphs of every split."""
    return {split: [sample(collection, 10 * i + j, **sizes) for j in range(2)] for i, split in enumerate(SPLITS)}


def outputs(data: Path, collection: str) -> dict[str, bytes]:
    """The files that the gnn stage wrote, by name."""
    folder = data / "gnn" / slug(collection)
    return {path.name: path.read_bytes() for path in folder.iterdir()}
