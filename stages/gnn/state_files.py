"""States of segments on disk, beside the packed graphs: found once, memory-mapped by each training that needs them."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from safetensors.numpy import save
from scipy.sparse import csr_array

from stages.engine import files
from stages.engine.errors import InputError
from stages.gnn.states import Level, SegmentStates
from stages.graphs.collection import slug
from stages.graphs.dataset import ModelGraph, graph_file
from stages.graphs.tensor_files import read_tensors

_LEVEL = ("nodes", "starts", "varying", "table", "example")
_PLAIN = ("rows", "code", "columns", "copy_ends", "copy_columns")
_CSR = ("data", "indices", "indptr")


def folder(data: str | Path, collection: str) -> Path:
    """Where the states of a collection lie below `data`. Not a stage's output: what is missing is found again."""
    return Path(data, "states", slug(collection))


def path(data: str | Path, graph: ModelGraph, segment: int) -> Path:
    """File of one segment's states, which are others where a graph has but some of its configurations."""
    return graph_file(folder(data, graph.collection), graph.split, f"{graph.id}-{graph.configurations}-{segment}")


def write(path: Path, states: SegmentStates, identity: str) -> None:
    """Writes the states of a segment under the identity of what they were found from."""
    tensors = {name: getattr(states, name) for name in _PLAIN}
    for number, level in enumerate([*states.levels, states.copies]):
        tensors |= {f"level.{number}.{name}": getattr(level, name) for name in _LEVEL}
    for number, matrix in enumerate(states.matrices):
        tensors |= {f"matrix.{number}.{name}": getattr(matrix, name) for name in _CSR}
    shapes = [matrix.shape for matrix in states.matrices]
    arrays = {name: np.ascontiguousarray(array) for name, array in tensors.items()}
    files.replace(path, save(arrays, {"names": json.dumps({"key": identity, "shapes": shapes})}))


def read(path: Path, identity: str) -> SegmentStates | None:
    """The states as they were written, memory-mapped; None where there are none, or those of something else."""
    try:
        tensors, head = read_tensors(path, mapped=True)
    except InputError:
        return None
    if head.get("key") != identity:
        return None
    shapes = head["shapes"]
    levels = [Level(*(tensors[f"level.{number}.{name}"] for name in _LEVEL)) for number in range(len(shapes) + 2)]
    matrices = [
        csr_array(tuple(tensors[f"matrix.{number}.{name}"] for name in _CSR), shape=shape)
        for number, shape in enumerate(shapes)
    ]
    plain = {name: tensors[name] for name in _PLAIN}
    return SegmentStates(levels=levels[:-1], copies=levels[-1], matrices=matrices, **plain)
