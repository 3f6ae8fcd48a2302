"""Packed graphs, as the prune stage writes them, and model-ready ones, joined from what prune and pad write.

data/prune/SLUG/manifest.json                 which graphs there are; nobody lists a folder
data/prune/SLUG/SPLIT/ID.safetensors          `PackedGraph`
data/pad/SLUG/scaler.json                     columns kept, means and standard deviations
data/pad/SLUG/SPLIT/ID.safetensors            the features of `ModelGraph`
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from stages.engine import files
from stages.engine.errors import InputError
from stages.graphs.collection import SPLITS, is_tile, slug
from stages.graphs.tensor_files import Pieces, read_tensors, write_tensors

PACKED = {
    "node_feat": np.float32,
    "node_opcode": np.uint8,
    "edge_index": np.int32,
    "runtime": np.int64,
    "config_index": np.int64,
    "whole_opcodes": np.int64,
    "whole_stats": np.float64,
}
PACKED_LAYOUT = PACKED | {
    "node_split": np.int32,
    "config_nodes": np.int32,
    "codes": np.uint16,
    "triples": np.int8,
    "contracted": np.int32,
    "config_operands": np.int32,
    "whole_nodes": np.int32,
    "whole_edges": np.int32,
    "whole_slots": np.int32,
}
PACKED_TILE = PACKED | {"config_feat": np.float32, "normalizer": np.int64}
PADDED = {"x": np.float32, "opcode": np.uint8, "layout": np.int8}
PADDED_LAYOUT = PADDED | {"layout_config": np.float32}
PADDED_TILE = PADDED | {"tile_config": np.float32}


@dataclass(frozen=True, eq=False)
class PackedGraph:
    """One graph with its configurations: n nodes left by pruning, m edges, c configurations of nc configurable nodes.

    Arrays are read-only; those of layout graphs are memory-mapped. What only the other kind of graph has is None.

    Attributes:
        id: The graph's id, the name of its npz file.
        split: Its split.
        collection: Official name.
        node_feat: (n, 140) float32.
        node_opcode: (n,) uint8.
        edge_index: (m, 2) int32; an edge [u, v] says that u consumes the output of v.
        node_split: (n,) int32; the part of the published partition that a node is in. Layout graphs.
        config_nodes: (nc,) int32; the configurable nodes. Layout graphs.
        codes: (c, nc) uint16; indices into triples. Layout graphs.
        triples: (t, 18) int8; the distinct output, input and kernel layouts of this graph. Layout graphs.
        contracted: (k, 2) int32; pairs [consumer, producer] of indices into config_nodes between which the whole graph
            has a path without another configurable node. Layout graphs.
        config_operands: (nc, 2) int32; the nodes that compute the input and the kernel of each configurable node, -1
            for none. Layout graphs.
        config_feat: (c, 24) float32. Tile graphs.
        normalizer: (c,) int64 in nanoseconds. Tile graphs.
        runtime: (c,) int64 in nanoseconds; zeros in test.
        config_index: (c,) int64; the number of each configuration in the npz file.
        whole_opcodes: (121,) int64; counts of the opcodes of the unpruned graph.
        whole_nodes: (N, 21) int32; what `whole_program` says of the unpruned graph's nodes. Layout graphs.
        whole_edges: (M, 2) int32; its edges. Layout graphs.
        whole_slots: (nc, 3) int32; its nodes that compute each configurable node's output, input and kernel, -1 for
            none. Layout graphs.
        whole: The other statistics of the unpruned graph, by name.
    """

    id: str
    split: str
    collection: str
    node_feat: np.ndarray
    node_opcode: np.ndarray
    edge_index: np.ndarray
    node_split: np.ndarray | None
    config_nodes: np.ndarray | None
    codes: np.ndarray | None
    triples: np.ndarray | None
    contracted: np.ndarray | None
    config_operands: np.ndarray | None
    config_feat: np.ndarray | None
    normalizer: np.ndarray | None
    runtime: np.ndarray
    config_index: np.ndarray
    whole_opcodes: np.ndarray
    whole_nodes: np.ndarray | None
    whole_edges: np.ndarray | None
    whole_slots: np.ndarray | None
    whole: dict[str, float]

    @property
    def configurations(self) -> int:
        return len(self.runtime)

    @property
    def nodes(self) -> int:
        return len(self.node_opcode)

    @property
    def target(self) -> np.ndarray:
        """(c,) float64, what is ranked: the run time in nanoseconds, for tiles divided by its normalizer."""
        return self.runtime.astype(np.float64) if self.normalizer is None else self.runtime / self.normalizer

    def layouts(self, indices: np.ndarray | slice | None = None) -> np.ndarray:
        """Decodes configurations.

        Args:
            indices: Which of them; by default all c.

        Returns:
            (k, nc, 18) int8; the output, input and kernel layout of each configurable node.
        """
        return self.triples[self.codes[slice(None) if indices is None else indices]]

    def taking(self, rows: np.ndarray) -> PackedGraph:
        """The graph with these of its configurations alone, in memory."""
        of_configurations = ("codes", "config_feat", "normalizer", "runtime", "config_index")
        taken = {name: array[rows] for name in of_configurations if (array := getattr(self, name)) is not None}
        return replace(self, **taken)


@dataclass(frozen=True, eq=False)
class ModelGraph:
    """What the graph network needs of one graph: n nodes, m edges, c configurations of nc configurable nodes.

    What only the other kind of graph has is None.

    Attributes:
        id: As in `PackedGraph`, and so are split and collection.
        x: (n, F) float32; scaled node features.
        opcode: (n,) uint8.
        layout: (n, 6) int8; a node's own minor-to-major order, padded with -1.
        edge_index: (2, m) int64; consumers in row 0, producers in row 1.
        config_nodes: (nc,) int64. Layout graphs.
        codes: (c, nc) uint16, memory-mapped; indices into triples. Layout graphs.
        triples: (t, 18) int8. Layout graphs.
        layout_config: (c, L) float32; what layout assignment makes of each configuration, scaled. Layout graphs.
        tile_config: (c, G) float32, scaled. Tile graphs.
        target: (c,) float64 as in `PackedGraph`; zeros in test.
        config_index: (c,) int64, as in `PackedGraph`.
        packed: The graph as the prune stage left it.
    """

    id: str
    split: str
    collection: str
    x: np.ndarray
    opcode: np.ndarray
    layout: np.ndarray
    edge_index: np.ndarray
    config_nodes: np.ndarray | None
    codes: np.ndarray | None
    triples: np.ndarray | None
    layout_config: np.ndarray | None
    tile_config: np.ndarray | None
    target: np.ndarray
    config_index: np.ndarray
    packed: PackedGraph

    @property
    def configurations(self) -> int:
        return len(self.target)


def prune_folder(data: str | Path, collection: str) -> Path:
    """Where the packed graphs of a collection lie below `data`."""
    return Path(data, "prune", slug(collection))


def pad_folder(data: str | Path, collection: str) -> Path:
    """Where the model-ready features of a collection lie below `data`."""
    return Path(data, "pad", slug(collection))


def graph_file(folder: str | Path, split: str, id: str) -> Path:
    """File of one graph below the folder of a stage and collection."""
    return Path(folder, split, f"{id}.safetensors")


def manifest(folder: str | Path) -> dict:
    """Reads the manifest of a prune folder.

    Args:
        folder: DATA/prune/SLUG.

    Returns:
        {"collection", "hops", ..., "graphs": {split: [{"id", "nodes", "whole_nodes", ...}, ...]}}.

    Raises:
        InputError: There is none, or it is no JSON.
    """
    path = Path(folder, "manifest.json")
    try:
        return json.loads(path.read_text())
    except FileNotFoundError:
        raise InputError(f"{path}: no such file; run the prune stage of this collection first") from None
    except ValueError:
        raise InputError(f"{path}: is no JSON; run the prune stage of this collection again") from None


def graph_ids(data: str | Path, collection: str, split: str) -> list[str]:
    """Ids of the packed graphs of a split, sorted; InputError for what is no split, or where prune has not run."""
    if split not in SPLITS:
        raise InputError(f"{split!r} is no split: use one of {', '.join(SPLITS)}")
    return [graph["id"] for graph in manifest(prune_folder(data, collection))["graphs"][split]]


def graph(data: str | Path, collection: str, split: str, id: str) -> PackedGraph:
    """One packed graph, as in `graphs`."""
    path = graph_file(prune_folder(data, collection), split, id)
    tile = is_tile(collection)
    tensors, names = _read(path, PACKED_TILE if tile else PACKED_LAYOUT, mapped=not tile)
    whole = dict(zip(names["whole_stats"], tensors.pop("whole_stats").tolist(), strict=True))
    absent = dict.fromkeys((PACKED_LAYOUT if tile else PACKED_TILE).keys() - tensors.keys() - {"whole_stats"})
    return PackedGraph(id=id, split=split, collection=collection, whole=whole, **tensors, **absent)


def graphs(data: str | Path, collection: str, split: str) -> list[PackedGraph]:
    """Reads the packed graphs of a split.

    This is cheap for layout graphs, whose files are memory-mapped. Tile graphs are read: they are small, and thousands
    of maps would use up the process's file descriptors.

    Args:
        data: The folder of all outputs.
        collection: Official name.
        split: One of `SPLITS`.

    Returns:
        The graphs, sorted by id.

    Raises:
        InputError: The prune stage has not run, or a file is damaged.
    """
    return [graph(data, collection, split, id) for id in graph_ids(data, collection, split)]


def model_graph(data: str | Path, collection: str, split: str, id: str) -> ModelGraph:
    """One model-ready graph, as in `model_graphs`."""
    return _model_graph(data, graph(data, collection, split, id))


def model_graphs(data: str | Path, collection: str, split: str) -> list[ModelGraph]:
    """Reads the model-ready graphs of a split, as `graphs` does the packed ones.

    Raises:
        InputError: Prune or pad have not run, or pad ran on other graphs; or a file is damaged.
    """
    return [_model_graph(data, packed) for packed in graphs(data, collection, split)]


def write_packed(path: str | Path, tensors: Mapping[str, np.ndarray | Pieces], whole: Mapping[str, float]) -> None:
    """Writes one packed graph, a tensor for each array of `PackedGraph`, and the statistics of its whole graph."""
    schema = PACKED_LAYOUT if "codes" in tensors else PACKED_TILE
    statistics = np.array(list(whole.values()))
    write_tensors(path, {**tensors, "whole_stats": statistics}, schema, {"whole_stats": list(whole)})


def write_padded(path: str | Path, tensors: Mapping[str, np.ndarray]) -> None:
    """Writes the model-ready features of one graph: x, opcode, layout, and tile_config or layout_config."""
    write_tensors(path, tensors, PADDED_TILE if "tile_config" in tensors else PADDED_LAYOUT, {})


def write_json(path: str | Path, content: dict) -> None:
    """Writes a manifest or a scaler, whole or not at all."""
    files.replace(path, (json.dumps(content, indent=1) + "\n").encode())


def remove_stale(folder: str | Path, ids: Mapping[str, Collection[str]]) -> None:
    """Removes what an earlier run left: files in FOLDER/SPLIT of graphs that are not among `ids` of that split."""
    for split, current in ids.items():
        names = {graph_file(folder, split, id).name for id in current}
        for path in Path(folder, split).iterdir():
            if path.name not in names:
                path.unlink()


def _model_graph(data: str | Path, packed: PackedGraph) -> ModelGraph:
    path = graph_file(pad_folder(data, packed.collection), packed.split, packed.id)
    tile = is_tile(packed.collection)
    padded, _ = _read(path, PADDED_TILE if tile else PADDED_LAYOUT, mapped=not tile)
    configured = padded["tile_config" if tile else "layout_config"]
    if len(padded["x"]) != packed.nodes or len(configured) != packed.configurations:
        raise InputError(f"{path}: was made from another pruned graph; run the pad stage again")
    return ModelGraph(
        id=packed.id,
        split=packed.split,
        collection=packed.collection,
        x=padded["x"],
        opcode=padded["opcode"],
        layout=padded["layout"],
        edge_index=np.ascontiguousarray(packed.edge_index.T, dtype=np.int64),
        config_nodes=None if tile else packed.config_nodes.astype(np.int64),
        codes=packed.codes,
        triples=None if tile else packed.triples.copy(),
        layout_config=None if tile else configured,
        tile_config=configured if tile else None,
        target=packed.target,
        config_index=packed.config_index.copy(),
        packed=packed,
    )


def _read(path: Path, schema: dict, mapped: bool) -> tuple[dict[str, np.ndarray], dict]:
    tensors, names = read_tensors(path, mapped)
    wrong = [name for name in schema if name not in tensors or tensors[name].dtype != schema[name]]
    if wrong or tensors.keys() != schema.keys():
        raise InputError(f"{path}: has other tensors than {', '.join(schema)}; run the stage that writes it again")
    return tensors, names
