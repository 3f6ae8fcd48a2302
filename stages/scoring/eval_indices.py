"""The official validation protocol of TpuGraphs: for everyone the same 1,000 configurations of a valid graph.

Its repository (google-research-datasets/tpu_graphs) has them in tpu_graphs/baselines/layout/eval_indices: four files,
xla_random.json and so on, which map a graph to indices of configurations in its npz file. Where that has fewer than
1,000, indices stand several times, and their configurations count as often. Kernels are judged by all of their
configurations.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from stages.engine.errors import InputError
from stages.graphs.collection import is_tile


def read(folder: str | Path, collection: str, configurations: Mapping[str, int]) -> dict[str, np.ndarray]:
    """The configurations by which each valid graph of a collection is judged.

    Args:
        folder: the folder of the four files.
        collection: official name.
        configurations: graph -> how many configurations it has, of every valid graph. Other graphs of the file are
            passed over: they may have been left out of the data.

    Returns:
        graph -> indices (k,) int64. Empty for tiles.

    Raises:
        InputError: the file is not there or holds no such lists, lacks a valid graph, or has an index that the graph
            does not have.
    """
    if is_tile(collection):
        return {}
    path = file(folder, collection)
    try:
        listed = json.loads(path.read_text())
    except OSError as fault:
        raise InputError(
            f"{path}: cannot be read ({fault.strerror}); name the folder of TpuGraphs' four files in params.yaml, "
            "blend.eval_indices, or give null"
        ) from fault
    except ValueError:
        listed = None
    if not isinstance(listed, dict):
        raise InputError(f"{path}: is no JSON that maps graphs to lists of indices; fetch it again")
    return {graph: _indices(path, graph, listed.get(graph), count) for graph, count in configurations.items()}


def file(folder: str | Path, collection: str) -> Path:
    """The file of a layout collection in the folder of TpuGraphs' four."""
    _, source, search = collection.split(":")
    return Path(folder, f"{source}_{search}.json")


def only(values: Mapping[str, np.ndarray], indices: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The values at the configurations that are judged.

    Args:
        values: graph -> values (c,) of its configurations.
        indices: graph -> indices (k,), as `read` returns them.

    Returns:
        graph -> values (k,) at its indices; all (c,) of a graph that is not in `indices`.
    """
    return {graph: value[indices[graph]] if graph in indices else value for graph, value in values.items()}


def _indices(path: Path, graph: str, listed: object, count: int) -> np.ndarray:
    if listed is None:
        raise InputError(f"{path}: has no graph {graph}, which is a valid graph of the data; fetch both anew")
    if not isinstance(listed, list) or not listed or any(type(index) is not int for index in listed):
        raise InputError(f"{path}: {graph} has no list of whole numbers; fetch it again")
    outside = next((index for index in listed if not 0 <= index < count), None)
    if outside is not None:
        raise InputError(
            f"{path}: {graph} has index {outside}, but {count} configurations in the data; fetch both anew"
        )
    return np.array(listed)
