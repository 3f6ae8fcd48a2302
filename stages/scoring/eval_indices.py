"""The official validation protocol of TpuGraphs: for everyone the same 1,000 configurations of a valid graph.

Its repository (google-research-datasets/tpu_graphs) has them in tpu_graphs/baselines/layout/eval_indices: four files,
xla_random.json and so on, graph -> places of configurations in the graph's npz file. Where that has fewer, places stand
several times, and their configurations count so often. Kernels are judged by all of their configurations.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from stages.errors import InputError
from stages.graphs.collection import is_tile


def read(folder: str | Path, collection: str, configurations: Mapping[str, int]) -> dict[str, np.ndarray]:
    """graph -> (k,) int64 places of the configurations by which each of a collection's valid graphs is judged.

    configurations: how many each valid graph has. Empty for tiles. Graphs of the file that are not among these are
    passed over: they may have been left out of the data. Raises InputError for a file that is not there or holds no
    such lists, a valid graph that it does not know, and a place that the graph does not have.
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
    return {graph: _places(path, graph, listed.get(graph), count) for graph, count in configurations.items()}


def file(folder: str | Path, collection: str) -> Path:
    """The file of a layout collection in the folder of TpuGraphs' four."""
    _, source, search = collection.split(":")
    return Path(folder, f"{source}_{search}.json")


def only(values: Mapping[str, np.ndarray], places: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """graph -> values (c,), of the graphs in `places` at these places (k,) alone."""
    return {graph: value[places[graph]] if graph in places else value for graph, value in values.items()}


def _places(path: Path, graph: str, listed: object, count: int) -> np.ndarray:
    if listed is None:
        raise InputError(f"{path}: has no graph {graph}, which is a valid graph of the data; fetch both anew")
    if not isinstance(listed, list) or not listed or any(type(place) is not int for place in listed):
        raise InputError(f"{path}: {graph} has no list of whole numbers; fetch it again")
    outside = next((place for place in listed if not 0 <= place < count), None)
    if outside is not None:
        raise InputError(
            f"{path}: {graph} has index {outside}, but {count} configurations in the data; fetch both anew"
        )
    return np.array(listed)
