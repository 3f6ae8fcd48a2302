"""Small made-up TpuGraphs files whose run times follow from the configurations, so that a model can learn them."""

from __future__ import annotations

import csv
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pytest

from stages.engine.errors import InputError
from stages.graphs.collection import COLLECTIONS, SPLITS, folder, is_tile

PARAMETER, ADD, CONVOLUTION, DOT, RESHAPE = 63, 2, 26, 34, 75
F32_COLUMN = 13
PRODUCTS_OVER_NOTHING = (44, 52, 60, 68, 76, 84, 112, 116, 120, 124, 128, 132)
GRAPHS = {"train": 4, "valid": 2, "test": 2}
PROGRAM_COLUMNS = (
    "collection,split,id,family,kin,nodes,configurable,configurations,slowest_over_fastest,repeatability,ceiling,times"
).split(",")


def layout_arrays(
    nodes: int = 12, configurable: int = 3, configurations: int = 8, seed: int = 0
) -> dict[str, np.ndarray]:
    """The arrays of a layout file, dtypes as on disk; a run time grows with the inversions of the layouts."""
    rng = np.random.default_rng(seed)
    ids = np.sort(rng.choice(np.arange(1, nodes), configurable, replace=False))
    opcodes = np.full(nodes, ADD, np.uint8)
    opcodes[0] = PARAMETER
    opcodes[ids] = rng.choice([CONVOLUTION, DOT, RESHAPE], configurable)
    ranks = rng.integers(2, 5, nodes)
    ranks[opcodes == CONVOLUTION] = 4
    layouts = np.full((configurations, configurable, 18), -1, np.float32)
    for position, node in enumerate(ids):
        slots = 3 if opcodes[node] == CONVOLUTION else 2
        for configuration in range(configurations):
            if rng.random() < 0.1:
                continue  # all -1: left to the compiler
            for slot in range(slots):
                rank = ranks[node]
                layouts[configuration, position, 6 * slot : 6 * slot + rank] = rng.permutation(rank)
    cost = np.array([[sum(inversions(triple[i : i + 6]) for i in (0, 6, 12)) for triple in row] for row in layouts])
    noise = rng.integers(0, 2000, configurations)
    return {
        "node_feat": _node_features(rng, opcodes, ranks),
        "node_opcode": opcodes,
        "edge_index": _edges(rng, nodes),
        "node_config_feat": layouts,
        "node_config_ids": ids.astype(np.int64),
        "config_runtime": (1_000_000 + 50_000 * cost.sum(1) + noise).astype(np.int64),
        "node_splits": np.array([[0, nodes]], np.int64),
    }


def tile_arrays(nodes: int = 5, configurations: int = 8, seed: int = 0) -> dict[str, np.ndarray]:
    """The arrays of a tile file, dtypes as on disk; a run time falls with the volume of the output tile."""
    rng = np.random.default_rng(seed)
    opcodes = np.full(nodes, ADD, np.uint8)
    opcodes[0] = PARAMETER
    config_feat = np.zeros((configurations, 24), np.float32)
    bounds = 2.0 ** rng.integers(0, 7, (configurations, 3))
    config_feat[:, 8:11] = bounds
    config_feat[:, 14] = bounds.sum(1)
    config_feat[:, 15] = bounds.prod(1)
    runtime = 20_000 + 400_000 / np.sqrt(bounds.prod(1)) + rng.integers(0, 500, configurations)
    return {
        "node_feat": _node_features(rng, opcodes, rng.integers(1, 5, nodes)),
        "node_opcode": opcodes,
        "edge_index": _edges(rng, nodes),
        "config_feat": config_feat,
        "config_runtime": runtime.astype(np.int64),
        "config_runtime_normalizers": rng.integers(60_000, 60_500, configurations),
    }


def write_layout(
    folder: str | Path,
    id: str,
    nodes: int = 12,
    configurable: int = 3,
    configurations: int = 8,
    seed: int = 0,
    runtimes: bool = True,
) -> Path:
    """Writes FOLDER/ID.npz of a layout graph; without `runtimes` they are zero, as in the official test files."""
    return _write(folder, id, layout_arrays(nodes, configurable, configurations, seed), runtimes)


def write_tile(
    folder: str | Path, id: str, nodes: int = 5, configurations: int = 8, seed: int = 0, runtimes: bool = True
) -> Path:
    """Writes FOLDER/ID.npz of a tile kernel; without `runtimes` they are zero and their normalizers one."""
    return _write(folder, id, tile_arrays(nodes, configurations, seed), runtimes)


def write_root(path: str | Path, graphs: Mapping[str, int] = GRAPHS, **sizes: int) -> Path:
    """Writes PATH/npz_all with all five collections, PATH/solution.csv and PATH/programs.csv; returns PATH/npz_all.

    graphs: number of graphs of each split, in every collection. sizes: nodes, configurable, configurations (of layout
    graphs; tile kernels take `configurations` only). Ids are 'train_0', ..., 'test_1'.
    """
    root = Path(path, "npz_all")
    programs, solution = [], []
    for number, collection in enumerate(COLLECTIONS):
        for split in SPLITS:
            for graph in range(graphs[split]):
                seed = 1000 * number + 100 * SPLITS.index(split) + graph
                if is_tile(collection):
                    arrays = tile_arrays(configurations=sizes.get("configurations", 8), seed=seed)
                else:
                    arrays = layout_arrays(**sizes, seed=seed)
                identifier = f"{split}_{graph}"
                _write(folder(root, collection, split), identifier, arrays, split != "test")
                programs.append(_program(collection, split, identifier, graph, arrays))
                if split == "test":
                    runtimes = arrays["config_runtime"] / arrays.get("config_runtime_normalizers", 1)
                    text = ";".join(f"{value:.10g}" for value in runtimes)
                    solution.append({"ID": f"{collection}:{identifier}", "Runtimes": text})
    _write_csv(Path(path, "programs.csv"), PROGRAM_COLUMNS, programs)
    _write_csv(Path(path, "solution.csv"), ["ID", "Runtimes"], solution)
    return root


def inversions(layout: np.ndarray) -> int:
    """Pairs of dimensions of a minor-to-major order (-1: no entry) that row-major has the other way round."""
    order = [value for value in layout if value >= 0]
    return sum(first < second for i, first in enumerate(order) for second in order[i + 1 :])


def save(file: str | Path, arrays: Mapping[str, np.ndarray]) -> Path:
    """Writes the arrays as an npz file, its folder too."""
    file = Path(file)
    file.parent.mkdir(parents=True, exist_ok=True)
    np.savez_compressed(file, **arrays)
    return file


def assert_refused(read: Callable[[Path], object], file: Path, pattern: str) -> None:
    """Fails unless `read` refuses the file in one line that begins with its path and has the pattern."""
    with pytest.raises(InputError, match=pattern) as error:
        read(file)
    assert str(error.value).startswith(str(file)) and "\n" not in str(error.value)


def _write(folder: str | Path, id: str, arrays: dict[str, np.ndarray], runtimes: bool) -> Path:
    if not runtimes:
        arrays = dict(arrays, config_runtime=np.zeros_like(arrays["config_runtime"]))
        if "config_runtime_normalizers" in arrays:
            arrays["config_runtime_normalizers"] = np.ones_like(arrays["config_runtime_normalizers"])
    return save(Path(folder, f"{id}.npz"), arrays)


def _node_features(rng: np.random.Generator, opcodes: np.ndarray, ranks: np.ndarray) -> np.ndarray:
    features = np.zeros((len(opcodes), 140), np.float32)
    features[-1, 0] = 1
    features[:, F32_COLUMN] = 1
    features[:, PRODUCTS_OVER_NOTHING] = 1
    for row, opcode, rank in zip(features, opcodes, ranks, strict=True):
        dimensions = 2.0 ** rng.integers(1, 8, rank)
        row[21 : 21 + rank] = dimensions
        row[27], row[28] = dimensions.sum(), dimensions.prod()
        row[134 : 134 + rank] = np.arange(rank)[::-1]
        if opcode == CONVOLUTION:
            row[93:97] = 0, 3, 1, 2
            row[99:103] = 2, 3, 0, 1
            row[105:107] = 0, 3
    return features


def _edges(rng: np.random.Generator, nodes: int) -> np.ndarray:
    """Every node but the first consumes one or two earlier ones."""
    edges = []
    for node in range(1, nodes):
        operands = rng.choice(node, min(node, 1 + node % 2), replace=False)
        edges += [(node, int(operand)) for operand in operands]
    return np.array(edges, np.int64).reshape(-1, 2)


def _program(collection: str, split: str, id: str, graph: int, arrays: dict[str, np.ndarray]) -> dict:
    runtime = arrays["config_runtime"]
    return {
        "collection": collection,
        "split": split,
        "id": id,
        "family": f"family_{graph}",
        "kin": "train" if split == "train" else ("sibling", "unseen")[graph % 2],
        "nodes": len(arrays["node_feat"]),
        "configurable": len(arrays.get("node_config_ids", ())),
        "configurations": len(runtime),
        "slowest_over_fastest": round(float(runtime.max() / runtime.min()), 3),
        "repeatability": 0.95,
        "ceiling": 0.95,
        "times": "made up",
    }


def _write_csv(file: Path, columns: list[str], rows: list[dict]) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    with open(file, "w", newline="") as stream:
        writer = csv.DictWriter(stream, columns, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
