"""States of segments on disk, beside the packed graphs: found once, memory-mapped by each training that needs them."""

from __future__ import annotations

import ctypes
import hashlib
import json
import mmap
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path

import numpy as np
from safetensors.numpy import save
from scipy.sparse import csr_array

from stages import files
from stages.engine import code
from stages.errors import InputError
from stages.gnn.graph_view import View
from stages.gnn.states import Level, Whole
from stages.graphs.collection import slug
from stages.graphs.dataset import ModelGraph, graph_file
from stages.graphs.tensor_files import read_tensors

_LEVEL = ("nodes", "starts", "varying", "table", "example")
_PLAIN = ("rows", "code", "columns", "copy_ends", "copy_columns")
#: bytes of a mapped file that are read at a time
_BLOCK = 2**22


def folder(data: str | Path, collection: str) -> Path:
    """Where the states of a collection lie below `data`. Not a stage's output: what is missing is found again."""
    return Path(data, "states", slug(collection))


def identity(graph: ModelGraph, view: View) -> str:
    """Digest of what decides a graph's states: the code that finds them, the view, and the graph with its layouts."""
    digest = hashlib.sha256(code.digest("stages.gnn.batch").encode())
    digest.update(json.dumps(asdict(view)).encode())
    packed = graph.packed
    nodes = (packed.node_feat, packed.node_opcode, packed.node_split, packed.edge_index)
    configured = (packed.config_nodes, packed.config_operands, packed.contracted, packed.codes, packed.triples)
    update(digest, nodes + configured)
    return digest.hexdigest()


def update(digest, arrays: Iterable[np.ndarray | None]) -> None:
    """Adds arrays (those that are there: a tile graph has no configurable nodes) to a digest, a block at a time."""
    for array in arrays:
        if array is None or not array.size:
            continue
        rows = max(1, _BLOCK * len(array) // array.nbytes)
        for start in range(0, len(array), rows):
            digest.update(np.ascontiguousarray(array[start : start + rows]))
            release(array)


def release(*arrays: np.ndarray) -> None:
    """Lets go of the pages of mapped files that were read through these arrays: until then they count as memory of this
    process. Read again, they come back."""
    for array in arrays:
        while isinstance(array, np.ndarray):
            array = array.base
        array = array.obj if isinstance(array, memoryview) else array
        if isinstance(array, mmap.mmap) and hasattr(array, "madvise"):
            array.madvise(mmap.MADV_DONTNEED)


def trim() -> None:
    """Hands memory that was freed back to the system, where the C library can. Else pieces of it that lie between
    others stay with the process, more of them with every segment of another size."""
    if (malloc_trim := getattr(ctypes.CDLL(None), "malloc_trim", None)) is not None:
        malloc_trim(0)


def write(path: Path, whole: Whole, key: str) -> None:
    """Writes the states of a segment; `key`: the graph's identity."""
    tensors = {name: getattr(whole, name) for name in _PLAIN}
    for number, level in enumerate([*whole.levels, whole.copies]):
        tensors |= {f"level.{number}.{name}": getattr(level, name) for name in _LEVEL}
    for number, matrix in enumerate(whole.matrices):
        parts = {"data": matrix.data, "indices": matrix.indices, "indptr": matrix.indptr}
        tensors |= {f"matrix.{number}.{name}": part for name, part in parts.items()}
    shapes = [matrix.shape for matrix in whole.matrices]
    arrays = {name: np.ascontiguousarray(array) for name, array in tensors.items()}
    files.replace(path, save(arrays, {"names": json.dumps({"key": key, "shapes": shapes})}))


def read(path: Path, key: str) -> Whole | None:
    """The states as they were written, memory-mapped; None where there are none, or those of something else."""
    try:
        tensors, head = read_tensors(path, mapped=True)
    except InputError:
        return None
    if head.get("key") != key:
        return None
    shapes = head["shapes"]
    levels = [Level(*(tensors[f"level.{number}.{name}"] for name in _LEVEL)) for number in range(len(shapes) + 2)]
    matrices = [
        csr_array(tuple(tensors[f"matrix.{number}.{name}"] for name in ("data", "indices", "indptr")), shape=shape)
        for number, shape in enumerate(shapes)
    ]
    return Whole(levels=levels[:-1], copies=levels[-1], matrices=matrices, **{name: tensors[name] for name in _PLAIN})


def path(data: str | Path, graph: ModelGraph, segment: int) -> Path:
    """File of one segment's states, which are others where a graph has but some of its configurations."""
    return graph_file(folder(data, graph.collection), graph.split, f"{graph.id}-{graph.configurations}-{segment}")
