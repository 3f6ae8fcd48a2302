"""The npz files of TpuGraphs: read, checked and cast. `python -m stages.npz ROOT` checks a whole data set, or a folder
of such files.

Keys and shapes are those of the data set's README. What is on disk has other dtypes than the README says (opcodes are
uint8 or int32, ids int64 or int32), so every array is read by name and cast. `stages.graphs.archive` defends against
hostile and damaged files; what the arrays mean is checked here.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from stages.engine.errors import InputError
from stages.graphs.archive import Archive, Member, as_float32
from stages.graphs.collection import COLLECTIONS, SPLITS, is_tile, npz_files
from stages.graphs.opcodes import CONVOLUTION, DOT, OPCODES
from stages.graphs.tensors import CONVOLUTION_NUMBERS, LAYOUT, LAYOUT_FEATURES, NODE_FEATURES, TILE_FEATURES

LAYOUT_KEYS = ("node_config_ids", "node_config_feat")  # of arrays that only a layout file has
TILE_KEYS = ("config_feat", "config_runtime_normalizers")  # that only a tile file has
LAYOUT_RANGE = (-1, 5)
LARGEST_DIMENSION = 127  # that a node's own layout may name; later stages hold it as int8
LARGEST_FEATURE = 2.0**63  # of a node: sizes and counts come from int64
LARGEST_TIME = 2**53  # nanoseconds, 104 days; beyond it float64, which the metrics compute with, merges neighbours
MOST_EDGES = 1 << 21  # thirty times the published 73,881
MOST_CONFIGURABLE = 1 << 14  # five times the published 3,143
MOST_CONFIGURATIONS = 1 << 20  # ten times the published 100,040
LARGEST_LAYOUTS = 1 << 36  # bytes of node_config_feat; 100,040 configurations of 3,143 nodes would be a third of it
MOST_OPERANDS = 8  # of a configurable convolution or dot, which take two; the search for them grows with the square


@dataclass(frozen=True)
class LayoutArrays:
    """A layout file: n nodes, m edges, c configurations of nc configurable nodes.

    Attributes:
        node_feat: (n, 140) float32.
        node_opcode: (n,) uint8.
        edge_index: (m, 2) int64; an edge [u, v] says that u consumes the output of v.
        node_splits: (s,) int64, ascending, from 0: where the parts of the published partition end.
        node_config_feat: (c, nc, 18) float32; -1 where a layout has no entry.
        node_config_ids: (nc,) int64; the configurable nodes.
        config_runtime: (c,) int64 in nanoseconds; zeros in test.
    """

    node_feat: np.ndarray
    node_opcode: np.ndarray
    edge_index: np.ndarray
    node_splits: np.ndarray
    node_config_feat: np.ndarray
    node_config_ids: np.ndarray
    config_runtime: np.ndarray


@dataclass(frozen=True)
class TileArrays:
    """A tile file: n nodes, m edges, c configurations.

    Attributes:
        node_feat: As in `LayoutArrays`, and so are node_opcode, edge_index and config_runtime.
        config_feat: (c, 24) float32.
        config_runtime_normalizers: (c,) int64 in nanoseconds; ones in test.
    """

    node_feat: np.ndarray
    node_opcode: np.ndarray
    edge_index: np.ndarray
    config_feat: np.ndarray
    config_runtime: np.ndarray
    config_runtime_normalizers: np.ndarray


@dataclass(frozen=True)
class ProgramArrays:
    """A file without configurations, as `stages.hlo` makes it of a compiler's dump: there is nothing to rank in it.

    Attributes:
        node_feat: As in `LayoutArrays`, and so are node_opcode, edge_index and node_splits.
    """

    node_feat: np.ndarray
    node_opcode: np.ndarray
    edge_index: np.ndarray
    node_splits: np.ndarray


class LayoutFile:
    """An open layout file, for use in `with`: the arrays of `LayoutArrays`, but node_config_feat block by block.

    Opening checks everything but the values of node_config_feat. What is held in memory does not grow with the number
    of configurations, but for their run times.

    Attributes:
        shape: (c, nc).
        node_feat: As in `LayoutArrays`, and so are node_opcode, edge_index, node_splits, node_config_ids and
            config_runtime.

    Args:
        path: The npz file. Opening raises InputError, which names the file, the key and the fault.
    """

    def __init__(self, path: str | Path) -> None:
        self._archive = Archive(path)

    def __enter__(self) -> LayoutFile:
        self._archive.__enter__()
        try:
            self._read()
        except BaseException:
            self._archive.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._archive.__exit__()

    def _read(self) -> None:
        archive = self._archive
        _check_ranked(archive)
        self.node_feat, self.node_opcode, self.edge_index = _graph(archive).values()
        self.node_config_ids = self._configurable_nodes()
        self.node_splits = _splits(archive, len(self.node_feat))
        self.config_runtime = _runtime(archive)
        self.shape = len(self.config_runtime), len(self.node_config_ids)
        with self._member():  # so that its header is checked
            pass

    def _configurable_nodes(self) -> np.ndarray:
        archive, nodes = self._archive, len(self.node_feat)
        ids = archive.integers("node_config_ids", (None,), 0, nodes - 1)
        if not len(ids):
            archive.fail("node_config_ids", "is empty: no node is configurable")
        if len(ids) > MOST_CONFIGURABLE:
            archive.fail("node_config_ids", f"names {len(ids)} nodes, more than {MOST_CONFIGURABLE}")
        if len(np.unique(ids)) < len(ids):
            archive.fail("node_config_ids", "names a node twice")
        consumed = np.bincount(self.edge_index[:, 0], minlength=nodes)[ids]
        if (np.isin(self.node_opcode[ids], (CONVOLUTION, DOT)) & (consumed > MOST_OPERANDS)).any():
            archive.fail("edge_index", f"has a configurable convolution or dot of more than {MOST_OPERANDS} operands")
        return ids

    def _member(self) -> Member:
        shape = (*self.shape, LAYOUT_FEATURES)
        return self._archive.member("node_config_feat", shape, "f", "floating-point numbers", LARGEST_LAYOUTS)

    def blocks(self) -> Iterator[np.ndarray]:
        """Reads node_config_feat in blocks of whole configurations, in order; their values are not checked yet.

        While one block is looked at, the next is inflated in a thread, into memory of its own. A block's memory is used
        again for the one after the next, so copy what is to stay.

        Yields:
            (r, nc, 18) float32; `check` tells whether the values are layouts.

        Raises:
            InputError: The array is damaged or cut off.
        """
        with ThreadPoolExecutor(1) as thread:
            blocks = self._cast_blocks()
            waiting = thread.submit(next, blocks, None)
            while (block := waiting.result()) is not None:
                waiting = thread.submit(next, blocks, None)
                yield block

    def _cast_blocks(self) -> Iterator[np.ndarray]:
        with self._member() as member:
            yield from map(as_float32, member.blocks())

    def check(self, layouts: np.ndarray) -> None:
        """Refuses values of node_config_feat that are no layouts.

        Args:
            layouts: Some of them, of any shape.

        Raises:
            InputError: One of them is no whole number in -1..5.
        """
        low, high = LAYOUT_RANGE
        if not ((layouts >= low) & (layouts <= high)).all():  # NaN fails this too
            self.fail(f"has a value outside {low}..{high}")
        if (layouts != np.rint(layouts)).any():
            self.fail("has a value that is no whole number")

    def fail(self, fault: str) -> None:
        """Raises the InputError that names the file, node_config_feat and the fault."""
        self._archive.fail("node_config_feat", fault)


def read_layout(path: str | Path) -> LayoutArrays:
    """Reads a layout file, all of it into memory.

    Args:
        path: The npz file.

    Returns:
        Its arrays, checked.

    Raises:
        InputError: Names the file, the key and the fault.
    """
    with LayoutFile(path) as file:
        try:
            layouts = np.empty((*file.shape, LAYOUT_FEATURES), np.float32)
        except MemoryError:
            file.fail("claims more values than the memory holds")
        start = 0
        for block in file.blocks():
            file.check(block)
            layouts[start : start + len(block)] = block
            start += len(block)
        return LayoutArrays(
            node_feat=file.node_feat,
            node_opcode=file.node_opcode,
            edge_index=file.edge_index,
            node_splits=file.node_splits,
            node_config_feat=layouts,
            node_config_ids=file.node_config_ids,
            config_runtime=file.config_runtime,
        )


def read_tile(path: str | Path) -> TileArrays:
    """Reads a tile file, as `read_layout` does a layout file."""
    with Archive(path) as archive:
        _check_ranked(archive)
        graph = _graph(archive)
        runtime = _runtime(archive)
        features = archive.floats("config_feat", (len(runtime), TILE_FEATURES))
        normalizers = archive.integers("config_runtime_normalizers", (len(runtime),), 1, LARGEST_TIME)
    return TileArrays(**graph, config_feat=features, config_runtime=runtime, config_runtime_normalizers=normalizers)


def read_program(path: str | Path) -> ProgramArrays:
    """Reads a file without configurations, as `read_layout` does a layout file."""
    with Archive(path) as archive:
        graph = _graph(archive)
        return ProgramArrays(**graph, node_splits=_splits(archive, len(graph["node_feat"])))


def read(path: str | Path, collection: str) -> LayoutArrays | TileArrays:
    """Reads a file of `collection` by `read_tile` or `read_layout`."""
    return read_tile(path) if is_tile(collection) else read_layout(path)


def main(arguments: list[str]) -> int:
    """Checks a data set, or the npz files of one folder, and prints a line for each collection or kind of file.

    Args:
        arguments: Of the command line: the folder.

    Returns:
        The exit status: 1 after the one line of the first fault, else 0.
    """
    if len(arguments) != 1:
        print("usage: python -m stages.npz ROOT (the folder that holds npz/, or npz files themselves)", file=sys.stderr)
        return 1
    try:
        if lines := contents(arguments[0]):
            print("\n".join(lines))
            return 0
        for collection in COLLECTIONS:
            print(summary(arguments[0], collection))
    except InputError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


def summary(root: str | Path, collection: str) -> str:
    """Checks all files of a collection below `root`, and says in a line what each split holds.

    Args:
        root: The folder that holds `npz/`.
        collection: Official name.

    Returns:
        Graphs, nodes and configurations of each split in words.

    Raises:
        InputError: Names the first file that is faulty, or the folder that is missing or empty.
    """
    parts = []
    for split in SPLITS:
        counts = [_counts(path, is_tile(collection)) for path in npz_files(root, collection, split)]
        nodes, configurations = (sum(column) for column in zip(*counts, strict=True))
        parts.append(f"{split} {len(counts)} graphs, {nodes} nodes, {configurations} configurations")
    return f"{collection}: {'; '.join(parts)}"


def contents(folder: str | Path) -> list[str]:
    """Checks all npz files of a folder, such as `stages.hlo` writes, and says what they are.

    Args:
        folder: The folder; those below it are not looked into.

    Returns:
        A line for each kind of file that is there: layout graphs, tile graphs, and graphs without configurations.

    Raises:
        InputError: Names the first file that is faulty.
    """
    kinds: dict[str, list[tuple[int, int]]] = {}
    for path in sorted(Path(folder).glob("*.npz")):
        with Archive(path) as archive:
            ranked, tile = _is_ranked(archive), any(map(archive.has, TILE_KEYS))
        if ranked:
            kinds.setdefault("tile graphs" if tile else "layout graphs", []).append(_counts(path, tile))
        else:
            kinds.setdefault("graphs without configurations", []).append((len(read_program(path).node_feat), 0))
    lines = []
    for kind, counts in sorted(kinds.items()):
        nodes, configurations = (sum(column) for column in zip(*counts, strict=True))
        ranked = f", {configurations} configurations" if configurations else ""
        lines.append(f"{folder}: {len(counts)} {kind}, {nodes} nodes{ranked}")
    return lines


def _counts(path: Path, tile: bool) -> tuple[int, int]:
    """Nodes and configurations of a file, all of which is checked."""
    if tile:
        arrays = read_tile(path)
        return len(arrays.node_feat), len(arrays.config_runtime)
    with LayoutFile(path) as file:
        for block in file.blocks():
            file.check(block)
        return len(file.node_feat), len(file.config_runtime)


def _is_ranked(archive: Archive) -> bool:
    """Whether any of its arrays tells of configurations."""
    return any(map(archive.has, (*LAYOUT_KEYS, *TILE_KEYS, "config_runtime")))


def _check_ranked(archive: Archive) -> None:
    if not _is_ranked(archive) and archive.has("node_feat"):
        raise InputError(
            f"{archive.path}: is a graph without configurations, so there is nothing to rank; leave it out"
        )


def _graph(archive: Archive) -> dict[str, np.ndarray]:
    """Nodes and edges, the keys that all kinds of files share: node_feat, node_opcode and edge_index."""
    features = archive.floats("node_feat", (None, NODE_FEATURES))
    nodes = len(features)
    if not nodes:
        archive.fail("node_feat", "has no row: the graph is empty")
    if features.max() > LARGEST_FEATURE or features.min() < -LARGEST_FEATURE:
        archive.fail("node_feat", "has a value beyond 2^63")
    order = features[:, LAYOUT]
    if order.min() < 0 or order.max() > LARGEST_DIMENSION or (order != np.rint(order)).any():
        numbers = f"whole numbers 0..{LARGEST_DIMENSION}, padded with 0 as published"
        archive.fail("node_feat", f"has a layout (columns 134-139) of other than {numbers}")
    opcodes = archive.integers("node_opcode", (nodes,), 0, OPCODES - 1)
    if (features[opcodes == CONVOLUTION, CONVOLUTION_NUMBERS] < 0).any():
        archive.fail("node_feat", "has a convolution with a dimension number (columns 93-106) below 0")
    return {"node_feat": features, "node_opcode": opcodes.astype(np.uint8), "edge_index": _edges(archive, nodes)}


def _edges(archive: Archive, nodes: int) -> np.ndarray:
    """edge_index (m, 2) int64, without an edge that is there twice."""
    edges = archive.integers("edge_index", (None, 2), 0, nodes - 1)
    if len(edges) > MOST_EDGES:
        archive.fail("edge_index", f"has {len(edges)} edges, more than {MOST_EDGES}")
    consumer, producer = edges.T
    if (consumer == producer).any() or _has_cycle(nodes, consumer, producer):
        archive.fail("edge_index", "has a cycle, so the graph is no program")
    # The published edges are distinct, dot(x, x) has one; a second one would be taken for another operand.
    first = np.unique(consumer * nodes + producer, return_index=True)[1]
    return edges if len(first) == len(edges) else edges[np.sort(first)]


def _has_cycle(nodes: int, consumer: np.ndarray, producer: np.ndarray) -> bool:
    if (consumer > producer).all():  # in topological order, as the published files are
        return False
    adjacency = coo_array((np.ones(len(consumer), np.int8), (consumer, producer)), shape=(nodes, nodes))
    components, _ = connected_components(adjacency, connection="strong")
    return components < nodes


def _splits(archive: Archive, nodes: int) -> np.ndarray:
    """node_splits (s,) int64."""
    splits = archive.integers("node_splits", (1, None), 0, nodes).reshape(-1)
    if (np.diff(splits) < 0).any():
        archive.fail("node_splits", "does not ascend")
    return splits


def _runtime(archive: Archive) -> np.ndarray:
    """config_runtime (c,) int64 in nanoseconds."""
    runtime = archive.integers("config_runtime", (None,), 0, LARGEST_TIME)
    if not len(runtime):
        archive.fail("config_runtime", "is empty: the file has no configuration")
    if len(runtime) > MOST_CONFIGURATIONS:
        archive.fail("config_runtime", f"is of {len(runtime)} configurations, more than {MOST_CONFIGURATIONS}")
    return runtime
