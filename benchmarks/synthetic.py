"""Makes up layout graphs of any size in the official format, for sizes that our real files do not have.

A program is a trunk of element-wise operations with convolutions, dots and reshapes. Parameters feed it, and it has
short skip connections. The nodes are in topological order, as in published files. Its configurations are like those of
a search around one good configuration: each differs from it at a few nodes, and a node has few layouts. (In unet3d of
layout:xla:default a node has 4 layouts at the median, and 56 of 2,774 nodes are configurable.)
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np

from stages import pad
from stages.graphs import dataset, npz
from stages.graphs.collection import SPLITS
from stages.graphs.opcodes import CONVOLUTION, DOT, OPCODE_NUMBERS, PARAMETER, RESHAPE
from stages.graphs.tensors import ELEMENTS, LAYOUT, ROOT, SHAPE
from stages.prune import packing

COLLECTION = "layout:xla:default"
ELEMENTWISE = [OPCODE_NUMBERS[name] for name in ("add", "maximum", "multiply", "subtract", "tanh")]
SHARE = 0.05  # configurable nodes of a whole graph
LAYOUTS = 4  # of a configurable node
MUTATED = (0.01, 0.05)  # share of the nodes at which a configuration differs from the base
LEAVES = 0.4  # share of nodes drawn as parameters; one directly after another becomes an operation
SKIPS = 0.25  # operations with an operand from further up
LONGEST_SKIP = 12  # operations
GAP = 3  # least distance of configurable nodes, because each has a parameter of its own before it
BATCH, SIDE, CHANNELS = 8, 16, (64, 128, 256)
F32 = 13
PARAMETER_NUMBER = 30
CONVOLUTION_COLUMNS = {94: 3, 95: 1, 96: 2, 99: 2, 100: 3, 102: 1, 106: 3, 107: 1, 108: 1}  # NHWC, HWIO; others are 0
PRODUCTS_OVER_NOTHING = (44, 52, 60, 68, 76, 84, 112, 116, 120, 124, 128, 132)


def arrays(nodes: int, configurations: int, configurable: int | None = None, seed: int = 0) -> npz.LayoutArrays:
    """Makes a whole graph.

    Args:
        nodes: their number.
        configurations: their number.
        configurable: number of configurable nodes, a third of the nodes at most; None for a share of `SHARE`.
        seed: of the draws.
    """
    rng = np.random.default_rng(seed)
    count = configurable or max(2, round(SHARE * nodes))
    ids = GAP * (1 + np.sort(rng.choice((nodes - 1) // GAP, count, replace=False)))
    leaf = rng.random(nodes) < LEAVES
    leaf[0], leaf[1:] = True, leaf[1:] & ~leaf[:-1]
    leaf[ids - 1], leaf[ids] = True, False
    # Reshapes lead from images, which are convolved, to matrices, which are multiplied, and back.
    reshape = rng.random(count) < 0.2
    rank = 4 - np.cumsum(reshape) % 2
    kind = np.where(reshape, RESHAPE, np.where(rank == 4, CONVOLUTION, DOT))
    opcode = rng.choice(ELEMENTWISE, nodes)
    opcode[leaf], opcode[ids] = PARAMETER, kind
    layouts, runtime = _configurations(rng, kind, rank, configurations)
    return npz.LayoutArrays(
        node_feat=_features(rng, opcode, ids, kind, rank),
        node_opcode=opcode.astype(np.uint8),
        edge_index=_edges(rng, leaf, ids[kind != RESHAPE], np.setdiff1d(np.flatnonzero(~leaf), ids)),
        node_splits=np.append(np.arange(1000, nodes, 1000), nodes),
        node_config_feat=layouts,
        node_config_ids=ids,
        config_runtime=runtime,
    )


def write(folder: str | Path, whole: npz.LayoutArrays, hops: int | str = 1) -> None:
    """Writes the graph below `folder` as the prune and pad stages do, as the only train graph of `COLLECTION`."""
    pruned, padded = dataset.prune_folder(folder, COLLECTION), dataset.pad_folder(folder, COLLECTION)
    pack(whole, dataset.graph_file(pruned, "train", "synthetic"), hops)
    listed = {split: [{"id": "synthetic"}] if split == "train" else [] for split in SPLITS}
    dataset.write_json(pruned / "manifest.json", {"collection": COLLECTION, "hops": hops, "graphs": listed})
    for split in SPLITS:
        (padded / split).mkdir(parents=True, exist_ok=True)
    pad.run(collection=COLLECTION, data=str(folder))


def pack(whole: npz.LayoutArrays, target: Path, hops: int | str = 1) -> None:
    """Packs the graph as the prune stage does, from an npz file; it keeps every configuration, as in test."""
    with tempfile.TemporaryDirectory() as work:
        file = Path(work, "synthetic.npz")
        np.savez(file, **vars(whole) | {"node_splits": whole.node_splits[None]})
        packing.pack(file, target, "test", packing.Options(hops=hops))


def read(folder: str | Path) -> dataset.ModelGraph:
    """The graph that `write` left in the folder; its configurations are memory-mapped."""
    return dataset.model_graphs(folder, COLLECTION, "train")[0]


def _edges(rng: np.random.Generator, leaf: np.ndarray, with_kernel: np.ndarray, elementwise: np.ndarray) -> np.ndarray:
    """Makes the edges of a graph.

    Every operation consumes the one before it. Operations `with_kernel` also consume the parameter directly before
    them, and `elementwise` ones do if there is one. Some elementwise operations consume one further up.

    Returns:
        (m, 2) [consumer, producer], sorted.
    """
    trunk = np.flatnonzero(~leaf)
    position = np.cumsum(~leaf) - 1  # of an operation in the trunk
    chain = np.stack([trunk, np.append(0, trunk[:-1])], axis=1)
    fed = np.concatenate([with_kernel, elementwise[leaf[elementwise - 1]]])
    skipping = elementwise[(rng.random(len(elementwise)) < SKIPS) & (position[elementwise] > LONGEST_SKIP)]
    above = position[skipping] - rng.integers(2, LONGEST_SKIP + 1, len(skipping))
    skips = np.stack([skipping, trunk[above]], axis=1)
    edges = np.concatenate([chain, np.stack([fed, fed - 1], axis=1), skips])
    return np.unique(edges, axis=0)  # sorted, as published edges are; edges to node 0 may come twice


def _features(rng: np.random.Generator, opcode: np.ndarray, ids: np.ndarray, kind, rank) -> np.ndarray:
    """(n, 140) float32: shapes that fit each other along the trunk, row-major layouts, convolution numbers."""
    nodes = len(opcode)
    drawn = rng.choice(CHANNELS, len(ids))
    last = np.maximum.accumulate(np.where(kind == RESHAPE, -1, np.arange(len(ids))))
    made = np.where(last >= 0, drawn[last], CHANNELS[0])
    received = np.append(CHANNELS[0], made[:-1])
    image = lambda channels: np.stack([np.full(len(channels), BATCH), *[np.full(len(channels), SIDE)] * 2, channels], 1)  # noqa: E731
    before = np.searchsorted(ids, np.arange(nodes), side="right")  # configurable nodes up to a node
    ranks, channels = np.append(4, rank)[before], np.append(CHANNELS[0], made)[before]
    dims = np.zeros((nodes, 6), np.int64)
    dims[:, :4] = image(channels)
    flat = ranks == 3
    dims[flat, 1], dims[flat, 2], dims[flat, 3] = SIDE * SIDE, channels[flat], 0
    for opcode_, numbers in ((CONVOLUTION, (3, 3, received, made)), (DOT, (received, made))):
        kernels = ids[kind == opcode_] - 1
        dims[kernels], ranks[kernels] = 0, len(numbers)
        for axis, size in enumerate(numbers):
            dims[kernels, axis] = size[kind == opcode_] if isinstance(size, np.ndarray) else size
    features = np.zeros((nodes, npz.NODE_FEATURES), np.float32)
    features[-1, ROOT] = 1
    features[:, F32] = 1
    features[:, SHAPE] = dims
    features[:, 27], features[:, ELEMENTS] = dims.sum(axis=1), np.maximum(dims, 1).prod(axis=1)
    features[:, PRODUCTS_OVER_NOTHING] = 1
    parameters = np.flatnonzero(opcode == PARAMETER)
    features[parameters, PARAMETER_NUMBER] = np.arange(len(parameters))
    # Windows, slices and pads; only the network reads these columns.
    windowed = np.flatnonzero(rng.random(nodes) < 0.1)
    features[np.ix_(windowed, np.r_[37:93, 109:133])] = rng.integers(0, 4, (len(windowed), 80))
    for column, value in CONVOLUTION_COLUMNS.items():
        features[opcode == CONVOLUTION, column] = value
    features[:, LAYOUT] = np.maximum(ranks[:, None] - 1 - np.arange(6), 0)
    return features


def _configurations(
    rng: np.random.Generator, kind: np.ndarray, rank: np.ndarray, configurations: int
) -> tuple[np.ndarray, np.ndarray]:
    """Layouts (c, nc, 18) float32 and run times (c,) in nanoseconds, which follow from the layouts."""
    nodes = len(kind)
    choices = np.full((nodes, LAYOUTS, npz.LAYOUT_FEATURES), -1, np.int8)
    for slot in range(3):
        size = {CONVOLUTION: (4, 4, 4), DOT: (3, 3, None)}
        for node in range(nodes):
            default = (int(rank[node]), 7 - int(rank[node]), None)  # a reshape leads from images to matrices, or back
            length = size.get(int(kind[node]), default)[slot]
            if length is not None:
                orders = rng.permuted(np.tile(np.arange(length), (LAYOUTS, 1)), axis=1)
                orders[0] = np.arange(length)[::-1]
                choices[node, :, 6 * slot : 6 * slot + length] = orders
    base = rng.integers(0, LAYOUTS, nodes)
    share = rng.uniform(*MUTATED, configurations)
    share[0] = 0
    mutated = rng.random((configurations, nodes)) < share[:, None]
    which = np.where(mutated, rng.integers(0, LAYOUTS, (configurations, nodes)), base)
    layouts = choices[np.arange(nodes), which].astype(np.float32)
    effect = rng.normal(size=(nodes, LAYOUTS)) / np.sqrt(nodes)
    cost = effect[np.arange(nodes), which].sum(axis=1) + rng.normal(scale=0.01, size=configurations)
    return layouts, np.maximum(1, 1_000_000 * np.exp(cost)).astype(np.int64)
