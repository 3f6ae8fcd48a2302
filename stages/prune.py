"""Prune: npz files to packed graphs, cut down to what lies near the configurable nodes.

Cutting is the first place's (Kaggle discussion 456343): configurable nodes and their neighbours, and of the edges those
that touch a configurable node. `hops` widens it. Statistics of the whole graph are taken before the cut.
"""

from __future__ import annotations

import numpy as np
import polars as pl
from tqdm import tqdm

from stages import dataset, npz
from stages.collection import SPLITS, is_tile
from stages.errors import InputError
from stages.hlo.opcodes import CONVOLUTION, DOT, OPCODES, PARAMETER, RESHAPE
from stages.operands import config_operands
from stages.tensors import ELEMENTS, ROOT, element_bytes
from stages.topology import operands, topological_order

DUPLICATES = ("first", "mean", "minimum")
MOST_TRIPLES = 65_535
CHUNK_VALUES = 1 << 21  # layout values encoded together: 16 MB of intermediate numbers
_RADIX = npz.LAYOUT_RANGE[1] - npz.LAYOUT_RANGE[0] + 1
_POWERS = _RADIX ** np.arange(npz.LAYOUT_FEATURES, dtype=np.int64)


def run(
    *,
    collection: str,
    root: str,
    hops: int | str = 1,
    neighbour_edges: bool = False,
    duplicates: str = "first",
    data: str = "data",
) -> pl.DataFrame:
    """Packs every npz file of `collection` below `root` into DATA/prune/SLUG; each is read once.

    hops: how many undirected steps from a configurable node are kept, or "all". neighbour_edges: also keep edges
    between two nodes of the outermost step. duplicates: which run time equal configurations of a train graph keep,
    "first", "mean" or "minimum"; in valid and test every configuration stays. Tile graphs are packed whole.

    Returns a row per graph: split, id, whole_nodes, nodes, whole_edges, edges, configurable, configurations (in the
    file) and distinct (different ones among them). InputError: a folder without files, a faulty file or parameter.
    """
    _check(hops, duplicates)
    files = {split: npz.files(root, collection, split) for split in SPLITS}
    folder = dataset.prune_folder(data, collection)
    (folder / "manifest.json").unlink(missing_ok=True)  # so that a run cut short is not taken for a finished one
    rows, listed = [], {split: [] for split in SPLITS}
    with tqdm(total=sum(map(len, files.values())), desc=f"prune {collection}", mininterval=2) as progress:
        for split in SPLITS:
            for file in files[split]:
                arrays = npz.read(file, collection)
                if split != "test" and not arrays.config_runtime.all():
                    raise InputError(f"{file}: config_runtime has a zero; a {split} file needs all of its run times")
                kept = duplicates if split == "train" else None
                try:
                    tensors, whole = pack(arrays, hops, neighbour_edges, kept)
                except InputError as error:
                    raise InputError(f"{file}: {error}") from None
                dataset.write_packed(dataset.graph_file(folder, split, file.stem), tensors, whole)
                rows.append({"split": split, "id": file.stem} | _row(arrays, tensors))
                listed[split].append(_entry(file.stem, arrays, tensors))
                progress.update()
    dataset.remove_stale(folder, {split: [graph["id"] for graph in listed[split]] for split in SPLITS})
    options = (
        {} if is_tile(collection) else {"hops": hops, "neighbour_edges": neighbour_edges, "duplicates": duplicates}
    )
    dataset.write_json(folder / "manifest.json", {"collection": collection, **options, "graphs": listed})
    return pl.DataFrame(rows)


def pack(
    arrays: npz.LayoutArrays | npz.TileArrays,
    hops: int | str = 1,
    neighbour_edges: bool = False,
    duplicates: str | None = None,
) -> tuple[dict[str, np.ndarray], dict[str, float]]:
    """Tensors of a packed graph, as `dataset.PackedGraph` describes them, and the statistics of its whole graph.

    hops, neighbour_edges, duplicates: as in `run`; with None for duplicates every configuration stays. InputError where
    the configurations have more than 65,535 distinct layout triples.
    """
    common = {
        "whole_opcodes": np.bincount(arrays.node_opcode, minlength=OPCODES),
        "runtime": arrays.config_runtime,
        "config_index": np.arange(len(arrays.config_runtime)),
    }
    if isinstance(arrays, npz.TileArrays):
        graph = {"node_feat": arrays.node_feat, "node_opcode": arrays.node_opcode, "edge_index": arrays.edge_index}
        config = {"config_feat": arrays.config_feat, "normalizer": arrays.config_runtime_normalizers}
        return common | graph | config, statistics(arrays, np.empty(0, np.int64), 0)
    codes, triples = encode(arrays.node_config_feat)
    if duplicates:
        first, runtime = distinct(codes, arrays.config_runtime, duplicates)
        common |= {"runtime": runtime, "config_index": first}
        codes = codes[first]
    order = topological_order(len(arrays.node_feat), arrays.edge_index)
    contracted = contract(order, arrays.edge_index, arrays.node_config_ids)
    graph = cut(arrays, hops, neighbour_edges)
    config = {"codes": codes, "triples": triples, "contracted": contracted}
    return common | graph | config, statistics(arrays, arrays.node_config_ids, len(contracted))


def cut(arrays: npz.LayoutArrays, hops: int | str, neighbour_edges: bool) -> dict[str, np.ndarray]:
    """The nodes within `hops` undirected steps of a configurable node, and edges among them, renumbered.

    Without `neighbour_edges` an edge stays only if one of its ends lies within hops - 1 steps. Returns node_feat,
    node_opcode, node_split, edge_index, config_nodes and config_operands; nodes and edges keep their order.
    """
    consumer, producer = arrays.edge_index.T
    ids = arrays.node_config_ids
    kept = np.ones(len(arrays.node_feat), bool)
    edges = np.ones(len(consumer), bool)
    if hops != "all":
        kept[:] = False
        kept[ids] = True
        for _ in range(hops):
            inner = kept.copy()
            edges = inner[consumer] | inner[producer]
            kept[consumer[edges]] = kept[producer[edges]] = True
            if (kept == inner).all():  # further steps add nothing, and `hops` may be any number
                break
        if neighbour_edges:
            edges = kept[consumer] & kept[producer]
    number = np.cumsum(kept) - 1
    configured = config_operands(arrays.node_feat, arrays.node_opcode, arrays.edge_index, ids)
    return {
        "node_feat": arrays.node_feat[kept],
        "node_opcode": arrays.node_opcode[kept],
        "node_split": np.searchsorted(arrays.node_splits, np.flatnonzero(kept), side="right"),
        "edge_index": number[arrays.edge_index[edges]],
        "config_nodes": number[ids],
        "config_operands": np.where(configured >= 0, number[configured], -1),
    }


def encode(layouts: np.ndarray, chunk_values: int = CHUNK_VALUES) -> tuple[np.ndarray, np.ndarray]:
    """Layouts (c, nc, 18), whole numbers in -1..5, as codes (c, nc) uint16 into the distinct triples (t, 18) int8.

    Triples are sorted, so the result does not depend on `chunk_values`, how many values are encoded together. A triple
    is a number of 18 digits in base 7, below 2^51 and so exact in float64. InputError beyond 65,535 triples.
    """
    configurations, configurable, _ = layouts.shape
    codes = np.empty((configurations, configurable), np.uint16)
    known, number = np.empty(0, np.int64), np.empty(0, np.uint16)  # sorted triples and their order of appearance
    rows = max(1, chunk_values // layouts[0].size)
    for start in range(0, configurations, rows):
        keys = _keys(layouts[start : start + rows])
        fresh = np.setdiff1d(keys, known)
        if len(fresh):
            if len(known) + len(fresh) > MOST_TRIPLES:
                raise InputError(f"more than {MOST_TRIPLES} distinct layouts of a node; leave the graph out")
            number = np.concatenate([number, np.arange(len(known), len(known) + len(fresh), dtype=np.uint16)])
            known = np.concatenate([known, fresh])
            order = np.argsort(known)
            known, number = known[order], number[order]
        codes[start : start + rows] = number[np.searchsorted(known, keys)]
    sorted_number = np.empty(len(known), np.uint16)
    sorted_number[number] = np.arange(len(known))
    for start in range(0, configurations, rows):
        codes[start : start + rows] = sorted_number[codes[start : start + rows]]
    digits = known[:, None] // _POWERS % _RADIX
    return codes, (digits + npz.LAYOUT_RANGE[0]).astype(np.int8)


def distinct(codes: np.ndarray, runtime: np.ndarray, duplicates: str) -> tuple[np.ndarray, np.ndarray]:
    """Places (k,) of the first of each set of equal configurations, and their run times (k,) int64 in nanoseconds.

    codes (c, nc); runtime (c,); duplicates: "first", "mean" (rounded) or "minimum" of the set's run times.
    """
    groups: dict[bytes, int] = {}
    group = np.array([groups.setdefault(row.tobytes(), len(groups)) for row in codes])
    first = np.unique(group, return_index=True)[1]
    if duplicates == "first":
        return first, runtime[first]
    if duplicates == "minimum":
        least = runtime[first]
        np.minimum.at(least, group, runtime)
        return first, least
    total = np.zeros(len(first), np.int64)
    np.add.at(total, group, runtime)
    return first, np.rint(total / np.bincount(group)).astype(np.int64)


def contract(order: np.ndarray, edge_index: np.ndarray, config_nodes: np.ndarray) -> np.ndarray:
    """Pairs (k, 2) int32 of places in config_nodes, [consumer, producer], sorted: a path leads from the consumer down
    to the producer and meets no other configurable node.

    order (n,): producers before consumers. One pass, with a set of configurable nodes at every node: n * nc / 8 bytes,
    17 MB for the largest published graph.
    """
    place = np.full(len(order), -1)
    place[config_nodes] = np.arange(len(config_nodes))
    starts, producers = operands(len(order), edge_index)
    seen = np.zeros((len(order), -(-len(config_nodes) // 8)), np.uint8)  # what a consumer of the node meets through it
    pairs: list[np.ndarray] = [np.empty((0, 2), np.int32)]
    for node in order:
        below = np.bitwise_or.reduce(seen[producers[starts[node] : starts[node + 1]]], axis=0)
        if place[node] < 0:
            seen[node] = below
            continue
        seen[node, place[node] // 8] = 1 << place[node] % 8
        met = np.flatnonzero(np.unpackbits(below, bitorder="little"))
        pairs.append(np.stack([np.full(len(met), place[node]), met], axis=1).astype(np.int32))
    found = np.concatenate(pairs)
    return found[np.lexsort((found[:, 1], found[:, 0]))]


def statistics(
    arrays: npz.LayoutArrays | npz.TileArrays, config_nodes: np.ndarray, contracted: int
) -> dict[str, float]:
    """Statistics of the whole graph by name: counts, longest path, and log(1 + sums) of elements and bytes."""
    feat, opcode = arrays.node_feat, arrays.node_opcode
    elements = feat[:, ELEMENTS].astype(np.float64)
    size = elements * element_bytes(feat)
    counts = {
        "nodes": len(feat),
        "edges": len(arrays.edge_index),
        "roots": feat[:, ROOT].sum(),
        "depth": _depth(topological_order(len(feat), arrays.edge_index), arrays.edge_index),
        "configurable": len(config_nodes),
        "contracted": contracted,
    }
    sums = {
        "elements": elements.sum(),
        "bytes": size.sum(),
        "largest_bytes": size.max(),
        "parameter_bytes": size[opcode == PARAMETER].sum(),
        "configurable_bytes": size[config_nodes].sum(),
        "convolution_elements": elements[opcode == CONVOLUTION].sum(),
        "dot_elements": elements[opcode == DOT].sum(),
        "reshape_elements": elements[opcode == RESHAPE].sum(),
    }
    logs = {f"log_{name}": np.log1p(max(value, 0)) for name, value in sums.items()}
    return {name: float(value) for name, value in (counts | logs).items()}


def _check(hops: int | str, duplicates: str) -> None:
    whole_number = isinstance(hops, int) and not isinstance(hops, bool) and hops >= 1
    if hops != "all" and not whole_number:
        raise InputError(f"prune.hops: {hops!r} is neither a whole number from 1 nor 'all'; mend params.yaml")
    if duplicates not in DUPLICATES:
        raise InputError(f"prune.duplicates: {duplicates!r} is none of {', '.join(DUPLICATES)}; mend params.yaml")


def _keys(layouts: np.ndarray) -> np.ndarray:
    """Each layout triple as one number, (c, nc) int64."""
    shifted = layouts @ _POWERS.astype(np.float64) - npz.LAYOUT_RANGE[0] * _POWERS.sum()
    return shifted.astype(np.int64)


def _depth(order: np.ndarray, edge_index: np.ndarray) -> int:
    """Nodes on the longest path."""
    starts, producers = (array.tolist() for array in operands(len(order), edge_index))
    height = [0] * len(order)
    for node in order.tolist():
        height[node] = 1 + max((height[operand] for operand in producers[starts[node] : starts[node + 1]]), default=0)
    return max(height)


def _row(arrays: npz.LayoutArrays | npz.TileArrays, tensors: dict[str, np.ndarray]) -> dict[str, int]:
    kinds = tensors["config_feat" if "config_feat" in tensors else "codes"]
    return {
        "whole_nodes": len(arrays.node_feat),
        "nodes": len(tensors["node_feat"]),
        "whole_edges": len(arrays.edge_index),
        "edges": len(tensors["edge_index"]),
        "configurable": len(tensors.get("config_nodes", ())),
        "configurations": len(arrays.config_runtime),
        "distinct": len({row.tobytes() for row in kinds}),
    }


def _entry(id: str, arrays: npz.LayoutArrays | npz.TileArrays, tensors: dict[str, np.ndarray]) -> dict[str, str | int]:
    row = _row(arrays, tensors)
    kept = {key: row[key] for key in ("nodes", "whole_nodes", "edges", "configurable")}
    return {"id": id} | kept | {"configurations": len(tensors["runtime"])}
