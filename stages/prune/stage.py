"""Prune: npz files to packed graphs, cut down to what lies near the configurable nodes.

Cutting is the first place's (Kaggle discussion 456343): configurable nodes and their neighbours, and of the edges those
that touch a configurable node. `hops` widens it. Statistics of the whole graph are taken before the cut.

Configurations are inflated, encoded and compared block by block, and files are packed side by side, a process a core.
What is packed lies in DATA/checkpoints/prune/SLUG until all of it takes its place in DATA/prune/SLUG at once (DVC
empties that folder before a run), so that the next run goes on where one was cut short.
"""

from __future__ import annotations

import errno
import hashlib
import itertools
import json
import os
import shutil
import stat
import tempfile
from array import array
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np
import polars as pl
from tqdm import tqdm

from stages import checks, files
from stages.engine import code, engine
from stages.errors import InputError
from stages.graphs import dataset, npz
from stages.graphs.collection import SPLITS, is_tile, slug
from stages.graphs.opcodes import CONVOLUTION, DOT, OPCODES, PARAMETER, RESHAPE
from stages.graphs.operands import config_operands
from stages.graphs.tensors import ELEMENTS, ROOT, element_bytes
from stages.graphs.topology import operands, topological_order, within

DUPLICATES = ("first", "mean", "minimum")
DIRECTIONS = ("both", "producers", "consumers")
MOST_TRIPLES = 65_535
MOST_PAIRS = 1 << 24  # contracted; the published 3,143 configurable nodes have under 5 million
LARGEST_MET = 1 << 28  # bytes of the sets that `contract` holds; the largest published graph takes 17 MB
BYTES_PER_WORKER = 1 << 25  # of files: with less to read, one process more takes longer to start than it saves
CHUNK_BYTES = 1 << 22  # of codes read back together
TAIL_BYTES = 1 << 16  # of a file's end, where a zip keeps the CRC of each of its members
_RADIX = npz.LAYOUT_RANGE[1] - npz.LAYOUT_RANGE[0] + 1
_POWERS = _RADIX ** np.arange(npz.LAYOUT_FEATURES, dtype=np.int64)
_WORDS = npz.LAYOUT_FEATURES // 2  # 8-byte words of a triple of float32
_HASH_BITS = 20  # so that of a thousand triples hardly two share a place
_FACTORS = np.random.default_rng(0).integers(1 << 63, size=_WORDS, dtype=np.uint64) * 2 + 1  # odd, to lose no bit


@checks.entry("prune", writes=True)
def run(
    *,
    collection: str,
    root: str | Path,
    hops: int | str = 1,
    neighbour_edges: bool = False,
    direction: str = "both",
    duplicates: str = "first",
    skip_bad: bool = False,
    data: str | Path = "data",
    workers: int | None = None,
) -> pl.DataFrame:
    """Packs every npz file of `collection` below `root` into DATA/prune/SLUG; each is read once.

    hops: how many steps from a configurable node are kept, or "all". neighbour_edges: also keep edges between two nodes
    of the outermost step. direction: where the steps lead, "both" ways, to "producers" or to "consumers". duplicates:
    which run time equal configurations of a train graph keep, "first", "mean" or "minimum"; in valid and test every
    configuration stays. Tile graphs are packed whole.
    skip_bad: go on without faulty files, and list them in the manifest. workers: processes, by default one a core where
    there is work for it; nothing that is written depends on it, nor on how often the run was cut short.

    Returns a row per graph: split, id, whole_nodes, nodes, whole_edges, edges, configurable, configurations (in the
    file) and distinct (different ones among them). InputError: a folder without files, a faulty parameter, a faulty
    file (all others are packed by then, and kept for the next run), a full disk, or a process that was killed.
    """
    _check(hops, direction, duplicates)
    found = {split: npz.files(root, collection, split) for split in SPLITS}
    folder = dataset.prune_folder(data, collection)
    (folder / "manifest.json").unlink(missing_ok=True)  # so that a run cut short is not taken for a finished one
    options = {"hops": hops, "neighbour_edges": neighbour_edges, "direction": direction, "duplicates": duplicates}
    options = {} if is_tile(collection) else options
    work = Path(data, "checkpoints", "prune", slug(collection))
    jobs = [_Job(file, split, collection, options, work) for split in SPLITS for file in found[split]]
    rows, faults = _pack_all(jobs, workers)
    emptied = [split for split in SPLITS if not any(job.split == split for job in rows)]
    if faults and (emptied or not skip_bad):
        raise InputError(_told(faults, len(jobs)))
    listed = {split: [_entry(job.id, row) for job, row in rows.items() if job.split == split] for split in SPLITS}
    skipped = [
        {"split": job.split, "id": job.id, "fault": fault.removeprefix(str(job.file)).lstrip(": ")}
        for job, fault in faults.items()
    ]
    content = {"collection": collection, **options, "graphs": listed} | ({"skipped": skipped} if skipped else {})
    packed = work / "packed"
    dataset.remove_stale(packed, {split: [graph["id"] for graph in listed[split]] for split in SPLITS})
    dataset.write_json(packed / "manifest.json", content)
    if folder.exists():
        shutil.rmtree(folder)
    folder.parent.mkdir(parents=True, exist_ok=True)
    shutil.move(packed, folder)
    shutil.rmtree(work)
    return pl.DataFrame([{"split": job.split, "id": job.id} | row for job, row in rows.items()]).drop("kept")


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
    if isinstance(arrays, npz.TileArrays):
        graph = {"node_feat": arrays.node_feat, "node_opcode": arrays.node_opcode, "edge_index": arrays.edge_index}
        config = {"config_feat": arrays.config_feat, "normalizer": arrays.config_runtime_normalizers}
        places = {"runtime": arrays.config_runtime, "config_index": np.arange(len(arrays.config_runtime))}
        whole = {"whole_opcodes": np.bincount(arrays.node_opcode, minlength=OPCODES)}
        return graph | config | places | whole, statistics(arrays, np.empty(0, np.int64), 0)
    graph, whole = pack_graph(arrays, hops, neighbour_edges)
    with tempfile.TemporaryFile() as scratch:
        configurations = Configurations(len(arrays.node_config_ids), scratch)
        for layouts, places in changes([arrays.node_config_feat]):
            configurations.add(layouts, places)
        tensors = configurations.tensors(arrays.config_runtime, duplicates)
        codes = np.concatenate([np.empty((0, len(arrays.node_config_ids)), np.uint16), *tensors["codes"].pieces])
    return graph | tensors | {"codes": codes}, whole


def pack_graph(
    layout: npz.LayoutArrays | npz.LayoutFile, hops: int | str, neighbour_edges: bool, direction: str = "both"
) -> tuple[dict[str, np.ndarray], dict[str, float]]:
    """Those tensors of a packed layout graph that its configurations have no part in, and its statistics.

    hops, neighbour_edges, direction: as in `run`. InputError where paths join too many of the configurable nodes.
    """
    order = topological_order(len(layout.node_feat), layout.edge_index)
    contracted = contract(order, layout.edge_index, layout.node_config_ids)
    whole = {"whole_opcodes": np.bincount(layout.node_opcode, minlength=OPCODES), "contracted": contracted}
    graph = cut(layout, hops, neighbour_edges, direction)
    return graph | whole, statistics(layout, layout.node_config_ids, len(contracted))


def cut(
    arrays: npz.LayoutArrays, hops: int | str, neighbour_edges: bool, direction: str = "both"
) -> dict[str, np.ndarray]:
    """The nodes within `hops` steps of a configurable node, and edges among them, renumbered.

    direction: steps go to "producers", to "consumers" or "both" ways.

    Without `neighbour_edges` an edge stays only if one of its ends lies within hops - 1 steps. Returns node_feat,
    node_opcode, node_split, edge_index, config_nodes and config_operands; nodes and edges keep their order.
    """
    consumer, producer = arrays.edge_index.T
    ids = arrays.node_config_ids
    kept = within(len(arrays.node_feat), arrays.edge_index, ids, hops, direction)
    edges = kept[consumer] & kept[producer]
    if hops != "all" and not neighbour_edges:
        inner = within(len(kept), arrays.edge_index, ids, hops - 1, direction)
        edges &= inner[consumer] | inner[producer]
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


def changes(blocks: Iterable[np.ndarray]) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Each block (r, nc, 18) float32 of the configurations of one graph, and where it differs from the configuration
    before, bit by bit: places in its (r * nc) nodes, in order; in the first configuration everywhere.

    A search changes few nodes from one configuration to the next, and what is as before is not looked at again.
    """
    last = None
    for layouts in blocks:
        words = layouts.reshape(len(layouts), -1).view(np.uint64)
        changed = np.ones(words.shape, bool)
        np.not_equal(words[1:], words[:-1], out=changed[1:])
        if last is not None:
            np.not_equal(words[0], last, out=changed[0])
        last = words[-1].copy()
        yield layouts, _rows(changed)


class Configurations:
    """The configurations of one graph as codes into its distinct layout triples, taken block by block.

    configurable: nc. scratch: an empty file that takes the codes until all triples are known. check: raises InputError
    where layouts (k, 18) hold what they may not; it sees whatever is not known to be good, by default nothing is looked
    at. In memory are the triples, and some 200 bytes for each configuration.

    Equal configurations are found by a hash of their codes, and then compared.
    """

    def __init__(
        self, configurable: int, scratch: BinaryIO, check: Callable[[np.ndarray], None] = lambda layouts: None
    ) -> None:
        self._scratch, self._triples = scratch, _Triples(check)
        self._codes = np.zeros(configurable, np.uint16)  # of the last configuration
        self._by_hash: dict[int, int] = {}
        self._group, self._first = array("q"), array("q")  # of each configuration; the first of each group

    @property
    def distinct(self) -> int:
        """How many different configurations there have been so far."""
        return len(self._first)

    def add(self, layouts: np.ndarray, places: np.ndarray) -> None:
        """Takes in the next configurations, (r, nc, 18) float32, and their `changes`. InputError beyond 65,535
        triples."""
        words = layouts.reshape(-1, layouts.shape[-1]).view(np.uint64)
        numbers = self._triples.numbers(words.take(places, axis=0))
        rows, nodes = np.divmod(places, len(self._codes))
        ends = np.searchsorted(rows, np.arange(len(layouts)), side="right")
        codes = np.empty((len(layouts), len(self._codes)), np.uint16)
        start = 0
        for row, end in zip(codes, ends.tolist(), strict=True):
            self._codes[nodes[start:end]] = numbers[start:end]
            row[:] = self._codes
            start = end
        self._scratch.write(codes.data)
        self._scratch.flush()
        self._group.extend(map(self._group_of, codes))

    def tensors(self, runtime: np.ndarray, duplicates: str | None) -> dict[str, np.ndarray | dataset.Pieces]:
        """codes, triples, runtime and config_index of `dataset.PackedGraph`.

        runtime (c,) int64 in nanoseconds. duplicates: which run time equal configurations keep, "first", "mean"
        (rounded) or "minimum"; with None every configuration stays. Triples are sorted, so that nothing depends on the
        blocks. The codes come in pieces that are read from the scratch file.
        """
        triples, places = self._triples.sorted()
        index = np.arange(len(self._group))
        if duplicates:
            index = np.array(self._first)
            runtime = _kept_runtime(runtime, index, np.array(self._group), duplicates)
        codes = dataset.Pieces((len(index), len(self._codes)), self._pieces(places, index))
        return {"codes": codes, "triples": triples, "runtime": runtime, "config_index": index}

    def _group_of(self, codes: np.ndarray) -> int:
        """The number of the configuration's group; it is a new one where there has been no equal configuration."""
        content = codes.tobytes()
        for tried in itertools.count():
            number = hash((content, tried))
            group = self._by_hash.setdefault(number, len(self._first))
            if group == len(self._first):
                self._first.append(len(self._group))
                return group
            if self._read(self._first[group], 1) == content:
                return group

    def _read(self, start: int, count: int) -> bytes:
        size = self._codes.nbytes
        return os.pread(self._scratch.fileno(), count * size, start * size)

    def _pieces(self, places: np.ndarray, index: np.ndarray) -> Iterator[np.ndarray]:
        rows = max(1, CHUNK_BYTES // self._codes.nbytes)
        kept = np.zeros(len(self._group), bool)
        kept[index] = True
        for start in range(0, len(kept), rows):
            codes = np.frombuffer(self._read(start, rows), np.uint16).reshape(-1, len(self._codes))
            yield places[codes[kept[start : start + rows]]]


class _Triples:
    """Distinct layout triples, numbered in the order in which they are met.

    A triple of whole numbers -1..5 is a number of 18 digits in base 7, below 2^51: its key. Most of those looked up are
    found by a hash of their bytes, in a table where a triple may lie over another; the rest by their keys. What is
    looked up may be no such triple at all, and so whatever is found is compared.
    """

    def __init__(self, check: Callable[[np.ndarray], None]) -> None:
        self._check = check
        self._keys, self._numbers = np.empty(0, np.int64), np.empty(0, np.uint16)  # sorted, and the numbers of them
        self._words = np.empty((256, _WORDS), np.uint64)  # by number; more than there are triples yet
        self._hashed = np.zeros(1 << _HASH_BITS, np.uint16)  # numbers by hash

    def numbers(self, words: np.ndarray) -> np.ndarray:
        """Numbers (k,) uint16 of triples of float32, given as 8-byte words (k, 9)."""
        if not len(self._keys):
            self._learn(words[:1])
        numbers = self._hashed.take(_hashes(words))
        unknown = _rows(self._words.take(numbers, axis=0) != words)
        if len(unknown):
            numbers[unknown] = self._learn(words[unknown])
        return numbers

    def _learn(self, words: np.ndarray) -> np.ndarray:
        """Numbers of triples that may be new, and may be none."""
        layouts = words.view(np.float32)
        self._check(layouts)
        layouts = layouts + np.float32(0)  # which makes 0 of -0
        keys = _keys(layouts)
        fresh, chosen = np.unique(keys, return_index=True)
        new = ~np.isin(fresh, self._keys)
        fresh, words = fresh[new], layouts[chosen[new]].view(np.uint64)
        known, total = len(self._keys), len(self._keys) + len(fresh)
        if total > MOST_TRIPLES:
            raise InputError(f"more than {MOST_TRIPLES} distinct layouts of a node; leave the graph out")
        while len(self._words) < total:
            self._words = np.concatenate([self._words, np.empty_like(self._words)])
        self._words[known:total] = words
        self._hashed[_hashes(words)] = np.arange(known, total)
        places = np.searchsorted(self._keys, fresh)
        self._keys = np.insert(self._keys, places, fresh)
        self._numbers = np.insert(self._numbers, places, np.arange(known, total))
        return self._numbers[np.searchsorted(self._keys, keys)]

    def sorted(self) -> tuple[np.ndarray, np.ndarray]:
        """The triples (t, 18) int8 in order, and of each number the triple's place in it, (t,) uint16."""
        places = np.empty(len(self._keys), np.uint16)
        places[self._numbers] = np.arange(len(self._keys))
        digits = self._keys[:, None] // _POWERS % _RADIX
        return (digits + npz.LAYOUT_RANGE[0]).astype(np.int8), places


def _rows(differ: np.ndarray) -> np.ndarray:
    """Places of the triples of which one of the 9 words differs, in order; differ: bool, 9 for each triple."""
    rows = np.flatnonzero(differ) // _WORDS
    first = np.ones(len(rows), bool)
    np.not_equal(rows[1:], rows[:-1], out=first[1:])
    return rows[first]


def _hashes(words: np.ndarray) -> np.ndarray:
    """Hashes (k,) of triples given as words (k, 9): the upper bits of a sum of products, where the carries end."""
    return ((words @ _FACTORS) >> np.uint64(64 - _HASH_BITS)).astype(np.int64)


def _keys(layouts: np.ndarray) -> np.ndarray:
    """Keys (k,) int64 of triples (k, 18) float32. Six digits at a time, because float32 holds those exactly."""
    part = npz.LAYOUT_FEATURES // 3
    with np.errstate(all="ignore"):  # of what is no triple
        parts = (layouts.reshape(-1, part) @ _POWERS[:part].astype(np.float32)).astype(np.int64)
    return parts.reshape(-1, 3) @ _POWERS[::part] - npz.LAYOUT_RANGE[0] * _POWERS.sum()


def _digest(content: bytes) -> bytes:
    return hashlib.blake2b(content, digest_size=16).digest()


def _kept_runtime(runtime: np.ndarray, first: np.ndarray, group: np.ndarray, duplicates: str) -> np.ndarray:
    """Run times (k,) int64 of groups: "first", "mean" (rounded, a half to even) or "minimum" of those in the group.

    runtime (c,), group (c,): of each configuration; first (k,): the place of the first of each group.
    """
    if duplicates == "first":
        return runtime[first]
    if duplicates == "minimum":
        least = runtime[first]
        np.minimum.at(least, group, runtime)
        return least
    totals = [0] * len(first)  # in Python's whole numbers: a sum of many large ones is beyond int64
    for place, value in zip(group.tolist(), runtime.tolist(), strict=True):
        totals[place] += value
    means = []
    for total, count in zip(totals, np.bincount(group).tolist(), strict=True):
        mean, rest = divmod(total, count)
        means.append(mean + (2 * rest > count or (2 * rest == count and mean % 2)))
    return np.array(means, np.int64)


def contract(order: np.ndarray, edge_index: np.ndarray, config_nodes: np.ndarray) -> np.ndarray:
    """Pairs (k, 2) int32 of places in config_nodes, [consumer, producer], sorted: a path leads from the consumer down
    to the producer and meets no other configurable node.

    order (n,): producers before consumers. One pass, with a set of configurable nodes at every node: n * nc / 8 bytes,
    17 MB for the largest published graph. InputError where the sets or the pairs are more than memory may hold.
    """
    width = -(-len(config_nodes) // 8)
    if len(order) * width > LARGEST_MET:
        raise InputError(f"{len(order)} nodes with {len(config_nodes)} configurable ones are too many; leave it out")
    place = np.full(len(order), -1)
    place[config_nodes] = np.arange(len(config_nodes))
    starts, producers = operands(len(order), edge_index)
    seen = np.zeros((len(order), width), np.uint8)  # what a consumer of the node meets through it
    pairs: list[np.ndarray] = [np.empty((0, 2), np.int32)]
    total = 0
    for node in order:
        below = np.bitwise_or.reduce(seen[producers[starts[node] : starts[node + 1]]], axis=0)
        if place[node] < 0:
            seen[node] = below
            continue
        seen[node, place[node] // 8] = 1 << place[node] % 8
        met = np.flatnonzero(np.unpackbits(below, bitorder="little"))
        total += len(met)
        if total > MOST_PAIRS:
            raise InputError(f"more than {MOST_PAIRS} paths between configurable nodes; leave the graph out")
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


def _check(hops: int | str, direction: str, duplicates: str) -> None:
    if hops != "all" and not (isinstance(hops, int) and hops >= 1):
        raise InputError(f"prune.hops: {hops!r} is neither a whole number from 1 nor 'all'; mend params.yaml")
    if direction not in DIRECTIONS:
        raise InputError(f"prune.direction: {direction!r} is none of {', '.join(DIRECTIONS)}; mend params.yaml")
    if duplicates not in DUPLICATES:
        raise InputError(f"prune.duplicates: {duplicates!r} is none of {', '.join(DUPLICATES)}; mend params.yaml")


def _depth(order: np.ndarray, edge_index: np.ndarray) -> int:
    """Nodes on the longest path."""
    starts, producers = (array.tolist() for array in operands(len(order), edge_index))
    height = [0] * len(order)
    for node in order.tolist():
        height[node] = 1 + max((height[operand] for operand in producers[starts[node] : starts[node + 1]]), default=0)
    return max(height)


@dataclass(frozen=True, eq=False)
class _Job:
    """One file to pack, by which options, and below which folder."""

    file: Path
    split: str
    collection: str
    options: dict
    work: Path

    @property
    def id(self) -> str:
        return self.file.stem

    @property
    def packed(self) -> Path:
        return dataset.graph_file(self.work / "packed", self.split, self.id)

    @property
    def record(self) -> Path:
        """What `packed` was made of and its row; it is written last, and taken away first."""
        return self.work / "records" / self.split / f"{self.id}.json"

    def source(self) -> list:
        """What tells a changed file, changed options and changed code, as JSON holds it."""
        try:
            state = self.file.stat()
            if not stat.S_ISREG(state.st_mode):  # opening a pipe would wait for somebody to write
                raise InputError(f"{self.file}: is no file; leave it out")
            with open(self.file, "rb") as file:
                file.seek(max(0, state.st_size - TAIL_BYTES))
                tail = _digest(file.read()).hex()
        except OSError as error:
            raise InputError(f"{self.file}: cannot be opened ({error.strerror}); mend it or leave it out") from None
        return [state.st_size, state.st_mtime_ns, tail, self.options, code.digest(__name__)]


def _pack_all(jobs: Sequence[_Job], workers: int | None) -> tuple[dict[_Job, dict], dict[_Job, str]]:
    """The rows of all graphs, packed by this run or by one that was cut short, and the faults of faulty files."""
    sizes = {job: os.path.getsize(job.file) if job.file.exists() else 0 for job in jobs}
    name = f"prune {jobs[0].collection}"
    found: dict[_Job, dict | str] = {}
    with tqdm(total=sum(sizes.values()), desc=name, unit="B", unit_scale=True, mininterval=2) as progress:
        for job in jobs:
            if (row := _kept(job)) is not None:
                found[job] = row
                progress.update(sizes[job])
        # The largest first, so that no process is left alone with one at the end.
        waiting = sorted((job for job in jobs if job not in found), key=sizes.get, reverse=True)
        parallel = 1 + sum(sizes[job] for job in waiting) // BYTES_PER_WORKER
        knobs = {"memory_knob": "prune.hops", "parallel": workers or parallel}
        for place, result in engine.configured().spread(_pack_file, waiting, **knobs):
            found[waiting[place]] = result
            progress.update(sizes[waiting[place]])
    rows = {job: found[job] for job in jobs if isinstance(found[job], dict)}
    return rows, {job: found[job] for job in jobs if isinstance(found[job], str)}


def _kept(job: _Job) -> dict | None:
    """The row of a graph that a run cut short has packed, if neither its file nor the options nor the code changed."""
    try:
        record = json.loads(job.record.read_text())
        return record["row"] if record["source"] == job.source() and job.packed.exists() else None
    except (OSError, ValueError, KeyError, TypeError):  # InputError is a ValueError
        return None


def _pack_file(job: _Job) -> dict | str:
    """Packs one file and returns its row, or its fault in one line."""
    try:
        job.record.unlink(missing_ok=True)
        source = job.source()
        job.packed.parent.mkdir(parents=True, exist_ok=True)
        row = (_pack_tile if is_tile(job.collection) else _pack_layout)(job)
        files.replace(job.record, json.dumps({"source": source, "row": row}).encode())
        return row
    except InputError as error:
        return str(error) if str(error).startswith(str(job.file)) else f"{job.file}: {error}"
    except OSError as error:
        if error.errno != errno.ENOSPC:
            raise
        raise InputError(f"{job.work}: the disk is full; make room and run again, it goes on where it was") from None


def _pack_tile(job: _Job) -> dict:
    arrays = npz.read_tile(job.file)
    _check_runtime(job, arrays.config_runtime)
    tensors, whole = pack(arrays)
    dataset.write_packed(job.packed, tensors, whole)
    return _row(arrays, tensors, len({row.tobytes() for row in arrays.config_feat}))


def _pack_layout(job: _Job) -> dict:
    options = dict(job.options)
    duplicates = options.pop("duplicates")
    with npz.LayoutFile(job.file) as layout, tempfile.TemporaryFile(dir=job.packed.parent) as scratch:
        _check_runtime(job, layout.config_runtime)
        graph, whole = pack_graph(layout, **options)
        configurations = Configurations(layout.shape[1], scratch, layout.check)
        for layouts, places in changes(layout.blocks()):
            configurations.add(layouts, places)
        tensors = graph | configurations.tensors(layout.config_runtime, duplicates if job.split == "train" else None)
        dataset.write_packed(job.packed, tensors, whole)
    return _row(layout, tensors, configurations.distinct)


def _check_runtime(job: _Job, runtime: np.ndarray) -> None:
    if job.split != "test" and not runtime.all():
        raise InputError(f"{job.file}: config_runtime has a zero; a {job.split} file needs all of its run times")


def _told(faults: Mapping[_Job, str], total: int) -> str:
    """The first fault, and how many and which others there are."""
    first, *others = faults.values()
    if not others:
        return f"{first} (the other {total - 1} files are packed and kept; data.skip_bad: true goes on with them)"
    names = ", ".join(job.file.name for job in [*faults][1:4]) + (", ..." if len(others) > 3 else "")
    rest = f"the other {total - len(faults)} files are packed and kept; data.skip_bad: true goes on with them"
    return f"{first} ({len(others)} more of {total} files are faulty: {names}; {rest})"


def _row(
    graph: npz.LayoutArrays | npz.LayoutFile | npz.TileArrays, tensors: Mapping[str, np.ndarray], distinct: int
) -> dict[str, int]:
    return {
        "whole_nodes": len(graph.node_feat),
        "nodes": len(tensors["node_feat"]),
        "whole_edges": len(graph.edge_index),
        "edges": len(tensors["edge_index"]),
        "configurable": len(tensors.get("config_nodes", ())),
        "configurations": len(graph.config_runtime),
        "distinct": distinct,
        "kept": len(tensors["runtime"]),
    }


def _entry(id: str, row: Mapping[str, int]) -> dict[str, str | int]:
    kept = {key: row[key] for key in ("nodes", "whole_nodes", "edges", "configurable")}
    return {"id": id} | kept | {"configurations": row["kept"]}
