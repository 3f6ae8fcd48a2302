"""Makes a stand-in of the competition's data at its size: `python -m benchmarks.synthesize FOLDER [--scale 0.1]`.

It writes FOLDER/npz_all in the official layout, with the published numbers of graphs, and with nodes, configurable
nodes and configurations drawn from the published ranges; run times follow from the configurations. --scale takes a
share of each split's graphs and does not make them smaller, so that the needs of the largest file appear at any scale.
The stand-in serves to measure seconds and bytes; scores of models on it mean nothing. Existing files stay, so the run
after an interrupted one goes on. It is larger on disk than the published data, because it is compressed for speed.
"""

from __future__ import annotations

import argparse
import os
import sys
import zipfile
from collections.abc import Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path

import numpy as np
from tqdm import tqdm

from benchmarks import synthetic
from stages.engine import files
from stages.graphs import npz
from stages.graphs.collection import COLLECTIONS, SPLITS, folder, is_tile
from stages.graphs.tensor_files import Pieces

#: graphs of train, valid and test
GRAPHS = {
    "tile:xla": (5709, 676, 844),
    "layout:xla:random": (69, 7, 8),
    "layout:xla:default": (61, 7, 8),
    "layout:nlp:random": (207, 20, 17),
    "layout:nlp:default": (198, 20, 17),
}
#: least, mean and most nodes of a graph, and least and most configurable nodes; as published, except for the least
#: nodes and the sizes of tile kernels
SIZES = {
    "xla": ((372, 13_894, 43_615), (20, 3143)),
    "nlp": ((500, 5_711, 21_919), (20, 848)),
    "tile": ((7, 40, 300), (2, 2)),
}
#: least and most configurations
CONFIGURATIONS = {"layout": (4_000, 100_040), "tile": (2, 8_600)}
TEST_CONFIGURATIONS = 1_000
LARGEST = 2_620_000_000 // 4  # values of node_config_feat in a file: 2.62 GB as float32
#: share of the nodes at which a configuration differs from the one before: 0.38 in unet3d of layout:xla:default
CHANGED = 0.38
CHUNK = 1 << 22  # values made at a time
LEVEL = 1  # of zlib: four times as fast as NumPy's 6, files twice as large, inflated as fast
SOURCES = 256  # configurations from which each node's layouts are taken


@dataclass(frozen=True)
class Size:
    """The sizes of one file."""

    collection: str
    split: str
    id: str
    nodes: int
    configurable: int
    configurations: int
    seed: int


def sizes(scale: float = 1.0, seed: int = 0) -> list[Size]:
    """The files of a data set that is a share of the published one, with at least two graphs of each split."""
    chosen = []
    for number, (collection, counts) in enumerate(GRAPHS.items()):
        for part, (split, count) in enumerate(zip(SPLITS, counts, strict=True)):
            rng = np.random.default_rng([seed, number, part])
            for number_of_graph in range(count):  # draw all of them, so that a graph is the same at any scale
                size = _size(rng, collection, split, number_of_graph, int(rng.integers(2**31)))
                if number_of_graph < max(2, round(scale * count)):
                    chosen.append(size)
    return chosen


def layouts(
    graph: npz.LayoutArrays, configurations: int, changed: float, seed: int = 0, chunk: int = CHUNK
) -> Iterator[np.ndarray]:
    """Yields node_config_feat (c, nc, 18) float32 in pieces along its first axis.

    Args:
        graph: a graph, whose configurations have the layouts that each node may take.
        configurations: their number c.
        changed: mean share of the nodes at which a configuration differs from the one before.
        seed: of the draws.
        chunk: values of a piece, about.
    """
    nodes = graph.node_config_feat.shape[1]
    distinct = [np.unique(graph.node_config_feat[:, node], axis=0) for node in range(nodes)]
    counts = np.array([len(choices) for choices in distinct], np.int32)
    starts = np.cumsum(counts, dtype=np.int32) - counts
    distinct = np.concatenate(distinct)
    others = (counts - 1).astype(np.float32)
    rng = np.random.default_rng(seed)
    rows = max(1, chunk // (nodes * npz.LAYOUT_FEATURES))
    picked = np.zeros((1, nodes), np.int32)
    for start in range(0, configurations, rows):
        shape = min(rows, configurations - start), nodes
        # One draw decides whether a node changes and, by its value below `changed`, how far it moves in its list.
        drawn = rng.random(shape, np.float32) / np.float32(changed)
        steps = np.where(drawn < 1, 1 + (drawn * others).astype(np.int32), 0)
        picked = (picked[-1] + np.cumsum(steps, axis=0, dtype=np.int32)) % counts
        yield distinct[starts + picked]


def write(path: str | Path, arrays: Iterable[tuple[str, np.ndarray | Pieces]], level: int = 6) -> None:
    """Writes an npz file as np.savez_compressed does.

    Args:
        path: the file.
        arrays: (name, array) pairs; each is taken when the one before is written. A float32 array that is too large for
            the memory comes as `Pieces`.
        level: zlib's; NumPy's is 6.
    """
    kind = {"compression": zipfile.ZIP_DEFLATED, "compresslevel": level}
    with files.replacing(path) as beside, zipfile.ZipFile(beside, "w", **kind) as archive:
        for name, array in arrays:
            with archive.open(f"{name}.npy", "w", force_zip64=True) as member:
                if isinstance(array, np.ndarray):
                    np.lib.format.write_array(member, array, allow_pickle=False)
                    continue
                header = {"descr": "<f4", "fortran_order": False, "shape": array.shape}
                np.lib.format.write_array_header_1_0(member, header)
                for piece in array.pieces:
                    member.write(np.ascontiguousarray(piece, "<f4").data)


def write_file(root: str | Path, size: Size) -> int:
    """Writes one file of the data set below ROOT if it is missing; returns its bytes."""
    path = folder(root, size.collection, size.split) / f"{size.id}.npz"
    if not path.exists():
        graph = synthetic.arrays(size.nodes, SOURCES, size.configurable, seed=size.seed)
        write(path, _arrays(graph, size), LEVEL)
    return path.stat().st_size


def _arrays(graph: npz.LayoutArrays, size: Size) -> Iterator[tuple[str, np.ndarray | Pieces]]:
    """Yields the arrays for `write`; the run times come after the layouts, on which they depend."""
    yield from ((name, getattr(graph, name)) for name in ("node_feat", "node_opcode", "edge_index"))
    if is_tile(size.collection):
        yield from _tiles(size).items()
        return
    yield "node_config_ids", graph.node_config_ids
    yield "node_splits", np.append(0, graph.node_splits)[None]
    rng = np.random.default_rng(size.seed)
    effect = rng.normal(scale=0.25 / np.sqrt(size.configurable), size=size.configurable * npz.LAYOUT_FEATURES)
    effect, costs = effect.astype(np.float32), []

    def pieces() -> Iterator[np.ndarray]:
        for piece in layouts(graph, size.configurations, CHANGED, size.seed):
            costs.append(piece.reshape(len(piece), -1) @ effect)
            yield piece

    yield "node_config_feat", Pieces((size.configurations, size.configurable, npz.LAYOUT_FEATURES), pieces())
    cost = np.concatenate(costs) + rng.normal(scale=0.01, size=size.configurations)
    runtime = 1e8 * np.exp(np.clip(cost, -10, 10)) * (size.split != "test")
    yield "config_runtime", runtime.astype(np.int64)


def _tiles(size: Size) -> dict[str, np.ndarray]:
    """config_feat, and run times that fall with the volume of the tile; placeholders in test."""
    rng = np.random.default_rng(size.seed)
    bounds = 2.0 ** rng.integers(0, 8, (size.configurations, 3))
    volume = bounds.prod(axis=1)
    features = np.zeros((size.configurations, npz.TILE_FEATURES), np.float32)
    features[:, 8:11], features[:, 14], features[:, 15] = bounds, bounds.sum(axis=1), volume
    runtime = (20_000 + 400_000 / np.sqrt(volume) + rng.integers(0, 500, len(volume))).astype(np.int64)
    normalizer = np.full(len(runtime), runtime.max())
    if size.split == "test":
        runtime, normalizer = np.zeros_like(runtime), np.ones_like(normalizer)
    return {"config_feat": features, "config_runtime": runtime, "config_runtime_normalizers": normalizer}


def _size(rng: np.random.Generator, collection: str, split: str, number: int, seed: int) -> Size:
    """Draws the sizes of a graph of a split; the first train graph of a layout collection has the largest."""
    source = "tile" if is_tile(collection) else collection.split(":")[1]
    (fewest, mean, most), (least, limit) = SIZES[source]
    nodes = int(np.clip(rng.lognormal(np.log(mean) - 0.32, 0.8), fewest, most))  # has this mean, except for the limits
    configurable = int(np.clip(nodes * rng.uniform(0.02, 0.08), least, min(limit, (nodes - 1) // synthetic.GAP)))
    few, many = CONFIGURATIONS["tile" if is_tile(collection) else "layout"]
    configurations = int(np.exp(rng.uniform(np.log(few), np.log(many))))
    if not is_tile(collection):
        largest = LARGEST // (configurable * npz.LAYOUT_FEATURES)
        configurations = TEST_CONFIGURATIONS if split == "test" else min(configurations, largest)
    if number == 0 and split == "train" and not is_tile(collection):
        nodes, configurable = most, limit
        configurations = LARGEST // (configurable * npz.LAYOUT_FEATURES)
    return Size(collection, split, f"{split}_{number:04d}", nodes, configurable, configurations, seed)


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--scale", type=float, default=1.0, help="share of the published number of graphs")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args(arguments)
    root = options.folder / "npz_all"
    planned = sorted(sizes(options.scale, options.seed), key=lambda size: -size.configurable * size.configurations)
    written = 0
    with ProcessPoolExecutor(os.cpu_count(), mp_context=get_context("forkserver")) as pool:
        futures = [pool.submit(write_file, root, size) for size in planned]
        for future in tqdm(as_completed(futures), "write", len(futures)):
            written += future.result()
    values = {name: 0 for name in COLLECTIONS}
    for size in planned:
        values[size.collection] += size.configurations * size.configurable
    pairs = ", ".join(f"{name} {count:,}" for name, count in values.items())
    print(f"{root}: {len(planned)} files, {written:,} bytes; configurations x configurable nodes: {pairs}")


if __name__ == "__main__":
    sys.exit(main())
