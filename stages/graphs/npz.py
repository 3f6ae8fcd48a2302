"""The npz files of TpuGraphs: read, checked and cast. `python -m stages.npz ROOT` checks a whole data set, or a folder
of such files.

Keys and shapes are those of the data set's README. What is on disk has other dtypes than the README says (opcodes are
uint8 or int32, ids int64 or int32), so every array is read by name and cast.

A file is not trusted. What it says of its own sizes is checked against limits and against each other before memory is
taken, nothing in it is unpickled or written to disk, and every array is checked against the zip's CRC. `np.load` would
take the memory first, and inflates with zlib, which takes twice as long as isal.
"""

from __future__ import annotations

import copy
import io
import itertools
import math
import stat
import sys
import zipfile
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from isal import isal_zlib
from isal.igzip_lib import DECOMP_DEFLATE, IgzipDecompressor
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from stages.errors import InputError
from stages.graphs import collection as collections
from stages.graphs.opcodes import CONVOLUTION, DOT, OPCODES
from stages.graphs.tensors import LAYOUT

NODE_FEATURES = 140
TILE_FEATURES = 24
LAYOUT_FEATURES = 18  # output, input and kernel layout, six places each
CONVOLUTION_NUMBERS = slice(93, 107)  # node_feat's columns of a convolution's dimension numbers
LAYOUT_KEYS = ("node_config_ids", "node_config_feat")  # of arrays that only a layout file has
TILE_KEYS = ("config_feat", "config_runtime_normalizers")  # that only a tile file has
LARGEST_OPCODE = OPCODES - 1
LAYOUT_RANGE = (-1, 5)
LARGEST_DIMENSION = 127  # that a node's own layout may name; later stages hold it as int8
LARGEST_FEATURE = 2.0**63  # of a node: sizes and counts come from int64
LARGEST_TIME = 2**53  # nanoseconds, 104 days; beyond it float64, which the metrics compute with, merges neighbours
LONGEST_NAME = 200  # bytes of a graph id; file systems take 255, and stages add to it
LARGEST_ARRAY = 1 << 28  # bytes of an array that is held whole: ten times the largest published, 24 MB of node_feat
MOST_EDGES = 1 << 21  # thirty times the published 73,881
MOST_CONFIGURABLE = 1 << 14  # five times the published 3,143
MOST_CONFIGURATIONS = 1 << 20  # ten times the published 100,040
LARGEST_LAYOUTS = 1 << 36  # bytes of node_config_feat; 100,040 configurations of 3,143 nodes would be a third of it
MOST_OPERANDS = 8  # of a configurable convolution or dot, which take two; the search for them grows with the square
BLOCK_BYTES = 1 << 21  # of node_config_feat inflated together, so that it is still in the cache when it is looked at
READ_BYTES = 1 << 16  # compressed, read together
LARGEST_HEADER = (
    1 << 16
)  # bytes of an array's header, which has under 200; numpy reads it before it looks at its length
LARGEST_DIRECTORY = 1 << 20  # bytes of the zip's directory; an npz file of ten arrays has under 1,000


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


@dataclass(frozen=True)
class ProgramArrays:
    """A file without configurations, as `stages.hlo` makes of a compiler's dump: there is nothing to rank in it.

    node_feat, node_opcode, edge_index, node_splits as in `LayoutArrays`.
    """

    node_feat: np.ndarray
    node_opcode: np.ndarray
    edge_index: np.ndarray
    node_splits: np.ndarray


class LayoutFile:
    """An open layout file, for use in `with`: the arrays of `LayoutArrays`, but node_config_feat block by block.

    shape: (c, nc). Opening checks all but the values of node_config_feat; InputError names the file, the key and the
    fault. What it holds in memory does not depend on the number of configurations, but for their run times.
    """

    def __init__(self, path: str | Path) -> None:
        self._archive = _Archive(path)

    def __enter__(self) -> LayoutFile:
        self._archive.__enter__()
        try:
            self._open()
        except BaseException:
            self._archive.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._archive.__exit__()

    def _open(self) -> None:
        archive = self._archive
        archive.check_ranked()
        graph = _graph(archive)
        self.node_feat, self.node_opcode, self.edge_index = graph.values()
        nodes = len(self.node_feat)
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
        self.node_config_ids, self.node_splits = ids, _splits(archive, nodes)
        self.config_runtime = _runtime(archive)
        self.shape = len(self.config_runtime), len(ids)
        with self._member():  # so that its header is checked
            pass

    def _member(self) -> _Member:
        shape = (*self.shape, LAYOUT_FEATURES)
        return self._archive.member("node_config_feat", shape, "f", "floating-point numbers", LARGEST_LAYOUTS)

    def blocks(self) -> Iterator[np.ndarray]:
        """node_config_feat as blocks (r, nc, 18) float32 of whole configurations in order, not yet through `check`.

        While one is looked at the next is inflated in a thread, into memory of its own; a block's memory is taken for
        the one after the next, so keep a copy of what is to stay. InputError where the array is damaged or cut off.
        """
        with ThreadPoolExecutor(1) as thread:
            blocks = self._inflated()
            waiting = thread.submit(next, blocks, None)
            while (block := waiting.result()) is not None:
                waiting = thread.submit(next, blocks, None)
                yield block

    def _inflated(self) -> Iterator[np.ndarray]:
        with self._member() as member:
            if member.fortran:
                if member.remaining > LARGEST_ARRAY:
                    self.fail(f"is in Fortran order and larger than {LARGEST_ARRAY} bytes; save it in C order")
                yield from map(_float32, _chunks(member.array()))
                return
            configurations, _ = self.shape
            row = member.remaining // configurations
            rows = min(configurations, max(1, BLOCK_BYTES // row))
            buffers = itertools.cycle([np.empty(rows * row, np.uint8) for _ in range(2)])
            for start in range(0, configurations, rows):
                count = min(rows, configurations - start)
                raw = next(buffers)[: count * row]
                member.fill(raw)
                yield _float32(raw.view(member.dtype).reshape(count, -1, LAYOUT_FEATURES))

    def check(self, layouts: np.ndarray) -> None:
        """InputError unless all values of node_config_feat in `layouts`, of any shape, are whole numbers in -1..5."""
        low, high = LAYOUT_RANGE
        if not ((layouts >= low) & (layouts <= high)).all():  # NaN fails this too
            self.fail(f"has a value outside {low}..{high}")
        if (layouts != np.rint(layouts)).any():
            self.fail("has a value that is no whole number")

    def fail(self, fault: str) -> None:
        """InputError that names the file, node_config_feat and the fault."""
        self._archive.fail("node_config_feat", fault)


def read_layout(path: str | Path) -> LayoutArrays:
    """Arrays of a layout file, checked, all of them in memory; InputError names the file, the key and the fault."""
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
    """Arrays of a tile file, checked; InputError names the file, the key and the fault."""
    with _Archive(path) as archive:
        archive.check_ranked()
        graph = _graph(archive)
        runtime = _runtime(archive)
        features = archive.floats("config_feat", (len(runtime), TILE_FEATURES))
        archive.check_finite("config_feat", features)
        normalizers = archive.integers("config_runtime_normalizers", (len(runtime),), 1, LARGEST_TIME)
    return TileArrays(**graph, config_feat=features, config_runtime=runtime, config_runtime_normalizers=normalizers)


def read_program(path: str | Path) -> ProgramArrays:
    """Arrays of a file without configurations, checked; InputError names the file, the key and the fault."""
    with _Archive(path) as archive:
        graph = _graph(archive)
        return ProgramArrays(**graph, node_splits=_splits(archive, len(graph["node_feat"])))


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
        if fault := name_fault(file.stem):
            raise InputError(f"{folder}: the name {file.name[:LONGEST_NAME]!r} {fault}; rename the file or remove it")
    if not found:
        raise InputError(f"{folder}: holds no npz file; put the {split} files of {collection} there or mend data.root")
    return found


def name_fault(name: str) -> str | None:
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
        arrays = [_counts(file, collections.is_tile(collection)) for file in files(root, collection, split)]
        nodes, configurations = (sum(column) for column in zip(*arrays, strict=True))
        parts.append(f"{split} {len(arrays)} graphs, {nodes} nodes, {configurations} configurations")
    return f"{collection}: {'; '.join(parts)}"


def contents(folder: str | Path) -> list[str]:
    """A line for each kind of file in a folder of npz files, as `stages.hlo` writes it; every file is checked.

    The kinds are layout, tile, and graphs without configurations. InputError names the first file that is faulty.
    """
    kinds: dict[str, list[tuple[int, int]]] = {}
    for path in sorted(Path(folder).glob("*.npz")):
        with _Archive(path) as archive:
            ranked, tile = archive.ranked, archive.holds(TILE_KEYS)
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


class _Bounded(io.FileIO):
    """A file of which no more than the largest sensible zip directory is read at once: zipfile believes its sizes."""

    def read(self, size: int = -1) -> bytes:
        return super().read(size if 0 <= size <= LARGEST_DIRECTORY else LARGEST_DIRECTORY)


class _Member:
    """One array of an npz file, for use in `with`: its header's dtype and shape, and its bytes as they are inflated.

    Attributes: dtype, shape, fortran, remaining (bytes not yet read). Whatever is wrong with the bytes, `guard` makes
    it the InputError of its file.
    """

    def __init__(self, archive: _Archive, key: str, info: zipfile.ZipInfo) -> None:
        self._archive, self._key, self._info = archive, key, info
        with self.guard():
            if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
                archive.fail(key, "is neither stored nor deflated")
            stored = copy.copy(info)  # what zipfile gives out uninflated, once it has checked the member's own header
            stored.compress_type, stored.file_size = zipfile.ZIP_STORED, info.compress_size
            del stored.CRC
            self._file = archive.zip.open(stored)
            deflated = info.compress_type == zipfile.ZIP_DEFLATED
            self._inflater = IgzipDecompressor(flag=DECOMP_DEFLATE) if deflated else None
            self.remaining, self._crc = info.file_size, 0
            version = np.lib.format.read_magic(self)
            headers = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
            self.shape, self.fortran, self.dtype = headers[version](self)
            if not all(type(size) is int and 0 <= size < 2**63 for size in self.shape):
                raise ValueError

    def __enter__(self) -> _Member:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    @contextmanager
    def guard(self) -> Iterator[None]:
        try:
            yield
        except InputError:
            raise
        except Exception:  # numpy, zipfile and isal raise another class for each kind of damage
            self._archive.fail(self._key, "cannot be read: damaged, cut off, or no plain array")

    def read(self, size: int) -> bytes:
        """The next `size` bytes, fewer where the member ends; what numpy's header readers call."""
        if size > LARGEST_HEADER:
            raise ValueError
        content = np.empty(min(size, self.remaining), np.uint8)
        self.fill(content)
        return content.tobytes()

    def fill(self, content: np.ndarray) -> None:
        """Puts the next bytes into `content` (uint8), all of it; after the last byte the CRC must fit."""
        with self.guard():
            filled = 0
            while filled < len(content):
                piece = self._piece(len(content) - filled)
                content[filled : filled + len(piece)] = np.frombuffer(piece, np.uint8)
                filled += len(piece)
            self._crc = isal_zlib.crc32(content, self._crc)
            self.remaining -= filled
            if not self.remaining:
                self._finish()

    def array(self) -> np.ndarray:
        """The whole array."""
        values = np.empty(math.prod(self.shape), self.dtype)
        self.fill(values.view(np.uint8))
        return values.reshape(self.shape, order="F" if self.fortran else "C")

    def _piece(self, most: int) -> bytes:
        """From 1 to `most` bytes; EOFError where the member has no more."""
        piece = b""
        while not piece:
            if self._inflater is None:
                return self._fed(min(most, READ_BYTES))
            if self._inflater.eof:
                raise EOFError
            fed = self._fed(READ_BYTES) if self._inflater.needs_input else b""
            piece = self._inflater.decompress(fed, most)
            if not (piece or fed or self._inflater.eof):  # isal takes some damaged input without an end
                raise ValueError
        return piece

    def _fed(self, most: int) -> bytes:
        """The next bytes as they are in the file, at least one."""
        fed = self._file.read(most)
        if not fed:
            raise EOFError
        return fed

    def _finish(self) -> None:
        """ValueError or EOFError where bytes are left or missing, or the CRC is another."""
        while self._inflater is not None and not self._inflater.eof:
            fed = self._fed(READ_BYTES) if self._inflater.needs_input else b""
            if self._inflater.decompress(fed, 1) or not (fed or self._inflater.eof):
                raise ValueError
        unused = self._inflater.unused_data if self._inflater is not None else b""
        if unused or self._file.read(1) or self._crc != self._info.CRC:
            raise ValueError


class _Archive:
    """An open npz file whose arrays are taken out by key, each checked for its kind and shape."""

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)

    def __enter__(self) -> _Archive:
        try:
            if not stat.S_ISREG(self.path.stat().st_mode):  # opening a pipe would wait for somebody to write
                self.fail(None, "is no file")
            self._file = _Bounded(self.path)
        except FileNotFoundError:
            raise InputError(f"{self.path}: no such file; give the path of an npz file") from None
        except OSError as error:
            raise InputError(f"{self.path}: cannot be opened ({error.strerror}); mend its rights") from None
        try:
            if self._file.read(6) == np.lib.format.MAGIC_PREFIX:
                self.fail(None, "is a single array and no npz file")
            self.zip = zipfile.ZipFile(self._file)
            members = sorted(self.zip.infolist(), key=lambda member: member.header_offset)
            # 30: bytes of a member's own header, which its name follows.
            ends = [member.header_offset + 30 + len(member.filename) + member.compress_size for member in members]
            starts = [member.header_offset for member in members[1:]] + [self.zip.start_dir]
            if any(end > start for end, start in zip(ends, starts, strict=True)):
                self.fail(None, "has members that overlap")
            self.members = {member.filename: member for member in members}
            if len(self.members) < len(members):
                self.fail(None, "has two members of one name")
        except InputError:
            self._file.close()
            raise
        except Exception:  # zipfile raises another class for each kind of damage
            self._file.close()
            self.fail(None, "is no npz file or is cut off")
        return self

    def __exit__(self, *_: object) -> None:
        self.zip.close()
        self._file.close()

    @property
    def ranked(self) -> bool:
        """Whether any array tells of configurations."""
        return self.holds((*LAYOUT_KEYS, *TILE_KEYS, "config_runtime"))

    def holds(self, keys: Iterable[str]) -> bool:
        """Whether it has an array of one of these keys."""
        return any(f"{key}.npy" in self.members for key in keys)

    def check_ranked(self) -> None:
        """InputError where the file is a graph without configurations."""
        if not self.ranked and self.holds(["node_feat"]):
            raise InputError(
                f"{self.path}: is a graph without configurations, so there is nothing to rank; leave it out"
            )

    def fail(self, key: str | None, fault: str) -> None:
        subject = f"{self.path}: {key}" if key else f"{self.path}"
        raise InputError(f"{subject} {fault}; fetch the file again or leave it out") from None

    def integers(self, key: str, shape: tuple[int | None, ...], low: int, high: int) -> np.ndarray:
        """The array as int64; its values must lie in low..high."""
        array = self._array(key, shape, "iu", "integers")
        if array.size and (array.min() < low or array.max() > high):
            self.fail(key, f"has a value outside {low}..{high}")
        return np.ascontiguousarray(array, np.int64)

    def floats(self, key: str, shape: tuple[int | None, ...]) -> np.ndarray:
        """The array as float32, not yet checked to be finite."""
        return np.ascontiguousarray(_float32(self._array(key, shape, "f", "floating-point numbers")))

    def check_finite(self, key: str, array: np.ndarray) -> None:
        if not all(np.isfinite(block).all() for block in _chunks(array)):
            self.fail(key, "has a value that is NaN or infinite")

    def member(self, key: str, shape: tuple[int | None, ...], kinds: str, expected: str, largest: int) -> _Member:
        """The member that holds the array, its header read: of a dtype of `kinds`, of this shape (None: any size),
        of as many bytes as its shape takes and the zip says, at most `largest`."""
        if f"{key}.npy" not in self.members:
            names = ", ".join(sorted(name.removesuffix(".npy") for name in self.members))
            shown = "".join(letter if letter.isprintable() else "?" for letter in names[:200])
            self.fail(key, f"is missing (the file has {shown or 'nothing'})")
        member = _Member(self, key, self.members[f"{key}.npy"])
        if member.dtype.kind not in kinds:
            self.fail(key, f"has dtype {member.dtype}, not {expected}")
        matches = len(member.shape) == len(shape) and all(
            wanted in (None, size) for wanted, size in zip(shape, member.shape, strict=True)
        )
        if not matches:
            wanted = ", ".join("any" if size is None else str(size) for size in shape)
            self.fail(key, f"has shape {member.shape}, not ({wanted})")
        size = math.prod(member.shape) * member.dtype.itemsize
        if size > largest:
            self.fail(key, f"claims {size} bytes, more than {largest}")
        if size != member.remaining:
            self.fail(key, f"claims {size} bytes and has {member.remaining}")
        return member

    def _array(self, key: str, shape: tuple[int | None, ...], kinds: str, expected: str) -> np.ndarray:
        with self.member(key, shape, kinds, expected, LARGEST_ARRAY) as member:
            return member.array()


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
        numbers = f"whole numbers 0..{LARGEST_DIMENSION}, padded with 0 as published"
        archive.fail("node_feat", f"has a layout (columns 134-139) of other than {numbers}")
    opcodes = archive.integers("node_opcode", (nodes,), 0, LARGEST_OPCODE)
    if (features[opcodes == CONVOLUTION, CONVOLUTION_NUMBERS] < 0).any():
        archive.fail("node_feat", "has a convolution with a dimension number (columns 93-106) below 0")
    edges = archive.integers("edge_index", (None, 2), 0, nodes - 1)
    if len(edges) > MOST_EDGES:
        archive.fail("edge_index", f"has {len(edges)} edges, more than {MOST_EDGES}")
    consumer, producer = edges.T
    if (consumer == producer).any() or _has_cycle(nodes, consumer, producer):
        archive.fail("edge_index", "has a cycle, so the graph is no program")
    # The published edges are distinct, dot(x, x) has one; a second one would be taken for another operand.
    first = np.unique(consumer * nodes + producer, return_index=True)[1]
    edges = edges if len(first) == len(edges) else edges[np.sort(first)]
    return {"node_feat": features, "node_opcode": opcodes.astype(np.uint8), "edge_index": edges}


def _splits(archive: _Archive, nodes: int) -> np.ndarray:
    """node_splits (s,) int64."""
    splits = archive.integers("node_splits", (1, None), 0, nodes).reshape(-1)
    if (np.diff(splits) < 0).any():
        archive.fail("node_splits", "does not ascend")
    return splits


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
    if len(runtime) > MOST_CONFIGURATIONS:
        archive.fail("config_runtime", f"is of {len(runtime)} configurations, more than {MOST_CONFIGURATIONS}")
    return runtime


def _float32(array: np.ndarray) -> np.ndarray:
    with np.errstate(over="ignore"):  # what float32 cannot hold is infinite, which the checks find
        return array.astype(np.float32, copy=False)


def _chunks(array: np.ndarray) -> Iterator[np.ndarray]:
    """Views of rows, so that what is computed from them stays small."""
    rows = max(1, BLOCK_BYTES // max(1, array[0].nbytes)) if len(array) else 1
    return (array[start : start + rows] for start in range(0, len(array), rows))


def _counts(path: Path, tile: bool) -> tuple[int, int]:
    """Nodes and configurations of a file, all of it checked."""
    if tile:
        arrays = read_tile(path)
        return len(arrays.node_feat), len(arrays.config_runtime)
    with LayoutFile(path) as file:
        for block in file.blocks():
            file.check(block)
        return len(file.node_feat), len(file.config_runtime)


def main(arguments: list[str]) -> int:
    """Checks a data set, or the npz files of one folder; a line per collection, or kind of file, or the one line of the
    first fault and exit status 1."""
    if len(arguments) != 1:
        print("usage: python -m stages.npz ROOT (the folder that holds npz/, or npz files themselves)", file=sys.stderr)
        return 1
    try:
        if lines := contents(arguments[0]):
            print("\n".join(lines))
            return 0
        for collection in collections.COLLECTIONS:
            print(summary(arguments[0], collection))
    except InputError as error:
        print(error, file=sys.stderr)
        return 1
    return 0
