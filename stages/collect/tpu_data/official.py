"""Records as the arrays of official npz files, and the files themselves."""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np

from stages.collect.tpu_data.plan import seed_of
from stages.engine import files
from stages.graphs.collection import is_tile
from stages.hlo import hlo_pb2
from stages.hlo.features import GraphArrays, graph_arrays

#: of zlib: a third smaller than numpy's own, for files that stand in git
_LEVEL = 9


def layout_arrays(graph_id: str, proto: bytes, meta: dict, stored: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The keys of a layout graph's npz file, with its run times.

    Args:
        graph_id: As in solution.csv; the order of the configurations is drawn by it.
        proto: The graph as a serialized HloProto.
        meta, stored: Of the record of `layouts.measure`.
    """
    graph = graph_arrays(hlo_pb2.HloProto.FromString(proto).hlo_module)
    index = {name: position for position, name in enumerate(graph.names)}
    ids = np.array([index[name] for name in meta["names"]], np.int64)
    by_id = np.argsort(ids)
    order = _order(graph_id, len(stored["times_ns"]))
    features = stored["configurations"][order][:, by_id].reshape(len(order), len(ids), 18)
    return _graph_keys(graph) | {
        "node_config_ids": ids[by_id],
        "node_config_feat": features.astype(np.float32),
        "node_splits": graph.node_splits,
        "config_runtime": _nanoseconds(stored["times_ns"][order]),
    }


def tile_arrays(graph_id: str, meta: dict, stored: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The keys of a kernel's npz file, with its run times; the normaliser is the compiler's own window's time."""
    graph = graph_arrays(hlo_pb2.HloModuleProto.FromString(stored["proto"].tobytes()))
    order = _order(graph_id, len(stored["times_ns"]))
    return _graph_keys(graph) | {
        "config_feat": stored["config_feat"][order].astype(np.float32),
        "config_runtime": _nanoseconds(stored["times_ns"][order]),
        "config_runtime_normalizers": np.full(len(order), _nanoseconds(meta["own_ns"]), np.int64),
    }


def _order(graph_id: str, count: int) -> np.ndarray:
    """The order says nothing: searches come upon slow and fast configurations at different times."""
    return np.random.default_rng(seed_of(graph_id)).permutation(count)


def _graph_keys(graph: GraphArrays) -> dict[str, np.ndarray]:
    return {"node_feat": graph.node_feat, "node_opcode": graph.node_opcode, "edge_index": graph.edge_index}


def _nanoseconds(times: np.ndarray | float) -> np.ndarray:
    """Whole nanoseconds, at least one."""
    return np.maximum(1, np.rint(times)).astype(np.int64)


def solution_line(collection: str, arrays: dict[str, np.ndarray]) -> str:
    """Run times of a test graph in the order of its configurations: nanoseconds, of a kernel over the normaliser."""
    if is_tile(collection):
        return ";".join(f"{value:.9g}" for value in arrays["config_runtime"] / arrays["config_runtime_normalizers"])
    return ";".join(map(str, arrays["config_runtime"]))


def hidden(arrays: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """A test graph's arrays: run times zero, normalisers one, as published."""
    blank = {"config_runtime": np.zeros_like(arrays["config_runtime"])}
    if "config_runtime_normalizers" in arrays:
        blank["config_runtime_normalizers"] = np.ones_like(arrays["config_runtime_normalizers"])
    return arrays | blank


def write(path: Path, arrays: dict[str, np.ndarray]) -> None:
    """Writes an npz file, the same bytes for the same arrays (with the same zlib), well compressed."""
    with files.replacing(path) as beside, zipfile.ZipFile(beside, "w", zipfile.ZIP_DEFLATED, compresslevel=_LEVEL) as z:
        for key, array in arrays.items():
            with z.open(f"{key}.npy", "w", force_zip64=True) as member:
                np.lib.format.write_array(member, np.ascontiguousarray(array), allow_pickle=False)


def same(left: dict[str, np.ndarray], right: dict[str, np.ndarray]) -> str | None:
    """The first key whose arrays differ in a byte, None where all are the same. How zlib packs them does not count."""
    for key in sorted(left.keys() | right.keys()):
        if key not in left or key not in right:
            return key
        one, other = left[key], right[key]
        if one.dtype != other.dtype or one.shape != other.shape or one.tobytes() != other.tobytes():
            return key
    return None
