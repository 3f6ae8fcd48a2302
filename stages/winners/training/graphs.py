"""How large a collection's graphs are, and its graphs packed as a network's `settings.pruning` says.

Packed graphs lie below one folder for each pruning and data set, which all recipes share, in the form of the prune
stage's: FOLDER/prune/SLUG. A run cut short goes on where it was (`stages.prune.jobs`).
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np

from stages.engine import files
from stages.engine.errors import InputError
from stages.graphs import dataset, npz
from stages.graphs.collection import SPLITS, is_tile, npz_files, slug
from stages.graphs.dataset import PackedGraph
from stages.prune.cut import cut
from stages.prune.jobs import Job, pack_all, pack_file
from stages.prune.packing import Options
from stages.winners.parts import Pruning
from stages.winners.paths import along, shortest

#: in which equal configurations stay and run times are looked for
EVERY_CONFIGURATION = "valid"
ONE = "one"  # folder of graphs that are looked at before all are packed


@dataclass(frozen=True)
class Size:
    """Nodes after pruning, and configurations in the file, of one graph."""

    split: str
    id: str
    nodes: int
    configurations: int


@dataclass(frozen=True)
class Source:
    """A collection of a data set with a way to prune it.

    Attributes:
        root: The folder that holds `npz/`.
        collection: Official name.
        pruning: Of layout graphs; tile graphs are packed whole.
        folder: Where packed graphs of all data sets lie.
    """

    root: Path
    collection: str
    pruning: Pruning
    folder: Path

    @property
    def data(self) -> Path:
        """The folder that `stages.graphs.dataset` reads the packed graphs from."""
        place = hashlib.sha256(os.path.abspath(self.root).encode()).hexdigest()[:8]
        way = self.pruning
        steps = (
            "whole" if way.hops == "all" else f"{way.hops}-{way.direction}-{'all' if way.neighbour_edges else 'few'}"
        )
        return self.folder / f"{place}-{steps}-{way.duplicates or 'every'}"

    def job(self, split: str, file: Path) -> Job:
        """How one of its files is packed."""
        way, options = self.pruning, None
        if not is_tile(self.collection):
            options = Options(way.hops, way.neighbour_edges, way.direction, way.duplicates or "first")
        # Only train loses equal configurations, so train is packed as valid where it is to keep them.
        as_split = EVERY_CONFIGURATION if split == "train" and way.duplicates is None else split
        return Job(file, as_split, options, self.data / "work" / slug(self.collection) / split)

    def survey(self) -> list[Size]:
        """The sizes of all graphs, read from the npz files without their layouts."""
        return [self._size(split, file) for split in SPLITS for file in npz_files(self.root, self.collection, split)]

    def one(self, size: Size) -> PackedGraph:
        """One graph as a network takes it, packed now if it is not yet."""
        return self.cut(self._packed_one(size))

    def cut(self, graph: PackedGraph) -> PackedGraph:
        """A packed graph as a network takes it."""
        return shortest(graph) if self.pruning.paths and not is_tile(self.collection) else graph

    def _packed_one(self, size: Size) -> PackedGraph:
        target = dataset.graph_file(dataset.prune_folder(self.data, self.collection), size.split, size.id)
        if not target.exists():
            paths = npz_files(self.root, self.collection, size.split)
            job = self.job(size.split, next(path for path in paths if path.stem == size.id))
            if isinstance(fault := pack_file(job), str):
                raise InputError(fault)
            return _read(job, self.data, self.collection, size)
        return dataset.graph(self.data, self.collection, size.split, size.id)

    def pack(self, workers: int | None = None) -> Path:
        """Packs all graphs, but for those that are packed already; returns `data`.

        Raises:
            InputError: A file is faulty or a folder is missing, as the prune stage says it.
        """
        paths = {split: npz_files(self.root, self.collection, split) for split in SPLITS}
        folder = dataset.prune_folder(self.data, self.collection)
        sources = {f"{split}/{path.stem}": self.job(split, path).source() for split in SPLITS for path in paths[split]}
        try:
            if json.loads((folder / "manifest.json").read_text())["sources"] == sources:
                return self.data
        except (OSError, ValueError, KeyError):
            pass
        (folder / "manifest.json").unlink(missing_ok=True)
        sizes = self._packed(paths, workers)
        listed: dict[str, list[dict]] = {split: [] for split in SPLITS}
        for split in SPLITS:
            for path in paths[split]:
                job = self.job(split, path)
                target = dataset.graph_file(folder, split, job.id)
                target.parent.mkdir(parents=True, exist_ok=True)
                os.replace(job.packed, target)
                job.record.unlink()
                content = hashlib.sha256(target.read_bytes()).hexdigest()
                listed[split].append({"id": job.id, "configurations": sizes[split, job.id], "content": content})
        dataset.remove_stale(folder, {split: [graph["id"] for graph in listed[split]] for split in SPLITS})
        shutil.rmtree(self.data / ONE, ignore_errors=True)
        way = replace(self.pruning, paths=False)  # graphs are cut to these when they are read
        content = {"collection": self.collection, **asdict(way), "graphs": listed, "sources": sources}
        files.replace(folder / "manifest.json", json.dumps(content).encode())
        return self.data

    def identity(self) -> str:
        """Digest of the packed graphs' bytes."""
        listed = dataset.manifest(dataset.prune_folder(self.data, self.collection))["graphs"]
        return hashlib.sha256(json.dumps([self.collection, listed], sort_keys=True).encode()).hexdigest()

    def _packed(self, paths: Mapping[str, Iterable[Path]], workers: int | None = None) -> dict[tuple[str, str], int]:
        """Packs files into their work folders; returns the configurations of each (split, id)."""
        jobs = {self.job(split, path): split for split in paths for path in paths[split]}
        packed, faults = pack_all(list(jobs), f"pack {self.collection}", workers)
        if faults:
            first, *others = faults.values()
            raise InputError(f"{first} ({len(others)} more of {len(jobs)} files are faulty)" if others else first)
        return {(jobs[job], job.id): sizes.packed_configurations for job, sizes in packed.items()}

    def _size(self, split: str, file: Path) -> Size:
        if is_tile(self.collection):
            tile = npz.read_tile(file)
            return Size(split, file.stem, len(tile.node_feat), len(tile.config_runtime))
        way = self.pruning
        with npz.LayoutFile(file) as layout:
            kept = cut(layout, way.hops, way.neighbour_edges, way.direction)
            nodes = len(kept["node_opcode"])
            if way.paths:
                nodes = int(along(nodes, kept["edge_index"], kept["config_nodes"])[0].sum())
            return Size(split, file.stem, nodes, len(layout.config_runtime))


def read(source: Source, split: str) -> list[PackedGraph]:
    """The graphs of a split as a network takes them, sorted by id."""
    return [source.cut(graph) for graph in dataset.graphs(source.data, source.collection, split)]


def thirds(graph: PackedGraph, most: int) -> PackedGraph:
    """A graph with `most` configurations: a third of the fastest, a third of the slowest, others drawn.

    The data set's own code does so: tpu_graphs/baselines/layout/data.py:352-359 at ddd187c.
    """
    if graph.configurations <= most:
        return graph
    order, third = np.argsort(graph.runtime, kind="stable"), most // 3
    middle = np.random.default_rng(0).choice(order[third:-third], most - 2 * third, replace=False)
    return graph.taking(np.sort(np.concatenate([order[:third], middle, order[-third:]])))


def drawn(graph: PackedGraph, most: int) -> PackedGraph:
    """A graph with `most` drawn configurations, the same in every run."""
    if graph.configurations <= most:
        return graph
    seed = int.from_bytes(hashlib.sha256(graph.id.encode()).digest()[:8], "little")
    return graph.taking(np.sort(np.random.default_rng(seed).choice(graph.configurations, most, replace=False)))


def _read(job: Job, data: Path, collection: str, size: Size) -> PackedGraph:
    """A graph that lies in its work folder still."""
    folder = data / ONE
    target = dataset.graph_file(dataset.prune_folder(folder, collection), size.split, size.id)
    target.parent.mkdir(parents=True, exist_ok=True)
    target.unlink(missing_ok=True)
    os.link(job.packed, target)
    return dataset.graph(folder, collection, size.split, size.id)
