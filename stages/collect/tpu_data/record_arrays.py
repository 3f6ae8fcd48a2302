"""Records as the arrays of official npz files."""

from __future__ import annotations

import numpy as np

from stages.collect import official
from stages.collect.tpu_data.plan import seed_of
from stages.hlo import hlo_pb2
from stages.hlo.features import graph_arrays


def layout_arrays(graph_id: str, proto: bytes, meta: dict, stored: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The arrays of a layout graph's npz file, with its run times.

    Args:
        graph_id: As in solution.csv; the order of the configurations is drawn by it.
        proto: The graph as a serialized HloProto.
        meta, stored: Of the record of `layouts.measure`.
    """
    graph = graph_arrays(hlo_pb2.HloProto.FromString(proto).hlo_module)
    order = _order(graph_id, len(stored["times_ns"]))
    runtime = _nanoseconds(stored["times_ns"][order])
    return official.layout_arrays(graph, meta["names"], stored["configurations"], order, runtime)


def tile_arrays(graph_id: str, meta: dict, stored: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The arrays of a kernel's npz file, with its run times; the normaliser is the time of the compiler's own window.

    Args:
        graph_id: As in `layout_arrays`.
        meta, stored: Of the record of `tiles.measure`.
    """
    graph = graph_arrays(hlo_pb2.HloModuleProto.FromString(stored["proto"].tobytes()))
    order = _order(graph_id, len(stored["times_ns"]))
    runtime = _nanoseconds(stored["times_ns"][order])
    return official.tile_arrays(graph, stored["config_feat"], order, runtime, _nanoseconds(meta["own_ns"]))


def same(left: dict[str, np.ndarray], right: dict[str, np.ndarray]) -> str | None:
    """The first name whose arrays differ in a byte, None where all are the same. How zlib packs them does not count."""
    for key in sorted(left.keys() | right.keys()):
        if key not in left or key not in right:
            return key
        one, other = left[key], right[key]
        if one.dtype != other.dtype or one.shape != other.shape or one.tobytes() != other.tobytes():
            return key
    return None


def _order(graph_id: str, count: int) -> np.ndarray:
    """A random order: searches come upon slow and fast configurations at different times, which would tell."""
    return np.random.default_rng(seed_of(graph_id)).permutation(count)


def _nanoseconds(times: np.ndarray | float) -> np.ndarray:
    """Whole nanoseconds, at least one."""
    return np.maximum(1, np.rint(times)).astype(np.int64)
