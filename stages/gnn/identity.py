"""Identities: digests of all that decides a graph's states, a seed's training, or the whole result of the stage."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path

import numpy as np

from stages.engine import code
from stages.gnn.graph_view import GraphView
from stages.gnn.mapped_files import release
from stages.gnn.settings import Settings
from stages.graphs.dataset import ModelGraph, graph_file, graph_ids, pad_folder, prune_folder

#: the module whose imports, and theirs, are all the code that shapes a score; no page is among them
CODE = ("stages.gnn.tasks",)
STATES_CODE = ("stages.gnn.prepared_graph",)
PAGE_CODE = ("stages.gnn.page_tables",)
#: bytes of a mapped file that are read at a time
_BLOCK = 2**22


def of_states(graph: ModelGraph, view: GraphView) -> str:
    """Digest of what decides a graph's states: the code that finds them, the view, and the graph with its layouts."""
    digest = hashlib.sha256(code.digest(*STATES_CODE).encode())
    digest.update(json.dumps(asdict(view)).encode())
    packed = graph.packed
    nodes = (packed.node_feat, packed.node_opcode, packed.node_split, packed.edge_index)
    configured = (packed.config_nodes, packed.config_operands, packed.contracted, packed.codes, packed.triples)
    _add_arrays(digest, nodes + configured)
    return digest.hexdigest()


def of_training(collection: str, seed: int, settings: Settings, device: str, graphs: Iterable[ModelGraph]) -> str:
    """Digest of what decides one seed's training: the code, torch's too, the settings, the device and the data."""
    knobs = asdict(settings)
    del knobs["seeds"]  # one's training depends on no other's
    digest = _begun(collection, seed, knobs, device)
    for graph in graphs:
        digest.update(f"{graph.split}/{graph.id}".encode())
        packed = graph.packed
        _add_arrays(digest, [graph.x, graph.opcode, graph.layout, graph.edge_index, graph.target])
        _add_arrays(digest, [graph.tile_config, graph.layout_config])
        _add_arrays(digest, [graph.config_nodes, graph.codes, graph.triples])
        _add_arrays(digest, [packed.node_feat, packed.node_split, packed.contracted, packed.config_operands])
    return digest.hexdigest()


def of_result(collection: str, settings: Settings, device: str, data: str | Path, splits: Iterable[str]) -> str:
    """Digest of what decides all outputs of the stage: the code, torch's too, the settings, and the files of the data.

    Args:
        collection: whose networks they are.
        settings: the stage's knobs.
        device: that trains.
        data: the folder of data/prune and data/pad.
        splits: whose graphs are trained on, watched or scored.
    """
    digest = _begun(collection, asdict(settings), device)
    for split in splits:
        for id in graph_ids(data, collection, split):
            for folder in (prune_folder(data, collection), pad_folder(data, collection)):
                with open(graph_file(folder, split, id), "rb") as file:
                    content = hashlib.file_digest(file, "sha256").hexdigest()
                digest.update(f"{split}/{id} {content}".encode())
    return digest.hexdigest()


def of_page(of_result: str) -> str:
    """Digest of what decides the tables of the page: the result's identity, and the code that computes the tables."""
    return hashlib.sha256(f"{of_result} {code.digest(*PAGE_CODE)}".encode()).hexdigest()


def _begun(*parts: object):
    """A digest of the code that shapes a score, of torch's version, and of these parts."""
    digest = hashlib.sha256(code.digest(*CODE).encode())
    digest.update(version("torch").encode())
    digest.update(json.dumps(parts).encode())
    return digest


def _add_arrays(digest, arrays: Iterable[np.ndarray | None]) -> None:
    """Adds arrays to a digest, a block at a time; None is left out: a tile graph has no configurable nodes."""
    for array in arrays:
        if array is None or not array.size:
            continue
        rows = max(1, _BLOCK * len(array) // array.nbytes)
        for start in range(0, len(array), rows):
            digest.update(np.ascontiguousarray(array[start : start + rows]))
            release(array)
