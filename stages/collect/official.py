"""A data set in TpuGraphs' official layout: the arrays of its npz files, the files, and the folder they stand in."""

from __future__ import annotations

import os
import shutil
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import polars

from stages.engine import files
from stages.graphs.collection import is_tile
from stages.hlo.features import GraphArrays

#: zlib's level that makes files a third smaller than NumPy's own, for a data set that stands in git
SMALLEST = 9
SOLUTION_COLUMNS = {"ID": polars.String, "Runtimes": polars.String}


def layout_arrays(
    graph: GraphArrays, names: Sequence[str], configurations: np.ndarray, order: np.ndarray, runtime: np.ndarray
) -> dict[str, np.ndarray]:
    """The arrays of a layout graph's npz file.

    Args:
        graph: The graph.
        names: The nc configurable nodes, in the order of the record.
        configurations: (c, nc, 3, 6) layouts, in the order of the record.
        order: (c,) The configurations' numbers in the record, in the order of the file.
        runtime: (c,) int64 Nanoseconds, in the order of the file.
    """
    index = {name: position for position, name in enumerate(graph.names)}
    ids = np.array([index[name] for name in names], np.int64)
    by_id = np.argsort(ids)
    features = configurations[order][:, by_id].reshape(len(order), len(ids), 18)
    return _graph_arrays(graph) | {
        "node_config_ids": ids[by_id],
        "node_config_feat": features.astype(np.float32),
        "node_splits": graph.node_splits,
        "config_runtime": runtime,
    }


def tile_arrays(
    graph: GraphArrays, config_feat: np.ndarray, order: np.ndarray, runtime: np.ndarray, normalizer: int
) -> dict[str, np.ndarray]:
    """The arrays of a tile kernel's npz file.

    Args:
        graph: The kernel.
        config_feat: (c, 24) Features of the tiles, in the order of the record.
        order, runtime: As in `layout_arrays`.
        normalizer: Nanoseconds of the configuration that the run times are compared with.
    """
    return _graph_arrays(graph) | {
        "config_feat": config_feat[order].astype(np.float32),
        "config_runtime": runtime,
        "config_runtime_normalizers": np.full(len(order), normalizer, np.int64),
    }


def _graph_arrays(graph: GraphArrays) -> dict[str, np.ndarray]:
    """The arrays that layout and tile files share."""
    return {"node_feat": graph.node_feat, "node_opcode": graph.node_opcode, "edge_index": graph.edge_index}


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


def write(path: Path, arrays: dict[str, np.ndarray], level: int | None = None) -> None:
    """Writes an npz file, the same bytes for the same arrays (with the same zlib).

    Args:
        path: The file; its folder need not exist.
        arrays: By name.
        level: zlib's; by default the bytes are those of `np.savez_compressed`.
    """
    with files.replacing(path) as beside, zipfile.ZipFile(beside, "w", zipfile.ZIP_DEFLATED, compresslevel=level) as z:
        for key, array in arrays.items():
            with z.open(f"{key}.npy", "w", force_zip64=True) as member:
                np.lib.format.write_array(member, np.ascontiguousarray(array), allow_pickle=False)


@contextmanager
def replacing(sample: Path) -> Iterator[Path]:
    """A folder to write a data set to, which takes the place of an earlier one at the end.

    What stands in the earlier one under another name stays. Where the writing fails the earlier one is as it was.

    Args:
        sample: Folder of the data set; it need not exist.
    """
    beside = sample.with_name(sample.name + ".part")
    shutil.rmtree(beside, ignore_errors=True)
    beside.mkdir(parents=True)
    try:
        yield beside
    except BaseException:
        shutil.rmtree(beside, ignore_errors=True)
        raise
    sample.mkdir(parents=True, exist_ok=True)
    for name in sorted(os.listdir(beside)):
        target = sample / name
        if target.is_dir():
            shutil.rmtree(target)
        os.replace(beside / name, target)
    beside.rmdir()
