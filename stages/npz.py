"""The npz files of TpuGraphs: read, checked and cast. `python -m stages.npz ROOT` checks a whole data set.

Keys and shapes are those of the data set's README. What is on disk has other dtypes than the README says (opcodes are
uint8 or int32, ids int64 or int32), so every array is read by name and cast.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from stages import collection as collections
from stages.errors import InputError
from stages.hlo.opcodes import OPCODES
from stages.tensors import LAYOUT

NODE_FEATURES = 140
TILE_FEATURES = 24
LAYOUT_FEATURES = 18  # output, input and kernel layout, six places each
LARGEST_OPCODE = OPCODES - 1
LAYOUT_RANGE = (-1, 5)
LARGEST_DIMENSION = 127  # that a node's own layout may name; later stages hold it as int8
LARGEST_FEATURE = 2.0**63  # of a node: sizes and counts come from int64
LARGEST_TIME = 2**53  # nanoseconds, 104 days; beyond it float64, which the metrics compute with, merges neighbours
LONGEST_NAME = 200  # bytes of a graph id; file systems take 255, and stages add to it
CHUNK_VALUES = 1 << 23  # values looked at together where an array is as long as the configurations


@dataclass(frozen=True)
class LayoutArrays:
    """A layout file: n nodes, m edges, c configurations of nc configurable nodes.

    node_feat (n, 140) float32; node_opcode (n,) uint8; edge_index (m, 2) int64, [u, v]: u consumes the output of v;
    node_config_feat (c, nc, 18) float32, -1 where a layout has no entry; node_config_ids (nc,) int64;
    config_runtime (c,) int64 in nanoseconds, zeros in test; node_splits (s,) int64, ascending, from 0: where the parts
    of the published partition end.
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

    node_feat, node_opcode, edge_index, config_runtime as in `LayoutArrays`; config_feat (c, 24) float32;
    config_runtime_normalizers (c,) int64 in nanoseconds, ones in test.
    """

    node_feat: np.ndarray
    node_opcode: np.ndarray
    edge_index: np.ndarray
    config_feat: np.ndarray
    config_runtime: np.ndarray
    config_runtime_normalizers: np.ndarray


def read_layout(path: str | Path) -> LayoutArrays:
    """Arrays of a layout file, checked; InputError names the file, the key and the fault."""
    with _Archive(path) as archive:
        graph = _graph(archive)
        nodes = len(graph["node_feat"])
        ids = archive.integers("node_config_ids", (None,), 0, nodes - 1)
        if not len(ids):
            archive.fail("node_config_ids", "is empty: no node is configurable")
        if len(np.unique(ids)) < len(ids):
            archive.fail("node_config_ids", "names a node twice")
        splits = archive.integers("node_splits", (1, None), 0, nodes).reshape(-1)
        if (np.diff(splits) < 0).any():
            archive.fail("node_splits", "does not ascend")
        runtime = _runtime(archive)
        layouts = archive.floats("node_config_feat", (len(runtime), len(ids), LAYOUT_FEATURES))
        low, high = LAYOUT_RANGE
        for block in _chunks(layouts):
            if not ((block >= low) & (block <= high)).all():  # NaN fails this too
                archive.fail("node_config_feat", f"has a value outside {low}..{high}")
            if (block != np.rint(block)).any():
                archive.fail("node_config_feat", "has a value that is no whole number")
    configured = {"node_config_feat": layouts, "node_config_ids": ids}
    return LayoutArrays(**graph, **configured, node_splits=splits, config_runtime=runtime)


def read_tile(path: str | Path) -> TileArrays:
    """Arrays of a tile file, checked; InputError names the file, the key and the fault."""
    with _Archive(path) as archive:
        graph = _graph(archive)
        runtime = _runtime(archive)
        features = archive.floats("config_feat", (len(runtime), TILE_FEATURES))
        archive.check_finite("config_feat", features)
        normalizers = archive.integers("config_runtime_normalizers", (len(runtime),), 1, LARGEST_TIME)
    return TileArrays(**graph, config_feat=features, config_runtime=runtime, config_runtime_normalizers=normalizers)


def read(path: str | Path, collection: str) -> LayoutArrays | TileArrays:
    """Arrays of a file of `collection`."""
    return read_tile(path) if collections.is_tile(collection) else read_layout(path)


def files(root: str | Path, collection: str, split: str) -> list[Path]:
    """The npz files of a split, sorted by graph id.

    InputError names the folder that is missing or empty, or the file whose name is no graph id.
    """
    folder = collections.folder(root, collection, split)
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder; put the {split} files of {collection} there or mend data.root")
    found = sorted(folder.glob("*.npz"), key=lambda file: file.stem)
    for file in found:
        if fault := _name_fault(file.stem):
            raise InputError(f"{folder}: the name {file.name[:LONGEST_NAME]!r} {fault}; rename the file or remove it")
    if not found:
        raise InputError(f"{folder}: holds no npz file; put the {split} files of {collection} there or mend data.root")
    return found


def _name_fault(name: str) -> str | None:
    """Why a file's name without .npz can be no graph id, which names files of later stages and rows of a CSV."""
    if not name.isprintable():  # nor is what is not UTF-8 on disk: Python holds it as lone surrogates
        return "has a character that cannot be printed"
    if name.startswith("."):
        return "begins with a dot"
    if suffix := next((suffix for suffix in collections.SUFFIXES if name.endswith(suffix)), None):
        return f"ends in {suffix!r} before .npz, as no graph does"
    if len(name.encode()) > LONGEST_NAME:
        return f"is longer than {LONGEST_NAME} bytes"
    return None


def summary(root: str | Path, collection: str) -> str:
    """One line on a collection below `root`: graphs, nodes and configurations of each split; every file is checked."""
    parts = []
    for split in collections.SPLITS:
        arrays = [_counts(read(file, collection)) for file in files(root, collection, split)]
        nodes, configurations = (sum(column) for column in zip(*arrays, strict=True))
        parts.append(f"{split} {len(arrays)} graphs, {nodes} nodes, {configurations} configurations")
    return f"{collection}: {'; '.join(parts)}"


class _Archive:
    """An open npz file whose arrays are taken out by key, each checked for its kind and shape."""

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)

    def __enter__(self) -> _Archive:
        try:
            self.arrays = np.load(self.path, allow_pickle=False)
        except FileNotFoundError:
            raise InputError(f"{self.path}: no such file; give the path of an npz file") from None
        except MemoryError:
            self.fail(None, "claims more values than the memory holds")
        except Exception:  # numpy and zipfile raise another class for each kind of damage
            self.fail(None, "is no npz file or is cut off")
        if not isinstance(self.arrays, np.lib.npyio.NpzFile):
            self.fail(None, "is a single array and no npz file")
        return self

    def __exit__(self, *_: object) -> None:
        self.arrays.close()

    def fail(self, key: str | None, fault: str) -> None:
        subject = f"{self.path}: {key}" if key else f"{self.path}"
        raise InputError(f"{subject} {fault}; fetch the file again or leave it out") from None

    def integers(self, key: str, shape: tuple[int | None, ...], low: int, high: int) -> np.ndarray:
        """The array as int64; its values must lie in low..high."""
        array = self._array(key, shape, "iu", "integers")
        if array.size and (array.min() < low or array.max() > high):
            self.fail(key, f"has a value outside {low}..{high}")
        return array.astype(np.int64, copy=False)

    def floats(self, key: str, shape: tuple[int | None, ...]) -> np.ndarray:
        """The array as float32, not yet checked to be finite."""
        array = self._array(key, shape, "f", "floating-point numbers")
        with np.errstate(over="ignore"):  # what float32 cannot hold is infinite, which the checks find
            return array.astype(np.float32, copy=False)

    def check_finite(self, key: str, array: np.ndarray) -> None:
        if not all(np.isfinite(block).all() for block in _chunks(array)):
            self.fail(key, "has a value that is NaN or infinite")

    def _array(self, key: str, shape: tuple[int | None, ...], kinds: str, expected: str) -> np.ndarray:
        if key not in self.arrays.files:
            self.fail(key, f"is missing (the file has {', '.join(sorted(self.arrays.files)) or 'nothing'})")
        try:
            array = self.arrays[key]
        except MemoryError:
            self.fail(key, "claims more values than the memory holds")
        except Exception:
            self.fail(key, "cannot be read: damaged, cut off, or no plain array")
        if not isinstance(array, np.ndarray) or array.dtype.kind not in kinds:
            self.fail(key, f"has dtype {getattr(array, 'dtype', 'bytes')}, not {expected}")
        matches = len(array.shape) == len(shape) and all(
            wanted in (None, size) for wanted, size in zip(shape, array.shape, strict=True)
        )
        if not matches:
            wanted = ", ".join("any" if size is None else str(size) for size in shape)
            self.fail(key, f"has shape {array.shape}, not ({wanted})")
        return array


def _graph(archive: _Archive) -> dict[str, np.ndarray]:
    """Nodes and edges, the keys that layout and tile files share."""
    features = archive.floats("node_feat", (None, NODE_FEATURES))
    nodes = len(features)
    if not nodes:
        archive.fail("node_feat", "has no row: the graph is empty")
    archive.check_finite("node_feat", features)
    if features.max() > LARGEST_FEATURE or features.min() < -LARGEST_FEATURE:
        archive.fail("node_feat", "has a value beyond 2^63")
    order = features[:, LAYOUT]
    if order.min() < 0 or order.max() > LARGEST_DIMENSION or (order != np.rint(order)).any():
        archive.fail("node_feat", f"has a layout (columns 134-139) of other than whole numbers 0..{LARGEST_DIMENSION}")
    opcodes = archive.integers("node_opcode", (nodes,), 0, LARGEST_OPCODE)
    edges = archive.integers("edge_index", (None, 2), 0, nodes - 1)
    consumer, producer = edges.T
    if (consumer == producer).any() or _has_cycle(nodes, consumer, producer):
        archive.fail("edge_index", "has a cycle, so the graph is no program")
    return {"node_feat": features, "node_opcode": opcodes.astype(np.uint8), "edge_index": edges}


def _has_cycle(nodes: int, consumer: np.ndarray, producer: np.ndarray) -> bool:
    if (consumer > producer).all():  # in topological order, as the published files are
        return False
    adjacency = coo_array((np.ones(len(consumer), np.int8), (consumer, producer)), shape=(nodes, nodes))
    components, _ = connected_components(adjacency, connection="strong")
    return components < nodes


def _runtime(archive: _Archive) -> np.ndarray:
    runtime = archive.integers("config_runtime", (None,), 0, LARGEST_TIME)
    if not len(runtime):
        archive.fail("config_runtime", "is empty: the file has no configuration")
    return runtime


def _chunks(array: np.ndarray) -> Iterator[np.ndarray]:
    """Views of rows, so that what is computed from them stays small."""
    rows = max(1, CHUNK_VALUES // max(1, array[0].size)) if len(array) else 1
    return (array[start : start + rows] for start in range(0, len(array), rows))


def _counts(arrays: LayoutArrays | TileArrays) -> tuple[int, int]:
    return len(arrays.node_feat), len(arrays.config_runtime)


def main(arguments: list[str]) -> int:
    """Checks a data set; one line per collection, or the one line of the first fault and exit status 1."""
    if len(arguments) != 1:
        print("usage: python -m stages.npz ROOT (the folder that holds npz/)", file=sys.stderr)
        return 1
    try:
        for collection in collections.COLLECTIONS:
            print(summary(arguments[0], collection))
    except InputError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
